"""Labelling families: what a search vector theta means as a function of stimuli.

A family gives the *raw* function of a labelling; ``meta_learner.labelling``
makes labels of it. Every family is scaled so that genes drawn from N(0, 1) are
sensible functions: one step size serves all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import jax
import jax.numpy as jnp

from meta_learner.convolution import CNN
from stimuli.space import StimulusSpace

_WRITTEN_OUT = 32
"""Inputs of a layer up to which its sums are written out."""


class LabellingFamily(Protocol):
    """A set of functions of stimuli, indexed by a search vector ``theta``."""

    def genes(self, space: StimulusSpace) -> int:
        """Length of ``theta`` for this stimulus space."""
        ...

    def raw(self, space: StimulusSpace, theta: jax.Array, x: jax.Array) -> jax.Array:
        """The function at stimuli ``(n, features)``, shape ``(n,)``, any real."""
        ...


@dataclass(frozen=True)
class Linear:
    """Weighted sums of the stimulus features."""

    def genes(self, space: StimulusSpace) -> int:
        """One weight per feature."""
        return len(space.features)

    def raw(self, space: StimulusSpace, theta: jax.Array, x: jax.Array) -> jax.Array:
        """The weighted sum."""
        del space
        return x @ theta


@dataclass(frozen=True)
class Basis:
    """Sums of the space's orthonormal basis functions up to an order.

    Favours no order over another: what comes out smooth, the subject made so.
    """

    degree: int = 4

    def __post_init__(self) -> None:
        """Refuse degrees without a function or with far too many."""
        if not 1 <= self.degree <= 30:
            raise ValueError(f"degree must be 1 to 30, got {self.degree}")

    def genes(self, space: StimulusSpace) -> int:
        """One coefficient per basis function, without the constant."""
        return int(space.basis(space.grid(2), self.degree)[0].shape[1]) - 1

    def raw(self, space: StimulusSpace, theta: jax.Array, x: jax.Array) -> jax.Array:
        """The weighted sum of basis functions."""
        return space.basis(x, self.degree)[0][:, 1:] @ theta


@dataclass(frozen=True)
class MLP:
    """Multi-layer perceptron, the paper's meta-learner (section 2).

    ``output = "cos"`` is the paper's bounded output; ``linear`` leaves the
    bounds to the label distribution. Weights begin as large as keeps a ReLU
    network's activity (``he``), or as PyTorch draws them (``torch``), which
    makes smoother functions.
    """

    hidden: tuple[int, ...] = (16, 16)
    activation: Literal["relu", "tanh"] = "relu"
    output: Literal["linear", "cos"] = "linear"
    initialisation: Literal["he", "torch"] = "he"

    def __post_init__(self) -> None:
        """Refuse layers of no unit or of absurd size."""
        if not all(1 <= width <= 4096 for width in self.hidden):
            raise ValueError(f"hidden layers need 1 to 4096 units, got {self.hidden}")

    def genes(self, space: StimulusSpace) -> int:
        """Weights and biases of all layers."""
        return perceptron_genes(self._widths(space))

    def raw(self, space: StimulusSpace, theta: jax.Array, x: jax.Array) -> jax.Array:
        """Output of the network, weights scaled by 1/sqrt(inputs of the layer)."""
        gain = 2.0 if self.initialisation == "he" else 1 / 3
        value = perceptron(theta, x, self._widths(space), self.activation, gain)
        value = value[:, 0]
        return jnp.cos(value) if self.output == "cos" else value

    def _widths(self, space: StimulusSpace) -> tuple[int, ...]:
        return (len(space.features), *self.hidden, 1)


def perceptron_genes(widths: Sequence[int]) -> int:
    """Weights and biases of a perceptron with layers of these widths."""
    return sum((i + 1) * o for i, o in pairwise(widths))


def perceptron(
    theta: jax.Array,
    x: jax.Array,
    widths: Sequence[int],
    activation: Literal["relu", "tanh"],
    gain: float = 2.0,
) -> jax.Array:
    """Outputs of a multi-layer perceptron, ``(n, inputs)`` to ``(n, outputs)``.

    ``theta`` is scaled by sqrt(gain / inputs of the layer): N(0, 1) suits every gene.
    """
    hidden = jax.nn.relu if activation == "relu" else jnp.tanh
    # Units first: a row is the drive of one unit by all stimuli.
    rows, start = x.T, 0
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        stop = start + (inputs + 1) * outputs
        block = theta[start:stop].reshape(inputs + 1, outputs)
        drive = _weighted(block[:-1], rows) + block[-1][:, None]
        rows = drive * jnp.sqrt(gain / (inputs + 1))
        if layer < len(widths) - 2:
            rows = hidden(rows)
        start = stop
    return rows.T


@jax.custom_jvp
def _weighted(weights: jax.Array, rows: jax.Array) -> jax.Array:
    """Sums of ``rows`` ``(inputs, n)`` by ``weights`` ``(inputs, outputs)``."""
    if len(weights) > _WRITTEN_OUT:
        return weights.T @ rows
    # Many small products, one per labelling: on a CPU XLA needs three times as long for
    # them as for sums that are written out.
    terms = (w[:, None] * row[None] for w, row in zip(weights, rows, strict=True))
    return sum(terms, jnp.zeros((weights.shape[1], rows.shape[1])))


@_weighted.defjvp
def _weighted_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # As products, since gradients of written-out sums take three times as long.
    (weights, rows), (turned, moved) = primals, tangents
    return _weighted(weights, rows), turned.T @ rows + weights.T @ moved


FAMILIES: dict[str, type[LabellingFamily]] = {
    "linear": Linear,
    "basis": Basis,
    "mlp": MLP,
    "cnn": CNN,
}
