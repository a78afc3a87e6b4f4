"""Limits on what an animal is given, and on how long it works: pure functions.

The rig holds the time-critical limits itself; these are the limits of the server, which
hands out grants, keeps the ledger and advises. Volumes are in microlitres, times in
seconds since 1970. Sources of the numbers: ``docs/animal-safety.md``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from statistics import median

from server.protocol import Grant
from server.safety_section import RuleName, SafetySection

SLACK_MICROLITRE = 1e-6
"""A picolitre, far below any valve: what sums are off by is no breach."""

STEPS_PER_MICROLITRE = 1000
"""Grants are whole nanolitres, so that a spent cap leaves 0 and no dust."""

WINDOW = 20
"""Newest trials that the rules ``slow`` and ``ignoring`` look at."""

SLOWER = 5
"""IBL: the newest reaction times, relative to the median of the session."""

IGNORED = 0.8
"""Share of omissions in the window above which an animal ignores the task."""

SAME_SIDE = 30
"""Newest choices that the rule ``one_sided`` looks at."""

JUMP = 0.1
"""Relative change between two weights that is more likely a mistake than a change."""

CLOCK_SKEW_S = 3600.0
"""How far in the future a weight may lie before the server's clock is doubted."""

ADVICE_ONLY: frozenset[RuleName] = frozenset({"one_sided"})
"""Rules that never end a session: a side preference harms nobody."""


def day_start(now: float, zone: tzinfo | None = None) -> float:
    """When the calendar day of ``now`` began; in the computer's zone by default.

    A day lasts 23 to 25 hours where clocks change. Where midnight is skipped, the day
    begins at the first instant after; where it comes twice, at the first.
    """
    # Whole seconds: a float of microseconds would be rounded, to tomorrow at worst.
    here = datetime.fromtimestamp(math.floor(now), zone)
    return here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()


def grant(
    limits: SafetySection,
    given_session: float,
    given_day: float,
    promised: float = 0.0,
) -> Grant:
    """Leave for one reward: the least that any cap leaves, 0 if nothing is left.

    ``given_session`` and ``given_day`` are what the subject had in this session and
    today, on any rig. ``promised`` is what is out already and not yet reported: free
    rewards that were ordered, and the grant of a trial under way in another session or
    one that was lost.
    """
    left = min(
        limits.trial_microlitre,
        limits.session_microlitre - given_session - promised,
        limits.day_microlitre - given_day - promised,
    )
    # Rounded first: 5 - 4.7 is a little less than .3, but leaves .3.
    steps = math.floor(round(left * STEPS_PER_MICROLITRE, 6))
    return Grant(
        max_microlitre=max(0, steps) / STEPS_PER_MICROLITRE, valid_s=limits.trial_s
    )


def free_refusal(
    limits: SafetySection,
    given_session: float,
    given_day: float,
    asked: float,
    promised: float = 0.0,
) -> str | None:
    """Why an operator's free reward is refused, or None; arguments as in `grant`.

    ``promised`` includes the grant of the trial under way: its reward comes on top.
    """
    most = grant(limits, given_session, given_day, promised).max_microlitre
    if asked <= most + SLACK_MICROLITRE:
        return None
    return (
        f"{asked:g} microlitre asked, {most:g} left: {given_session:g} of "
        f"{limits.session_microlitre:g} given in this session, {given_day:g} of "
        f"{limits.day_microlitre:g} today, {promised:g} promised, at most "
        f"{limits.trial_microlitre:g} at a time"
    )


def nothing_left(limits: SafetySection, given_session: float, given_day: float) -> bool:
    """Whether a cap leaves no grant above 0; arguments as in `grant`."""
    return grant(limits, given_session, given_day).max_microlitre == 0


@dataclass(frozen=True)
class Delivered:
    """A reward that a client reports, with what the server knows of it.

    ``granted_microlitre`` is what its grant allowed (of an ordered free reward what
    was ordered), None if there was no grant. ``after_s`` is how long after the grant
    it was given, None if the rig does not tell. ``rewards_before`` were given on the
    same grant; the two ledgers hold what was given before this one.
    """

    microlitre: float
    how: str
    granted_microlitre: float | None
    after_s: float | None
    rewards_before: int
    given_session: float
    given_day: float


def breach(limits: SafetySection, given: Delivered) -> str | None:
    """What was wrong with a reward, or None.

    The liquid is in the animal: a breach is no reason to refuse the report, which is
    stored and counted; it is an alarm. A free reward by hand needs no grant, but
    counts towards every cap.
    """
    amount = given.microlitre
    wrong = []
    if given.granted_microlitre is None:
        if given.how != "free":
            wrong.append("without a grant")
    elif amount > given.granted_microlitre + SLACK_MICROLITRE:
        wrong.append(f"the grant allowed {given.granted_microlitre:g}")
    if given.rewards_before:
        wrong.append(f"number {given.rewards_before + 1} on one grant")
    if given.after_s is not None and given.after_s > limits.trial_s:
        wrong.append(f"{given.after_s:g} s after a grant of {limits.trial_s:g} s")
    for total, most, period in (
        (amount, limits.trial_microlitre, "trial"),
        (given.given_session + amount, limits.session_microlitre, "session"),
        (given.given_day + amount, limits.day_microlitre, "day"),
    ):
        if total > most + SLACK_MICROLITRE:
            wrong.append(f"{total:g} of {most:g} per {period}")
    if not wrong:
        return None
    return f"{given.how} reward of {amount:g} microlitre: {'; '.join(wrong)}"


@dataclass(frozen=True)
class Weight:
    """What a subject weighed, when, and what it weighs at free water, if known."""

    grams: float
    baseline_grams: float | None
    at: float


def weight_gate(limits: SafetySection, weight: Weight | None, now: float) -> str | None:
    """Why a subject may not begin a session, or None; ``weight`` is its newest."""
    if limits.weight_fraction == 0:
        return None
    if weight is None:
        return "no weight is known: weigh the animal first"
    age_s, most_h = now - weight.at, limits.weighed_within_h
    if age_s > most_h * 3600:
        return (
            f"weighed {age_s / 3600:.1f} h ago, expected within {most_h:g} h: "
            "weigh the animal again"
        )
    if age_s < -CLOCK_SKEW_S:
        return (
            f"weighed {-age_s / 3600:.1f} h in the future: check the server's clock, "
            "then weigh the animal again"
        )
    if weight.baseline_grams is None:
        return "its weight at free water is not known: weigh it with baseline_grams"
    fraction = weight.grams / weight.baseline_grams
    if fraction < limits.weight_fraction:
        return (
            f"{weight.grams:g} g is {fraction:.1%} of its baseline of "
            f"{weight.baseline_grams:g} g, expected {limits.weight_fraction:.0%} or "
            "more: give water, tell whoever is responsible for the animal"
        )
    return None


def weight_warning(before: Weight | None, grams: float) -> str | None:
    """What is odd about a new weight, or None: another animal, or a misread scale."""
    if before is None or abs(grams / before.grams - 1) <= JUMP:
        return None
    return (
        f"{grams:g} g after {before.grams:g} g, a change of "
        f"{grams / before.grams - 1:+.0%}: is it the same animal, and the scale right?"
    )


@dataclass(frozen=True)
class History:
    """What stop rules look at: the answers of one session, as columns by trial.

    ``values`` are -1 or +1 for choices. ``elapsed_s`` is how long the session has
    lasted; ``fired`` names the rules that have fired in it.
    """

    outcomes: tuple[str, ...]
    values: tuple[float | None, ...]
    reaction_times_s: tuple[float | None, ...]
    elapsed_s: float
    fired: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Firing:
    """A rule that fires now; ``stops`` says whether it ends the session."""

    rule: RuleName
    detail: str
    stops: bool


def slow(limits: SafetySection, history: History) -> str | None:
    """The newest reaction times are several times those of the session: sated.

    The median of the last 20 above 5 times that of the session, which IBL takes as
    advice. Needs as many reaction times before those 20.
    """
    del limits
    times = [t for t in history.reaction_times_s if t is not None]
    if len(times) < 2 * WINDOW:
        return None
    newest, whole = median(times[-WINDOW:]), median(times)
    if newest <= SLOWER * whole:
        return None
    return (
        f"median of the last {WINDOW} reaction times {newest:.3g} s, "
        f"of the session {whole:.3g} s"
    )


def ignoring(limits: SafetySection, history: History) -> str | None:
    """Hardly a trial is answered any more; a ratio of ignored trials, as AIND's."""
    del limits
    newest = history.outcomes[-WINDOW:]
    omitted = newest.count("omission")
    if len(newest) < WINDOW or omitted <= IGNORED * WINDOW:
        return None
    return f"{omitted} of the last {WINDOW} trials were omissions"


def one_sided(limits: SafetySection, history: History) -> str | None:
    """The same side again and again: a strategy, or a blocked port. Advice only."""
    del limits
    newest = [v for v in history.values if v is not None][-SAME_SIDE:]
    if len(newest) < SAME_SIDE or set(newest) not in ({-1.0}, {1.0}):
        return None
    side = "right" if newest[0] > 0 else "left"
    return f"the last {SAME_SIDE} choices were all {side}"


def time(limits: SafetySection, history: History) -> str | None:
    """The session has lasted ``session_minutes``; 90 is usual for mice."""
    most = limits.session_minutes
    if most is None or history.elapsed_s < most * 60:
        return None
    return f"{history.elapsed_s / 60:.1f} min of {most:g}"


def trials(limits: SafetySection, history: History) -> str | None:
    """The session has had ``session_trials`` trials.

    IBL also asks for more than 400 trials in 45 minutes; sessions here have a number
    of trials of their own, often fewer, so that pace is left to the other rules.
    """
    most, had = limits.session_trials, len(history.outcomes)
    return f"{had} trials of {most}" if most is not None and had >= most else None


RULES: dict[RuleName, Callable[[SafetySection, History], str | None]] = {
    "slow": slow,
    "ignoring": ignoring,
    "one_sided": one_sided,
    "time": time,
    "trials": trials,
}
"""Stop rules: each says why a session should end, or None."""


def fired(limits: SafetySection, history: History) -> list[Firing]:
    """The study's rules that fire now for the first time in the session."""
    return [
        Firing(rule, detail, limits.act == "stop" and rule not in ADVICE_ONLY)
        for rule in limits.rules
        if rule not in history.fired and (detail := RULES[rule](limits, history))
    ]
