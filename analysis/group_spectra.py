"""Bias spectra of groups compared, order by order."""

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import monte_carlo_test
from statsmodels.regression.linear_model import OLS

from analysis.grouping import joined
from analysis.groups import CANDIDATE, corrected, generations_count
from analysis.spectrum import clusters_of, measured
from meta_learner.spectrum import SHOWN

Floats = NDArray[np.float64]

_BATCH = 200


def compare_spectra(
    sessions: pd.DataFrame,
    powers: pd.DataFrame,
    group: str = "group",
    resamples: int = 999,
    seed: int = 0,
    level: float = 0.9,
) -> pd.DataFrame:
    """Bias spectra of every pair of groups, a row per order.

    ``sessions`` and ``powers`` as of :func:`analysis.spectrum.bias_spectrum`.
    ``difference`` is the relative error of ``group`` less that of ``other`` in an
    order, with an interval as there; p-values are of permutations of subjects between
    the groups; where subjects have one session each, of sessions within a labelling,
    or of generations (as :func:`analysis.groups.compare_groups`). ``p_corrected``
    keeps the false discovery rate over all rows.
    """
    table, names = measured(sessions, powers)
    table = table.assign(_group=table[group].astype(str))
    parts = []
    for one, other in combinations(sorted(table["_group"].unique()), 2):
        pair = table[table["_group"].isin([one, other])].reset_index(drop=True)
        mine = (pair["_group"] == one).to_numpy()
        part = _spectra_compared(pair, names, mine, resamples, seed, level)
        part.insert(0, "group", one)
        part.insert(1, "other", other)
        parts.append(part)
    columns = ["order", "group", "other", "n", "n_other", "difference", "low", "high"]
    found = joined(parts, [*columns, "p_value", "note"])
    return found.assign(p_corrected=corrected(found["p_value"].to_numpy(float)))


def differing(table: pd.DataFrame) -> "pd.Series[bool]":
    """Rows that are told as a difference: test and interval must both say so.

    The test exchanges whole groups and also answers to unequal noise; the interval
    allows for that, and relies on many sessions.
    """
    apart = (table["low"] > 0) | (table["high"] < 0)
    return (table["p_corrected"] <= 0.05) & apart


def _spectra_compared(
    pair: pd.DataFrame,
    names: list[str],
    mine: NDArray[np.bool_],
    resamples: int,
    seed: int,
    level: float,
) -> pd.DataFrame:
    shares, errors = pair[names].to_numpy(float), pair["_error"].to_numpy(float)
    told = np.minimum(shares[mine].max(0), shares[~mine].max(0)) >= SHOWN
    table = pd.DataFrame({"order": [name.removeprefix("power_") for name in names]})
    table = table.assign(n=int(mine.sum()), n_other=int((~mine).sum()), note="")
    columns = ["difference", "low", "high", "p_value"]
    table[columns] = np.nan
    k = int(told.sum())
    if not k or min(mine.sum(), (~mine).sum()) <= k:
        return table.assign(note="too few sessions, or no order that both were shown")
    design = shares[:, told] / shares[:, told].sum(1, keepdims=True)
    both = np.concatenate([design * mine[:, None], design * ~mine[:, None]], 1)
    clusters = clusters_of(pair)
    robust: dict[str, Any] = {"cov_type": "HC3"}
    if clusters is not None:
        robust = {"cov_type": "cluster", "cov_kwds": {"groups": clusters}}
    fit = OLS(errors, both).fit(use_t=True, **robust)
    test = fit.t_test(np.hstack([np.eye(k), -np.eye(k)]))
    table.loc[told, columns[:1]] = np.asarray(test.effect)[:, None]
    table.loc[told, columns[1:3]] = np.asarray(test.conf_int(1 - level))
    table.loc[told, "p_value"] = _permuted(pair, design, errors, mine, resamples, seed)
    return table


def _permuted(
    pair: pd.DataFrame,
    design: Floats,
    errors: Floats,
    mine: NDArray[np.bool_],
    resamples: int,
    seed: int,
) -> list[float]:
    """Two-sided p of the difference in each order, units changing their group."""
    unit, blocks = _exchangeable(pair)
    members = np.zeros((unit.max() + 1, len(pair)))
    members[unit, np.arange(len(pair))] = 1
    k = design.shape[1]
    products = (design[:, :, None] * design[:, None]).reshape(len(design), -1)
    gram, cross = members @ products, members @ (design * errors[:, None])
    first = np.unique(unit, return_index=True)[1]
    of_unit, of_block = mine[first].astype(float), blocks[first]
    order = np.argsort(of_block, kind="stable")
    of_block = of_block[order]

    def difference(weights: Floats, axis: int, at: int) -> Floats:
        del axis
        rows = np.atleast_2d(weights)
        each = []
        for weight in (rows, 1 - rows):
            whole = (weight @ gram[order]).reshape(-1, k, k)
            solved = np.linalg.pinv(whole, rcond=1e-9, hermitian=True)
            each.append(np.einsum("bij,bj->bi", solved, weight @ cross[order])[:, at])
        value: Floats = each[0] - each[1]
        return value if weights.ndim > 1 else value[0]

    def p_value(at: int) -> float:
        draws = np.random.default_rng(seed)

        def changed(size: tuple[int, ...]) -> Floats:
            noise = draws.random((size[0], len(of_block)))
            return of_unit[order][np.argsort(of_block + noise, axis=1)]

        test = monte_carlo_test(
            of_unit[order],
            changed,
            partial(difference, at=at),
            vectorized=True,
            n_resamples=resamples,
            batch=_BATCH,
        )
        return float(test.pvalue)

    return [p_value(at) for at in range(k)]


def _exchangeable(
    pair: pd.DataFrame,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Unit of each session that may change its group, and the block it does so in."""
    subject = pair.groupby("subject", observed=True).ngroup().to_numpy(np.int64)
    if subject.max() + 1 < len(pair):
        return subject, np.zeros(len(pair), np.int64)
    blocks = pair.groupby(list(CANDIDATE), observed=True).ngroup().to_numpy(np.int64)
    alone = np.arange(len(pair))
    if pair.groupby(blocks)["_group"].nunique().mean() > 1.5:
        return alone, blocks
    unit = alone
    if generations_count(pair, "_group"):
        of_generation = pair.groupby(["_group", *CANDIDATE[:2]], observed=True)
        unit = of_generation.ngroup().to_numpy(np.int64)
    return unit, np.zeros(len(pair), np.int64)
