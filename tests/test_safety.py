"""Limits on reward and work: no sequence gets round a cap, no rule is silent."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from server.safety import (
    ADVICE_ONLY,
    RULES,
    SLACK_MICROLITRE,
    Delivered,
    Firing,
    History,
    Weight,
    breach,
    day_start,
    fired,
    free_refusal,
    grant,
    nothing_left,
    weight_gate,
    weight_warning,
)
from server.safety_section import RuleName, SafetySection

CAPS: dict[str, Any] = {
    "trial_microlitre": 5,
    "session_microlitre": 1000,
    "day_microlitre": 1500,
}
LIMITS = SafetySection(**CAPS)
HOUR = 3600.0
NOW = 1_800_000_000.0


def limits(**fields: Any) -> SafetySection:
    return SafetySection(**CAPS | fields)


# The section of the study file.


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"session_microlitre": 4}, "trial_microlitre <= session_microlitre"),
        ({"session_microlitre": 1501}, "got 5, 1501, 1500"),
        ({"day_microlitre": float("inf")}, "finite number"),
        ({"trial_microlitre": 0}, "greater than 0"),
        ({"trial_microlitre": float("nan")}, "finite number"),
        ({"trial_s": -1}, "greater than 0"),
        ({"weight_fraction": 80}, "less than or equal to 1"),
        ({"rules": ["slowly"]}, "'slow'"),
        ({"rules": ["slow", "slow"]}, "slow more than once"),
        ({"rules": ["slow"], "session_minutes": 90}, "add 'time' to rules"),
        ({"rules": ["trials"]}, "no effect without session_trials"),
        ({"act": "kill"}, "'advise' or 'stop'"),
        ({"stall_minutes": 1}, "no longer than a trial"),
        ({"session_microliter": 1}, "Extra inputs"),
    ],
)
def test_a_bad_section_says_what_is_wrong(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        limits(**fields)


def test_caps_have_no_default() -> None:
    with pytest.raises(ValidationError, match="day_microlitre"):
        SafetySection(trial_microlitre=5, session_microlitre=1000)  # type: ignore[call-arg]


def test_every_rule_has_a_name_and_advises_by_default() -> None:
    assert tuple(RULES) == get_args(RuleName)
    assert LIMITS.rules == list(RULES)
    assert LIMITS.act == "advise"


# Grants.

capped = st.tuples(st.floats(0.1, 20), st.floats(1, 4), st.floats(1, 2)).map(
    lambda of: SafetySection(
        trial_microlitre=of[0],
        session_microlitre=of[0] * of[1],
        day_microlitre=of[0] * of[1] * of[2],
    )
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["trial", "answer", "order", "free", "lose", "late", "night"]),
        st.sampled_from([1.0, 0.6]) | st.floats(0, 1),
    ),
    min_size=20,
    max_size=60,
)


class Animal:
    """One subject with its ledger as a server keeps it, and an exact one beside."""

    def __init__(self, caps: SafetySection) -> None:
        self.caps = caps
        self.session = 0
        self.given: dict[int, float] = {0: 0.0}
        self.today = 0.0
        self.exact: dict[int, Fraction] = {0: Fraction(0)}
        self.exact_today = Fraction(0)
        self.granted: dict[int, float] = {}  # of the trial under way, by session
        self.ordered: list[tuple[int, float]] = []

    def promised(self) -> float:
        return sum(self.granted.values()) + sum(most for _, most in self.ordered)

    def take(self, session: int, microlitre: float, how: str, granted: float) -> None:
        facts = Delivered(
            microlitre, how, granted, 1.0, 0, self.given[session], self.today
        )
        assert breach(self.caps, facts) is None
        self.given[session] += microlitre
        self.today += microlitre
        self.exact[session] += Fraction(microlitre)
        self.exact_today += Fraction(microlitre)

    def step(self, what: str, share: float) -> None:
        here, caps = self.session, self.caps
        if what == "trial" and here not in self.granted:
            self.granted[here] = grant(
                caps, self.given[here], self.today, promised=self.promised()
            ).max_microlitre
        elif what == "answer" and here in self.granted:
            most = self.granted.pop(here)
            self.take(here, share * most, "earned", most)
        elif what == "order":
            asked = share * caps.trial_microlitre
            if not free_refusal(
                caps, self.given[here], self.today, asked, self.promised()
            ):
                self.ordered.append((here, asked))
        elif what == "free" and self.ordered:
            session, asked = self.ordered.pop(0)
            self.take(session, asked, "free", asked)
        elif what == "lose":  # a rig falls silent; the animal goes to another one
            self.session = max(self.given) + 1
            self.given[self.session], self.exact[self.session] = 0.0, Fraction(0)
        elif what == "late" and self.granted:
            session, most = min(self.granted.items())
            del self.granted[session]
            self.take(session, share * most, "automatic", most)
        elif what == "night":
            self.today, self.exact_today = 0.0, Fraction(0)


@given(capped, steps)
def test_no_sequence_of_rewards_exceeds_a_cap(
    caps: SafetySection, sequence: list[tuple[str, float]]
) -> None:
    animal, slack = Animal(caps), Fraction(SLACK_MICROLITRE)
    for what, share in sequence:
        animal.step(what, share)
        assert max(animal.exact.values()) <= Fraction(caps.session_microlitre) + slack
        assert animal.exact_today <= Fraction(caps.day_microlitre) + slack


def test_a_grant_is_the_least_that_any_cap_leaves() -> None:
    assert grant(LIMITS, 0, 0).max_microlitre == 5
    assert grant(LIMITS, 998, 998).max_microlitre == 2
    assert grant(LIMITS, 0, 1499).max_microlitre == 1
    assert grant(LIMITS, 990, 990, promised=9).max_microlitre == 1
    assert grant(LIMITS, 0, 1490, promised=9).max_microlitre == 1
    assert grant(LIMITS, 1200, 1600).max_microlitre == 0
    assert grant(limits(trial_s=30), 0, 0).valid_s == 30


def test_a_spent_cap_leaves_nothing_to_rounding() -> None:
    tenths = sum([0.1] * 3)  # .30000000000000004
    caps = limits(session_microlitre=5, day_microlitre=5)
    assert grant(caps, 5 - tenths, 0).max_microlitre == 0.3
    assert grant(caps, 5 - 1e-12, 0).max_microlitre == 0
    assert nothing_left(caps, 0, 5 - 1e-12)
    assert nothing_left(caps, 5 - 1e-12, 0)
    assert not nothing_left(caps, 4.9, 4.9)


def test_a_free_reward_is_refused_with_what_is_left() -> None:
    assert free_refusal(LIMITS, 0, 0, 5) is None
    assert free_refusal(LIMITS, 990, 990, 5, promised=5) is None
    why = free_refusal(LIMITS, 991, 1400, 5, promised=5)
    assert why
    assert "5 microlitre asked, 4 left" in why
    assert "991 of 1000 given in this session" in why
    assert "at most 5 at a time" in (free_refusal(LIMITS, 0, 0, 6) or "")


FINE = Delivered(3, "earned", 5, 1.0, 0, 100, 200)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"microlitre": 5.5, "granted_microlitre": 5}, "the grant allowed 5"),
        ({"granted_microlitre": 2}, "the grant allowed 2"),
        ({"granted_microlitre": None}, "without a grant"),
        ({"after_s": 61}, "61 s after a grant of 60 s"),
        ({"rewards_before": 1, "how": "automatic"}, "number 2 on one grant"),
        ({"given_session": 998}, "1001 of 1000 per session"),
        ({"given_day": 1499}, "1502 of 1500 per day"),
        ({"microlitre": 6, "how": "free", "granted_microlitre": None}, "6 of 5 per tr"),
    ],
)
def test_a_breach_is_named(changes: dict[str, Any], says: str) -> None:
    wrong = breach(LIMITS, replace(FINE, **changes))
    assert wrong
    assert says in wrong


def test_what_is_within_its_grant_is_no_breach() -> None:
    assert breach(LIMITS, FINE) is None
    assert breach(LIMITS, replace(FINE, after_s=None)) is None
    by_hand = replace(FINE, how="free", granted_microlitre=None)
    assert breach(LIMITS, by_hand) is None


# The weight gate.

HEAVY = Weight(22, 25, NOW - HOUR)


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (None, "no weight is known"),
        (
            replace(HEAVY, at=NOW - 25 * HOUR),
            "weighed 25.0 h ago, expected within 24 h",
        ),
        (replace(HEAVY, at=NOW + 2 * HOUR), "2.0 h in the future"),
        (replace(HEAVY, baseline_grams=None), "with baseline_grams"),
        (replace(HEAVY, grams=19.9), "79.6% of its baseline of 25 g, expected 80%"),
    ],
)
def test_the_gate_refuses(weight: Weight | None, says: str) -> None:
    why = weight_gate(LIMITS, weight, NOW)
    assert why
    assert says in why
    assert weight_gate(limits(weight_fraction=0), weight, NOW) is None


def test_the_gate_lets_in_who_is_heavy_enough() -> None:
    assert weight_gate(LIMITS, HEAVY, NOW) is None
    assert weight_gate(LIMITS, replace(HEAVY, grams=20), NOW) is None
    assert weight_gate(limits(weight_fraction=0.85), replace(HEAVY, grams=21), NOW)


def test_a_jump_in_weight_is_odd() -> None:
    assert weight_warning(None, 22) is None
    assert weight_warning(HEAVY, 23.9) is None
    assert "+14%" in (weight_warning(HEAVY, 25) or "")
    assert "same animal" in (weight_warning(HEAVY, 19) or "")


# Stop rules.


def history(
    times: Sequence[float | None], elapsed_s: float = 600, value: float = 1
) -> History:
    outcomes = tuple("omission" if t is None else "responded" for t in times)
    values = tuple(
        None if t is None else value * (-1) ** i for i, t in enumerate(times)
    )
    return History(outcomes, values, tuple(times), elapsed_s)


EVEN = history([0.5] * 60)


@pytest.mark.parametrize(
    ("rule", "not_yet", "now"),
    [
        ("slow", history([0.5] * 40 + [2.5] * 20), history([0.5] * 40 + [2.6] * 20)),
        ("slow", history([0.1] * 19 + [9] * 20), history([0.1] * 21 + [9] * 20)),
        ("ignoring", history([0.5] * 9 + [None] * 16), history([0.5] + [None] * 19)),
        ("ignoring", history([None] * 19), history([None] * 20)),
        (
            "one_sided",
            replace(EVEN, values=(-1.0, *[1.0] * 29)),
            replace(EVEN, values=(-1.0, *[1.0] * 20, None, *[1.0] * 10)),
        ),
        ("time", replace(EVEN, elapsed_s=5399), replace(EVEN, elapsed_s=5400)),
        ("trials", history([0.5] * 399), history([0.5] * 400)),
    ],
)
def test_a_rule_fires_at_its_threshold_and_once(
    rule: str, not_yet: History, now: History
) -> None:
    chosen = limits(session_minutes=90, session_trials=400, act="stop")
    assert rule not in [one.rule for one in fired(chosen, not_yet)]
    (firing,) = [one for one in fired(chosen, now) if one.rule == rule]
    assert firing.stops == (rule not in ADVICE_ONLY)
    assert firing.detail
    again = fired(chosen, replace(now, fired=frozenset({rule})))
    assert rule not in [one.rule for one in again]


def test_rules_advise_unless_the_study_says_stop() -> None:
    long = replace(EVEN, elapsed_s=6000)
    assert fired(limits(session_minutes=90), long) == [
        Firing("time", "100.0 min of 90", False)
    ]
    assert fired(limits(session_minutes=90, act="stop"), long)[0].stops
    assert fired(LIMITS, long) == []


def test_only_the_rules_of_the_study_fire() -> None:
    ignoring = history([None] * 40)
    assert [one.rule for one in fired(LIMITS, ignoring)] == ["ignoring"]
    assert fired(limits(rules=["slow"]), ignoring) == []


@given(
    st.lists(st.none() | st.floats(0, 1e7), max_size=80),
    st.floats(0, 1e7),
    st.sampled_from([-1.0, 1.0, 0.3]),
)
def test_rules_bear_any_history(
    times: list[float | None], elapsed_s: float, value: float
) -> None:
    chosen = limits(session_minutes=90, session_trials=400)
    for firing in fired(chosen, history(times, elapsed_s, value)):
        assert firing.rule in RULES


# Days.

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # clocks changed at 00:01 until 2011
    "America/Havana",  # midnight is skipped
    "America/Sao_Paulo",  # skipped until 2018, and the day before was long
    "Asia/Beirut",
    "Pacific/Apia",  # a whole day was skipped
    "Australia/Lord_Howe",  # half an hour
    "Antarctica/Casey",  # three hours
]
CHANGES = [
    datetime(2006, 10, 29, 2, 31, tzinfo=UTC),  # St John's
    datetime(2026, 3, 8, 5, tzinfo=UTC),  # Havana
    datetime(2018, 2, 18, 2, tzinfo=UTC),  # Sao Paulo
    datetime(2018, 11, 4, 3, tzinfo=UTC),
    datetime(2022, 3, 26, 22, tzinfo=UTC),  # Beirut
    datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia
    datetime(2020, 10, 3, 16, 1, tzinfo=UTC),  # Casey
]
near_changes = st.tuples(st.sampled_from(CHANGES), st.floats(-90_000, 90_000)).map(
    lambda near: near[0].timestamp() + near[1]
)
instants = near_changes | st.floats(946_684_800, 2_208_988_800)  # 2000 to 2040


@given(instants, st.sampled_from(ZONES))
@example(1_790_985_599.999_999_8, "UTC")
def test_a_day_begins_on_its_date(now: float, zone: str) -> None:
    here = ZoneInfo(zone)
    start = day_start(now, here)
    assert start <= now
    assert now - start <= 28 * HOUR
    date = datetime.fromtimestamp(math.floor(now), here).date()
    assert datetime.fromtimestamp(start, here).date() == date
    assert datetime.fromtimestamp(start - 1, here).date() < date
    assert day_start(start, here) == start


@given(instants, st.floats(0, 86_400), st.sampled_from(ZONES))
def test_one_date_has_one_beginning(now: float, later: float, zone: str) -> None:
    here = ZoneInfo(zone)
    times = [math.floor(now), math.floor(now + later)]
    dates = [datetime.fromtimestamp(t, here).date() for t in times]
    starts = [day_start(t, here) for t in times]
    assert (dates[0] == dates[1]) == (starts[0] == starts[1])


@pytest.mark.parametrize(
    ("zone", "date", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/Havana", (2026, 3, 8), 23),
        ("America/Havana", (2026, 11, 1), 25),
    ],
)
def test_days_when_clocks_change(
    zone: str, date: tuple[int, int, int], hours: int
) -> None:
    here = ZoneInfo(zone)
    noon = datetime(*date, 12, tzinfo=here)
    tomorrow = noon + timedelta(days=1)  # of the wall clock
    length = day_start(tomorrow.timestamp(), here) - day_start(noon.timestamp(), here)
    assert length == hours * HOUR


@pytest.fixture
def in_havana(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/Havana")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_havana")
def test_the_computers_zone_is_the_default() -> None:
    here = ZoneInfo("America/Havana")
    for day in range(1, 32):
        now = datetime(2026, 3, day, 17, 3, 5, tzinfo=UTC).timestamp()
        assert day_start(now) == day_start(now, here)
