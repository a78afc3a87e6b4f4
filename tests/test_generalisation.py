"""Errors of sessions, meta-losses, and the drawing of assignments."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta_learner.assignment import (
    Design,
    Slot,
    draw_assignments,
    exact_decimals,
)
from meta_learner.families import MLP
from meta_learner.generalisation import generalisation_error
from meta_learner.labelling import Labeller
from meta_learner.objective import Objective
from stimuli.sphere import Sphere

LABELS = st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=20, unique=True)


@given(LABELS, st.randoms(use_true_random=False))
def test_graded_error_is_the_mean_squared_difference(labels, random) -> None:  # type: ignore[no-untyped-def]
    answers = [random.uniform(-1, 1) for _ in labels]
    found = generalisation_error(labels, range(len(labels)), answers)
    squared = (np.array(labels) - answers) ** 2
    assert found is not None
    assert found.error == pytest.approx(squared.mean())
    assert found.standard_error == pytest.approx(
        squared.std(ddof=1) / len(labels) ** 0.5
    )
    assert found.label_variance == pytest.approx(np.var(labels))
    assert found.test_trials == len(labels)


@pytest.mark.parametrize("repeats", [2, 4])
def test_error_from_choices_is_unbiased(repeats: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.linspace(-1, 1, 12)
    predicted = 0.8 * np.sin(3 * labels)  # what the subject would answer on average
    truth = np.mean((labels - predicted) ** 2)
    stimuli = np.tile(np.arange(12), repeats)
    errors = []
    for _ in range(4000):
        right = rng.uniform(size=stimuli.size) < (1 + predicted[stimuli]) / 2
        choices = (right * 2.0 - 1).tolist()
        found = generalisation_error(labels.tolist(), stimuli.tolist(), choices)
        assert found is not None
        errors.append(found.error)
    spread = np.std(errors) / np.sqrt(len(errors))
    assert abs(np.mean(errors) - truth) < 4 * spread
    # Without the correction it would be off by far more than that.
    assert np.mean((1 - predicted**2) / repeats) > 20 * spread


@pytest.mark.parametrize(
    ("labels", "stimuli", "answers"),
    [
        ([0.5, -0.5], [], []),
        ([0.5, -0.5], [0], [0.1]),
        ([0.5, 0.5], [0, 1], [0.1, 0.2]),
        ([0.5, -0.5, 0.0], [0, 0, 1], [1.0, 1.0, -1.0]),  # one stimulus repeated
    ],
)
def test_what_cannot_be_scored_has_no_error(
    labels: list[float], stimuli: list[int], answers: list[float]
) -> None:
    assert generalisation_error(labels, stimuli, answers) is None


def test_meta_loss_is_a_weighted_sum_and_passes_nan_on() -> None:
    errors = np.array([[0.5], [np.nan]])
    penalties = np.array([[0.1, 0.2], [0.1, 0.2]])
    found = Objective(2.0, 3.0, 4.0).meta_losses(errors, penalties)
    np.testing.assert_allclose(found, [2.1, np.nan])
    null = Objective(0.0, 3.0, 4.0).meta_losses(errors, penalties)
    np.testing.assert_allclose(null, [1.1, 1.1])


LABELLER = Labeller(Sphere(), MLP((4,)))
THETA = np.random.default_rng(0).standard_normal((3, MLP((4,)).genes(Sphere())))


def draw(design: Design, attempt: int = 0):  # type: ignore[no-untyped-def]
    """Assignments of three candidates."""
    slots = jnp.array([Slot(0, 2, i, attempt) for i in range(3)])
    return draw_assignments(
        LABELLER, design, (), jnp.array(THETA), slots, jnp.uint32(7)
    )


def test_draws_follow_from_the_slot() -> None:
    design = Design(5, 7, 2, 3)
    one, same, other = draw(design), draw(design), draw(design, attempt=1)
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.x, other.x)  # shown again: unseen stimuli
    assert one.order.shape == (3, design.training_trials + design.test_trials)
    passes = np.asarray(one.order[0])
    assert sorted(passes[:5]) == sorted(passes[5:10]) == list(range(5))
    for k in range(3):
        assert sorted(passes[10 + 7 * k : 17 + 7 * k]) == list(range(5, 12))


def test_candidates_share_stimuli_or_have_their_own() -> None:
    shared, own = draw(Design(5, 7)), draw(Design(5, 7, shared_stimuli=False))
    assert np.array_equal(shared.x[0], shared.x[1])
    assert not np.array_equal(own.x[0], own.x[1])
    assert not np.array_equal(shared.y[0], shared.y[1])


def test_right_is_rewarded_as_often_as_the_label_says() -> None:
    drawn = draw(Design(2000, 2, response="choice"))
    y = np.asarray(drawn.y[:, :2000])
    p = (1 + y) / 2
    excess = np.asarray(drawn.right_rewarded) - p
    standard_error = np.sqrt((p * (1 - p)).sum())
    assert abs(excess.sum()) < 5 * standard_error
    high = y > 0.5
    assert np.asarray(drawn.right_rewarded)[high].mean() == pytest.approx(
        p[high].mean(), abs=5 / np.sqrt(high.sum())
    )


FLOATS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20)


@settings(max_examples=200)
@given(FLOATS)
def test_decimals_give_float32_back_exactly(values: list[float]) -> None:
    array = np.array(values, np.float32)
    np.testing.assert_array_equal(np.array(exact_decimals(array), np.float32), array)
