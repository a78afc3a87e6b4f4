"""Flags of single sessions: each is raised by what it is for, and by nothing else."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.load import Log
from analysis.quality import Limits, exclude, quality, quality_of, usable

TRAINING, TEST = 40, 60


def session(name: str, **changes: Any) -> pd.DataFrame:
    """Trials of a good subject, with some columns otherwise."""
    rng = np.random.default_rng(abs(sum(map(ord, name))))
    n = TRAINING + TEST
    stimulus = np.concatenate([np.arange(TRAINING) % 10, 10 + np.arange(TEST) % 30])
    label = rng.uniform(-1, 1, 40).round(3)[stimulus]
    at = 1e9 + 3.0 * np.arange(n)
    table = pd.DataFrame(
        {
            "session": name,
            "trial": np.arange(n),
            "phase": ["training"] * TRAINING + ["test"] * TEST,
            "stimulus": stimulus,
            "label": label,
            "outcome": "responded",
            "response": np.clip(label + rng.normal(0, 0.2, n), -1, 1),
            "reaction_time_s": rng.gamma(4, 0.1, n) + 0.2,
            "recorded_at": pd.to_datetime(at, unit="s", utc=True),
            "clock_host_monotonic_s": at - 1e9,
            "clock_host_utc_s": at,
        }
    )
    return table.assign(**changes)


def sessions_of(trials: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    """Finished sessions, one for each in the trials."""
    names = list(trials["session"].unique())
    table = pd.DataFrame({"session": names, "status": "finished", "late": False})
    return table.assign(**changes)


def flags_of(trials: pd.DataFrame, **limits: Any) -> list[str]:
    """The flags of a single session."""
    found = quality(trials, sessions_of(trials), Limits(**limits))
    assert set(found["session"]) <= set(trials["session"])
    return list(found["flag"])


GOOD = session("good")
TESTED = GOOD["phase"] == "test"
NOTHING = GOOD["response"].where(GOOD["trial"] % 2 == 0)
LATE = GOOD["trial"] > TRAINING + TEST // 2
JUMP = np.where(GOOD["trial"] > 50, 3600.0, 0.0)


def test_a_good_session_has_no_flag() -> None:
    """Nor has a study of them."""
    assert flags_of(GOOD) == []
    assert flags_of(GOOD.sample(frac=1, random_state=1)) == []


@pytest.mark.parametrize(
    ("flag", "changes"),
    [
        (
            ["omissions", "few_test_trials"],
            {
                "response": NOTHING.where(GOOD["trial"] % 3 == 0),
                "outcome": np.where(GOOD["trial"] % 6 == 0, "responded", "omission"),
            },
        ),
        (
            ["premature"],
            {"outcome": np.where(GOOD["trial"] % 3, "responded", "premature")},
        ),
        (["too_fast"], {"reaction_time_s": 0.05 + 0.02 * (GOOD["trial"] % 5)}),
        (["too_slow"], {"reaction_time_s": GOOD["reaction_time_s"] * 40}),
        (["no_variation"], {"reaction_time_s": 0.5}),
        (
            ["side_bias"],
            {"response": (GOOD["response"] + 0.8).where(TESTED, GOOD["label"])},
        ),
        (
            ["unlearnt"],
            {"response": GOOD["response"].where(TESTED, np.sin(7.0 * GOOD["trial"]))},
        ),
        (
            ["fatigue"],
            {"response": GOOD["response"].where(~LATE, np.cos(9.0 * GOOD["trial"]))},
        ),
        (
            ["pause"],
            {"clock_host_monotonic_s": GOOD["clock_host_monotonic_s"] + JUMP}
            | {"clock_host_utc_s": GOOD["clock_host_utc_s"] + JUMP},
        ),
        (["clock"], {"clock_host_utc_s": GOOD["clock_host_utc_s"] + JUMP}),
    ],
)
def test_each_flag_is_raised_by_its_cause(
    flag: list[str], changes: dict[str, Any]
) -> None:
    """By that alone; the reason says by how much."""
    trials = GOOD.assign(**changes)
    found = quality(trials, sessions_of(trials))
    assert list(found["flag"]) == flag
    assert found["reason"].str.contains(r"\d").all()


def test_one_and_the_same_answer() -> None:
    """It goes with no label either."""
    flags = flags_of(GOOD.assign(response=1.0))
    assert {"constant", "unlearnt"} <= set(flags)


def test_rewards_above_caps() -> None:
    """Only where there are caps."""
    trials = GOOD.assign(reward_microlitre=4.0)
    assert flags_of(trials) == []
    caps = {"trial_microlitre": 3.0, "session_microlitre": 500.0}
    assert flags_of(trials, **caps) == ["reward_trial"]


def test_a_session_that_came_back_late() -> None:
    """And one that is still open is not judged by what it lacks."""
    trials = GOOD[GOOD["trial"] < TRAINING]
    late = quality(trials, sessions_of(trials, late=True, status="open"))
    assert list(late["flag"]) == ["late"]
    lost = quality(trials, sessions_of(trials, status="lost"))
    assert "few_test_trials" not in set(lost["flag"])  # none was recorded at all


@settings(max_examples=6, deadline=None)
@given(st.sets(st.sampled_from(["omission", "fast", "good"]), min_size=1))
def test_sessions_are_judged_one_by_one(kinds: set[str]) -> None:
    """Whatever other sessions there are, in whatever order."""
    bad = {"omission": {"outcome": "omission", "response": np.nan}}
    bad |= {"fast": {"reaction_time_s": 0.1 + 0.01 * (GOOD["trial"] % 4)}, "good": {}}
    each = [session(name, **bad[name]) for name in sorted(kinds)]
    together = pd.concat(each).sample(frac=1, random_state=2)
    whole = quality(together, sessions_of(pd.concat(each)))
    alone = pd.concat([quality(one, sessions_of(one)) for one in each])
    pd.testing.assert_frame_equal(whole, alone.reset_index(drop=True))


def test_without_any_session() -> None:
    """Empty tables give an empty one of the same columns."""
    none = quality(GOOD.iloc[:0], sessions_of(GOOD).iloc[:0])
    assert list(none.columns) == ["session", "flag", "value", "limit", "reason"]
    assert none.empty


def test_excluding_says_why_and_keeps_the_rest() -> None:
    """Nothing is taken away by a flag alone."""
    trials = pd.concat([GOOD, session("quick", reaction_time_s=0.1)])
    empty = pd.DataFrame()
    problems = pd.DataFrame(columns=["where", "row", "reason", "consequence"])
    log = Log("s", None, None, trials, sessions_of(trials), empty, empty, problems)
    flags = quality_of(log)
    assert list(usable(log.sessions, flags)) == [True, False]
    kept = exclude(log, flags)
    assert list(kept.sessions["session"]) == ["good"]
    assert set(kept.trials["session"]) == {"good"}
    assert "quick" in kept.problems["reason"].iloc[0]
    assert kept.problems["consequence"].iloc[0] == "it was excluded"
    assert len(exclude(log, flags.iloc[:0]).sessions) == 2
