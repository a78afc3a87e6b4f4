"""A learner whose inputs arrive louder or softer."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from simulated_subjects.learner import Learner


@dataclass(frozen=True)
class Gains:
    """``learner`` behind inputs of these ``gains``: what it is tuned to is known.

    A diagnostic subject for input statistics. With a ridge learner inside, a
    label along an input of gain g and variance v comes out too small by the
    share penalty / (n g^2 v + penalty), n the training stimuli: the input of
    the highest gain, at a high variance, is what is easy to generalise from.
    """

    gains: tuple[float, ...]
    learner: Learner

    def __post_init__(self) -> None:
        """Refuse gains that let no input through or are no numbers."""
        if not any(self.gains) or not all(map(math.isfinite, self.gains)):
            raise ValueError(
                f"gains must be finite and not all 0, got {list(self.gains)}"
            )

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        """What ``learner`` learns from the inputs as they arrive."""
        return self.learner.train(key, self._arrive(x), y)

    def predict(self, state: Any, x: jax.Array) -> jax.Array:
        """Its labels for ``(m, features)``, shape ``(m,)``."""
        return self.learner.predict(state, self._arrive(x))

    def _arrive(self, x: jax.Array) -> jax.Array:
        return x * jnp.array([self.gains])
