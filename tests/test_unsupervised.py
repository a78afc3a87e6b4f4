"""Learners without labels: principal components, and the data they do well on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from meta_learner.generator import (
    DataProblem,
    Generator,
    Unsupervised,
    descend,
    dissimilarity,
)
from meta_learner.gradient import Gradient
from simulated_subjects.principal_components import PrincipalComponents, leading_axes

pytestmark = pytest.mark.usefixtures("strict_shapes")

Array = npt.NDArray[Any]

KEY = jax.random.key(7)


def cloud(seed: int, n: int, *spread: float) -> jax.Array:
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.standard_normal((len(spread),) * 2))[0]
    points = rng.standard_normal((n, len(spread))) * spread @ turned + 3
    return jnp.asarray(points, jnp.float32)


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    x = cloud(0, 40, 3, 2, 1, 0.5)
    learner = PrincipalComponents(2)
    state = jax.jit(learner.train)(KEY, x)
    points = np.asarray(x)
    centred = points - points.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    found, expected = learner.embed(state, x), left[:, :2] * size[:2]
    np.testing.assert_allclose(abs(found), abs(expected), atol=1e-4)


def test_dissimilarity_is_the_share_that_is_lost() -> None:
    """With all of the data learnt: the tail of squared eigenvalues (Eckart-Young)."""
    x = cloud(1, 60, 3, 2, 1, 0.5)
    eigenvalues = np.linalg.eigvalsh(np.cov(np.asarray(x).T))[::-1]
    for k in (1, 2, 3, 4):
        learner = PrincipalComponents(k)
        lost = dissimilarity(x, learner.embed(learner.train(KEY, x), x))
        expected = (eigenvalues[k:] ** 2).sum() / (eigenvalues**2).sum()
        assert lost == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("k", [1, 2])
def test_slope_through_principal_components_is_that_of_small_steps(k: int) -> None:
    x = cloud(2, 30, 3, 1.5, 0.8)
    learner = PrincipalComponents(k)
    way = jnp.asarray(np.random.default_rng(3).standard_normal(x.shape), jnp.float32)

    def loss(step: jax.Array) -> jax.Array:
        moved = x + step * way
        state = learner.train(KEY, moved[:15])
        return dissimilarity(moved[15:], learner.embed(state, moved[15:]))

    small = 1e-2
    by_steps = (loss(jnp.float32(small)) - loss(jnp.float32(-small))) / (2 * small)
    assert jax.grad(loss)(jnp.float32(0)) == pytest.approx(float(by_steps), rel=0.02)


def test_slope_is_finite_where_eigenvalues_are_equal() -> None:
    """Within the subspace, across its border, and for data without variance."""

    def loss(covariance: jax.Array) -> jax.Array:
        axes = leading_axes(covariance, 2)
        return (axes.T @ jnp.diag(jnp.arange(4.0)) @ axes).trace()

    for spectrum in ([2, 2, 1, 0.5], [2, 1, 1, 0.5], [2, 2, 0, 0], [1, 1, 1, 1]):
        slope = jax.grad(loss)(jnp.diag(jnp.array(spectrum, jnp.float32)))
        assert np.isfinite(slope).all()
    through_eigh = jax.grad(
        lambda c: (jnp.linalg.eigh(c)[1][:, 2:] ** 2 * jnp.arange(4.0)[:, None]).sum()
    )
    assert not np.isfinite(through_eigh(jnp.eye(4))).all()  # what it would be


def test_principal_components_refuse_too_many_and_none() -> None:
    with pytest.raises(ValueError, match=r"components need .* or more, got 3"):
        PrincipalComponents(4).train(KEY, jnp.zeros((9, 3)))
    with pytest.raises(ValueError, match="1 to 1000, got 0"):
        PrincipalComponents(0)


def spectra(k: int, error_weight: float = 1.0) -> Array:
    """Eigenvalue shares, largest first, of data found: ``(seeds, inputs)``."""
    problem = DataProblem(
        Generator(4, noise=4, hidden=(16,)),
        Unsupervised(PrincipalComponents(k)),
        error_weight=error_weight,
        concentration_weight=0.005,
        clumping_weight=0.0,
    )
    search = Gradient("adam", 2, problem.generator.genes, 0.1)

    def one(key: jax.Array) -> jax.Array:
        start, course, test = jax.random.split(key, 3)
        state, _ = descend(search, problem, search.init(start), course, 600)
        return problem.generator.draw(state.theta, test, 2000)[0]

    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    found = np.asarray(jax.jit(jax.vmap(one))(keys))
    values = np.stack([np.linalg.eigvalsh(np.cov(x.T))[::-1] for x in found])
    shares: Array = values / values.sum(1, keepdims=True)
    return shares


@pytest.mark.slow
def test_data_found_for_principal_components_fill_a_linear_subspace() -> None:
    """Of as many dimensions as there are components, evenly; the null fills all."""
    null = spectra(1, error_weight=0.0)
    for k in (1, 2):
        found = spectra(k)
        assert found[:, :k].sum(1).min() > 0.98
        np.testing.assert_allclose(1 / (found**2).sum(1), k, atol=0.25)
        assert null[:, :k].sum(1).max() < (k + 0.5) / 4
