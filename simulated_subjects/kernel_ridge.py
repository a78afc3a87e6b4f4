"""Ridge regression on fixed random features: kernel regression."""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from simulated_subjects.ridge import ridge_weights


@dataclass(frozen=True)
class KernelRidge:
    """Random hidden layer that stays fixed, ridge regression from it to labels.

    ``relu`` is the kernel learner of the paper (section 2, figures 2C, 3C and
    8): on the sphere its eigenfunctions are spherical harmonics, lower orders
    first; having no bias it cannot represent odd orders above 1. ``absolute``
    features are even, so that learner cannot represent any odd function and its
    first component is of order 2: the diagnostic subject that tells a search
    that listens to its subject from one that does not.
    Each individual (key) draws its own features.
    """

    features: int = 100
    activation: Literal["relu", "absolute"] = "relu"
    penalty: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse values for which there is no such learner."""
        if not 1 <= self.features <= 100_000:
            raise ValueError(f"features must be 1 to 100000, got {self.features}")
        if not 0 < self.penalty < math.inf:
            raise ValueError(f"penalty must be above 0 and finite, got {self.penalty}")

    def train(
        self, key: jax.Array, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Input weights ``(inputs, features)`` and readout ``(features,)``."""
        inputs = jax.random.normal(key, (x.shape[1], self.features))
        return inputs, ridge_weights(self._hidden(inputs, x), y, self.penalty)

    def predict(self, state: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        """Prediction of the readout, shape ``(m,)``."""
        inputs, readout = state
        return self._hidden(inputs, x) @ readout

    def _hidden(self, inputs: jax.Array, x: jax.Array) -> jax.Array:
        drive = x @ inputs
        hidden = jax.nn.relu(drive) if self.activation == "relu" else jnp.abs(drive)
        # Per-feature scale 1/sqrt(features): the penalty means the same at any size.
        return hidden / jnp.sqrt(self.features)
