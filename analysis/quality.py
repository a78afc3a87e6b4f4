"""Quality of single sessions: flags with reasons, and leaving sessions out.

A flag says what is unusual and by how much; it never takes anything away. Whoever
wants sessions left out says which flags count, with :func:`exclude`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis import session_measures as measures
from analysis.load import Log, of_record
from analysis.problem import Problem
from analysis.record import Record
from server.events import Event, Quarantined
from server.study_file import Study

COLUMNS = ("session", "flag", "value", "limit", "reason")


@dataclass(frozen=True)
class Limits:
    """From where on something is flagged. Shares are of trials that could be answered.

    Where a number has a source it stands beside it; the others are ours, meant to be
    changed: ``Limits(omissions=0.3)``.
    """

    omissions: float = 0.2
    """Share of test trials without an answer."""
    premature: float = 0.2
    """Share of trials answered too early or broken off."""
    same_answer: float = 0.95
    """Share of answers that are one and the same: careless responding, as of long
    strings of one answer (Johnson 2005, J. Res. Pers. 39)."""
    fast_s: float = 0.15
    """Reaction time below which nobody has seen the stimulus. A genuine one takes at
    least 0.1 s (Luce 1986, Response Times; Whelan 2008, Psychol. Rec. 58)."""
    fast_share: float = 0.1
    """Share of answers that are as fast."""
    slow_s: float = 10.0
    """Median reaction time above which the task was not attended to."""
    least_variation: float = 0.02
    """Coefficient of variation of reaction times: below it a program answered."""
    side_bias: float = 0.5
    """Mean answer less mean label, of -1 to 1."""
    chance: float = 0.05
    """Level at which answers in training must go with their labels."""
    fatigue: float = 0.01
    """Level at which the error in the second half is larger than in the first."""
    test_share: float = 0.5
    """Share of a session's test trials that must have an answer."""
    pause_s: float = 300.0
    """Longest pause between two trials."""
    clock_s: float = 1.0
    """How far a client's clock may move against its monotonic one, or the server's."""
    trial_microlitre: float | None = None
    """Most that a trial may give; of a study with [safety], its own."""
    session_microlitre: float | None = None
    """Most that a session may give."""
    fewest: int = 10
    """Answers below which shares, correlations and variances are not judged."""

    @classmethod
    def of(cls, study: Study | None) -> "Limits":
        """The usual limits, with the caps on rewards of a study."""
        safety = study.file.safety if study else None
        if safety is None:
            return cls()
        return cls(
            trial_microlitre=safety.trial_microlitre,
            session_microlitre=safety.session_microlitre,
        )


def quality(
    trials: pd.DataFrame,
    sessions: pd.DataFrame,
    limits: Limits = Limits(),
    record: Record | None = None,
) -> pd.DataFrame:
    """What is unusual about sessions: session, flag, value, limit, reason.

    ``trials`` and ``sessions`` as in :mod:`analysis.frames`; sessions that are still
    open are not judged for what they lack. With ``record`` answers in quarantine count
    too. A session may have several flags, and most have none. ``fatigue`` also meets
    that share of sound sessions (1 %). ``unlearnt`` says that nothing was shown to have
    been learnt, not that nothing was: it misses 5 % of those who answer at random, and
    meets whoever learnt a little and was asked few times.
    """
    told = measures.of_sessions(trials, sessions)
    over = (sessions["status"] != "open").to_numpy()
    rows = [
        *_of_answers(told, over, limits),
        *_of_reaction_times(told, limits),
        *_of_learning(told, limits),
        *_of_the_apparatus(told, limits),
        *_of_the_record(sessions, record),
    ]
    flags = pd.DataFrame(rows, columns=list(COLUMNS))
    flags = flags.astype({"session": "str", "flag": "str", "reason": "str"})
    flags = flags.astype({"value": float, "limit": float})
    place = pd.Series(range(len(sessions)), sessions["session"].astype(str))
    order = flags["session"].map(place)
    return flags.iloc[np.argsort(order.to_numpy(), kind="stable")].reset_index(
        drop=True
    )


def quality_of(log: Log, limits: Limits | None = None) -> pd.DataFrame:
    """:func:`quality` of all that is known of a study, at its own limits."""
    limits = limits or Limits.of(log.study)
    return quality(log.trials, log.sessions, limits, log.record)


def usable(sessions: pd.DataFrame, flags: pd.DataFrame) -> pd.Series:
    """Whether a session is finished and has none of these flags, ``(sessions,)``."""
    named = sessions["session"].astype(str)
    sound: pd.Series = ~named.isin(flags["session"]) & (
        sessions["status"] == "finished"
    )
    return sound.rename("usable")


def exclude(log: Log, flags: pd.DataFrame) -> Log:
    """A study without the sessions that these flags name; ``problems`` says why.

    Choose among what :func:`quality` gives: ``exclude(log, flags[flags.flag ==
    "omissions"])``. The search and its components stay as they were: what it was told
    then cannot be taken back.
    """
    reasons = flags.groupby("session")["reason"].agg("; ".join)
    here = log.sessions["session"].astype(str)
    reasons = reasons[reasons.index.isin(here)]
    told = [
        Problem(log.name, None, f"session {session}: {reason}", "it was excluded")
        for session, reason in reasons.items()
    ]
    if log.record is not None:
        out = set(reasons.index)

        def stays(event: Event) -> bool:
            return getattr(event.fact, "session", "") not in out

        record = replace(
            log.record,
            events=tuple(filter(stays, log.record.events)),
            problems=(*log.record.problems, *told),
        )
        # Its recovered components follow from the search alone, and are the same.
        return replace(of_record(record), components=log.components)
    more = pd.DataFrame(told, columns=log.problems.columns).astype(log.problems.dtypes)
    trials = log.trials[~log.trials["session"].astype(str).isin(reasons.index)]
    return replace(
        log,
        trials=trials.reset_index(drop=True),
        sessions=log.sessions[~here.isin(reasons.index)].reset_index(drop=True),
        problems=pd.concat([log.problems, more], ignore_index=True),
    )


Rows = list[tuple[Any, ...]]


def _flagged(
    table: pd.DataFrame, flag: str, value: Any, limit: Any, beyond: Any, reason: str
) -> Rows:
    """A row for each session in which ``beyond``; its value fills in the reason."""
    values = np.broadcast_to(np.asarray(value, float), len(table))
    limits = np.broadcast_to(np.asarray(limit, float), len(table))
    which = np.flatnonzero(np.asarray(beyond, bool))
    names = table.index.to_numpy()
    return [
        (
            str(names[i]),
            flag,
            float(values[i]),
            float(limits[i]),
            reason.format(value=values[i], limit=limits[i]),
        )
        for i in which
    ]


def _of_answers(told: pd.DataFrame, over: Any, limits: Limits) -> Rows:
    enough = told["trials"] >= limits.fewest
    rows = _flagged(
        told,
        "omissions",
        told["omitted"],
        limits.omissions,
        enough & (told["omitted"] > limits.omissions),
        "{value:.0%} of the trials to be answered have no answer",
    )
    rows += _flagged(
        told,
        "premature",
        told["premature"],
        limits.premature,
        enough & (told["premature"] > limits.premature),
        "{value:.0%} of the trials were answered too early or broken off",
    )
    answered = told["answers"] >= limits.fewest
    rows += _flagged(
        told,
        "constant",
        told["same_answer"],
        limits.same_answer,
        answered & (told["same_answer"] > limits.same_answer),
        "{value:.0%} of the answers are one and the same",
    )
    rows += _flagged(
        told,
        "side_bias",
        told["side_bias"],
        limits.side_bias,
        answered & (told["side_bias"].abs() > limits.side_bias),
        "answers are {value:+.2f} from the labels on average",
    )
    rows += _flagged(
        told,
        "few_test_trials",
        told["test_share"],
        limits.test_share,
        over & (told["test_share"] < limits.test_share),
        "{value:.0%} of the test trials have an answer",
    )
    return rows


def _of_reaction_times(told: pd.DataFrame, limits: Limits) -> Rows:
    enough = told["timed"] >= limits.fewest
    fast = measures.share_below(told, limits.fast_s)
    rows = _flagged(
        told,
        "too_fast",
        fast,
        limits.fast_share,
        enough & (fast > limits.fast_share),
        f"{{value:.0%}} of the reaction times are below {limits.fast_s:g} s",
    )
    rows += _flagged(
        told,
        "too_slow",
        told["median_s"],
        limits.slow_s,
        enough & (told["median_s"] > limits.slow_s),
        "the median reaction time is {value:.1f} s",
    )
    rows += _flagged(
        told,
        "no_variation",
        told["variation"],
        limits.least_variation,
        enough & (told["variation"] < limits.least_variation),
        "reaction times vary by {value:.1%} only, as those of a program",
    )
    return rows


def _of_learning(told: pd.DataFrame, limits: Limits) -> Rows:
    n = told["repeated"].to_numpy(float)
    t = stats.t.ppf(1 - limits.chance, np.maximum(n - 2, 1))
    chance = t / np.sqrt(np.maximum(n - 2, 1) + t**2)
    r = told["training_correlation"].to_numpy(float)
    rows = _flagged(
        told,
        "unlearnt",
        r,
        chance,
        (n >= limits.fewest) & (r < chance),
        "answers in training hardly go with labels seen before: a correlation of "
        "{value:.2f}, where chance alone reaches {limit:.2f}",
    )
    p = told["fatigue_p"].to_numpy(float)
    rows += _flagged(
        told,
        "fatigue",
        p,
        limits.fatigue,
        p < limits.fatigue,
        "errors in the second half are larger than in the first, p = {value:.2g}",
    )
    return rows


def _of_the_apparatus(told: pd.DataFrame, limits: Limits) -> Rows:
    rows = _flagged(
        told,
        "late",
        told["late"],
        0,
        told["late"],
        "its client was silent for a lease and came back",
    )
    rows += _flagged(
        told,
        "pause",
        told["pause_s"],
        limits.pause_s,
        told["pause_s"] > limits.pause_s,
        "{value:.0f} s passed between two trials",
    )
    rows += _flagged(
        told,
        "clock",
        told["clock_s"],
        limits.clock_s,
        told["clock_s"] > limits.clock_s,
        "a clock of its client moved by {value:.3g} s against another",
    )
    for flag, most, what in (
        ("reward_trial", limits.trial_microlitre, "a trial"),
        ("reward_session", limits.session_microlitre, "the session"),
    ):
        if most is not None:
            rows += _flagged(
                told,
                flag,
                told[flag],
                most,
                told[flag] > most,
                f"{what} gave {{value:g}} microlitre, where {{limit:g}} are the most",
            )
    return rows


def _of_the_record(sessions: pd.DataFrame, record: Record | None) -> Rows:
    """What only the journal knows: answers in quarantine."""
    if record is None:
        return []
    held = pd.Series([fact.session for fact in record.facts(Quarantined)], dtype="str")
    counts = held.value_counts()
    here = counts[counts.index.isin(sessions["session"].astype(str))]
    return _flagged(
        here.to_frame(),
        "quarantine",
        here,
        0,
        here > 0,
        "{value:.0f} answers contradicted one given before, and are in quarantine",
    )
