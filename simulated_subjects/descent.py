"""Training by gradient descent: the inner loop of every network here."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

Loss = Callable[[Any, jax.Array], jax.Array]
"""Training loss of weights (any tree of arrays) at a step (scalar integer)."""


def descend(
    loss: Loss, weights: Any, optimiser: optax.GradientTransformation, steps: int
) -> Any:
    """Weights after ``steps`` full-batch steps; differentiable in all it is given.

    One ``lax.scan``, so that compiling does not grow with ``steps``.
    """

    def step(carry: Any, i: jax.Array) -> tuple[Any, None]:
        weights, state = carry
        slope = jax.grad(loss)(weights, i)
        updates, state = optimiser.update(slope, state, weights)
        return (optax.apply_updates(weights, updates), state), None

    start = (weights, optimiser.init(weights))
    (trained, _), _ = jax.lax.scan(step, start, jnp.arange(steps))
    return trained
