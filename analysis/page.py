"""What pages of results share: template, pictures inside, numbers as JSON."""

import base64
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
from matplotlib.figure import Figure

_DPI = 200
_CSS_PIXELS_PER_INCH = 96


class Picture(NamedTuple):
    """A figure in the page: its data URL, and its width in CSS pixels."""

    url: str
    width: int


def save(figure: Figure, path: Path) -> Picture:
    """Write a PNG and give it back for the page."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=_DPI)
    path.write_bytes(memory.getvalue())
    url = "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode()
    return Picture(url, round(figure.get_figwidth() * _CSS_PIXELS_PER_INCH))


def template(name: str) -> jinja2.Template:
    """A page of this folder to be filled; a value that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def iso(seconds: float) -> str:
    """A time in seconds since 1970, as a date and time of UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def number(value: float) -> float | None:
    """In six decimals, None for what is no number."""
    return round(float(value), 6) if np.isfinite(value) else None
