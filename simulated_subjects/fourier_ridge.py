"""Ridge regression on the Fourier series of an angle."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from simulated_subjects.ridge import ridge_weights


@dataclass(frozen=True)
class FourierRidge:
    """Waves around the circle, one of ``amplitudes`` for each order, 0 first.

    Kernel regression with the kernel sum_k a_k^2 cos(k angle difference), in
    which order k counts with energy a_k^2. The default prefers order 5: a
    diagnostic subject whose favourite is not smooth, so that a search which
    lets smoothness decide misses it. Stimuli are points of the plane, of which
    it sees the angle. Each individual (key) has its own amplitudes: ``spread``
    is the standard deviation of their logarithms.
    """

    amplitudes: tuple[float, ...] = (0.3, 0.2, 0.2, 0.3, 0.5, 1.0, 0.5, 0.3, 0.1, 0.1)
    penalty: float = 0.05
    spread: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values for which there is no such learner."""
        fine = all(0 <= a < math.inf for a in self.amplitudes)
        if not fine or not any(self.amplitudes):
            raise ValueError(
                "amplitudes must be finite, 0 or more and not all 0, "
                f"got {list(self.amplitudes)}"
            )
        if not 0 < self.penalty < math.inf:
            raise ValueError(f"penalty must be above 0 and finite, got {self.penalty}")
        if not 0 <= self.spread < math.inf:
            raise ValueError(
                f"spread is a standard deviation: 0 or more, got {self.spread}"
            )

    def train(
        self, key: jax.Array, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Own amplitudes ``(orders,)`` and weights of the waves ``(2 orders,)``.

        Raises ``ValueError`` if ``x`` has not 2 features.
        """
        typical = jnp.array(self.amplitudes)
        own = typical * jnp.exp(self.spread * jax.random.normal(key, typical.shape))
        return own, ridge_weights(_waves(own, x), y, self.penalty)

    def predict(self, state: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        """Sum of the weighted waves, shape ``(m,)``."""
        own, weights = state
        return _waves(own, x) @ weights


def _waves(amplitudes: jax.Array, x: jax.Array) -> jax.Array:
    """Cosines, then sines, of every order: ``(n, 2 orders)``."""
    if x.shape[1] != 2:
        raise ValueError(
            "a Fourier ridge learner sees an angle: it expects stimuli of 2 "
            f"features, as of the space circle; got {x.shape[1]}"
        )
    angle = jnp.outer(jnp.arctan2(x[:, 1], x[:, 0]), jnp.arange(len(amplitudes)))
    return jnp.concatenate(
        [amplitudes[None] * jnp.cos(angle), amplitudes[None] * jnp.sin(angle)], 1
    )
