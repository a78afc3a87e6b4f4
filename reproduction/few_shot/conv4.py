"""The 4-CONV encoder of few-shot classification, as a network that can be warped."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simulated_subjects.layers import Layer, uniform_layer
from simulated_subjects.procedure import Modulation, modulated

_FLOOR = 1e-3
"""Added to a variance before it divides: a channel may be silent in a small batch."""


class Block(NamedTuple):
    """Filters ``(9 * channels, filters)``; gain and shift of each, ``(filters,)``."""

    filters: jax.Array
    gain: jax.Array
    shift: jax.Array


class Weights(NamedTuple):
    """All weights: of the encoder, and of the readout, which alone knows classes."""

    encoder: list[Block]
    readout: Layer


@dataclass(frozen=True)
class Conv4:
    """Blocks of convolution, and a linear readout (Vinyals et al. 2016).

    A block is 3 x 3 filters, normalised over the batch that is shown (never over
    others: support and query are each a batch), ReLU, and the largest of each 2 x 2
    pixels; an image of one pixel stays. Where published, ``filters`` are 64 and
    ``blocks`` 4. A warp mixes the channels after the filters, a modulation acts on
    each channel after the pooling. ``x`` are images ``(n, side, side, channels)``.
    """

    side: int
    channels: int = 3
    filters: int = 64
    outputs: int = 5
    blocks: int = 4

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        for name, most in (
            ("side", 1024),
            ("channels", 64),
            ("filters", 1024),
            ("outputs", 4096),
            ("blocks", 16),
        ):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {value}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each block."""
        return (self.filters,) * self.blocks

    @property
    def places(self) -> int:
        """Pixels that are left of an image."""
        return max(1, self.side >> self.blocks) ** 2

    def born(self, key: jax.Array) -> Weights:
        """Gaussian filters of variance 2 / inputs (He et al. 2015)."""
        *keys, last = jax.random.split(key, self.blocks + 1)
        inputs = [9 * n for n in (self.channels, *self.widths[:-1])]
        encoder = [
            Block(
                math.sqrt(2 / n) * jax.random.normal(k, (n, self.filters)),
                jnp.ones(self.filters),
                jnp.zeros(self.filters),
            )
            for k, n in zip(keys, inputs, strict=True)
        ]
        readout = uniform_layer(last, self.places * self.filters, self.outputs)
        return Weights(encoder, readout)

    def apply(
        self,
        weights: Weights,
        warps: list[jax.Array] | None,
        modulations: list[Modulation] | None,
        x: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """See :class:`~simulated_subjects.procedure.Network`.

        The last hidden layer is the mean over the pixels that are left. Raises
        ``ValueError`` for images of another size.
        """
        if x.shape[1:] != (self.side, self.side, self.channels):
            raise ValueError(
                f"expected images of {self.side} x {self.side} pixels and "
                f"{self.channels} channels, got {x.shape[1:]}"
            )
        for i, block in enumerate(weights.encoder):
            drive = neighbours(x) @ block.filters
            if warps is not None:
                drive = drive @ warps[i]
            x = _pooled(jax.nn.relu(_normalised(drive, block)))
            if modulations is not None:
                x = modulated(x, modulations[i])
        return weights.readout(x.reshape(len(x), -1)), jnp.mean(x, (1, 2))


def neighbours(x: jax.Array) -> jax.Array:
    """Each pixel with the 8 around it, zeros outside, ``(n, side, side, 9 * c)``.

    A convolution is then one matrix product. XLA's own, with filters of each task
    and a second derivative, takes 4 to 8 times as long on a CPU. Three shifts
    downwards and three sideways compile faster than nine.
    """
    side = x.shape[1]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = jnp.concatenate([x[:, i : i + side] for i in range(3)], -1)
    return jnp.concatenate([x[:, :, i : i + side] for i in range(3)], -1)


def _normalised(drive: jax.Array, block: Block) -> jax.Array:
    """Drive with mean 0 and variance 1 in each channel, then gain and shift."""
    apart = drive - jnp.mean(drive, (0, 1, 2), keepdims=True)
    variance = jnp.mean(apart**2, (0, 1, 2), keepdims=True)
    scale = block.gain[None, None, None] / jnp.sqrt(variance + _FLOOR)
    return apart * scale + block.shift[None, None, None]


def _pooled(x: jax.Array) -> jax.Array:
    """The largest of each 2 x 2 pixels; a last odd row and column are left out."""
    n, side, _, channels = x.shape
    if side == 1:
        return x
    half = side // 2
    x = x[:, : 2 * half, : 2 * half].reshape(n, half, 2, half, 2, channels)
    return jnp.max(x, (2, 4))
