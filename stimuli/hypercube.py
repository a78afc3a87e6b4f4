"""Independent features, uniform in [0, 1] or Gaussian."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from stimuli.polynomials import hermite, legendre, powers
from stimuli.space import Feature

MOST_FUNCTIONS = 10_000
"""Largest basis that is computed; more would not fit into memory."""


@dataclass(frozen=True)
class Hypercube:
    """``dimensions`` independent features; five are an odour-like glomerular code.

    The basis are products of the orthogonal polynomials of one feature
    (shifted Legendre for ``uniform``, Hermite for ``gaussian``); the order of a
    product is its total degree.
    """

    dimensions: int = 5
    distribution: Literal["uniform", "gaussian"] = "uniform"

    def __post_init__(self) -> None:
        """Refuse sizes that no basis or sample can serve."""
        if not 1 <= self.dimensions <= 20:
            raise ValueError(f"dimensions must be 1 to 20, got {self.dimensions}")

    @property
    def features(self) -> tuple[Feature, ...]:
        """One feature per dimension, in arbitrary units of activity."""
        low, high = (0.0, 1.0) if self.distribution == "uniform" else (-np.inf, np.inf)
        return tuple(
            Feature(f"glomerulus_{i + 1}", "a.u.", low, high)
            for i in range(self.dimensions)
        )

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw ``n`` stimuli, shape ``(n, dimensions)``."""
        if self.distribution == "uniform":
            return jax.random.uniform(key, (n, self.dimensions))
        return jax.random.normal(key, (n, self.dimensions))

    def present(self, x: Any) -> dict[str, Any]:
        """Activity of each glomerulus by name."""
        return {
            f.name: round(float(v), 6) for f, v in zip(self.features, x, strict=True)
        }

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """Products of orthonormal polynomials of total degree up to ``degree``.

        Raises ``ValueError`` for a degree that gives too many of them.
        """
        functions = math.comb(self.dimensions + degree, degree)
        if functions > MOST_FUNCTIONS:
            raise ValueError(
                f"degree {degree} in {self.dimensions} dimensions gives {functions} "
                f"basis functions: expected at most {MOST_FUNCTIONS}"
            )
        if self.distribution == "uniform":
            single = legendre(2 * x - 1, degree)
        else:
            single = hermite(x, degree)
        exponents = np.array(powers(self.dimensions, degree))
        chosen = single[:, np.arange(self.dimensions)[None], exponents]
        return chosen.prod(-1), jnp.asarray(exponents.sum(1))

    def view(self, x: jax.Array) -> jax.Array:
        """The first two features (one feature: that feature and zero)."""
        if self.dimensions == 1:
            return jnp.concatenate([x, jnp.zeros_like(x)], 1)
        return x[:, :2]

    def grid(self, n: int) -> jax.Array:
        """``n`` points of a Halton sequence, mapped to p(x)."""
        cube = scipy.stats.qmc.Halton(self.dimensions, scramble=False).random(n + 1)[1:]
        points = cube if self.distribution == "uniform" else scipy.stats.norm.ppf(cube)
        return jnp.asarray(points, dtype=jnp.float32)
