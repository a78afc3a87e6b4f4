"""What a statistic would be if labels had nothing to do with answers."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import monte_carlo_test

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
How = Literal["within", "between"]
Alternative = Literal["two-sided", "less", "greater"]


class Null(NamedTuple):
    """A statistic beside its null distribution ``null`` (resamples,).

    ``p_value`` is ``(b + 1) / (resamples + 1)``, the observed one counted in
    (Phipson & Smyth 2010); NaN, and ``note`` says why, where nothing can be permuted.
    """

    statistic: float
    p_value: float
    null: Floats
    note: str = ""


def label_null(
    trials: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float],
    how: How = "within",
    resamples: int = 999,
    seed: int = 0,
    alternative: Alternative = "two-sided",
) -> Null:
    """Any statistic of a table of trials, recomputed with labels permuted.

    ``within``: labels change places between the test stimuli of a session; trials of
    one stimulus keep one label. This breaks every tie between stimuli and labels.
    ``between``: sessions of a component and generation exchange their labels whole,
    stimulus by stimulus, and so keep the shape of labellings: it asks whether answers
    follow *this* labelling more than another one on the same stimuli. Sessions of
    unequal numbers of test stimuli are not exchanged, nor single ones.

    Raises ``ValueError`` for another ``how``. The same seed gives the same p.
    """
    if how not in ("within", "between"):
        raise ValueError(f"labels are permuted within or between sessions, got {how!r}")
    rows, where, blocks, values = _labels(trials, how)
    observed = float(statistic(trials))
    width = np.bincount(blocks).max(initial=0)
    if width < 2:
        nothing = f"nothing to permute {how} sessions"
        return Null(observed, np.nan, np.zeros(0), nothing)
    draws = np.random.default_rng(seed)
    labels = trials["label"].to_numpy(float)

    def permuted(size: tuple[int, ...]) -> Ints:
        places = np.argsort(blocks + draws.random((size[0], len(blocks))), axis=1)
        return places.astype(np.int64)

    def of_places(places: Ints) -> float:
        changed = labels.copy()
        changed[rows] = values[places].ravel()[where]
        return float(statistic(trials.assign(label=changed)))

    test = monte_carlo_test(
        np.arange(len(blocks)),
        permuted,
        of_places,
        n_resamples=resamples,
        batch=1,
        alternative=alternative,
    )
    null = np.asarray(test.null_distribution, float)
    if not np.isfinite(null).all() or not np.isfinite(observed):
        return Null(observed, np.nan, null, "the statistic is not always a number")
    return Null(observed, float(test.pvalue), null)


def _labels(trials: pd.DataFrame, how: How) -> tuple[Ints, Ints, Ints, Any]:
    """Rows of test trials, the label of each among all units', and units' blocks.

    Units are stimuli, ``values`` (units,); or whole sessions, (units, stimuli). They
    are sorted by block.
    """
    rows = np.flatnonzero((trials["phase"] == "test").to_numpy())
    tested = trials.iloc[rows]
    keys = ["session", "stimulus"]
    stimuli = tested[[*keys, "component", "generation", "label"]].drop_duplicates(keys)
    stimuli = stimuli.sort_values(keys).reset_index(drop=True)
    unit = pd.Series(stimuli.index, index=pd.MultiIndex.from_frame(stimuli[keys]))
    where = unit.reindex(pd.MultiIndex.from_frame(tested[keys])).to_numpy(np.int64)
    label = stimuli["label"].to_numpy(float)
    session = stimuli.groupby("session", observed=True).ngroup().to_numpy(np.int64)
    if how == "within":
        return rows, where, session, label
    return _whole_sessions(rows, where, stimuli, session, label)


def _whole_sessions(
    rows: Ints, where: Ints, stimuli: pd.DataFrame, session: Ints, label: Floats
) -> tuple[Ints, Ints, Ints, Any]:
    """Units are sessions; only those of the commonest number of stimuli count."""
    sizes = np.bincount(session)
    if not len(sizes):
        return rows, where, np.zeros(0, np.int64), np.zeros((0, 0))
    usual = np.bincount(sizes).argmax()
    kept = (sizes == usual)[session]
    mine = kept[where]
    first = stimuli[kept].drop_duplicates("session")
    blocks = first.groupby(["component", "generation"], observed=True).ngroup()
    order = np.argsort(blocks.to_numpy(), kind="stable")
    place = np.argsort(order)
    within = np.cumsum(kept) - 1  # stimuli of kept sessions follow each other
    unit, stimulus = np.divmod(within[where[mine]], usual)
    values = label[kept].reshape(-1, usual)[order]
    return rows[mine], place[unit] * usual + stimulus, blocks.to_numpy()[order], values
