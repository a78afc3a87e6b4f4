"""Labels of any shape, their mean and spread given by construction."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meta_learner.families import MLP, Basis, LabellingFamily
from meta_learner.labelling import Labeller, Series, freeze
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere

SEEDS = range(5)
PLAIN = Labeller(Sphere(), Basis(2), "standardised")
GENES = 8
"""Three linear functions on the sphere, then five quadratic ones."""


@partial(jax.jit, static_argnums=0)
def labels(labeller: Labeller, series: Series, theta: Any, x: Any) -> jax.Array:
    return labeller.labels(series, theta, x)


def drawn(labeller: Labeller, seed: int) -> jax.Array:
    genes = labeller.family.genes(labeller.space)
    return jax.random.normal(jax.random.key(seed), (genes,))


@cache
def series_of(labeller: Labeller, components: int) -> Series:
    series: Series = ()
    for seed in range(components):
        series = (*series, freeze(labeller, series, drawn(labeller, 100 + seed)))
    return series


@pytest.mark.parametrize(
    ("space", "family", "components"),
    [(Sphere(), MLP(), 0), (Sphere(), MLP(), 3), (Circle(), Basis(), 1),
     (Hypercube(2), MLP((8,), "tanh"), 2)],
)  # fmt: skip
def test_mean_and_spread_on_fresh_stimuli_and_no_overlap(
    space: StimulusSpace, family: LabellingFamily, components: int
) -> None:
    labeller = Labeller(space, family, "standardised")
    series = series_of(labeller, components)
    for seed in SEEDS:
        x = space.sample(jax.random.key(seed), 20_000)
        y = np.asarray(labels(labeller, series, drawn(labeller, seed), x))
        assert y.mean() == pytest.approx(0, abs=0.04)
        # Less where tails are clipped, which is not made up for.
        assert 0.4 < y.std() < 0.53
        assert abs(y).max() <= 1
        for found in np.asarray(labeller.component_labels(series, x)):
            assert abs(np.corrcoef(y, found)[0, 1]) < 0.06


def test_where_nothing_is_clipped_the_spread_is_a_half_at_any_scale() -> None:
    """A dot product on the sphere reaches the square root of 3 standard deviations."""
    x = Sphere().grid(2000)
    linear = jnp.zeros(GENES).at[:3].set(jnp.array([0.6, 0.0, 0.8]))
    expected = x @ linear[:3] * 3**0.5 / 2
    direction = {}
    for scale in (1e-6, 1.0, 1e6):
        y = np.asarray(labels(PLAIN, (), scale * linear, x))
        assert y.std() == pytest.approx(0.5, abs=2e-3)
        direction[scale] = abs(np.corrcoef(y, x.T)[0, 1:])
    # The basis may order and sign its functions as it likes; scale changes nothing.
    np.testing.assert_allclose(direction[1e-6], direction[1e6], atol=1e-4)
    assert np.std(expected) == pytest.approx(0.5, abs=1e-2)


def test_shape_is_that_of_the_function_and_not_uniform() -> None:
    for seed in SEEDS:
        theta = drawn(PLAIN, seed)
        x = Sphere().grid(2000)
        raw = np.asarray(PLAIN.family.raw(PLAIN.space, theta, x))
        y = np.asarray(labels(PLAIN, (), theta, x))
        inside = abs(y) < 1
        assert inside.mean() > 0.8
        assert np.corrcoef(raw[inside], y[inside])[0, 1] > 0.9999


def test_labels_all_the_same_are_zero() -> None:
    x = Sphere().grid(100)
    np.testing.assert_array_equal(labels(PLAIN, (), jnp.zeros(GENES), x), 0)
    # A function that is a constant, but for rounding: no labels are made of that.
    offset = Labeller(Sphere(), MLP((4,)), "standardised")
    flat = jnp.zeros(offset.family.genes(Sphere())).at[-1].set(0.3)
    np.testing.assert_allclose(labels(offset, (), flat, x), 0, atol=1e-3)


def test_what_was_found_before_leaves_nothing_to_say_again() -> None:
    """Unless clipped, a labelling less its projection on itself is no labelling."""
    linear = jnp.zeros(GENES).at[0].set(1.0)
    series = (freeze(PLAIN, (), linear),)
    again = np.asarray(labels(PLAIN, series, 2 * linear, Sphere().grid(100)))
    assert abs(again).max() < 0.1


@pytest.mark.parametrize("components", [0, 2])
@settings(deadline=None, max_examples=40)
@given(theta=arrays(np.float32, GENES, elements=st.sampled_from([0, 1, -2, 1e-8, 1e6])))
def test_gradient_is_finite(components: int, theta: Any) -> None:
    """Also of constants, of tiny functions, and of those that were found before."""
    assert np.isfinite(SLOPES[components](theta)).all()


@pytest.mark.parametrize("scale", [1.0, 1e-4, -3.0])
def test_gradient_of_a_component_found_again_is_finite(scale: float) -> None:
    for component in series_of(PLAIN, 2):
        assert np.isfinite(SLOPES[2](scale * component.theta)).all()


def power_of_half(series: Series, theta: Any) -> jax.Array:
    """Some function of labels that has a gradient."""
    y = PLAIN.labels(series, theta, Sphere().grid(60))
    return jnp.mean((y[:30] + 0.1) ** 2)


SLOPES = {
    n: jax.jit(partial(jax.grad(power_of_half, argnums=1), series_of(PLAIN, n)))
    for n in (0, 2)
}


@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_is_that_of_finite_differences(seed: int) -> None:
    theta, along = drawn(PLAIN, seed), drawn(PLAIN, seed + 50)
    step = 0.01
    ends = [VALUE(theta + s * along) for s in (step, -step)]
    difference = float(ends[0] - ends[1]) / (2 * step)
    assert float(SLOPES[2](theta) @ along) == pytest.approx(
        difference, rel=0.05, abs=2e-3
    )


VALUE = jax.jit(partial(power_of_half, series_of(PLAIN, 2)))
