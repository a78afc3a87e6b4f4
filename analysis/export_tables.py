"""A study's tables as CSV or Parquet, with a data dictionary; can be loaded back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.dictionary import describe
from analysis.export_source import Source, penchant_version
from analysis.writing import write_json, write_text

DICTIONARY, STUDY_FILE = "dictionary.json", "study.toml"
FORMAT, FORMAT_VERSION = "penchant-tables", 1

_README = """\
# {title}

{description}

| file | a row is |
| --- | --- |
| `trials.{form}` | a trial with a recorded response or omission |
| `sessions.{form}` | a session, however it ended |
| `generations.{form}` | a generation of the search |
| `components.{form}` | a component that was found, or is being |

Every column, its unit and its levels are in `{dictionary}`. The study file, as it was
run, is `{study}` (SHA-256 {sha256}). Written by Penchant {version}.
"""


def write_parquet(source: Source, folder: Path) -> list[Path]:
    """Write all tables as Parquet, which keeps types."""
    return _write(source, folder, "parquet", lambda t, p: t.to_parquet(p, index=False))


def write_csv(source: Source, folder: Path) -> list[Path]:
    """Write all tables as CSV; the dictionary keeps types."""
    return _write(source, folder, "csv", lambda t, p: t.to_csv(p, index=False))


def _write(
    source: Source, folder: Path, form: str, write: Callable[[Any, Path], object]
) -> list[Path]:
    tables, columns = source.tables, describe(source.record, source.tables)
    paths, described = [], {}
    for name, table in tables._asdict().items():
        paths.append(folder / f"{name}.{form}")
        write(table, paths[-1])
        described[name] = {
            "file": paths[-1].name,
            "rows": len(table),
            "columns": {
                column: _entry(said._asdict(), table[column])
                for column, said in columns[name].items()
            },
        }
    opened, study = source.record.opened, source.record.study
    said = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "penchant": penchant_version(),
        "study": {
            "name": study.name,
            "sha256": opened.sha256,
            "mode": opened.mode,
            "null": opened.null,
            "versions": opened.versions,
        },
        "tables": described,
    }
    write_json(folder / DICTIONARY, said)
    write_text(folder / STUDY_FILE, source.text)
    readme = _README.format(
        title=source.title,
        description=source.description,
        form=form,
        dictionary=DICTIONARY,
        study=STUDY_FILE,
        sha256=opened.sha256,
        version=penchant_version(),
    )
    write_text(folder / "README.md", readme)
    return paths


def _entry(said: dict[str, Any], values: "pd.Series[Any]") -> dict[str, Any]:
    """A column's entry in the dictionary; ``categories`` are in their order."""
    entry = {k: v for k, v in said.items() if v} | {"dtype": str(values.dtype)}
    if isinstance(values.dtype, pd.CategoricalDtype):
        entry["categories"] = list(values.cat.categories)
    return entry
