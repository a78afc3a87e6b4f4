"""What pages of results share: template, pictures inside, numbers as JSON."""

import base64
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

_DPI = 300
_CSS_PIXELS_PER_INCH = 120
"""A quarter larger than life, as screens are further from the eye than paper."""

_AS_TEXT: Any = {"svg.fonttype": "none", "svg.hashsalt": "penchant"}
"""Words of an SVG stay words, and the same figure is the same file."""


class Picture(NamedTuple):
    """A figure in the page: its data URL, its width in CSS pixels, its file's name."""

    url: str
    width: int
    name: str


def save(figure: Figure, path: Path) -> Picture:
    """Write a PNG and, beside it, an SVG; give the PNG back for the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=_DPI)
    path.write_bytes(memory.getvalue())
    with mpl.rc_context(_AS_TEXT):
        vector = path.with_suffix(".svg")
        figure.savefig(vector, format="svg", dpi=_DPI, metadata={"Date": None})
    url = "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode()
    width = round(figure.get_figwidth() * _CSS_PIXELS_PER_INCH)
    return Picture(url, width, path.stem)


def template(name: str) -> jinja2.Template:
    """A page of this folder to be filled; a value that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "figures": figures,
        "p": p_value,
        "range": interval,
        "ranged": ranged,
        "share": share,
    }
    return environment.get_template(name)


def iso(seconds: float) -> str:
    """A time in seconds since 1970, as a date and time of UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def number(value: float) -> float | None:
    """In six decimals, None for what is no number."""
    return round(float(value), 6) if np.isfinite(value) else None


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as JSON: a mapping per row, None for what is no number."""
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return number(float(value))
    return None if value is None or value is pd.NA else str(value)


# ------------------------------------------------------- how pages write numbers


def figures(value: float | None, digits: int = 2) -> str:
    """A number in two significant digits, a dash where there is none."""
    return _DASH if value is None else f"{value:.{digits}g}"


def share(value: float | None) -> str:
    """A share in two decimals."""
    return _DASH if value is None else f"{value:.2f}"


def count(value: int | None) -> str:
    """A whole number, by thousands."""
    return _DASH if value is None else f"{value:,}"


def p_value(value: float | None) -> str:
    """A p-value in two significant digits, at least in tenths of thousandths."""
    if value is None:
        return _DASH
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def interval(row: Mapping[str, Any], low: str = "low", high: str = "high") -> str:
    """The interval of a row of numbers, empty where there is none."""
    if row[low] is None or row[high] is None:
        return ""
    n = _decimals(row[low], row[high])
    return f"{row[low]:.{n}f} to {row[high]:.{n}f}"


def ranged(row: Mapping[str, Any], name: str) -> str:
    """An estimate and its interval, all in as many decimals as the interval's."""
    if row[name] is None:
        return _DASH
    if row["low"] is None or row["high"] is None:
        return figures(row[name], 3)
    n = _decimals(row["low"], row["high"])
    return f"{row[name]:.{n}f} ({interval(row)})"


def _decimals(low: float, high: float) -> int:
    """So many that the larger end has two digits, at least; six at most."""
    largest = max(abs(low), abs(high))
    digits = 1 - int(np.floor(np.log10(largest))) if largest > 0 else 2
    return int(np.clip(digits, 0 if largest >= 100 else 2, 6))


_DASH = "\N{EN DASH}"
