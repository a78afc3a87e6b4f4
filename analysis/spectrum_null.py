"""A bias spectrum's permutation null: the same sessions, their errors exchanged."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.grouping import grouped, joined, keyed
from analysis.spectrum import exchangeable, exchanged, measured
from meta_learner.spectrum import LEVEL, SHOWN


def spectrum_null(
    sessions: pd.DataFrame,
    powers: pd.DataFrame,
    by: Sequence[str] = (),
    resamples: int = 199,
    seed: int = 0,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Range of :func:`analysis.spectrum.bias_spectrum` if labels did not matter.

    Errors are exchanged as :func:`analysis.spectrum.exchangeable` says. Columns: those
    of ``by``, order, null_low, null_median, null_high; NaN for orders that were
    hardly shown.
    """
    table, names = measured(sessions, powers)
    parts = []
    for key, own in grouped(table, by):
        found = np.full((3, len(names)), np.nan)
        shares = own[names].to_numpy(float)
        told = shares.max(0, initial=0.0) >= SHOWN
        if told.any() and len(own) > told.sum():
            design = shares[:, told] / shares[:, told].sum(1, keepdims=True)
            places = exchanged(
                exchangeable(own), resamples, np.random.default_rng(seed)
            )
            errors = own["_error"].to_numpy(float)[places]
            estimates = np.maximum(errors @ np.linalg.pinv(design).T, 0.0)
            ends = ((1 - level) / 2, 0.5, (1 + level) / 2)
            found[:, told] = np.quantile(estimates, ends, axis=0)
        part = pd.DataFrame({"order": [name.removeprefix("power_") for name in names]})
        part["null_low"], part["null_median"], part["null_high"] = found
        parts.append(keyed(part, by, key))
    return joined(parts, [*by, "order", "null_low", "null_median", "null_high"])
