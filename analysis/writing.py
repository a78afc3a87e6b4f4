"""Text, JSON and tab-separated files, written the same on every computer."""

import json
from pathlib import Path
from typing import Any

import pandas as pd


def write_text(path: Path, text: str) -> None:
    """UTF-8, with line ends as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """JSON for people to read too; raises ``ValueError`` for NaN."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """A table with a header, as RFC 4180 but for line ends; missing is empty.

    Line ends within a text become blanks: few programs read them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = table.copy()
    for name in table.select_dtypes(["str", "object", "category"]):
        text = table[name].astype("str").str.replace(_BREAKS, " ", regex=True)
        plain[name] = text.mask(table[name].isna())
    plain.to_csv(path, index=False, lineterminator="\n")


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    """A table as BIDS has them: tabs between, ``n/a`` for what is missing.

    Tabs and line ends within a text become blanks, double quotes single ones.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = table.copy()
    for name in table.select_dtypes(["str", "object", "category"]):
        text = table[name].astype("str").str.replace(_BREAKS, " ", regex=True)
        text = text.str.replace('"', "'").str.strip()
        plain[name] = text.mask(table[name].isna() | (text == ""))
    plain.to_csv(path, sep="\t", index=False, na_rep="n/a", lineterminator="\n")


_BREAKS = r"[\x00-\x1f\x85\u2028\u2029]+"
