"""Data sets from noise: by construction, by penalty, and as a learner likes them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from meta_learner.generator import (
    DataProblem,
    Generator,
    Supervised,
    clumping,
    concentration,
    descend,
    participation,
)
from meta_learner.gradient import Gradient
from simulated_subjects.gains import Gains
from simulated_subjects.ridge import Ridge

pytestmark = pytest.mark.usefixtures("strict_shapes")

Array = npt.NDArray[Any]

KEY = jax.random.key(3)
SEEDS = 5


def gaussian(n: int, *spread: float) -> jax.Array:
    points = np.random.default_rng(0).standard_normal((n, len(spread)))
    return jnp.asarray(points * spread, jnp.float32)


# By construction


def test_data_have_the_scale_that_they_are_made_to_have() -> None:
    """Mean 0, total variance one per input; labels of standard deviation 1/2."""
    generator = Generator(3, noise=4, hidden=(8, 8))
    for seed in range(4):
        theta = 10.0**seed * jax.random.normal(jax.random.key(seed), (generator.genes,))
        x, y = jax.jit(generator.draw, static_argnums=2)(theta, KEY, 4000)
        assert x.shape == (4000, 3)
        assert y.shape == (4000,)
        np.testing.assert_allclose(x.mean(0), 0, atol=0.15)
        assert x.var(0).sum() == pytest.approx(3, abs=0.3)
        assert y.mean() == pytest.approx(0, abs=0.05)
        assert y.std() == pytest.approx(0.5, abs=0.05)
        assert abs(y).max() <= 1


def test_data_sets_are_fresh_and_follow_from_their_key() -> None:
    generator = Generator(2)
    theta = jax.random.normal(KEY, (generator.genes,))
    draw = jax.jit(generator.draw, static_argnums=2)
    one, same = draw(theta, KEY, 10), draw(theta, KEY, 10)
    np.testing.assert_array_equal(one[0], same[0])
    assert not np.array_equal(one[0], draw(theta, jax.random.key(4), 10)[0])


@pytest.mark.parametrize(
    "sizes", [{"inputs": 0}, {"inputs": 2, "noise": 0}, {"inputs": 2, "hidden": (8, 0)}]
)
def test_generator_refuses_sizes(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be 1 to 4096, got \("):
        Generator(**sizes)


# Against the trivial


def test_participation_counts_dimensions_filled() -> None:
    assert participation(gaussian(20_000, 1, 1, 1)) == pytest.approx(3, abs=0.01)
    assert participation(gaussian(20_000, 2, 2, 0)) == pytest.approx(2, abs=0.01)
    assert participation(gaussian(20_000, 1, 0, 0)) == pytest.approx(1, abs=0.01)
    assert concentration(gaussian(20_000, 1, 0, 0)) == pytest.approx(2 / 3, abs=0.01)


def test_clumping_finds_points_and_leaves_subspaces_alone() -> None:
    """Two points in one dimension: in closed form from E|x-g|, E|x-x'|, E|g-g'|."""
    keys = jax.random.split(KEY, 20)
    clump = jax.jit(jax.vmap(clumping, (None, 0)))
    for spread in ((1.0,), (1.0, 1.0), (3.0, 0.0), (2.0, 1.0, 0.0)):
        assert abs(clump(gaussian(512, *spread), keys).mean()) < 0.003
    points = jnp.tile(jnp.array([[-1.0], [1.0]]), (256, 1))
    # E|1 + g| of a standard Gaussian, and 2/sqrt(pi) between two of them.
    between = 2 * np.exp(-0.5) / np.sqrt(2 * np.pi) + 0.6826894921370859
    expected = (2 * between - 1 - 2 / np.sqrt(np.pi)) / (2 * between)
    assert clump(points, keys).mean() == pytest.approx(expected, abs=0.01)


def test_penalties_have_a_slope_where_dimensions_vanish() -> None:
    for spread in ((1.0, 1.0), (1.0, 0.0)):
        x = gaussian(64, *spread)
        assert np.isfinite(jax.grad(concentration)(x)).all()
        assert np.isfinite(jax.grad(clumping)(x, KEY)).all()


# What a learner likes


def shares(gains: tuple[float, ...], **weights: float) -> Array:
    """Share of variance of each input in data found for such a ridge: seeds, inputs."""
    problem = DataProblem(
        Generator(3, noise=4, hidden=(16,)),
        Supervised(Gains(gains, Ridge(penalty=10.0))),
        clumping_weight=0.0,  # nothing clumps here, and all pairs take time
        **weights,  # type: ignore[arg-type]
    )
    search = Gradient("adam", 4, problem.generator.genes, 0.05)

    def one(key: jax.Array) -> jax.Array:
        start, course, test = jax.random.split(key, 3)
        state, _ = descend(search, problem, search.init(start), course, 150)
        variance = problem.generator.draw(state.theta, test, 2000)[0].var(0)
        return variance / variance.sum()

    keys = jax.vmap(jax.random.key)(jnp.arange(SEEDS))
    return np.asarray(jax.jit(jax.vmap(one))(keys))


@pytest.mark.slow
def test_inputs_found_are_those_that_a_learner_hears_best() -> None:
    """Verdict, diagnostic learner of another input, and null; every seed."""
    assert shares((1.0, 0.3, 0.3))[:, 0].min() > 0.8
    assert shares((0.3, 0.3, 1.0))[:, 2].min() > 0.8
    null = shares((1.0, 0.3, 0.3), error_weight=0.0)
    np.testing.assert_allclose(null, 1 / 3, atol=0.1)


def test_more_weight_on_filling_dimensions_fills_them() -> None:
    assert shares((1.0, 0.3, 0.3), concentration_weight=1.0)[:, 0].max() < 0.45


@pytest.mark.parametrize("gains", [(0.0, 0.0), (), (1.0, float("nan"))])
def test_gains_refuse_what_lets_nothing_through(gains: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="finite and not all 0, got"):
        Gains(gains, Ridge())
