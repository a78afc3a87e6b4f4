"""A ReLU network of any depth, trained by gradient descent."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp

from simulated_subjects.layers import Layer, check_descent, fit, uniform_layer


@dataclass(frozen=True)
class ReluNetwork:
    """Fully connected ReLU network; all weights and biases are learnt.

    Paper appendix A, figure 9 (two hidden layers) and figure 1C (depth 2 and
    8): full-batch gradient descent on the mean squared error. ``torch`` draws
    weights and biases within 1 / sqrt(inputs), PyTorch's default; eight such
    layers pass on next to nothing of the stimulus and learn nothing at this
    rate. ``he`` keeps the signal's size through any number of layers (He et
    al. 2015): take it for deep networks. Each individual (key) draws its own.
    """

    hidden: tuple[int, ...] = (20, 20)
    learning_rate: float = 0.025
    steps: int = 200
    initialisation: Literal["torch", "he"] = "torch"

    def __post_init__(self) -> None:
        """Refuse layers of no unit or of absurd size, and what is no descent."""
        if not all(1 <= width <= 4096 for width in self.hidden):
            raise ValueError(f"hidden layers need 1 to 4096 units, got {self.hidden}")
        check_descent(self.learning_rate, self.steps)

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> list[Layer]:
        """Layers of the trained network, first to last."""
        widths = (x.shape[1], *self.hidden, 1)
        draw = uniform_layer if self.initialisation == "torch" else _he_layer
        born = [
            draw(layer_key, inputs, outputs)
            for layer_key, (inputs, outputs) in zip(
                jax.random.split(key, len(widths) - 1), pairwise(widths), strict=True
            )
        ]
        return fit(_output, born, x, y, self.learning_rate, self.steps)

    def predict(self, state: list[Layer], x: jax.Array) -> jax.Array:
        """Output of the network, shape ``(m,)``."""
        return _output(state, x)


def _output(layers: list[Layer], x: jax.Array) -> jax.Array:
    *hidden, readout = layers
    for layer in hidden:
        x = jax.nn.relu(layer(x))
    return readout(x)[:, 0]


def _he_layer(key: jax.Array, inputs: int, outputs: int) -> Layer:
    """Gaussian weights of variance 2 / inputs, biases zero."""
    weights = math.sqrt(2 / inputs) * jax.random.normal(key, (inputs, outputs))
    return Layer(weights, jnp.zeros(outputs))
