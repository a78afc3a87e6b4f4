"""An export of tables, loaded back: the same frames, and the study they are of."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.export_tables import DICTIONARY, FORMAT, FORMAT_VERSION, STUDY_FILE
from analysis.frames import Frames

_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])


class TablesError(ValueError):
    """An export that cannot be loaded: file, column and row, and what is wrong."""


@dataclass(frozen=True)
class Tables:
    """The tables of an export.

    ``study`` is what the dictionary says of it: name, sha256, mode, null, versions;
    ``text`` the study file, empty if it is not there.
    """

    frames: Frames
    study: dict[str, Any]
    text: str
    dictionary: dict[str, Any]


def is_tables(folder: Path) -> bool:
    """Whether a folder is an export of tables, by its dictionary."""
    return (folder / DICTIONARY).is_file()


def read_tables(folder: Path, faults: list[str] | None = None) -> Tables:
    """Load a CSV or Parquet export; dtypes and categories are those of ``frames``.

    With a list of ``faults`` rows that are not sound are left out and told there, a
    line each; without one the first is an error. Raises :class:`TablesError` then, for
    a folder that is no export, and for a table or a column that is missing.
    """
    said = _dictionary(folder / DICTIONARY)
    tables = {name: _table(folder, said, name, faults) for name in Frames._fields}
    study = folder / STUDY_FILE
    try:
        # Not read_text, which would change line ends and so the hash.
        text = study.read_bytes().decode("utf-8") if study.is_file() else ""
    except UnicodeDecodeError as error:
        raise TablesError(f"{study} is not UTF-8: {error}") from error
    return Tables(Frames(**tables), said["study"], text, said)


def _dictionary(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        form, version = said["format"], said["format_version"]
        _ = said["study"], [said["tables"][name]["columns"] for name in Frames._fields]
    except FileNotFoundError as error:
        raise TablesError(
            f"{path.parent} has no {DICTIONARY}: expected a folder that `penchant "
            "export --format csv` or parquet wrote"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TablesError(f"{path} is damaged: {error!r}") from error
    if (form, version) != (FORMAT, FORMAT_VERSION):
        raise TablesError(
            f"{path}: expected {FORMAT} {FORMAT_VERSION}, got {form} {version}: use "
            "the Penchant that wrote it, or export the journal again"
        )
    return dict(said)


def _table(
    folder: Path, said: dict[str, Any], name: str, faults: list[str] | None
) -> pd.DataFrame:
    entry = said["tables"][name]
    path, columns = folder / entry["file"], entry["columns"]
    if not path.is_file():
        raise TablesError(f"{path} is missing: export the study again")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = _read_csv(path, columns)
    except TablesError:
        raise
    except Exception as error:  # whatever a damaged file makes of a reader
        raise TablesError(f"{path} cannot be read: {error}") from error
    if lacking := [column for column in columns if column not in table]:
        raise TablesError(f"{path} has no column {', '.join(lacking)}")
    if len(table) != entry["rows"]:
        _tell(
            f"{path}: expected {entry['rows']} rows, got {len(table)}: was it cut off?",
            faults,
        )
    sound = pd.Series(True, table.index)
    for column in columns:
        _, wrong = _typed(table[column], columns[column])
        for row in np.flatnonzero(wrong & sound):
            _tell(
                f"{path}, row {row + 1}, column {column}: expected "
                f"{columns[column]['dtype']}, got {table[column].iloc[row]!r}",
                faults,
            )
        sound &= ~wrong
    table = table[sound].reset_index(drop=True)
    return pd.DataFrame(
        {c: _typed(table[c], columns[c])[0].astype(_dtype(columns[c])) for c in columns}
    )


def _tell(fault: str, faults: list[str] | None) -> None:
    if faults is None:
        raise TablesError(fault)
    faults.append(fault)


def _dtype(entry: dict[str, Any]) -> Any:
    if entry["dtype"] == "category":
        return pd.CategoricalDtype(entry["categories"])
    return entry["dtype"]


def _read_csv(path: Path, columns: dict[str, Any]) -> pd.DataFrame:
    """Numbers as such, all else as text, of which none means missing."""
    floats = [c for c, entry in columns.items() if entry["dtype"].startswith("float")]
    options: dict[str, Any] = {
        "keep_default_na": False,
        "encoding": "utf-8",
    }
    if _PANDAS < (3, 1):  # later ones do so anyway
        options["float_precision"] = "round_trip"
    quick = {c: "float64" if c in floats else "str" for c in columns}
    try:
        return pd.read_csv(
            path, dtype=quick, na_values={c: [""] for c in floats}, **options
        )
    except ValueError:  # which does not say where; then column by column
        return pd.read_csv(path, dtype="str", **options)


def _typed(values: Any, entry: dict[str, Any]) -> tuple[Any, Any]:
    """A column nearly as it was, and which of its values cannot be such."""
    dtype, text = entry["dtype"], str(values.dtype) == "str"
    nothing = values.isna() | (values == "") if text else values.isna()
    if dtype == "category":
        known = values.astype("str").where(values.isin(entry["categories"]))
        made = known.astype(_dtype(entry))
        if "" in entry["categories"]:
            nothing = values.isna()
    elif dtype.startswith("datetime64"):
        made = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
    elif dtype in ("bool", "boolean"):
        made = values.map({"True": True, "False": False}) if text else values
        made = made.astype("boolean")
    elif dtype.startswith(("int", "float")):
        made = pd.to_numeric(values, errors="coerce")
    else:
        return values, pd.Series(False, values.index)
    wrong = made.isna() & ~nothing
    if dtype == "bool" or dtype.startswith("int"):  # which cannot be missing
        wrong |= made.isna()
    if dtype.startswith("int"):
        wrong |= made.notna() & (made % 1 != 0)
    return made, wrong
