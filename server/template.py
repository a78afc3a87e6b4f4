"""The study file that every study starts from."""

from pathlib import Path

TEMPLATE = (Path(__file__).parent / "template.toml").read_text(encoding="utf-8")
"""A commented study file to start from."""
