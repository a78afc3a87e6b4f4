"""A table that somebody else wrote, as text cells with the line of each row.

CSV with any delimiter, encoding and byte order mark, TSV, or Parquet (as IBL/ALF
tables are). Nothing is taken for a number here.
"""

import csv
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from analysis.problem import Problem, listed

DELIMITERS = ",;\t|"
_LOOKED_AT = 200
"""Lines that tell the delimiter."""

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_PARQUET = (".parquet", ".pqt")


@dataclass(frozen=True)
class Foreign:
    """Text cells, indexed by the line that each row is on in its file.

    ``notes`` say how it was read, ``problems`` what could not be; ``sha256`` is that
    of the file.
    """

    name: str
    sha256: str
    cells: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_foreign(path: Path) -> Foreign:
    """The cells of a CSV, TSV or Parquet file, stripped; missing ones are empty.

    Raises ``ValueError`` for a file that cannot be read as a table at all.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if path.suffix in _PARQUET:
        return Foreign(path.name, sha256, _parquet(path))
    table = Foreign(path.name, sha256, pd.DataFrame())
    text = _decoded(content, table)
    delimiter = _delimiter(text)
    if delimiter != ",":
        table.notes.append(f"cells are separated by {_NAMES[delimiter]}")
    lines = _lines(path, text, delimiter)
    if len(lines) < 2:
        raise ValueError(f"{path} is empty: expected a header and a row for each trial")
    (_, header), *rows = lines
    names = _names(header, table)
    kept, numbers = [], []
    empty = []
    for number, cells in rows:
        if not any(cells):
            empty.append(number)
        elif len(cells) != len(header):
            reason = f"{len(cells)} cells, where the header has {len(header)}"
            table.problems.append(Problem(path.name, number, reason, "it is left out"))
        else:
            kept.append(cells)
            numbers.append(number)
    while empty and empty[-1] > max(numbers, default=0):  # at the end they mean nothing
        empty.pop()
    if empty:
        reason = f"empty lines: {listed(empty)}"
        table.problems.append(Problem(path.name, empty[0], reason, "they are skipped"))
    frame = pd.DataFrame(kept, columns=range(len(header)), index=numbers, dtype=object)
    frame = frame[[column for column, name in enumerate(names) if name]]
    frame.columns = [name for name in names if name]
    return Foreign(path.name, sha256, frame, table.notes, table.problems)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow's own, of many kinds
        raise ValueError(f"cannot read {path} as Parquet: {error}") from error
    frame = frame.reset_index(drop=True)
    frame.index += 1
    missing = frame.isna()
    return frame.astype(object).map(str).mask(missing, "")


def _decoded(content: bytes, table: Foreign) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        table.notes.append("the text is UTF-16")
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = "the file is not UTF-8 from here on"
        follows = "it is read as Windows-1252; look at names with accents"
        table.problems.append(Problem(table.name, line, reason, follows))
        return content.decode("cp1252", errors="replace")


def _delimiter(text: str) -> str:
    """The delimiter that gives most columns, alike in most lines."""
    head = "\n".join(text.splitlines()[:_LOOKED_AT])

    def columns(delimiter: str) -> tuple[float, int]:
        try:
            rows = [r for r in csv.reader(io.StringIO(head), delimiter=delimiter) if r]
        except csv.Error:
            return 0.0, 0
        if not rows or len(rows[0]) < 2:
            return 0.0, 0
        alike = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        return round(alike, 1), len(rows[0])

    best = max(DELIMITERS, key=columns)
    return best if columns(best)[1] else ","


def _lines(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _names(header: list[str], table: Foreign) -> list[str]:
    """Names of columns; empty where a column is not to be used."""
    names: list[str] = []
    for place, name in enumerate(header, 1):
        if name and name in names:
            reason = f"column {place} is called {name!r}, as one before it"
            follows = "the first of them is used"
            table.problems.append(Problem(table.name, 1, reason, follows))
            names.append("")
        else:
            names.append(name)
    if not any(names):
        raise ValueError(f"{table.name}: the header, line 1, names no column")
    return names
