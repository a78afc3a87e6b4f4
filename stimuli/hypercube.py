"""Independent features, uniform in [0, 1] or Gaussian."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm, qmc

from stimuli.space import Feature


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
        draw = (
            jax.random.uniform if self.distribution == "uniform" else jax.random.normal
        )
        return draw(key, (n, self.dimensions))

    def present(self, x: Any) -> dict[str, Any]:
        """Activity of each glomerulus by name."""
        return {
            f.name: round(float(v), 6) for f, v in zip(self.features, x, strict=True)
        }

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """Products of orthonormal polynomials of total degree up to ``degree``."""
        single = (
            _legendre(2 * x - 1, degree)
            if self.distribution == "uniform"
            else _hermite(x, degree)
        )
        powers = np.array(_powers(self.dimensions, degree))
        chosen = single[:, np.arange(self.dimensions), powers]
        return chosen.prod(-1), jnp.asarray(powers.sum(1))

    def view(self, x: jax.Array) -> jax.Array:
        """The first two features (one feature: that feature and zero)."""
        if self.dimensions == 1:
            return jnp.concatenate([x, jnp.zeros_like(x)], 1)
        return x[:, :2]

    def grid(self, n: int) -> jax.Array:
        """``n`` points of a Halton sequence, mapped to p(x)."""
        cube = qmc.Halton(self.dimensions, scramble=False).random(n + 1)[1:]
        points = cube if self.distribution == "uniform" else norm.ppf(cube)
        return jnp.asarray(points, dtype=jnp.float32)


def _powers(dimensions: int, degree: int) -> list[tuple[int, ...]]:
    """Exponents of all monomials up to ``degree``, lowest total degree first."""
    if dimensions == 1:
        return [(k,) for k in range(degree + 1)]
    return sorted(
        (
            (head, *tail)
            for head in range(degree + 1)
            for tail in _powers(dimensions - 1, degree - head)
        ),
        key=sum,
    )


def _legendre(t: jax.Array, degree: int) -> jax.Array:
    """Legendre polynomials of mean square 1 on [-1, 1], ``(..., degree + 1)``."""
    terms = [jnp.ones_like(t), t]
    for k in range(1, degree):  # Bonnet's recurrence
        terms.append(((2 * k + 1) * t * terms[k] - k * terms[k - 1]) / (k + 1))
    scale = jnp.sqrt(2 * jnp.arange(degree + 1) + 1.0)
    return jnp.stack(terms[: degree + 1], -1) * scale


def _hermite(t: jax.Array, degree: int) -> jax.Array:
    """Hermite polynomials of mean square 1 under N(0, 1), ``(..., degree + 1)``."""
    terms = [jnp.ones_like(t), t]
    for k in range(1, degree):
        terms.append((t * terms[k] - jnp.sqrt(k) * terms[k - 1]) / jnp.sqrt(k + 1.0))
    return jnp.stack(terms[: degree + 1], -1)
