"""Descent of the meta-loss through the learner's training."""

import json
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meta_learner.assignment import Design, exact_decimals
from meta_learner.families import Basis
from meta_learner.gradient import (
    OPTIMISERS,
    Gradient,
    Problem,
    State,
    Steps,
    descend,
    from_rows,
    to_rows,
)
from meta_learner.labelling import Labeller, freeze, labels_of_each
from meta_learner.null import null_series
from meta_learner.objective import Objective
from meta_learner.spectrum import orders_of
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.ridge import Ridge
from stimuli.circle import Circle
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere

METHODS = sorted(OPTIMISERS)
SEEDS = range(4)
EVEN = KernelRidge(30, "absolute")


def problem(space: StimulusSpace, *learners: Learner, **options: Any) -> Problem:
    """Ten training stimuli, labellings of the first two or three orders."""
    labeller = Labeller(space, Basis(3 if space == Circle() else 2))
    return Problem(labeller, Design(10, 20), learners, Objective(**options))


def search_of(of: Problem, method: str = "adam", population: int = 4) -> Gradient:
    return Gradient(method, population, of.labeller.family.genes(of.labeller.space))


RIDGE = problem(Circle(), Ridge())


@cache
def descent(of: Problem, seed: int, steps: int, method: str = "adam") -> Any:
    """Where a descent ends, and what its steps measured."""
    search, key = search_of(of, method), jax.random.key(seed)
    start = search.init(jax.random.fold_in(key, 1))
    return descend(search, of, (), start, key, (0, steps), steps)


def power(of: Problem, theta: jax.Array) -> Any:
    """Share of power of a labelling in each order."""
    series = (freeze(of.labeller, (), theta),)
    orders = orders_of(of.labeller.space)
    labels = of.labeller.component_labels(series, orders.x)
    return orders.power(np.asarray(labels, float))[0]


def same(one: Any, other: Any) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


# --- steps ---------------------------------------------------------------------


def test_labellings_to_begin_with_differ_by_key_and_are_of_unit_size() -> None:
    search = Gradient("adam", 4, 2000)
    states = [search.init(jax.random.key(seed)) for seed in SEEDS]
    for state in states:
        assert np.std(state.theta) == pytest.approx(1, abs=0.06)
        np.testing.assert_array_equal(search.best(state), state.theta)
        assert state.taken == 0
    assert abs(np.corrcoef([s.theta for s in states]) - np.eye(len(SEEDS))).max() < 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_steps_go_down_a_slope_of_any_size(method: str, size: float) -> None:
    """The first is about as long as the step size says, whatever the slope."""
    search = Gradient(method, 4, 3, step_size=0.05)
    before = search.init(jax.random.key(0))
    after = search.step(before, size * jnp.array([1.0, -2.0, 3.0]))
    moved = np.asarray(after.theta - before.theta)
    np.testing.assert_allclose(moved, [-0.05, 0.05, -0.05], rtol=1e-2)
    assert after.taken == 1


@pytest.mark.parametrize("method", METHODS)
def test_they_find_the_bottom_of_a_bowl(method: str) -> None:
    search = Gradient(method, 4, 5, step_size=0.3)
    bottom = jnp.arange(5.0) / 2
    state = jax.lax.fori_loop(
        0,
        400,
        lambda _, s: search.step(s, s.theta - bottom),
        search.init(jax.random.key(1)),
    )
    np.testing.assert_allclose(search.best(state), bottom, atol=0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_slope_that_is_not_finite_is_skipped(method: str, bad: float) -> None:
    search = Gradient(method, 4, 3)
    state = search.step(search.init(jax.random.key(0)), jnp.ones(3))
    after = search.step(state, jnp.array([1.0, bad, 1.0]))
    assert same(after, state)
    assert not same(search.step(after, jnp.ones(3)), state)


def test_what_is_frozen_has_less_noise_than_the_last_step() -> None:
    search = Gradient("adam", 4, 50, step_size=0.3)
    slopes = jax.random.normal(jax.random.key(2), (600, 50))

    def step(state: State, noise: jax.Array) -> tuple[State, None]:
        return search.step(state, state.theta + 3 * noise), None

    state, _ = jax.lax.scan(step, search.init(jax.random.key(1)), slopes)
    assert np.std(search.best(state)) < 0.8 * np.std(state.theta)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="'sgd'; known: adagrad, adam"):
        Gradient("sgd", 4, 3)


# --- stretches -----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cut", [1, 5, 11])
def test_two_stretches_are_one(method: str, cut: int) -> None:
    """One compilation serves all: rows and steps beyond the last are masked."""
    search, key = search_of(RIDGE, method), jax.random.key(3)
    take = partial(descend, search, RIDGE, ())
    start = search.init(jax.random.key(4))
    whole, measured = take(start, key, (0, 12), 12)
    middle, first = take(start, key, (0, cut), 12)
    assert int(middle.taken) == cut
    stored = json.loads(json.dumps([exact_decimals(row) for row in to_rows(middle)]))
    end, second = take(from_rows(search, stored), key, (cut, 12), 12)
    assert same(end, whole)
    errors = np.concatenate([first.errors[:cut], second.errors[: 12 - cut]])
    np.testing.assert_array_equal(errors, measured.errors)
    assert len(set(errors[:, 0].tolist())) == 12  # fresh individuals at each step


any_float = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=40)
@given(rows=st.data())
def test_a_state_survives_the_journal(method: str, rows: Any) -> None:
    search = Gradient(method, 4, 3)
    like = search.init(jax.random.key(0))

    def some(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            drawn = rows.draw(arrays(np.int32, leaf.shape, elements=COUNTS))
        else:
            drawn = rows.draw(arrays(np.float32, leaf.shape, elements=any_float))
        return jnp.asarray(drawn)

    state = jax.tree.map(some, like)
    stored = json.loads(json.dumps([exact_decimals(row) for row in to_rows(state)]))
    back = from_rows(search, stored)
    assert same(back, state)
    assert str(jax.tree.structure(back)) == str(jax.tree.structure(like))
    kinds = zip(jax.tree.leaves(back), jax.tree.leaves(like), strict=True)
    assert all(a.dtype == b.dtype for a, b in kinds)


COUNTS = st.integers(0, 100_000)


# --- the meta-loss -------------------------------------------------------------


@partial(jax.jit, static_argnums=0)
def meta_loss(of: Problem, theta: Any, keys: jax.Array) -> tuple[jax.Array, Steps]:
    return of.meta_loss((), theta, keys)


@partial(jax.jit, static_argnums=0)
def slope(of: Problem, theta: Any, keys: jax.Array) -> jax.Array:
    found: jax.Array = jax.grad(of.meta_loss, 1, has_aux=True)((), theta, keys)[0]
    return found


def start_of(of: Problem, seed: int) -> tuple[jax.Array, jax.Array]:
    """Some labelling, and the births of eight individuals."""
    key = jax.random.key(seed)
    return search_of(of).init(key).theta, jax.random.split(key, 8)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_meta_gradient_is_that_of_finite_differences(seed: int) -> None:
    theta, keys = start_of(RIDGE, seed)
    for along in (theta, jax.random.normal(jax.random.key(99 + seed), theta.shape)):
        ends = [meta_loss(RIDGE, theta + s * along, keys)[0] for s in (0.01, -0.01)]
        difference = float(ends[0] - ends[1]) / 0.02
        found = float(slope(RIDGE, theta, keys) @ along)
        assert found == pytest.approx(difference, rel=0.05, abs=5e-3)


def test_it_is_the_error_that_a_session_would_measure() -> None:
    """By hand, in NumPy, on one individual."""
    theta, keys = start_of(RIDGE, 0)
    _, steps = meta_loss(RIDGE, theta, keys[:1])
    x = np.asarray(Circle().sample(jax.random.split(keys[0], 2)[0], 30), float)
    y = np.asarray(RIDGE.labeller.labels((), theta, jnp.asarray(x)), float)
    gram = x[:10].T @ x[:10] + 1e-3 * np.eye(2)
    answer = x[10:] @ np.linalg.solve(gram, x[:10].T @ y[:10])
    expected = np.mean((answer - y[10:]) ** 2) / np.var(y[10:])
    np.testing.assert_allclose(steps.errors, [expected], rtol=1e-3)


def test_raw_errors_fall_with_small_labels_and_relative_ones_do_not() -> None:
    """Where the size of labels is free, as under a penalty that is not paid."""
    losses: dict[bool, list[float]] = {}
    for relative in (True, False):
        free = problem(Circle(), Ridge(), relative=relative)
        free = replace(free, labeller=Labeller(Circle(), Basis(3), "none"))
        theta, keys = start_of(free, 1)
        # Small from the start, for labels are clipped.
        small = [scale * theta for scale in (0.1, 0.05)]
        losses[relative] = [float(meta_loss(free, t, keys)[0]) for t in small]
        downhill = float(slope(free, small[0], keys) @ small[0])
        assert downhill == pytest.approx(0 if relative else 2 * losses[relative][0],
                                         rel=0.05, abs=1e-3)  # fmt: skip
    assert losses[True][1] == pytest.approx(losses[True][0], rel=1e-3)
    assert losses[False][1] == pytest.approx(losses[False][0] / 4, rel=1e-3)


# --- groups --------------------------------------------------------------------


@pytest.mark.parametrize("aim", ["normalised", "difference", "worst"])
def test_aims_can_be_differentiated(aim: str) -> None:
    pair = problem(Sphere(), EVEN, Ridge(), aim=aim)
    for seed in range(2):
        theta, keys = start_of(pair, seed)
        loss, steps = meta_loss(pair, theta, keys)
        assert steps.errors.shape == (2,)
        assert float(loss) == pytest.approx(
            float(pair.objective.combined(np.asarray(steps.errors)[None])[0]), rel=1e-4
        )
        along = slope(pair, theta, keys)
        assert np.isfinite(along).all()
        assert float(jnp.linalg.norm(along)) > 1e-3
        downhill = theta - 1e-3 * along / (jnp.linalg.norm(along) + 1e-9)
        assert meta_loss(pair, downhill, keys)[0] <= loss + 1e-6


def test_groups_alone_have_the_errors_that_they_have_together() -> None:
    """On the same stimuli, and one group does not change what another learns."""
    pair = problem(Sphere(), Ridge(), Ridge(0.1), aim="mean")
    theta, keys = start_of(pair, 0)
    _, both = meta_loss(pair, theta, keys)
    turned = replace(pair, learners=pair.learners[::-1])
    np.testing.assert_allclose(
        both.errors, meta_loss(turned, theta, keys)[1].errors[::-1], rtol=1e-5
    )


# --- bias ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "order"), [(RIDGE, 1), (problem(Sphere(), EVEN), 2)], ids=["ridge", "even"]
)
def test_a_known_bias_is_found_and_not_by_the_null(of: Problem, order: int) -> None:
    found, errors = [], []
    for seed in SEEDS:
        state, steps = descent(of, seed, 150)
        found.append(power(of, search_of(of).best(state))[order - 1])
        errors.append(np.asarray(steps.errors)[:, 0])
    search, orders = search_of(of), orders_of(of.labeller.space)
    blind = replace(of.objective, generalisation_weight=0.0)
    series = null_series(of.labeller, search, blind, (150,), jax.random.key(0), 40)
    labels = np.asarray(labels_of_each(of.labeller, series, orders.x), float)
    null = orders.power(labels)[:, 0, order - 1]
    print("power", np.round(found, 3), "null", np.quantile(null, [0.05, 0.5, 0.95]))
    assert min(found) > 0.95
    assert min(found) > np.quantile(null, 0.9)
    assert np.median(null) < 0.8
    for error in errors:
        assert np.median(error[-20:]) < 0.5 * error[0]


def test_a_contrast_is_found_in_either_direction() -> None:
    """What is easy for one of two learners and hard for the other, and turned."""
    for learners, order in (((EVEN, Ridge()), 2), ((Ridge(), EVEN), 1)):
        pair = problem(Sphere(), *learners, aim="normalised")
        for seed in range(2):
            state, steps = descent(pair, seed, 150)
            chosen, neglected = np.median(np.asarray(steps.errors)[-20:], 0)
            assert chosen < 0.3 * neglected
            assert power(pair, search_of(pair).best(state))[order - 1] > 0.9
