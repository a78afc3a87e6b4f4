"""Orthogonal polynomials of one variable, and their products over several."""

import math

import jax
import jax.numpy as jnp


def powers(dimensions: int, degree: int) -> list[tuple[int, ...]]:
    """Exponents of all monomials up to ``degree``, lowest total degree first."""
    if dimensions == 1:
        return [(k,) for k in range(degree + 1)]
    return sorted(
        (
            (head, *tail)
            for head in range(degree + 1)
            for tail in powers(dimensions - 1, degree - head)
        ),
        key=sum,
    )


def legendre(t: jax.Array, degree: int) -> jax.Array:
    """Legendre polynomials of mean square 1 on [-1, 1], ``(..., degree + 1)``."""
    terms = [jnp.ones_like(t), t]
    for k in range(1, degree):  # Bonnet's recurrence
        terms.append(((2 * k + 1) * t * terms[k] - k * terms[k - 1]) / (k + 1))
    scaled = [math.sqrt(2 * k + 1) * term for k, term in enumerate(terms)]
    return jnp.stack(scaled[: degree + 1], -1)


def hermite(t: jax.Array, degree: int) -> jax.Array:
    """Hermite polynomials of mean square 1 under N(0, 1), ``(..., degree + 1)``."""
    terms = [jnp.ones_like(t), t]
    for k in range(1, degree):
        next_term = t * terms[k] - math.sqrt(k) * terms[k - 1]
        terms.append(next_term / math.sqrt(k + 1))
    return jnp.stack(terms[: degree + 1], -1)
