"""The documentation builds without a warning, and its reference is whole."""

import html
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, ROOT
from pydantic import BaseModel

from server.sections import StudyFile

sys.path.append(str(DOCS))
reference_tables: Any = import_module("reference_tables")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, with warnings as errors."""
    out = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-b", "html"]
    made = subprocess.run(
        [*command, "-d", str(out / "doctrees"), str(DOCS), str(out / "html")],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return out / "html"


def pages(built: Path) -> Iterator[tuple[Path, str]]:
    for path in built.rglob("*.html"):
        if "_static" not in path.parts:
            yield path, path.read_text(encoding="utf-8")


def test_every_link_within_leads_somewhere(built: Path) -> None:
    ids = {
        path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages(built)
    }
    broken = []
    for path, text in pages(built):
        for link in map(html.unescape, re.findall(r'(?:href|src)="([^"]+)"', text)):
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            if not target.exists() or (
                anchor and anchor not in ids.get(target, {anchor})
            ):
                broken.append((path.name, link))
    assert not broken


def test_pages_load_nothing_from_elsewhere(built: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|iframe)[^>]*src="(https?:[^"]+)"|<link[^>]*href="(https?:[^"]+)"'
    )
    for path, text in pages(built):
        assert not loads.findall(text), path


def test_formulas_need_no_script(built: Path) -> None:
    text = (built / "concepts" / "bias.html").read_text(encoding="utf-8")
    assert text.count("<math") > 20
    assert "MathJax" not in text


def test_every_page_is_in_the_table_of_contents(built: Path) -> None:
    index = (built / "index.html").read_text(encoding="utf-8")
    for path, _ in pages(built):
        name = path.relative_to(built).as_posix()
        if name not in (
            "index.html",
            "genindex.html",
            "search.html",
            "py-modindex.html",
        ):
            assert f'href="{name}"' in index, name


def test_every_key_of_a_study_file_has_a_meaning() -> None:
    """By a comment of the template, a docstring of the key, or that of its section."""
    for section, field in StudyFile.model_fields.items():
        if section in (*reference_tables.CATALOGUES, "groups"):
            continue
        model: type[BaseModel] = reference_tables._model(field.annotation)
        said = reference_tables.said_of(section, model)
        for key in model.model_fields:
            prose = said.get(key) or f"``{key}``" in (inspect.getdoc(model) or "")
            assert prose, f"[{section}] {key}"


def test_every_key_and_command_is_in_the_reference() -> None:
    text = "\n".join(reference_tables.study_file())
    for section, field in StudyFile.model_fields.items():
        assert f"## [{section}]" in text
        if section not in (*reference_tables.CATALOGUES, "groups"):
            for key in reference_tables._model(field.annotation).model_fields:
                assert f"| `{key}` |" in text, (section, key)
    commands = "\n".join(reference_tables.command_line())
    for name in reference_tables.main.commands:
        assert f"## penchant {name}" in commands
