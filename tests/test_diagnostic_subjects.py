"""Diagnostic subjects: not smooth, hard of hearing, or unteachable."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from scipy.stats import kstest
from small_study import study_text

from server.study_file import Study, StudyFileError
from simulated_subjects.fourier_ridge import FourierRidge
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.private_noise import PrivateNoise
from simulated_subjects.relu_network import ReluNetwork
from simulated_subjects.ridge import Ridge
from simulated_subjects.unteachable import Unteachable

pytestmark = pytest.mark.usefixtures("strict_shapes")

KEY = jax.random.key(8)
SEEDS = st.integers(0, 2**31 - 1)

Array = npt.NDArray[Any]


def on_circle(angle: Array) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def angles(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).uniform(0, 2 * np.pi, shape)


def correlations(rows: Array) -> Array:
    """Of every pair of rows."""
    both: Any = np.corrcoef(rows)
    pairs: Array = both[np.triu_indices(len(rows), 1)]
    return pairs


@partial(jax.jit, static_argnums=0)
def predicted(learner: Learner, key: jax.Array, x: Any, y: Any, test: Any) -> jax.Array:
    return learner.predict(learner.train(key, x, y), test)


# --- waves around the circle ---------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    amplitudes=st.sampled_from([(1.0,), (0.0, 1.0), (0.3, 0.0, 2.0, 0.1)]),
    penalty=st.floats(0.05, 10),
    n=st.sampled_from([3, 12]),
    seed=SEEDS,
)
def test_fourier_ridge_is_regression_with_its_kernel(
    amplitudes: tuple[float, ...], penalty: float, n: int, seed: int
) -> None:
    """Any radius will do: only the angle is seen."""
    angle, test = angles(seed, n), angles(seed + 1, 7)
    y = np.random.default_rng(seed).uniform(-1, 1, n)

    def kernel(a: Array, b: Array) -> Array:
        total: Array = sum(
            size**2 * np.cos(k * (a[:, None] - b)) for k, size in enumerate(amplitudes)
        )
        return total

    weights = np.linalg.solve(kernel(angle, angle) + penalty * np.eye(n), y)
    learner = FourierRidge(amplitudes, penalty, spread=0.0)
    found = predicted(learner, KEY, 3.0 * on_circle(angle), y, on_circle(test))
    np.testing.assert_allclose(found, kernel(test, angle) @ weights, atol=2e-3)


def test_the_default_favourite_is_of_order_5_and_not_smooth() -> None:
    """Relative errors of 100 individuals on waves of each order; 1 is a constant's."""
    individuals = 100
    angle, test = angles(0, individuals, 30), angles(1, individuals, 50)
    keys = jax.random.split(KEY, individuals)
    learn = jax.vmap(partial(predicted, FourierRidge()))
    error = {}
    for order in range(1, 10):
        y, wanted = (np.cos(order * (a - 0.5)) for a in (angle, test))
        answers = learn(keys, on_circle(angle), y, on_circle(test))
        squared = ((answers - wanted) ** 2).mean(1) / wanted.var(1)
        error[order] = float(np.median(squared))
    others = [error[order] for order in error if order != 5]
    assert 5 * error[5] < min(others)
    assert error[5] < 0.01 < error[1]


def test_individuals_have_amplitudes_of_their_own() -> None:
    learner = FourierRidge((0.5, 0.0, 2.0), spread=0.3)
    born = jax.vmap(learner.train, (0, None, None))
    keys = jax.random.split(KEY, 2000)
    own = np.asarray(born(keys, jnp.array(on_circle(angles(0, 4))), jnp.zeros(4))[0])
    assert not own[:, 1].any()
    logs = np.log(own[:, [0, 2]] / np.array([[0.5, 2.0]]))
    assert kstest(logs.ravel() / 0.3, "norm").pvalue > 1e-6
    assert abs(correlations(logs.T)).max() < 0.15


# --- labels misheard -----------------------------------------------------------


@dataclass(frozen=True)
class Parrot:
    """Keeps the labels that it hears, and says them again."""

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        del key, x
        return y

    def predict(self, state: jax.Array, x: jax.Array) -> jax.Array:
        del x
        return state


def test_each_label_is_heard_with_noise_of_its_own() -> None:
    x, y = jnp.zeros((50, 2)), np.linspace(-1, 1, 50)
    hear = jax.vmap(partial(predicted, PrivateNoise(0.5, Parrot())), (0, *[None] * 3))
    noise = np.asarray(hear(jax.random.split(KEY, 400), x, y, x)) - y
    assert kstest(noise.ravel() / 0.5, "norm").pvalue > 1e-6
    assert abs(correlations(noise.T)).max() < 0.3
    assert abs(correlations(noise[:40])).max() < 0.7


@settings(deadline=None, max_examples=10)
@given(
    learner=st.sampled_from([Ridge(), KernelRidge(10), ReluNetwork((4,), steps=3)]),
    seed=SEEDS,
)
def test_who_mishears_is_the_individual_who_does_not(
    learner: Learner, seed: int
) -> None:
    """Without noise nothing changes; with it, only by the labels heard."""
    key = jax.random.key(seed)
    x, test = on_circle(angles(seed, 9)), on_circle(angles(seed + 1, 5))
    y = np.random.default_rng(seed).uniform(-1, 1, 9)
    silent = predicted(PrivateNoise(0.0, learner), key, x, y, test)
    np.testing.assert_allclose(silent, predicted(learner, key, x, y, test), atol=1e-5)
    heard = predicted(PrivateNoise(0.7, Parrot()), key, x, y, x)
    noisy = predicted(PrivateNoise(0.7, learner), key, x, y, test)
    np.testing.assert_allclose(
        noisy, predicted(learner, key, x, heard, test), atol=1e-4
    )


NOISY = study_text().replace("features = 20", "features = 20\nlabel_noise = 0.5")
GROUPS = NOISY.replace(
    "[simulated_subject]", '[objective]\naim = "mean"\n[groups.sharp]'
)
GROUPS += '[groups.hazy]\nlearner = "ridge"\nlabel_noise = 2\n'
GROUPS = GROUPS.replace("label_noise = 0.5", "")


def test_a_study_file_wraps_any_learner_in_label_noise() -> None:
    assert Study(NOISY).learner == PrivateNoise(0.5, KernelRidge(20))
    assert Study(GROUPS).learners == {
        "sharp": KernelRidge(20),
        "hazy": PrivateNoise(2.0, Ridge()),
    }


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0.5", "-1.0", "subject.label_noise: .* is a standard deviation.*got -1.0"),
        ("0.5", "nan", "subject.label_noise: .* is a standard deviation.*got nan"),
        ("0.5", '"loud"', "subject.label_noise: .*valid number.*got 'loud'"),
        ('"kernel_ridge"', '"kernel"', "subject.learner: expected one of"),
        ("label_noise", "label_nose", "subject.label_nose: kernel_ridge has no such"),
    ],
)
def test_label_noise_of_no_sense_is_refused(old: str, new: str, expected: str) -> None:
    with pytest.raises(StudyFileError, match=f"(?s).*{expected}"):
        Study(NOISY.replace(old, new))


# --- nothing learnt ------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS, features=st.sampled_from([1, 4]))  # each shape is compiled
def test_an_unteachable_subject_answers_whatever_it_was_taught(
    seed: int, features: int
) -> None:
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    x = np.round(rng.normal(size=(6, features)), 6)
    answers = predicted(Unteachable(), key, x[:3], np.ones(3), x)
    other = predicted(Unteachable(), key, x[1:2], -np.ones(1), x)
    np.testing.assert_array_equal(answers, other)
    alone = [float(predicted(Unteachable(), key, x, x[:, 0], x[[i]])[0]) for i in (4,)]
    assert alone == [float(answers[4])]
    stranger = predicted(Unteachable(), jax.random.key(seed + 1), x, x[:, 0], x)
    assert len({*map(float, answers), *map(float, stranger)}) == 12


def test_its_answers_are_uniform_and_independent() -> None:
    x = on_circle(angles(0, 60))
    answer = jax.vmap(partial(predicted, Unteachable()), (0, *[None] * 3))
    answers = np.asarray(answer(jax.random.split(KEY, 300), x, x[:, 0], x))
    assert kstest(answers.ravel(), "uniform", (-1, 2)).pvalue > 1e-6
    for matrix, most in ((answers, 0.8), (answers.T, 0.35)):
        assert abs(correlations(matrix)).max() < most
        assert abs(correlations(matrix).mean()) < 0.02


def test_no_labelling_is_easier_for_it_than_another() -> None:
    """Expected error 1/3 + mean(y^2), for a smooth labelling and for a rough one."""
    test = on_circle(np.arange(60) * 2 * np.pi / 60)
    keys = jax.random.split(KEY, 500)
    answer = jax.vmap(partial(predicted, Unteachable()), (0, *[None] * 3))
    for order in (1, 5):
        y = np.cos(order * np.arctan2(test[:, 1], test[:, 0])) / math.sqrt(2)
        error = ((np.asarray(answer(keys, test, y, test)) - y) ** 2).mean(1)
        standard_error = error.std() / math.sqrt(len(error))
        assert error.mean() == pytest.approx(1 / 3 + 1 / 4, abs=5 * standard_error)


# --- refusals ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FourierRidge(()), r"amplitudes must be .* not all 0, got \[\]"),
        (lambda: FourierRidge((0.0, 0.0)), "amplitudes .* not all 0"),
        (lambda: FourierRidge((1.0, -0.1)), "amplitudes must be finite, 0 or more"),
        (lambda: FourierRidge((1.0, math.nan)), "amplitudes must be finite"),
        (lambda: FourierRidge(penalty=0.0), "penalty must be above 0 .* got 0.0"),
        (lambda: FourierRidge(spread=-0.1), "spread is a standard deviation.*-0.1"),
        (lambda: FourierRidge(spread=math.inf), "spread .* got inf"),
        (lambda: PrivateNoise(-0.5, Ridge()), "noise is a standard deviation.*-0.5"),
        (lambda: PrivateNoise(math.inf, Ridge()), "noise .* got inf"),
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_fourier_ridge_is_refused_where_there_is_no_angle() -> None:
    text = study_text().replace('"kernel_ridge"\nfeatures = 20', '"fourier_ridge"')
    with pytest.raises(StudyFileError, match=r"subject: .*2 features, .*; got 3"):
        Study(text)
    assert Study(text.replace('"sphere"', '"circle"')).learner == FourierRidge()
    assert Study(text.replace('"fourier_ridge"', '"unteachable"')).learner
