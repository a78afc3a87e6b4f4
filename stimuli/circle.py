"""Points on the unit circle, shown as an orientation or a direction."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from stimuli.space import Feature


@dataclass(frozen=True)
class Circle:
    """Uniform points on the unit circle; its basis is the Fourier series.

    As ``orientation`` one turn of the circle is 180 degrees of a grating or
    bar; as ``direction`` it is 360 degrees of motion or heading.
    """

    shown_as: Literal["orientation", "direction"] = "orientation"

    @property
    def features(self) -> tuple[Feature, ...]:
        """Cartesian coordinates on the circle."""
        return (Feature("x", "", -1.0, 1.0), Feature("y", "", -1.0, 1.0))

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw ``n`` points, shape ``(n, 2)``."""
        return _points(jax.random.uniform(key, (n,), maxval=2 * jnp.pi))

    def present(self, x: Any) -> dict[str, Any]:
        """Angle in degrees, counter-clockwise from the first axis."""
        period = 180.0 if self.shown_as == "orientation" else 360.0
        turns = np.arctan2(x[1], x[0]) / (2 * np.pi)
        return {f"{self.shown_as}_deg": round(float(turns * period), 4) % period}

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """Fourier series: 1, sqrt(2) cos(k angle), sqrt(2) sin(k angle)."""
        k = jnp.arange(1, degree + 1)
        angles = jnp.outer(jnp.arctan2(x[:, 1], x[:, 0]), k)
        waves = jnp.sqrt(2.0) * jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
        constant = jnp.ones((x.shape[0], 1))
        values = jnp.concatenate([constant, waves.reshape(x.shape[0], -1)], 1)
        return values, jnp.append(0, jnp.repeat(k, 2))

    def view(self, x: jax.Array) -> jax.Array:
        """The circle itself."""
        return x

    def grid(self, n: int) -> jax.Array:
        """``n`` evenly spaced points."""
        return _points(jnp.arange(n) * (2 * jnp.pi / n))


def _points(angle: jax.Array) -> jax.Array:
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
