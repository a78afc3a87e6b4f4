"""Layers of the networks here: how they are drawn at birth, and how they are fit."""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from simulated_subjects.descent import descend

Weights = TypeVar("Weights")

_FEW = 4
"""Inputs that are added one by one."""


class Layer(NamedTuple):
    """Weights ``(inputs, outputs)`` and biases ``(outputs,)``."""

    weights: jax.Array
    bias: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        """Drive of the outputs, ``(..., inputs)`` to ``(..., outputs)``."""
        rows = x.reshape(-1, x.shape[-1])
        drive = weighted(rows, self.weights)
        drive = drive.reshape(*x.shape[:-1], self.weights.shape[1])
        return drive + jnp.broadcast_to(self.bias, drive.shape)


@jax.custom_jvp
def weighted(x: jax.Array, weights: jax.Array) -> jax.Array:
    """``x @ weights``, ``(n, inputs)`` by ``(inputs, outputs)``, quick when small.

    Networks here are small and many, each with weights of its own. A CPU then adds a
    few inputs faster than it multiplies matrices.
    """
    if x.shape[1] > _FEW:
        return x @ weights
    terms = (x[:, i, None] * weights[None, i] for i in range(x.shape[1]))
    return sum(terms, jnp.zeros((x.shape[0], weights.shape[1]), x.dtype))


@weighted.defjvp
def _weighted_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x, weights), (moved, changed) = primals, tangents
    # On the way back this is (turned x) @ slopes. XLA would fold the turning into the
    # product, and small products with a turned left side take it twice as long.
    turned = x.T
    if weights.shape[1] > 1:
        turned = jax.lax.optimization_barrier(turned)  # type: ignore[no-untyped-call]
    by_weights = jnp.einsum("in,io->no", turned, changed)
    return weighted(x, weights), moved @ weights + by_weights


def uniform_layer(key: jax.Array, inputs: int, outputs: int) -> Layer:
    """A layer as PyTorch draws it: weights and biases within 1 / sqrt(inputs)."""
    bound = 1 / math.sqrt(inputs)
    weights_key, bias_key = jax.random.split(key)
    return Layer(
        jax.random.uniform(weights_key, (inputs, outputs), minval=-bound, maxval=bound),
        jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound),
    )


def fit(
    network: Callable[[Weights, jax.Array], jax.Array],
    born: Weights,
    x: jax.Array,
    y: jax.Array,
    learning_rate: float,
    steps: int,
) -> Weights:
    """Weights after full-batch gradient descent on the mean squared error.

    ``network`` gives the outputs ``(n,)`` of weights at ``x``, ``n`` stimuli in
    whatever form it takes them; ``y`` are their labels ``(n,)``.
    """

    def error(weights: Weights, step: jax.Array) -> jax.Array:
        del step  # all stimuli at every step
        return jnp.mean((network(weights, x) - y) ** 2)

    trained: Weights = descend(error, born, optax.sgd(learning_rate), steps)
    return trained


def check_descent(learning_rate: float, steps: int) -> None:
    """Refuse a step size or a number of steps that is no gradient descent."""
    if not 0 < learning_rate < math.inf:
        raise ValueError(
            f"learning_rate must be above 0 and finite, got {learning_rate}"
        )
    if not 1 <= steps <= 100_000:
        raise ValueError(f"steps must be 1 to 100000, got {steps}")
