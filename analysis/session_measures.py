"""What each session was like, in numbers: one row per session, all at once."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

MONOTONIC, WALL, SERVER = (
    "clock_host_monotonic_s",
    "clock_host_utc_s",
    "clock_server_utc_s",
)
"""Columns of the clocks that every client of ours tells."""


def of_sessions(trials: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    """Measures of sessions, indexed by their names in the order of ``sessions``.

    Of test trials ``omitted``, ``test_share`` (with an answer, of those there were),
    ``answers``, ``same_answer`` (share of the commonest), ``side_bias`` and
    ``fatigue_p`` (one-sided Welch test of squared errors by half); of all
    ``trials``, ``premature``, reaction times ``timed``, ``median_s``, ``variation``;
    of training ``repeated`` answers and their ``training_correlation``; ``pause_s``,
    ``clock_s`` (largest movement of a clock), ``late``, rewards in microlitre. NaN
    where nothing is known. ``attrs["reaction_times"]`` keeps session and reaction time.
    """
    names = sessions["session"].astype(str)
    code = pd.Categorical(trials["session"].astype(str), names).codes
    frame = _Grouped(trials[code >= 0], code[code >= 0], len(sessions))
    told = pd.DataFrame(index=pd.Index(names, name="session"))
    for more in (_answers, _learning, _fatigue, _reaction_times, _time, _rewards):
        for column, values in more(frame).items():
            told[column] = values
    told["late"] = sessions["late"].to_numpy(bool)
    told.attrs["reaction_times"] = frame.reaction_times
    return told


def share_below(told: pd.DataFrame, seconds: float) -> Floats:
    """Share of each session's reaction times that are shorter, ``(sessions,)``."""
    code, times = told.attrs["reaction_times"]
    below = np.bincount(code, times < seconds, len(told))
    return _over(below, np.bincount(code, minlength=len(told)))


class _Grouped:
    """Trials with the number of the session of each."""

    def __init__(self, trials: pd.DataFrame, code: Any, n: int) -> None:
        self.trials, self.code, self.n = trials, np.asarray(code, np.int64), n
        self.response = trials["response"].to_numpy(float)
        self.label = trials["label"].to_numpy(float)
        self.training = (trials["phase"] == "training").to_numpy()
        self.answered = np.isfinite(self.response)
        seconds = trials["reaction_time_s"].to_numpy(float)
        timed = np.isfinite(seconds)
        self.reaction_times = self.code[timed], seconds[timed]
        self.order = np.lexsort((trials["trial"].to_numpy(), self.code))
        """Rows by session and trial, however subjects took turns."""

    def count(self, which: Any) -> Floats:
        """How many trials of each session, ``(sessions,)``."""
        return np.bincount(self.code[which], minlength=self.n).astype(float)

    def mean(self, values: Floats, which: Any) -> Floats:
        """Mean over some trials of each session; NaN without any."""
        total = np.bincount(self.code[which], values[which], self.n)
        return _over(total, self.count(which))

    def variance(self, values: Floats, which: Any) -> Floats:
        """Variance over some trials of each session, one degree of freedom less."""
        away = (values - self.mean(values, which)[self.code]) ** 2
        total = np.bincount(self.code[which], away[which], self.n)
        return _over(total, np.maximum(self.count(which) - 1, 0))


def _answers(frame: _Grouped) -> dict[str, Any]:
    outcome = frame.trials["outcome"].astype(str).to_numpy()
    test = ~frame.training
    tested, answers = frame.count(test), frame.count(test & frame.answered)
    broken = np.isin(outcome, ("premature", "aborted"))
    rounded = pd.DataFrame(
        {"session": frame.code, "answer": np.round(frame.response, 6)}
    )[test & frame.answered]
    commonest = rounded.value_counts(sort=False).groupby(level=0).max()
    most = commonest.reindex(range(frame.n), fill_value=0).to_numpy(float)
    asked = test | frame.answered | (outcome == "omission")
    return {
        "trials": frame.count(np.ones(len(frame.code), bool)),
        "omitted": _over(
            frame.count(asked & (outcome == "omission")), frame.count(asked)
        ),
        "premature": _over(frame.count(broken), frame.count(frame.code >= 0)),
        "answers": answers,
        "same_answer": _over(most, answers),
        "side_bias": frame.mean(frame.response - frame.label, test & frame.answered),
        "test_share": _over(answers, tested),
    }


def _learning(frame: _Grouped) -> dict[str, Any]:
    """Answers in training to stimuli that were shown before, against their labels."""
    keys = pd.DataFrame({"s": frame.code, "x": frame.trials["stimulus"].to_numpy()})
    before = np.zeros(len(keys), bool)
    before[frame.training] = keys[frame.training].duplicated().to_numpy()
    known = before & frame.answered
    x, y = frame.label, frame.response
    dx, dy = (v - frame.mean(v, known)[frame.code] for v in (x, y))
    products = (
        np.bincount(frame.code[known], v[known], frame.n)
        for v in (dx * dy, dx * dx, dy * dy)
    )
    both, first, second = products
    return {
        "repeated": frame.count(known),
        # Answers that are all the same tell nothing of the labels.
        "training_correlation": np.nan_to_num(_over(both, np.sqrt(first * second))),
    }


def _fatigue(frame: _Grouped) -> dict[str, Any]:
    squared = (frame.response - frame.label) ** 2
    there = ~frame.training & frame.answered
    order = frame.trials["trial"].to_numpy(float)
    # By the middle of what was answered, so that a session cut short has halves too.
    middle = pd.Series(order[there]).groupby(frame.code[there]).median()
    place = order - middle.reindex(range(frame.n)).to_numpy()[frame.code]
    halves = [there & (place < 0), there & (place > 0)]
    counts = [frame.count(half) for half in halves]
    means = [frame.mean(squared, half) for half in halves]
    spreads = [np.sqrt(frame.variance(squared, half)) for half in halves]
    first, second = zip(means, spreads, np.maximum(counts, 1), strict=True)
    test = stats.ttest_ind_from_stats(
        *second, *first, equal_var=False, alternative="greater"
    )
    untold = (np.minimum(*counts) < 5) | (spreads[0] + spreads[1] == 0)
    return {"fatigue_p": np.where(untold, np.nan, test.pvalue)}


def _reaction_times(frame: _Grouped) -> dict[str, Any]:
    code, seconds = frame.reaction_times
    grouped = pd.Series(seconds).groupby(code)
    every = range(frame.n)
    mean = grouped.mean().reindex(every).to_numpy()
    return {
        "timed": np.bincount(code, minlength=frame.n).astype(float),
        "median_s": grouped.median().reindex(every).to_numpy(),
        "variation": _over(grouped.std().reindex(every).to_numpy(), mean),
    }


def _time(frame: _Grouped) -> dict[str, Any]:
    """Longest pause, and how far clocks moved against each other."""
    trials = frame.trials
    recorded = _seconds(trials["recorded_at"])
    monotonic = _column(trials, MONOTONIC)
    # What was recorded together, as by a client that was offline, tells no pauses.
    passed = np.where(np.isfinite(monotonic), monotonic, recorded)
    moved = np.zeros(frame.n)
    for one, other in ((WALL, MONOTONIC), (SERVER, WALL)):
        between = _column(trials, one) - _column(trials, other)
        moved = np.fmax(moved, _largest(frame, np.abs(_steps(frame, between))))
    backwards = -_steps(frame, monotonic)
    moved = np.fmax(moved, _largest(frame, backwards))
    return {"pause_s": _largest(frame, _steps(frame, passed)), "clock_s": moved}


def _rewards(frame: _Grouped) -> dict[str, Any]:
    given = np.nan_to_num(_column(frame.trials, "reward_microlitre"))
    return {
        "reward_trial": _largest(frame, given),
        "reward_session": np.bincount(frame.code, given, frame.n),
    }


def _steps(frame: _Grouped, values: Floats) -> Floats:
    """How much more than in the trial before; NaN in a session's first."""
    steps = np.full(len(values), np.nan)
    if len(values):
        now, before = frame.order[1:], frame.order[:-1]
        same = frame.code[now] == frame.code[before]
        steps[now] = np.where(same, values[now] - values[before], np.nan)
    return steps


def _largest(frame: _Grouped, values: Floats) -> Floats:
    """The largest value of each session, 0 without any."""
    largest = np.zeros(frame.n)
    there = np.isfinite(values)
    np.maximum.at(largest, frame.code[there], values[there])
    return largest


def _column(trials: pd.DataFrame, name: str) -> Floats:
    if name not in trials:
        return np.full(len(trials), np.nan)
    values: Floats = trials[name].to_numpy(float, na_value=np.nan)
    return values


def _seconds(times: pd.Series) -> Floats:
    plain = times.dt.tz_localize(None) if times.dt.tz is not None else times
    seconds: Floats = plain.to_numpy("datetime64[ns]").astype(np.int64) / 1e9
    return np.where(times.isna().to_numpy(), np.nan, seconds)


def _over(a: Any, b: Any) -> Floats:
    """A quotient, NaN where nothing is divided."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Floats = np.where(np.asarray(b) > 0, np.asarray(a) / b, np.nan)
    return quotient
