"""Tables by the values of some of their columns."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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


def centred(values: Floats, blocks: NDArray[Any]) -> Floats:
    """Values (n, columns) less the mean of their block, ``blocks`` (n,)."""
    means = pd.DataFrame(values).groupby(blocks).transform("mean")
    rest: Floats = values - means.to_numpy()
    # A block of equal values leaves rounding errors only.
    rest[np.abs(rest) < 1e-12] = 0.0
    return rest
