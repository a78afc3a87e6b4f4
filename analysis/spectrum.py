"""Bias spectrum of a study: what its subjects generalise badly, per basis order.

Straight from sessions, with no model of the subject; :mod:`analysis.subject` has the
spectrum of a fitted model, which needs fewer sessions and assumes more. Two views:
:func:`bias_spectrum`, the relative generalisation error, and :func:`gain_spectrum`, how
much of the labels came back, which is far more exact where answers are choices.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import monte_carlo_test
from statsmodels.regression.linear_model import OLS

from analysis.grouping import FEWEST_CLUSTERS, centred, grouped, joined, keyed
from analysis.record import Record
from analysis.session_labels import label_parts
from meta_learner.spectrum import (
    LEVEL,
    SHOWN,
    Floats,
    Labelled,
    error_spectrum,
    orders_of,
)

_BATCH = 64
"""Permutations of a test computed together."""

_LEAST_NOISE = 1e-8
"""Variance of 1 / label variance below which all labels vary alike."""

_LEAST_ENERGY = 0.01
"""Share of the variance of labels below which nothing is said of an order's gain."""


class Biased(NamedTuple):
    """Whether the errors of sessions depend on the orders of their labels.

    ``p_value`` is that of a flat spectrum, by permutation of errors among the
    sessions of a block; NaN where there is nothing to permute, and ``note`` says why.
    """

    statistic: float
    p_value: float
    sessions: int
    blocks: int
    note: str = ""


def bias_spectrum(
    sessions: pd.DataFrame,
    powers: pd.DataFrame,
    by: Sequence[str] = (),
    level: float = LEVEL,
) -> pd.DataFrame:
    """Relative generalisation error per order, with its confidence interval.

    ``sessions`` as of :func:`analysis.frames.sessions_frame`, ``powers`` as of
    :func:`analysis.session_labels.session_powers`; ``by`` names columns of sessions,
    such as component or group. Columns: those of ``by``, order, error, low, high,
    power (mean share of it in the labels shown) and sessions. NaN where no labelling
    shown tells of an order.

    It is the error on labels purely of an order, of the kind that was shown, as far
    as errors add up (:mod:`meta_learner.spectrum`). **They do not for a subject that
    overshoots**: of 200 simulated studies of a kernel machine of ReLU features with
    next to no ridge (``kernel_ridge`` as it comes, penalty 0.001) the true error was
    within these 90 % intervals in 42 to 85 %, by order. Read heights as a summary of
    the labellings shown, and ask :func:`is_biased` whether orders differ, which needs
    no such sum.

    Sessions of one subject count as alike, else those of one generation, which see
    the same stimuli.
    """
    table, names = measured(sessions, powers)
    parts = []
    for key, own in grouped(table, by):
        shares = own[names].to_numpy(float)
        found = error_spectrum(shares, own["_error"], clusters_of(own), level)
        part = pd.DataFrame({"order": [name.removeprefix("power_") for name in names]})
        part["error"], part["low"], part["high"] = found
        part["power"] = shares.mean(0) if len(own) else np.nan
        part["sessions"] = len(own)
        parts.append(keyed(part, by, key))
    columns = [*by, "order", "error", "low", "high", "power", "sessions"]
    return joined(parts, columns)


def gain_spectrum(
    record: Record,
    trials: pd.DataFrame,
    by: Sequence[str] = (),
    level: float = LEVEL,
    known: Labelled | None = None,
) -> pd.DataFrame:
    """How much of the labels of each order came back in answers to test stimuli.

    The slope of answers on the part of the labels in that order, all orders at once
    and within sessions (a side bias is not counted): 1 all of it, 0 nothing; 1 less
    the gain is the order's shortfall. Linear in answers, hence not biased by noise.
    Columns: those of ``by`` (columns of trials), order, gain, low, high, sessions.
    Intervals by clusters of sessions. ``known`` is
    :func:`analysis.session_labels.session_labelled`, where it was worked out before.
    """
    names = orders_of(record.study.labeller.space).names
    tested = trials[(trials["phase"] == "test") & trials["response"].notna()]
    parts = label_parts(record, tested, known)
    there = np.isfinite(parts).all(1)
    tested, parts = tested[there].reset_index(drop=True), parts[there]
    pieces = []
    for key, own in grouped(tested, by):
        table = _gains(parts[own.index], own, level)
        table.insert(0, "order", names)
        pieces.append(keyed(table, by, key))
    return joined(pieces, [*by, "order", "gain", "low", "high", "sessions"])


def is_biased(
    sessions: pd.DataFrame,
    powers: pd.DataFrame,
    resamples: int = 999,
    seed: int = 0,
) -> Biased:
    """Whether some order is generalised better than another: a flat spectrum's p.

    Errors are permuted among the sessions of a generation and group, whose stimuli
    are the same; where generations hold single sessions, among all of a group. Noise
    of answers weighs more where labels vary less, and cut-off labels of high orders
    do: what ``1 / variance`` explains is taken out first (Freedman & Lane 1983). The
    statistic is a score test that allows for unequal noise. The same ``seed`` gives
    the same p, which is ``(b + 1) / (resamples + 1)`` (Phipson & Smyth 2010).
    """
    table, names = measured(sessions, powers)
    blocks = exchangeable(table)
    order = np.argsort(blocks, kind="stable")
    blocks, table = blocks[order], table.iloc[order]
    shares = table[names].to_numpy(float)
    told = shares.max(0, initial=0.0) >= SHOWN
    sizes = np.bincount(blocks)
    nothing = partial(Biased, np.nan, np.nan, len(table), len(sizes))
    if told.sum() < 2:
        return nothing(note="fewer than two orders were shown")
    if sizes.max(initial=0) < 2:
        return nothing(note="fewer than two sessions can be exchanged")
    noise = centred(1 / table[["variance"]].to_numpy(float), blocks)
    errors = _without(noise, centred(table[["_error"]].to_numpy(float), blocks))[:, 0]
    design = _without(noise, centred(shares[:, told], blocks))
    if not design.any() or not errors.any():
        return nothing(note="labellings, or errors, do not differ within a block")
    draws = np.random.default_rng(seed)

    def permuted(size: tuple[int, ...]) -> Floats:
        return errors[exchanged(blocks, size[0], draws)]

    test = monte_carlo_test(
        errors,
        permuted,
        partial(_score, design=design),
        vectorized=True,
        n_resamples=resamples,
        batch=_BATCH,
        alternative="greater",
    )
    return Biased(float(test.statistic), float(test.pvalue), len(table), len(sizes))


def clusters_of(sessions: pd.DataFrame) -> NDArray[np.int64] | None:
    """What sessions share that makes them alike, a number each; None for nothing.

    The subject, where subjects had several sessions; else the generation, whose
    candidates saw the same stimuli. None also where there are fewer than
    :data:`FEWEST_CLUSTERS`: an interval then is of these subjects alone.
    """
    for columns in (["subject"], ["component", "generation"]):
        codes: NDArray[np.int64]
        codes = sessions.groupby(columns, observed=True).ngroup().to_numpy()
        n = len(np.unique(codes))
        if FEWEST_CLUSTERS <= n < len(sessions):
            return codes
    return None


def _without(nuisance: Floats, values: Floats) -> Floats:
    """Values (n, columns) less what a nuisance (n, 1) explains of them."""
    square = float((nuisance**2).sum())
    if square < _LEAST_NOISE * len(nuisance):
        return values
    rest: Floats = values - nuisance @ (nuisance.T @ values) / square
    return rest


def _score(errors: Floats, axis: int, design: Floats) -> Floats:
    """Score statistic of errors (..., sessions), centred in their blocks."""
    del axis
    rows = np.atleast_2d(errors)
    score = rows @ design
    each = (design[:, :, None] * design[:, None]).reshape(len(design), -1)
    meat = (rows**2 @ each).reshape(len(rows), *score.shape[1:] * 2)
    # Shares sum to 1, so that one direction is always empty.
    inverse = np.linalg.pinv(meat, rcond=1e-6, hermitian=True)
    value: Floats = np.einsum("bi,bij,bj->b", score, inverse, score)
    return value if errors.ndim > 1 else value[0]


def measured(
    sessions: pd.DataFrame, powers: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Finished sessions with their powers, and ``_error`` over the label variance.

    Also the names of the columns of power. Sessions of unknown power are left out.
    """
    names = [name for name in powers.columns if name.startswith("power_")]
    finished = sessions[sessions["status"] == "finished"]
    table = finished.merge(powers, on="session", validate="one_to_one")
    table["_error"] = table["error"] / table["variance"]
    known = np.isfinite(table[["_error", *names]].to_numpy(float)).all(1)
    return table[known].reset_index(drop=True), names


def exchangeable(table: pd.DataFrame) -> NDArray[np.int64]:
    """Sessions whose errors may be exchanged have the same number.

    Those of a generation and group; where generations hold single sessions, those of
    a component and group.
    """
    together = ["component", "generation", "group"]
    blocks = table.groupby(together, observed=True).ngroup().to_numpy()
    if len(table) and len(table) < 2 * (blocks.max() + 1):
        blocks = table.groupby(["component", "group"], observed=True).ngroup()
    return np.asarray(blocks, np.int64)


def exchanged(
    blocks: NDArray[np.int64], times: int, draws: np.random.Generator
) -> NDArray[np.int64]:
    """Places of sessions changed at random within their blocks, ``(times, n)``."""
    found = np.empty((times, len(blocks)), np.int64)
    # Numbers of a block stay together when sorted, in a random order.
    mixed = np.argsort(blocks + draws.random(found.shape), axis=1)
    found[:, np.argsort(blocks, kind="stable")] = mixed
    return found


def _gains(parts: Floats, trials: pd.DataFrame, level: float) -> pd.DataFrame:
    """Slopes of answers on label parts (trials, orders + 1)."""
    found = np.full((3, parts.shape[1]), np.nan)
    of_trial = trials.groupby("session", observed=True).ngroup().to_numpy()
    first = np.unique(of_trial, return_index=True)[1]
    shared = clusters_of(trials.iloc[first])
    clusters = of_trial if shared is None else shared[of_trial]
    energy = parts.var(0) if len(parts) else np.zeros(parts.shape[1])
    told = energy > _LEAST_ENERGY * energy.sum()
    if len(first) > 1 and told.any():
        design = centred(parts[:, told], of_trial)
        answers = centred(trials[["response"]].to_numpy(float), of_trial)[:, 0]
        fit = OLS(answers, design).fit(
            cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
        )
        found[:, told] = [fit.params, *fit.conf_int(1 - level).T]
    table = pd.DataFrame(dict(zip(("gain", "low", "high"), found, strict=True)))
    return table.assign(sessions=len(first))
