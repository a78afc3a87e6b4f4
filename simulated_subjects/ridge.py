"""Ridge regression on the stimulus features."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Ridge:
    """Linear learner: weights that minimise squared error plus a ridge penalty.

    Paper section 2, figure 2B. No intercept: the paper's linear learner can
    only represent labellings that are odd about the origin.
    """

    penalty: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse a penalty that leaves the regression unsolvable."""
        if not 0 < self.penalty < math.inf:
            raise ValueError(f"penalty must be above 0 and finite, got {self.penalty}")

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """Weights, shape ``(features,)``; every individual is the same."""
        del key
        return ridge_weights(x, y, self.penalty)

    def predict(self, state: jax.Array, x: jax.Array) -> jax.Array:
        """Linear prediction, shape ``(m,)``."""
        return x @ state


def ridge_weights(x: jax.Array, y: jax.Array, penalty: float) -> jax.Array:
    """Minimiser of ``|x w - y|^2 + penalty |w|^2``, shape ``(features,)``.

    Solves whichever of the two equivalent systems is the smaller.
    """
    n, features = x.shape
    if n < features:
        gram = x @ x.T + penalty * jnp.eye(n)
        return x.T @ jax.scipy.linalg.solve(gram, y, assume_a="pos")
    gram = x.T @ x + penalty * jnp.eye(features)
    return jax.scipy.linalg.solve(gram, x.T @ y, assume_a="pos")
