"""Principal component analysis: a learner without labels."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

_SAME = 1e-3
"""Eigenvalues closer than this share of their sum are told apart only in part."""


class Axes(NamedTuple):
    """``centre`` (features,) and orthonormal ``axes`` (features, dimensions)."""

    centre: jax.Array
    axes: jax.Array


@dataclass(frozen=True)
class PrincipalComponents:
    """Projection on the ``components`` directions of most variance.

    The unsupervised learner of the paper's Discussion (section 6): of all
    linear representations of that dimension, the one whose dot products are
    nearest to those of the stimuli it learnt from.
    """

    components: int = 2

    def __post_init__(self) -> None:
        """Refuse a representation without a dimension."""
        if not 1 <= self.components <= 1000:
            raise ValueError(f"components must be 1 to 1000, got {self.components}")

    def train(self, key: jax.Array, x: jax.Array) -> Axes:
        """Mean and leading axes; every individual is the same.

        Raises ``ValueError`` if the stimuli have fewer features than components.
        """
        del key
        if x.shape[1] < self.components:
            raise ValueError(
                f"{self.components} principal components need stimuli of as many "
                f"features or more, got {x.shape[1]}"
            )
        centre = x.mean(0)
        from_centre = x - centre[None]
        covariance = from_centre.T @ from_centre / len(x)
        return Axes(centre, leading_axes(covariance, self.components))

    def embed(self, state: Axes, x: jax.Array) -> jax.Array:
        """Scores on the leading axes, shape ``(m, components)``."""
        return (x - state.centre[None]) @ state.axes


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def leading_axes(covariance: jax.Array, k: int) -> jax.Array:
    """Eigenvectors of the ``k`` largest eigenvalues, ``(features, k)``, largest first.

    The derivative is that of the subspace they span, to first order: axis i
    turns towards an axis j outside at a rate of 1 / (value_i - value_j). That of
    ``eigh`` also turns axes within the subspace, at rates that are infinite
    where two of its eigenvalues are equal (the very data that a search for k
    even dimensions ends at), and no dot product depends on that turn.
    """
    axes: jax.Array = jnp.linalg.eigh(covariance)[1][:, ::-1]
    return axes[:, :k]


@leading_axes.defjvp
def _leading_axes_jvp(
    k: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    values, axes = (found[..., ::-1] for found in jnp.linalg.eigh(primals[0]))
    inside, outside = axes[:, :k], axes[:, k:]
    gap = values[None, :k] - values[k:, None]
    # Where the subspace itself is barely defined its derivative is damped.
    rate = gap / (gap**2 + (_SAME * values.sum()) ** 2)
    return inside, outside @ (rate * (outside.T @ tangents[0] @ inside))
