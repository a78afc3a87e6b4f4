"""Groups compared: control against lesion, strain against strain, study against study.

What is exchanged is whatever was drawn: subjects; or, where each subject had a single
session and the groups saw the same labellings, the sessions on one labelling; or, where
they saw others, generations, whose sessions share their stimuli.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import (
    bootstrap,
    false_discovery_control,
    permutation_test,
    rankdata,
)

from analysis.grouping import FEWEST_CLUSTERS

Floats = NDArray[np.float64]

MEASURES = ("relative_error", "side_bias", "reaction_time_s", "omissions")
"""What is compared of sessions unless a study asks otherwise."""

FEWEST = 3
"""Units of a group below which nothing is compared."""

CANDIDATE = ("component", "generation", "candidate")
"""Columns that say which labelling a session was of."""

_BOOTSTRAP = 999
_BATCH = 200

_COLUMNS = [
    "measure",
    "group",
    "other",
    "n",
    "n_other",
    "mean",
    "mean_other",
    "difference",
    "hedges_g",
    "g_low",
    "g_high",
    "cliffs_delta",
    "delta_low",
    "delta_high",
    "p_value",
    "p_corrected",
    "unit",
    "note",
]


def measures_of(sessions: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Finished sessions, with what their test trials say of them as columns more.

    ``side_bias``: mean answer less mean label; ``reaction_time_s``: median;
    ``omissions``: share of trials without an answer.
    """
    tested = trials[trials["phase"] == "test"]
    away = tested["response"] - tested["label"]
    of_session = tested["session"].astype(str)
    found = pd.DataFrame(
        {
            "side_bias": away.groupby(of_session).mean(),
            "reaction_time_s": tested["reaction_time_s"].groupby(of_session).median(),
            "omissions": tested["response"].isna().groupby(of_session).mean(),
        }
    )
    finished = sessions[sessions["status"] == "finished"]
    columns = [name for name in finished.columns if name not in found.columns]
    return finished[columns].join(found, on="session")


def pooled(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Sessions, or trials, of several studies as groups of one table.

    ``group`` is the study, and within it the study's own group if it has some;
    sessions and subjects get the name of their study, since ``p01`` of one need not
    be that of another. Labellings are told apart too: no study's candidate 3 is
    another's, unless both are runs of the same candidates.
    """
    parts = []
    for name, table in tables.items():
        own = table["group"].astype(str)
        change: dict[str, Any] = {"group": np.where(own == "", name, name + ", " + own)}
        for column in ("session", "subject"):
            change[column] = f"{name}/" + table[column].astype(str)
        parts.append(table.assign(**change, study=name))
    return pd.concat(parts, ignore_index=True)


def compare_groups(
    sessions: pd.DataFrame,
    measures: Sequence[str] = MEASURES,
    group: str = "group",
    resamples: int = 9999,
    seed: int = 0,
    level: float = 0.9,
) -> pd.DataFrame:
    """Every pair of groups by every measure, a row each.

    ``sessions`` as of :func:`measures_of` (or with other columns of numbers).
    ``difference`` is the mean of ``group`` less that of ``other``. p-values are of
    permutation tests of that difference: of subjects between groups; or, where
    subjects have one session each, of the sessions of a labelling if both groups saw
    the same ones, else of generations, whose sessions share stimuli, and of sessions
    only where a group has fewer than five generations (``unit`` says which). Effect
    sizes are Hedges' g and Cliff's delta (1: every value of ``group`` is above every
    one of ``other``), with bootstrap intervals. ``p_corrected`` keeps the false
    discovery rate over all rows (Benjamini & Hochberg). Where a pair cannot be
    compared, ``note`` says why.
    """
    rows = []
    names = sorted(sessions[group].astype(str).unique())
    for measure in measures:
        if measure not in sessions:
            raise ValueError(
                f"sessions have no column {measure!r}; they have "
                f"{', '.join(map(str, sessions.columns))}"
            )
        for one, other in combinations(names, 2):
            pair = _units(sessions, measure, group, (one, other))
            row = {"measure": measure, "group": one, "other": other}
            rows.append(row | _compared(*pair, resamples, seed, level))
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.assign(p_corrected=corrected(table["p_value"]))


def corrected(p_values: Any) -> Floats:
    """p-values (n,) that keep the false discovery rate; NaN stays NaN."""
    p = np.asarray(p_values, float)
    known = np.isfinite(p)
    if known.any():
        p = p.copy()
        p[known] = false_discovery_control(p[known])
    return p


def hedges_g(a: Floats, b: Floats, axis: int = -1) -> Floats:
    """Difference of means over the pooled standard deviation, corrected for n."""
    n, m = a.shape[axis], b.shape[axis]
    squares = a.var(axis, ddof=1) * (n - 1) + b.var(axis, ddof=1) * (m - 1)
    spread = np.sqrt(squares / (n + m - 2))
    difference = a.mean(axis) - b.mean(axis)
    unbiased = 1 - 3 / (4 * (n + m) - 9)
    g: Floats = unbiased * difference / np.where(spread > 0, spread, np.nan)
    return g


def cliffs_delta(a: Floats, b: Floats, axis: int = -1) -> Floats:
    """P(a > b) - P(a < b), by ranks."""
    n, m = a.shape[axis], b.shape[axis]
    ranks = rankdata(np.concatenate([a, b], axis), axis=axis)
    above = np.take(ranks, range(n), axis).sum(axis) - n * (n + 1) / 2
    delta: Floats = 2 * above / (n * m) - 1
    return delta


def _units(
    sessions: pd.DataFrame, measure: str, group: str, pair: tuple[str, str]
) -> tuple[Floats, Floats, str]:
    """Values of the units of both groups, and what the units are.

    Of paired units the i-th of one group was on the labelling of the other's i-th.
    """
    of_group = sessions[group].astype(str)
    known = sessions[of_group.isin(pair) & sessions[measure].notna()]
    known = known.assign(_group=of_group[known.index], _value=known[measure])
    if known["subject"].nunique() < len(known):
        means = known.groupby(["_group", "subject"], observed=True)["_value"].mean()
        a, b = (
            means.loc[[name]].to_numpy(float) if name in means.index else np.zeros(0)
            for name in pair
        )
        return a, b, "subjects"
    same = list(CANDIDATE) if set(CANDIDATE) <= set(known.columns) else []
    if same:
        means = known.groupby([*same, "_group"], observed=True)["_value"].mean()
        paired = means.unstack("_group").reindex(columns=list(pair)).dropna()
        if len(paired) >= FEWEST and len(paired) >= 0.8 * len(known) / 2:
            a, b = (paired[name].to_numpy(float) for name in pair)
            return a, b, "sessions on one labelling"
    unit = "sessions"
    if same and generations_count(known, "_group"):
        keys = ["_group", "component", "generation"]
        known = known.groupby(keys, observed=True)["_value"].mean().reset_index()
        unit = "generations"
    values = known.groupby("_group", observed=True)["_value"]
    each = {name: own.to_numpy(float) for name, own in values}
    a, b = (each.get(name, np.zeros(0)) for name in pair)
    return a, b, unit


def generations_count(sessions: pd.DataFrame, group: str) -> bool:
    """Whether sessions of a generation count as one: each group has enough of them."""
    keys = [group, "component", "generation"]
    counts = sessions[keys].drop_duplicates().groupby(group, observed=True).size()
    enough = len(counts) > 0 and counts.min() >= FEWEST_CLUSTERS
    return bool(enough and counts.sum() < len(sessions))


def _compared(
    a: Floats, b: Floats, unit: str, resamples: int, seed: int, level: float
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_COLUMNS[3:], np.nan)
    row |= {"n": len(a), "n_other": len(b), "unit": unit, "note": ""}
    if min(len(a), len(b)):
        row |= {"mean": a.mean(), "mean_other": b.mean()}
        row["difference"] = a.mean() - b.mean()
    if min(len(a), len(b)) < FEWEST:
        row["note"] = f"fewer than {FEWEST} {unit} in a group"
        return row
    if np.ptp(np.concatenate([a, b])) == 0:
        row["note"] = "all values are the same"
        return row
    paired = unit == "sessions on one labelling"
    test = permutation_test(
        (a, b),
        _difference,
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=resamples,
        batch=_BATCH,
        rng=np.random.default_rng(seed),
    )
    row["p_value"] = float(test.pvalue)
    effects = (
        (hedges_g, ("hedges_g", "g_low", "g_high")),
        (
            cliffs_delta,
            ("cliffs_delta", "delta_low", "delta_high"),
        ),
    )
    for effect, names in effects:
        estimate = float(effect(a, b))
        low, high = _bootstrapped(effect, a, b, paired, level, seed)
        row |= dict(zip(names, (estimate, low, high), strict=True))
    return row


def _bootstrapped(
    effect: Any, a: Floats, b: Floats, paired: bool, level: float, seed: int
) -> tuple[float, float]:
    if np.ptp(a) == 0 or np.ptp(b) == 0:  # resamples of it have no spread at all
        return np.nan, np.nan
    interval = bootstrap(
        (a, b),
        effect,
        paired=paired,
        vectorized=True,
        n_resamples=_BOOTSTRAP,
        batch=_BATCH,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _difference(a: Floats, b: Floats, axis: int) -> Floats:
    difference: Floats = a.mean(axis) - b.mean(axis)
    return difference
