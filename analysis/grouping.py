"""Tables by the values of some of their columns."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_CLUSTERS = 5
"""Subjects, or generations, below which sessions count as if each were its own."""


def grouped(
    table: pd.DataFrame, by: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Parts of a table by the values of columns ``by``; all of it without any."""
    if not by:
        yield (), table
        return
    yield from table.groupby(list(by), observed=True, sort=True)


def keyed(part: pd.DataFrame, by: Sequence[str], key: tuple[Any, ...]) -> pd.DataFrame:
    """A part's result with what it is of in front."""
    for place, (name, value) in enumerate(zip(by, key, strict=True)):
        part.insert(place, name, value)
    return part


def joined(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Results of parts below each other; an empty table of ``columns`` of none."""
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]


def independent(table: pd.DataFrame) -> NDArray[np.int64]:
    """What rows were drawn with, a number for each row of a table of trials.

    The subject, where subjects had several sessions; else the session. With fewer
    subjects than :data:`FEWEST_CLUSTERS` also the session: what is found is then of
    these subjects alone.
    """
    subjects, sessions = table["subject"].nunique(), table["session"].nunique()
    name = "subject" if FEWEST_CLUSTERS <= subjects < sessions else "session"
    codes: NDArray[np.int64]
    codes = table.groupby(name, observed=True).ngroup().to_numpy(np.int64)
    return codes


def centred(values: Floats, blocks: NDArray[Any]) -> Floats:
    """Values (n, columns) less the mean of their block, ``blocks`` (n,)."""
    means = pd.DataFrame(values).groupby(blocks).transform("mean")
    rest: Floats = values - means.to_numpy()
    # A block of equal values leaves rounding errors only.
    rest[np.abs(rest) < 1e-12] = 0.0
    return rest
