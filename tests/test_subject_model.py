"""The subject model: its mathematics, what it recovers, and what it does not."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from meta_learner.adaptive_design import _pick, training_sizes
from meta_learner.assignment import Design
from meta_learner.bias import (
    components,
    expected_errors,
    labels_of,
    space_overlap,
)
from meta_learner.posterior import posterior_draws
from meta_learner.subject_fit import (
    COLD,
    draw,
    fit_model,
    half_inverse,
    information,
    precision_of,
    start,
)
from meta_learner.subject_model import Evidence, SubjectModel, degree_for
from server.evidence import Told, evidence_of
from simulated_subjects.responses import RESPONSE_MODELS
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.sphere import Sphere

SPHERE = {
    "graded": SubjectModel(Sphere(), 3),
    "choice": SubjectModel(Sphere(), 3, "choice"),
}
responses = st.sampled_from(["graded", "choice"])
seeds = st.integers(0, 10_000)
GRADED_SLOWLY = [pytest.param("graded", marks=pytest.mark.slow), "choice"]
"""Graded answers are the easier case, and a program of their own to compile."""


def some_sessions(response: str, seed: int, count: int = 3) -> list[Told]:
    """Sessions of random labels and answers, of different sizes."""
    rng = np.random.default_rng(seed)
    sessions = []
    for i in range(count):
        n, m = 3 + i, 5 + i
        x = np.asarray(Sphere().sample(jax.random.key(seed + i), n + m), float)
        answers = rng.uniform(-1, 1, m)
        if response == "choice":
            answers = np.where(answers > 0, 1.0, -1.0)
        sessions.append(Told(x[:n], rng.uniform(-1, 1, n), np.ones(n), x[n:], answers))
    return sessions


def some_parameters(model: SubjectModel, seed: int, private: float = -2.0) -> Any:
    """A model that is neither isotropic nor at its prior mean."""
    noise = np.random.default_rng(seed).normal(0, 0.2, model.parameters)
    parameters = model.centre + noise.astype(np.float32)
    parameters[-2:] = private
    return jnp.asarray(parameters)


@partial(jax.jit, static_argnums=0)
def likelihood_of(
    model: SubjectModel, parameters: jax.Array, evidence: Evidence
) -> jax.Array:
    each = jax.lax.map(lambda e: model.log_likelihood(parameters, e).sum(), evidence)
    total: jax.Array = each.sum()
    return total


gradient_of = jax.jit(jax.grad(likelihood_of, argnums=1), static_argnums=0)
turned_of = jax.jit(SubjectModel.turned, static_argnums=0)
scores_of = jax.jit(SubjectModel.scores, static_argnums=0)
information_of = jax.jit(information, static_argnums=0)


def test_a_kernel_has_one_amplitude_per_order_and_symmetric_deviations() -> None:
    model = SPHERE["graded"]
    parameters = some_parameters(model, 0)
    amplitude = np.exp(np.asarray(parameters[:4]))[model.order]
    deviation = np.asarray(model.root(parameters)) / amplitude[:, None]
    assert np.allclose(deviation, deviation.T, atol=1e-4)
    assert np.linalg.eigvalsh(deviation).min() > 0
    without = np.array(parameters)
    without[4:-5] = 0
    assert np.allclose(model.kernel(jnp.asarray(without)), np.diag(amplitude**2))
    # Twice a deviation is the square of it: the root is an exponential.
    without[4:-5] = np.asarray(parameters[4:-5])
    once = np.asarray(model.root(jnp.asarray(without))) / amplitude[:, None]
    without[4:-5] *= 2
    twice = np.asarray(model.root(jnp.asarray(without))) / amplitude[:, None]
    assert np.allclose(once @ once, twice, rtol=1e-3, atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(responses, seeds)
def test_scores_make_the_gradient_of_the_likelihood(response: str, seed: int) -> None:
    model = SPHERE[response]
    # Without hierarchical terms the variance of an answer has no slope in the kernel.
    parameters = some_parameters(model, seed, private=-20.0)
    evidence = evidence_of(model, some_sessions(response, seed))
    turned = turned_of(model, parameters)
    score = scores_of(model, turned, parameters[-5:], evidence)[1].sum(0)

    gradient = gradient_of(model, parameters, evidence)
    scale = float(jnp.abs(gradient).max())
    assert np.allclose(score, gradient, atol=2e-3 * max(scale, 1.0))


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from([0.0, 1e-3, 1.0, 2.0]))
def test_slopes_of_a_kernel_are_those_of_its_root(seed: int, size: float) -> None:
    model = SPHERE["graded"]
    parameters = some_parameters(model, seed)
    # From equal eigenvalues to very different ones.
    parameters = parameters.at[4:-5].multiply(size)
    root, slopes = turned_of(model, parameters)
    kernel = np.asarray(model.kernel(parameters))
    assert np.allclose(root @ root.T, kernel, atol=1e-4 * kernel.max())
    towards = jax.random.normal(jax.random.key(seed), parameters.shape)
    _, expected = jax.jvp(model.kernel, (parameters,), (towards,))
    found = root @ (slopes @ towards[:-5]) @ root.T
    assert np.allclose(found, expected, atol=1e-3 * float(jnp.abs(expected).max()))


@pytest.mark.parametrize("response", ["graded", "choice"])
def test_single_precision_is_enough(response: str) -> None:
    """Likelihood, gradient and information, as in double precision."""
    single = SPHERE[response]
    told = some_sessions(response, 0, 12)
    evidence = evidence_of(single, told)
    parameters = some_parameters(single, 0)

    def all_of(model: SubjectModel, u: jax.Array, evidence: Evidence) -> Any:
        def total(u: jax.Array) -> tuple[jax.Array, jax.Array]:
            each = jax.vmap(partial(model.log_likelihood, u))(evidence)
            return each.sum(), each

        gradient, each = jax.grad(total, has_aux=True)(u)
        return each, gradient, information(model, u, evidence)

    found = jax.jit(all_of, static_argnums=0)(single, parameters, evidence)
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), evidence)
        again = replace(single)  # what it remembers is of one precision
        exact = jax.jit(all_of, static_argnums=0)(
            again, jnp.asarray(parameters, float), double
        )
    assert exact[0].dtype == jnp.float64
    for few, many in zip(found, exact, strict=True):
        assert np.allclose(few, many, rtol=0, atol=1e-3 * float(np.abs(many).max()))


def test_sessions_are_picked_that_tell_most_given_those_before() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        size = rng.uniform(0, 0.3, (9, 1, 1))
        slopes, target = rng.normal(0, size, (9, 4, 20)), rng.normal(size=(6, 20))
        mixed = rng.normal(size=(20, 20))
        precision = mixed @ mixed.T / 20 + np.eye(20)
        half = half_inverse(jnp.asarray(precision, jnp.float32))
        found = _pick(jnp.asarray(slopes), jnp.asarray(target), half, 4)
        covariance, expected = np.linalg.inv(precision), []
        for _ in range(4):
            after = [
                np.linalg.inv(np.linalg.inv(covariance) + one.T @ one) for one in slopes
            ]
            left = [np.trace(target @ one @ target.T) for one in after]
            expected.append(int(np.argmin(left)))
            covariance = after[expected[-1]]
        assert found.tolist() == expected


@settings(max_examples=10, deadline=None)
@given(responses, seeds)
def test_padding_adds_no_information(response: str, seed: int) -> None:
    model = SPHERE[response]
    parameters = some_parameters(model, seed)
    told = some_sessions(response, seed)
    small = evidence_of(model, told)
    large = evidence_of(model, told, (5, 7, 9))
    assert large.trained.shape[:2] == (5, 7)
    for evidence in (small, large):
        assert float(evidence.counted.sum()) == 3
    assert np.allclose(
        information_of(model, parameters, small),
        information_of(model, parameters, large),
        atol=1e-2,
        rtol=1e-3,
    )


@settings(max_examples=10, deadline=None)
@given(responses, seeds)
def test_an_omitted_answer_counts_for_nothing(response: str, seed: int) -> None:
    model = SPHERE[response]
    parameters = some_parameters(model, seed)
    (session,) = some_sessions(response, seed, 1)
    left = session._replace(tested=session.tested[1:], answers=session.answers[1:])
    omitted = session.answers.copy()
    omitted[0] = np.nan
    with_hole = evidence_of(model, [session._replace(answers=omitted)])
    without = evidence_of(model, [left])
    first, second = (likelihood_of(model, parameters, e) for e in (with_hole, without))
    assert np.isclose(float(first), float(second), atol=1e-3)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(seeds)
def test_the_spectrum_does_not_depend_on_where_the_axes_point(seed: int) -> None:
    model = SPHERE["graded"]
    told = some_sessions("graded", seed, 6)
    turn = Rotation.random(random_state=seed).as_matrix()
    turned = [
        t._replace(trained=t.trained @ turn, tested=t.tested @ turn) for t in told
    ]
    found = []
    for sessions in (told, turned):
        evidence = evidence_of(model, sessions)
        fit = fit_model(model, evidence, start(model), COLD)
        drawn = draw(fit, precision_of(model, evidence, fit), 64, jax.random.key(seed))
        every = jnp.stack([fit.parameters, *drawn])
        values, _ = jax.vmap(partial(components, model, k=15))(every)
        found.append(np.log(np.asarray(values)))
    # A fit ends where little is left to gain, not to the last digit: a fraction of
    # what the sessions leave open.
    assert np.all(np.abs(found[0][0] - found[1][0]) < 0.4 * found[0][1:].std(0))


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 8))
def test_components_are_orthonormal_labellings_of_mean_zero(seed: int, k: int) -> None:
    model = SPHERE["graded"]
    values, rows = components(model, some_parameters(model, seed), k)
    assert rows.shape == (k, model.functions - 1)
    assert np.allclose(rows @ rows.T, np.eye(k), atol=1e-4)
    assert (np.diff(values) <= 1e-5).all()
    assert np.isclose(space_overlap(rows, rows), 1.0, atol=1e-4)
    other = components(model, some_parameters(model, seed + 1), k)[1]
    assert -1e-4 <= float(space_overlap(rows, other)) <= 1 + 1e-4


def test_the_model_is_as_large_as_its_space_allows() -> None:
    assert degree_for(Sphere()) == 4
    assert degree_for(Circle()) == 12
    assert degree_for(Hypercube(5)) == 2
    whole = SubjectModel(Hypercube(5), 3)  # more functions than are correlated
    assert whole.parameters < whole.functions**2 / 2


@given(st.integers(1, 200))
def test_training_sizes_are_within_the_design(most: int) -> None:
    sizes = training_sizes(Design(most, 10))
    assert max(sizes) == most
    assert min(sizes) >= min(most, 4)
    assert list(sizes) == sorted(set(sizes))


def test_response_models_have_a_subject_model() -> None:
    for response in RESPONSE_MODELS:
        model = SubjectModel(Circle(), 4, response)  # type: ignore[arg-type]
        assert isinstance(evidence_of(model, []), Evidence)
        assert model.parameters == len(model.centre)


def test_draws_without_sessions_are_the_prior() -> None:
    model = SPHERE["choice"]
    evidence = evidence_of(model, some_sessions("choice", 0, 3))
    nothing = evidence._replace(counted=jnp.zeros_like(evidence.counted))
    drawn = posterior_draws(model, nothing, start(model), 300, jax.random.key(0))
    prior = model.precision(start(model).deviations)
    white = np.asarray((drawn - model.centre) * jnp.sqrt(prior))
    assert np.abs(white.mean(0)).max() < 0.35
    assert white.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("response", GRADED_SLOWLY)
def test_draws_are_those_of_the_posterior(response: str) -> None:
    """By importance: prior draws weighed by their likelihood, of one short session."""
    model = SubjectModel(Circle(), 2, response)  # type: ignore[arg-type]
    rng = np.random.default_rng(3)
    x = np.asarray(Circle().sample(jax.random.key(1), 9), float)
    answers = rng.choice([-1.0, 1.0], 5) * (1.0 if response == "choice" else 0.2)
    told = [Told(x[:4], rng.uniform(-1, 1, 4), np.ones(4), x[4:], answers)]
    evidence, fit = evidence_of(model, told), start(model)
    spread = 1 / jnp.sqrt(model.precision(fit.deviations))
    noise = jax.random.normal(jax.random.key(2), (80_000, model.parameters))
    guesses = jnp.asarray(model.centre) + noise * spread
    likelihood = jax.jit(
        jax.vmap(lambda u: jax.vmap(partial(model.log_likelihood, u))(evidence).sum())
    )(guesses)
    weight = np.asarray(jax.nn.softmax(likelihood))
    assert 1 / np.sum(weight**2) > 500  # enough of them count
    expected = weight @ np.asarray(guesses)
    drawn = posterior_draws(model, evidence, fit, 500, jax.random.key(4))
    apart = (np.asarray(drawn).mean(0) - expected) / np.asarray(spread)
    assert np.abs(apart).max() < 0.25


def test_rewards_add_the_error_of_what_they_teach() -> None:
    model, rng = SPHERE["choice"], np.random.default_rng(0)
    design = Design(8, 20, training_repeats=3, response="choice", feedback="reward")
    parameters = jnp.asarray(model.centre).at[-2:].set(-9.0)
    row = jnp.zeros(model.functions - 1).at[1].set(1.0)
    root = model.root(parameters)
    at_random = jax.jit(lambda key: model.basis(Sphere().sample(key, 28)))
    predict = jax.jit(lambda seen: model.predict(root, seen).f)
    errors = []
    for i in range(300):
        basis = at_random(jax.random.key(i))
        y = np.asarray(labels_of(basis, row))
        taught = np.where(rng.uniform(size=(3, 8)) < (1 + y[:8]) / 2, 1.0, -1.0)
        there = jnp.ones(20)
        seen = Evidence(
            basis[:8],
            jnp.asarray(taught.mean(0), jnp.float32),
            jnp.full(8, 3.0),
            basis[8:],
            there,
            there,
            jnp.ones(()),
        )
        f = np.asarray(predict(seen))
        errors.append(np.mean((f - y[8:]) ** 2) / y[8:].var())
    measured = np.mean(errors)
    keys = jax.random.split(jax.random.key(7), 8)
    expected = [
        float(expected_errors(model, parameters, row[None], design, k)[0]) for k in keys
    ]
    assert np.mean(expected) == pytest.approx(measured, rel=0.12)
    plain = replace(design, feedback="label")
    assert float(expected_errors(model, parameters, row[None], plain, keys[0])[0]) < (
        0.8 * measured
    )


def test_a_model_too_large_to_fit_is_refused() -> None:
    SubjectModel(Sphere(), degree_for(Sphere())).check()
    with pytest.raises(ValueError, match="degree 30 has 961 functions") as refused:
        SubjectModel(Sphere(), 30).check()
    largest = int(str(refused.value).split()[-1])
    SubjectModel(Sphere(), largest).check()
