"""Simulated subjects: one contract for all learners, theory, and their responses."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter
from scipy.stats import kstest

from simulated_subjects.catalogue import LEARNERS
from simulated_subjects.individual import answer, learn, run_sessions
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.responses import (
    RESPONSE_MODELS,
    Graded,
    ResponseModel,
    TwoChoice,
)
from simulated_subjects.ridge import Ridge, ridge_weights

pytestmark = pytest.mark.usefixtures("strict_shapes")

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "ridge": [{}],
    "kernel_ridge": [{"features": 10, "activation": "absolute"}],
    "fourier_ridge": [{}, {"amplitudes": (0.5, 0.0, 1.0), "spread": 0.0}],
    "relu_network": [
        {"hidden": (5, 4), "steps": 3},
        {"hidden": (), "steps": 3, "initialisation": "he"},
    ],
    "convolutional_network": [{"channels": 2, "kernel": 2, "stride": 1, "steps": 3}],
    "mushroom_body": [
        {"kenyon_cells": 6, "steps": 3},
        {"kenyon_cells": 6, "steps": 3, "sign": "excitatory"},
    ],
    "spiking_network": [
        {"neurons_per_ear": 5, "hidden": 4, "steps": 3, "time_steps": 10},
    ],
    "procedural": [{}],
    "unteachable": [{}],
}
LINEAR_IN_LABELS = {"ridge", "kernel_ridge", "fourier_ridge"}
"""Learners that make nothing of labels of zero; a network is born with a guess."""

KEY = jax.random.key(5)
N = 20_000

Array = npt.NDArray[Any]


def on_sphere(seed: int, n: int) -> Array:
    points = np.random.default_rng(seed).normal(size=(n, 3))
    length: Array = np.linalg.norm(points, axis=1, keepdims=True)
    return points / length


@partial(jax.jit, static_argnums=0)
def predicted(learner: Learner, key: jax.Array, x: Any, y: Any, test: Any) -> jax.Array:
    """Predictions for ``test`` after training; compiled, so the contract is."""
    return learner.predict(learner.train(key, x, y), test)


# The contract


def test_every_learner_has_an_example() -> None:
    assert set(EXAMPLES) == set(LEARNERS)


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, every in EXAMPLES.items() for options in every],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "plain",
)
def test_contract(name: str, options: dict[str, Any]) -> None:
    learner = TypeAdapter(LEARNERS[name]).validate_python(options)
    assert hash(learner) == hash(LEARNERS[name](**options))
    x, test = on_sphere(0, 12), on_sphere(1, 7)
    labels = np.stack([x[:, 0], x[:, 1] ** 2, np.zeros(12)])
    if name == "convolutional_network":  # images of 3 x 3
        x, test = np.repeat(x, 3, 1), np.repeat(test, 3, 1)
    if name in ("spiking_network", "fourier_ridge"):  # points on a circle
        x, test = (
            p[:, :2] / np.linalg.norm(p[:, :2], axis=1)[:, None] for p in (x, test)
        )
    keys = jax.random.split(KEY, 3)
    alone = [
        predicted(learner, key, x, y, test) for key, y in zip(keys, labels, strict=True)
    ]
    assert alone[0].shape == (7,)
    assert np.isfinite(alone).all()
    if name in LINEAR_IN_LABELS:
        np.testing.assert_array_equal(alone[2], 0)
    again = predicted(learner, keys[0], x, labels[0], test)
    np.testing.assert_array_equal(again, alone[0])
    individuals = jax.vmap(partial(predicted, learner), (0, None, 0, None))
    np.testing.assert_allclose(individuals(keys, x, labels, test), alone, atol=1e-3)
    same = individuals(keys[np.array([0, 0, 0])], x, labels, test)
    np.testing.assert_allclose(same[0], alone[0], atol=1e-3)


def test_individuals_differ_only_where_they_are_random() -> None:
    x, test = on_sphere(0, 12), on_sphere(1, 7)
    keys = jax.random.split(KEY, 2)
    for learner, random in [(Ridge(), False), (KernelRidge(20), True)]:
        one, other = (predicted(learner, key, x, x[:, 0], test) for key in keys)
        assert (abs(one - other).max() > 1e-3) == random


# Theory


def in_closed_form(x: Array, y: Array, penalty: float) -> Array:
    """Weights of ridge regression, from its normal equations in double precision."""
    weights: Array = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return weights


@settings(deadline=None, max_examples=30)
@given(
    shape=st.sampled_from([(4, 9), (6, 6), (20, 3)]),
    penalty=st.floats(0.01, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_ridge_is_ridge_regression(
    shape: tuple[int, int], penalty: float, seed: int
) -> None:
    """Whichever of the two systems is solved: fewer stimuli, or fewer features."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=shape), rng.normal(size=shape[0])
    weights = jax.jit(ridge_weights)(x, y, penalty)
    np.testing.assert_allclose(weights, in_closed_form(x, y, penalty), atol=2e-3)


def test_kernel_ridge_is_ridge_on_its_features() -> None:
    x, test = on_sphere(0, 15), on_sphere(1, 50)
    y = x[:, 0] * x[:, 1]
    for features in (8, 60):
        learner = KernelRidge(features, penalty=0.01)
        learn_once: Any = jax.jit(learner.train)
        inputs = np.asarray(learn_once(KEY, x, y)[0], np.float64)
        assert inputs.shape == (3, features)
        hidden, shown = (np.maximum(p @ inputs, 0) / features**0.5 for p in (x, test))
        expected = shown @ in_closed_form(hidden, y, 0.01)
        found = predicted(learner, KEY, x, y, test)
        np.testing.assert_allclose(found, expected, atol=1e-3)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31 - 1))
def test_absolute_features_are_even_and_ridge_is_odd(seed: int) -> None:
    x, test = on_sphere(seed, 10), on_sphere(seed + 1, 6)
    y = np.random.default_rng(seed).uniform(-1, 1, 10)
    both_sides = np.concatenate([test, -test])
    even = predicted(KernelRidge(30, "absolute"), KEY, x, y, both_sides)
    np.testing.assert_allclose(even[:6], even[6:], atol=1e-5)
    odd = predicted(Ridge(), KEY, x, y, both_sides)
    np.testing.assert_allclose(odd[:6], -odd[6:], atol=1e-5)


def test_what_each_kernel_can_learn() -> None:
    """ReLU: order 1 before order 2, order 3 never. Absolute value: only order 2.

    Relative test errors of 20 individuals; 1 is what a constant would get.
    """
    legendre: dict[int, Callable[[Array], Array]] = {
        1: lambda z: z,
        2: lambda z: (3 * z**2 - 1) / 2,
        3: lambda z: (5 * z**3 - 3 * z) / 2,
    }
    x = np.stack([on_sphere(seed, 30) for seed in range(20)])
    test = on_sphere(99, 500)
    keys = jax.random.split(KEY, 20)
    error = {}
    for activation in ("relu", "absolute"):
        learn_all = jax.vmap(partial(predicted, KernelRidge(100, activation)))
        for order, function in legendre.items():
            tests = np.broadcast_to(test, (20, *test.shape))
            answers = learn_all(keys, x, function(x[..., 2]), tests)
            wanted = function(test[:, 2])
            squared = ((answers - wanted[None]) ** 2).mean(1)
            error[activation, order] = float(np.median(squared)) / wanted.var()
    assert error["relu", 1] < 0.002
    assert 3 * error["relu", 1] < error["relu", 2] < 0.02
    assert error["relu", 3] > 1
    assert error["absolute", 1] > 1
    assert error["absolute", 2] < 0.02
    assert error["absolute", 3] > 1


# Responses


def responses(model: Any, *predictions: float) -> tuple[Array, Array]:
    """Responses to each prediction, and whether there was one: (predictions, N)."""
    shown = np.repeat(np.array([predictions], np.float32).T, N, 1)
    answers, responded = jax.jit(model.respond)(KEY, shown)
    assert answers.shape == responded.shape == shown.shape
    assert abs(answers).max() <= 1
    return np.asarray(answers), np.asarray(responded)


def test_graded_response_without_noise_is_the_clipped_prediction() -> None:
    predictions = jnp.array([-3.0, -1.0, -0.25, 0.0, 0.5, 1.5])
    answers, responded = Graded().respond(KEY, predictions)
    np.testing.assert_array_equal(answers, jnp.clip(predictions, -1, 1))
    assert responded.all()


def test_graded_noise_is_gaussian_of_its_standard_deviation() -> None:
    centred, _ = responses(Graded(noise=0.1), 0.2)
    assert kstest((centred[0] - 0.2) / 0.1, "norm").pvalue > 1e-6
    clipped, _ = responses(Graded(noise=1.0), 0.0)
    # P(|noise| > 1 sd) = 0.317 falls on the ends of the scale.
    assert (clipped[0] == 1).mean() == pytest.approx(0.3173 / 2, abs=spread(0.159))


def spread(p: float) -> float:
    """Five standard errors of a share ``p`` of N."""
    return 5 * math.sqrt(p * (1 - p) / N)


@pytest.mark.parametrize("kind", sorted(RESPONSE_MODELS))
def test_omissions_are_as_frequent_as_said_and_at_random(kind: str) -> None:
    for omission in (0.3, 1.0):
        model: Any = RESPONSE_MODELS[kind]
        (answers,), (responded,) = responses(model(omission=omission), 0.3)
        share = 1 - responded.mean()
        assert share == pytest.approx(omission, abs=spread(omission))
        if omission == 0.3 and kind == "choice":
            right = answers == 1
            gap = right[responded].mean() - right[~responded].mean()
            assert abs(gap) < 5 / math.sqrt(N * 0.3 * 0.7) / 2


@pytest.mark.parametrize("model", [Graded(0.5, 0.5), TwoChoice(omission=0.5)])
def test_responses_are_determined_by_the_key(model: ResponseModel) -> None:
    respond = jax.jit(model.respond)
    first, again, other = (
        np.asarray(respond(key, jnp.full(N, 0.1)))
        for key in (KEY, KEY, jax.random.key(6))
    )
    np.testing.assert_array_equal(first, again)
    assert ((first != other).mean(1) > 0.4).all()


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize(
    ("model", "right"),
    [
        (TwoChoice(), lambda y: logistic(2 * y)),
        (TwoChoice(slope=0.0), lambda _: 0.5),
        (TwoChoice(slope=8.0), lambda y: logistic(8 * y)),
        (TwoChoice(slope=1e6), lambda y: float(y > 0)),
        (TwoChoice(side_bias=0.5), lambda y: logistic(2 * (y + 0.5))),
        (TwoChoice(lapse=0.2), lambda y: 0.1 + 0.8 * logistic(2 * y)),
        (TwoChoice(lapse=1.0), lambda _: 0.5),
        (TwoChoice(4.0, -0.2, 0.1), lambda y: 0.05 + 0.9 * logistic(4 * (y - 0.2))),
    ],
    ids=lambda value: None if callable(value) else repr(value),
)
def test_choices_follow_the_psychometric_function(
    model: TwoChoice, right: Callable[[float], float]
) -> None:
    predictions = (-0.8, 0.01, 0.4)
    answers, responded = responses(model, *predictions)
    assert responded.all()
    assert (abs(answers) == 1).all()
    for prediction, choices in zip(predictions, answers, strict=True):
        p = right(prediction)
        assert (choices == 1).mean() == pytest.approx(p, abs=spread(p) + 1e-9)


# Individuals


def test_sessions_at_once_are_sessions_trial_by_trial() -> None:
    learner, noisy = KernelRidge(20), Graded(0.1, 0.2)
    x = jnp.stack([jnp.asarray(on_sphere(seed, 10), jnp.float32) for seed in (0, 1)])
    order = jnp.array([[1, 0, 2, 1, 5, 7, 6, 9], [3, 2, 0, 1, 9, 9, 8, 7]])
    targets = jnp.array([[0.1, -0.5, 1.0, 0.1], [0.0, 0.3, -1.0, 0.8]])
    keys = jax.random.split(KEY, 2)
    at_once = run_sessions(learner, noisy, keys, x, order, targets)
    answers, responded = map(np.asarray, at_once)
    for session in range(2):
        shown = x[session][order[session]]
        state = learn(learner, keys[session], shown[:4], targets[session])
        for trial in range(4, 8):
            one, there = answer(
                learner, noisy, keys[session], state, shown[trial], trial
            )
            assert one == pytest.approx(answers[session, trial - 4], abs=1e-4)
            assert there == responded[session, trial - 4]


# Refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ridge(0.0), "penalty must be above 0 and finite, got 0.0"),
        (lambda: Ridge(-1.0), "penalty .* got -1.0"),
        (lambda: Ridge(math.nan), "penalty .* got nan"),
        (lambda: Ridge(math.inf), "penalty .* got inf"),
        (lambda: KernelRidge(0), "features must be 1 to 100000, got 0"),
        (lambda: KernelRidge(10**6), "features must be 1 to 100000, got 1000000"),
        (lambda: KernelRidge(penalty=0.0), "penalty .* got 0.0"),
        (lambda: Graded(noise=-0.1), "noise is a standard deviation.* got -0.1"),
        (lambda: Graded(noise=math.nan), "noise .* got nan"),
        (lambda: Graded(omission=1.1), "omission is a probability: 0 to 1, got 1.1"),
        (lambda: TwoChoice(lapse=-0.1), "lapse is a probability: 0 to 1, got -0.1"),
        (lambda: TwoChoice(lapse=math.nan), "lapse .* got nan"),
        (lambda: TwoChoice(omission=2.0), "omission is a probability"),
        (lambda: TwoChoice(slope=-1.0), "slope must be 0 or more and finite, got -1"),
        (lambda: TwoChoice(slope=math.inf), "slope .* got inf"),
        (lambda: TwoChoice(side_bias=math.nan), "side_bias must be finite, got nan"),
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
