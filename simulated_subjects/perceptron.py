"""A fully connected network that can be warped and modulated."""

import math
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp

from simulated_subjects.layers import Layer
from simulated_subjects.procedure import Modulation, modulated


@dataclass(frozen=True)
class Perceptron:
    """ReLU network of ``inputs``, ``hidden`` layers and ``outputs``.

    Born with Gaussian weights of variance 2 / inputs (He et al. 2015) and biases
    uniform within ``bias``: without any, a hidden unit cannot tell odd orders above 1
    on a sphere. With a ``wave``, units of the first layer are sines of that many times
    their drive, for labels that change fast, which a ReLU network hardly ever comes to
    learn (Sitzmann et al. 2020).
    """

    inputs: int
    hidden: tuple[int, ...] = (40, 40)
    outputs: int = 1
    bias: float = 0.0
    wave: float = 0.0

    def __post_init__(self) -> None:
        """Refuse layers of no unit or of absurd size."""
        widths = (self.inputs, *self.hidden, self.outputs)
        if not self.hidden or not all(1 <= width <= 4096 for width in widths):
            raise ValueError(f"expected layers of 1 to 4096 units, got {widths}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return self.hidden

    def born(self, key: jax.Array) -> list[Layer]:
        """Layers, first to last."""
        widths = (self.inputs, *self.hidden, self.outputs)
        return [
            self._layer(layer_key, *pair)
            for layer_key, pair in zip(
                jax.random.split(key, len(widths) - 1), pairwise(widths), strict=True
            )
        ]

    def _layer(self, key: jax.Array, inputs: int, outputs: int) -> Layer:
        drawn = jax.random.normal(key, (inputs, outputs))
        limit, bias_key = self.bias, jax.random.fold_in(key, 1)
        bias = jax.random.uniform(bias_key, (outputs,), minval=-limit, maxval=limit)
        return Layer(math.sqrt(2 / inputs) * drawn, bias)

    def apply(
        self,
        weights: list[Layer],
        warps: list[jax.Array] | None,
        modulations: list[Modulation] | None,
        x: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """See :class:`~simulated_subjects.procedure.Network`."""
        *hidden, readout = weights
        for i, layer in enumerate(hidden):
            drive = layer(x)
            drive = drive if warps is None else drive @ warps[i]
            waves = self.wave and not i
            x = jnp.sin(self.wave * drive) if waves else jax.nn.relu(drive)
            if modulations is not None:
                x = modulated(x, modulations[i])
        return readout(x), x
