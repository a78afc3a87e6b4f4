"""How subjects behave: learning curves, reaction times, side bias, lapses."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap, exponnorm, quantile_test, t

from analysis.grouping import FEWEST_CLUSTERS, grouped, independent, joined, keyed
from analysis.intervals import median_interval
from analysis.psychometric import fitted, known_labels
from analysis.record import Record
from meta_learner.psychometric import fit_psychometric

Floats = NDArray[np.float64]

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of reaction times."""

FEWEST = 20
"""Reaction times below which no ex-Gaussian is fitted."""

_MOST_FITTED = 5000
"""Reaction times that one is fitted to; of more, as many spread over all."""

_REFITS = 99


def learning_curve(
    trials: pd.DataFrame,
    bins: int = 10,
    by: Sequence[str] = (),
    level: float = 0.9,
) -> pd.DataFrame:
    """Error and agreement along training and along test, a row per bin of trials.

    ``error`` is the mean squared difference of answer and label, of single answers:
    of choices never below what a coin of the label's probability would have.
    ``agreement`` is the share of answers on the label's side. Both with t-intervals
    over subjects, or sessions (:func:`analysis.grouping.independent`). ``trial`` is the
    mean number of a bin's trials, counted over the session.
    """
    answered = trials[trials["response"].notna()]
    away = (answered["response"] - answered["label"]) ** 2
    agree = (answered["response"] > 0) == (answered["label"] > 0)
    table = answered.assign(
        error=away, agreement=agree.astype(float), _unit=independent(answered)
    )
    parts = []
    for key, own in grouped(table, [*by, "phase"]):
        first, last = own["trial"].min(), own["trial"].max()
        width = max(1.0, (last - first + 1) / bins)
        place = ((own["trial"] - first) / width).astype(int)
        of_bin = own.groupby(place)
        each = own.groupby([place.rename("bin"), "_unit"])
        means = each[["error", "agreement", "trial"]].mean()
        part = _over_units(means, level).assign(
            trials=of_bin.size(), sessions=of_bin["session"].nunique()
        )
        parts.append(keyed(part.reset_index(drop=True), [*by, "phase"], key))
    measures = [f"{m}{end}" for m in ("error", "agreement") for end in _ENDS]
    return joined(parts, [*by, "phase", "trial", *measures, "trials", "sessions"])


_ENDS = ("", "_low", "_high")


def _over_units(means: pd.DataFrame, level: float) -> pd.DataFrame:
    """Means of independent units with a t-interval, a row per bin."""
    of_bin = means.groupby(level=0)
    n = of_bin.size()
    table = pd.DataFrame({"trial": of_bin["trial"].mean()})
    reach = t.ppf((1 + level) / 2, np.maximum(n - 1, 1)) / np.sqrt(n)
    for name in ("error", "agreement"):
        mean, half = of_bin[name].mean(), of_bin[name].std(ddof=1) * reach
        table[name], table[f"{name}_low"] = mean, mean - half
        table[f"{name}_high"] = mean + half
    return table


def reaction_times(
    trials: pd.DataFrame, by: Sequence[str] = (), level: float = 0.9
) -> pd.DataFrame:
    """Reaction times of answers, in seconds: median, quantiles, ex-Gaussian.

    Of training and test alike. ``median`` is of the medians of subjects, or sessions
    (:func:`analysis.grouping.independent`), with a bootstrap interval over them; of
    fewer than five it is of all trials, with the interval of a quantile test. ``mu``,
    ``sigma`` and ``tau`` are of a normal plus an exponential variable
    (``scipy.stats.exponnorm``); ``note`` says where it was not fitted.
    """
    parts = []
    for key, own in grouped(trials[trials["reaction_time_s"].notna()], by):
        times = own["reaction_time_s"].to_numpy(float)
        row = {"n": len(times), "sessions": own["session"].nunique()}
        row |= dict(zip(("median", "low", "high"), _median(own, level), strict=True))
        spread = np.quantile(times, QUANTILES) if len(times) else [np.nan] * 5
        names = [f"q{round(100 * q)}" for q in QUANTILES]
        row |= dict(zip(names, map(float, spread), strict=True)) | _ex_gaussian(times)
        parts.append(keyed(pd.DataFrame([row]), by, key))
    columns = ["n", "sessions", "median", "low", "high"]
    columns += [f"q{round(100 * q)}" for q in QUANTILES]
    return joined(parts, [*by, *columns, "mu", "sigma", "tau", "note"])


def chronometric(
    trials: pd.DataFrame, bins: int = 5, by: Sequence[str] = (), level: float = 0.9
) -> pd.DataFrame:
    """Median reaction time by how far a label is from 0, in bins of equal number.

    ``label`` is the mean of ``|label|`` in a bin; medians and intervals as in
    :func:`reaction_times`.
    """
    timed = trials[trials["reaction_time_s"].notna()]
    parts = []
    for key, own in grouped(timed.assign(strength=timed["label"].abs()), by):
        if not len(own):
            continue
        place = pd.qcut(own["strength"], bins, labels=False, duplicates="drop")
        for _, within in own.groupby(place):
            median, low, high = _median(within, level)
            row = {"label": within["strength"].mean(), "median": median}
            row |= {"low": low, "high": high, "n": len(within)}
            parts.append(keyed(pd.DataFrame([row]), by, key))
    return joined(parts, [*by, "label", "median", "low", "high", "n"])


def side_bias(
    trials: pd.DataFrame, by: Sequence[str] = ("session",), level: float = 0.9
) -> pd.DataFrame:
    """Mean answer less mean label in test trials: above 0 towards right, or high.

    A row for each value of ``by``, with a t-interval and the p-value of no bias: over
    trials where ``by`` tells sessions apart, else over subjects, or sessions
    (:func:`analysis.grouping.independent`), each counting once. ``n`` is of trials.
    """
    tested = trials[(trials["phase"] == "test") & trials["response"].notna()]
    columns = ["side_bias", "low", "high", "p_value", "n"]
    if not len(tested):
        return pd.DataFrame(columns=[*by, *columns])
    keys = list(by) or ["_all"]
    away = tested[list(by)].assign(_all=0, away=tested["response"] - tested["label"])
    answers = away.groupby(keys, observed=True).size()
    if "session" not in by:
        units = away.assign(_unit=independent(tested))
        of_unit = units.groupby([*keys, "_unit"], observed=True)["away"]
        away = of_unit.mean().reset_index()
    each = away.groupby(keys, observed=True)["away"]
    mean, n = each.mean(), each.size()
    error = each.std(ddof=1) / np.sqrt(n)
    freedom = np.maximum(n - 1, 1)
    half = error * t.ppf((1 + level) / 2, freedom)
    ratio = mean.abs() / error.where(error > 0)
    p = pd.Series(2 * t.sf(ratio, freedom), mean.index)
    table = pd.DataFrame(
        {"side_bias": mean, "low": mean - half, "high": mean + half, "p_value": p}
    ).assign(n=answers)
    return table.reset_index(drop=not by)[[*by, *columns]]


def lapses(
    record: Record, trials: pd.DataFrame, level: float = 0.9, seed: int = 0
) -> pd.DataFrame:
    """Slope, side bias and lapse of choices about known labels, a row per group.

    By :mod:`analysis.psychometric`, with bootstrap intervals over subjects, or sessions
    (:func:`analysis.grouping.independent`); no row where a study has no choices about
    stimuli shown before.
    """
    found = fitted(record, trials)
    rows = []
    for group, function in found.items():
        known = known_labels(record, trials, group)
        ends = _refitted(known, level, seed)
        for i, name in enumerate(("slope", "side_bias", "lapse")):
            value = getattr(function, name)
            rows.append((group, name, value, *ends[:, i], len(known)))
    columns = ["group", "parameter", "estimate", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def _refitted(known: pd.DataFrame, level: float, seed: int) -> Floats:
    """Ends of bootstrap intervals of the parameters, ``(2, 3)``."""
    units = [
        (own["label"].to_numpy(float), own["response"].to_numpy(float))
        for _, own in known.groupby(independent(known))
    ]
    if len(units) < 3:
        return np.full((2, 3), np.nan)

    def refit(picked: NDArray[np.int64]) -> Floats:
        labels, answers = (
            np.concatenate([units[int(i)][part] for i in picked]) for part in (0, 1)
        )
        function = fit_psychometric(labels.tolist(), answers.tolist())
        if function is None:
            return np.full(3, np.nan)
        return np.array([function.slope, function.side_bias, function.lapse])

    interval = bootstrap(
        (np.arange(len(units)),),
        refit,
        vectorized=False,
        n_resamples=_REFITS,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.array([interval.low, interval.high])


def _median(own: pd.DataFrame, level: float) -> tuple[float, float, float]:
    times = own["reaction_time_s"].to_numpy(float)
    medians = own["reaction_time_s"].groupby(independent(own)).median()
    if len(medians) >= FEWEST_CLUSTERS:
        return median_interval(medians, level)
    if len(times) < 2:
        return float(times[0]) if len(times) else np.nan, np.nan, np.nan
    test = quantile_test(times, q=float(np.median(times)), p=0.5)
    low, high = test.confidence_interval(level)
    return float(np.median(times)), float(low), float(high)


def _ex_gaussian(times: Floats) -> dict[str, float | str]:
    nothing = {"mu": np.nan, "sigma": np.nan, "tau": np.nan}
    if len(times) < FEWEST:
        return nothing | {"note": f"fewer than {FEWEST} reaction times"}
    if np.ptp(times) == 0:
        return nothing | {"note": "all reaction times are the same"}
    kept = times[
        np.linspace(0, len(times) - 1, min(len(times), _MOST_FITTED)).astype(int)
    ]
    k, mu, sigma = exponnorm.fit(kept, 1.0, loc=np.median(kept), scale=kept.std() / 2)
    return {"mu": float(mu), "sigma": float(sigma), "tau": float(k * sigma), "note": ""}
