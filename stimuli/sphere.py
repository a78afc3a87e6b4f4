"""Points on the unit sphere."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stimuli.space import Feature


@dataclass(frozen=True)
class Sphere:
    """Uniform points on the unit sphere; its basis are spherical harmonics.

    The space of the paper's kernel validation (figures 2C, 3C and 8).
    """

    @property
    def features(self) -> tuple[Feature, ...]:
        """Cartesian coordinates on the sphere."""
        return tuple(Feature(name, "", -1.0, 1.0) for name in "xyz")

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw ``n`` points, shape ``(n, 3)``."""
        # Drawn as one row, which a CPU does several times faster than rows of three.
        points = jax.random.normal(key, (3 * n,)).reshape(n, 3)
        length: jax.Array = jnp.linalg.norm(points, axis=-1, keepdims=True)
        return points / length

    def present(self, x: Any) -> dict[str, Any]:
        """Three shape parameters in [-1, 1] and the same point as two angles."""
        right, front, up = map(float, x)
        azimuth = math.degrees(math.atan2(front, right))
        elevation = math.degrees(math.asin(min(max(up, -1.0), 1.0)))
        return {
            "parameters": [round(v, 6) for v in (right, front, up)],
            "azimuth_deg": round(azimuth, 4) % 360.0,
            "elevation_deg": round(elevation, 4),
        }

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """Real spherical harmonics up to ``degree``, of mean square 1.

        Each order has its sines (m = -order .. -1) before its cosines.
        """
        order = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)
        m = np.arange(len(order)) - order * (order + 1)
        # (x + iy)^m has the azimuth in it, and sin(polar)^m too.
        turns = jnp.vander(x[:, 0] + 1j * x[:, 1], degree + 1, increasing=True)
        waves = jnp.where(m < 0, turns.imag[:, abs(m)], turns.real[:, abs(m)])
        scale = np.where(m == 0, 1.0, np.sqrt(2.0))
        heights = _legendre(x[:, 2:], degree)[:, order, abs(m)]
        return waves * heights * scale[None], jnp.array(order)

    def view(self, x: jax.Array) -> jax.Array:
        """Equal-area map of the whole sphere (Hammer projection)."""
        half_longitude = jnp.arctan2(x[:, 1], x[:, 0]) / 2
        cos_latitude = jnp.sqrt(jnp.clip(1 - x[:, 2] ** 2, 0.0))
        scale = jnp.sqrt(1 + cos_latitude * jnp.cos(half_longitude))
        return jnp.stack(
            [2 * cos_latitude * jnp.sin(half_longitude) / scale, x[:, 2] / scale], -1
        )

    def grid(self, n: int) -> jax.Array:
        """``n`` points of a Fibonacci spiral, which covers equal areas."""
        i = jnp.arange(n)
        z = 1 - (2 * i + 1) / n
        longitude = i * jnp.pi * (3 - jnp.sqrt(5.0))
        radius = jnp.sqrt(1 - z**2)
        return jnp.stack(
            [radius * jnp.cos(longitude), radius * jnp.sin(longitude), z], -1
        )


def _legendre(z: jax.Array, degree: int) -> jax.Array:
    """Associated Legendre functions without sin(polar)^m, ``(n, orders, m)``.

    Scaled so that the spherical harmonics made of them have mean square 1; by
    the recurrence in the order (Holmes & Featherstone 2002, equation 11).
    """
    m = np.arange(degree + 1)
    # An order enters at m = order with these values.
    entry = np.sqrt(np.cumprod(np.append(1.0, 1 + 0.5 / m[1:])))
    before = last = jnp.zeros((z.shape[0], degree + 1))
    rows = []
    for order in m:
        lower = m < order
        gap = np.where(lower, order**2 - m**2, 1)
        a = np.sqrt(lower * (4 * order**2 - 1) / gap)
        b = np.sqrt(lower * ((order - 1) ** 2 - m**2) / (4 * (order - 1) ** 2 - 1))
        now = a[None] * (z * last - b[None] * before) + (entry * (m == order))[None]
        before, last = last, now
        rows.append(now)
    return jnp.stack(rows, 1)
