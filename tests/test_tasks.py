"""Tasks of rigs: label to reinforcement, behaviour to predicted label."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from server.protocol import Trial
from subject_clients.tasks.fly_group import FlyGroup
from subject_clients.tasks.go_no_go import GoNoGo
from subject_clients.tasks.task import draw, limited
from subject_clients.tasks.trial import NOTHING, Happened, Poke, Reinforcer
from subject_clients.tasks.two_port import TwoPort

labels = st.floats(-1, 1)
uids = st.text("abc0123456789/-", min_size=1, max_size=20)


def training(uid: str = "s/0", **feedback: str | float) -> Trial:
    """A training trial with a feedback."""
    return _trial(uid, dict(feedback))


def unseen() -> Trial:
    """A test trial."""
    return _trial("s/1", None)


def _trial(uid: str, feedback: dict[str, str | float] | None) -> Trial:
    return Trial(
        uid=uid,
        index=0,
        phase="training" if feedback else "test",
        x=[0.1],
        stimulus={"orientation_deg": 45.0},
        feedback=feedback,
    )


def test_the_side_that_the_server_drew_pays() -> None:
    task = TwoPort(reward_microlitre=3, time_out_s=2)
    laid_out = task.lay_out(training(rewarded="right"))
    assert (laid_out.right, laid_out.left) == (Reinforcer(3.0), Reinforcer(0.0, 2.0))
    laid_out = task.lay_out(training(rewarded="left"))
    assert (laid_out.left, laid_out.right) == (Reinforcer(3.0), Reinforcer(0.0, 2.0))


@pytest.mark.parametrize("label", [-1.0, -0.4, 0.0, 0.7, 1.0])
def test_a_label_is_a_probability_of_reward_on_the_right(label: float) -> None:
    """P(reward | right) = (1 + y) / 2, drawn at the rig; exactly one side pays."""
    task = TwoPort()
    trials = [task.lay_out(training(f"s/{i}", label=label)) for i in range(4000)]
    assert all(bool(t.left.microlitre) != bool(t.right.microlitre) for t in trials)
    share = sum(t.right.microlitre > 0 for t in trials) / len(trials)
    # Four standard errors of a share of one half.
    assert share == pytest.approx((1 + label) / 2, abs=4 * 0.5 / 4000**0.5)


@given(uids)
def test_a_draw_is_the_same_for_a_trial_that_is_shown_again(uid: str) -> None:
    assert 0 <= draw(uid) < 1
    assert draw(uid) == draw(uid)


@pytest.mark.parametrize("microlitre", [0.0, 2.0])
def test_a_test_trial_teaches_nothing(microlitre: float) -> None:
    laid_out = TwoPort(test_microlitre=microlitre, time_out_s=3).lay_out(unseen())
    assert laid_out.left == laid_out.right == Reinforcer(microlitre)
    assert not laid_out.training
    for task in (GoNoGo(puff_s=0.1), GoNoGo(pavlovian=True), FlyGroup()):
        laid_out = task.lay_out(unseen())
        assert (laid_out.left, laid_out.right, laid_out.automatic) == (NOTHING,) * 3
        assert "sign" not in laid_out.extra


@given(labels, uids, st.sampled_from(["size", "probability"]))
def test_go_no_go_rewards_labels_above_zero_and_no_others(
    label: float, uid: str, how: Literal["size", "probability"]
) -> None:
    task = GoNoGo(reward_microlitre=4, puff_s=0.2, reinforce=how)
    brings = task.lay_out(training(uid, label=label)).right
    assert brings.microlitre == 0 or label > 0
    assert brings.aversive_s == 0 or label < 0
    if how == "size":
        assert brings.microlitre == pytest.approx(max(4 * label, 0.0))
        assert brings.aversive_s == pytest.approx(max(-0.2 * label, 0.0))
    else:
        assert brings.microlitre in (0.0, 4.0)
        assert brings.aversive_s in (0.0, 0.2)


def test_a_pavlovian_reward_comes_whatever_the_animal_does() -> None:
    task = GoNoGo(pavlovian=True, reinforce="size")
    laid_out = task.lay_out(training(label=0.5))
    assert laid_out.right == NOTHING
    for pokes in ([], [Poke(0.1, "right")]):
        assert task.earns(laid_out, pokes).microlitre == 2.0


@given(st.floats(0, 60))
def test_a_rate_of_licks_is_a_prediction(licks: float) -> None:
    task = GoNoGo(window_s=2, low_hz=1, high_hz=5)
    laid_out = task.lay_out(unseen())
    value = task.read(laid_out, Happened(counts={"licks": licks})).value
    assert value is not None
    assert -1 <= value <= 1
    if licks <= 2:
        assert value == -1  # also without any lick: that is an answer
    if licks >= 10:
        assert value == 1
    more = task.read(laid_out, Happened(counts={"licks": licks + 1})).value
    assert more is not None
    assert more >= value


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_preference_index_is_a_prediction(n_plus: int, n_minus: int) -> None:
    task = FlyGroup(least_flies=5)
    laid_out = task.lay_out(unseen())
    counts = {"n_plus": float(n_plus), "n_minus": float(n_minus)}
    value, notes = task.read(laid_out, Happened(counts=counts))
    assert notes == counts
    if n_plus + n_minus < 5:
        assert value is None
    else:
        assert value == pytest.approx((n_plus - n_minus) / (n_plus + n_minus))


def test_flies_are_paired_as_often_as_the_label_is_large() -> None:
    extra = FlyGroup(odour_s=60).lay_out(training(label=-0.25)).extra
    assert extra == {"seconds": 60.0, "paired_fraction": 0.25, "sign": -1.0}


@given(st.floats(0, 10), st.sampled_from([TwoPort(), GoNoGo(), GoNoGo(pavlovian=True)]))
def test_no_volume_is_above_the_limit(limit: float, task: TwoPort | GoNoGo) -> None:
    trial = limited(task.lay_out(training(label=1.0)), limit, 5.0)
    for reinforcer in (trial.left, trial.right, trial.automatic):
        assert reinforcer.microlitre <= limit
    assert trial.limit_microlitre == limit


def test_an_early_poke_earns_nothing_and_only_the_first_counts() -> None:
    task = TwoPort()
    trial = task.lay_out(training(rewarded="right"))
    right, left = Poke(0.2, "right"), Poke(0.3, "left")
    assert task.earns(trial, [left, right]) == trial.right  # in the order of time
    assert task.earns(trial, [Poke(0.1, "left"), right]).microlitre == 0
    assert task.earns(trial, [Poke(-0.1, "right"), right]) == NOTHING
    assert task.earns(trial, []) == NOTHING


def test_options_that_make_no_sense_are_refused() -> None:
    for cls, options in (
        (TwoPort, {"reward_microlitre": 0}),
        (TwoPort, {"reward_ul": 3}),
        (GoNoGo, {"low_hz": 5, "high_hz": 5}),
        (FlyGroup, {"least_flies": 0}),
    ):
        with pytest.raises(ValidationError):
            cls(**options)  # type: ignore[arg-type]
