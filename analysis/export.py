"""A study's tables as files that any statistics program reads."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from analysis.frames import frames
from analysis.record import read
from server.events import Event


def export(events: Iterable[Event], out: Path, form: str = "parquet") -> list[Path]:
    """Write trials, sessions, generations and components into folder ``out``.

    ``form`` is ``parquet`` (keeps types) or ``csv``. Returns the files. Raises
    ``ValueError`` for another form.
    """
    if form not in _WRITERS:
        raise ValueError(f"unknown format {form!r}; known: {', '.join(_WRITERS)}")
    tables = frames(read(events))._asdict()
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables.items():
        paths.append(out / f"{name}.{form}")
        _WRITERS[form](table, paths[-1])
    return paths


def _parquet(table: Any, path: Path) -> None:
    table.to_parquet(path, index=False)


def _csv(table: Any, path: Path) -> None:
    table.to_csv(path, index=False)


_WRITERS = {"parquet": _parquet, "csv": _csv}
