"""A learner that mishears what it is taught."""

import math
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import jax

from simulated_subjects.learner import Learner


@dataclass(frozen=True)
class PrivateNoise:
    """``learner`` that perceives each training label with Gaussian noise.

    ``noise`` is its standard deviation in units of the label, drawn anew for
    every training trial of every individual (key). Without noise it is
    ``learner``: the same individual, born of the same key. A study file names
    the noise of any learner as ``label_noise``.
    """

    noise: float
    learner: Learner

    def __post_init__(self) -> None:
        """Refuse what is no standard deviation."""
        if not 0 <= self.noise < math.inf:
            raise ValueError(
                f"noise is a standard deviation: 0 or more, got {self.noise}"
            )

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        """What ``learner`` learns from the labels as it perceives them."""
        noise_key = jax.random.fold_in(key, crc32(b"private noise"))
        heard = y + self.noise * jax.random.normal(noise_key, y.shape)
        return self.learner.train(key, x, heard)

    def predict(self, state: Any, x: jax.Array) -> jax.Array:
        """Its labels for ``(m, features)``, shape ``(m,)``."""
        return self.learner.predict(state, x)
