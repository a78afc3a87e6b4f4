"""Labellings of images by a convolutional network."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp

from stimuli.space import StimulusSpace


@dataclass(frozen=True)
class CNN:
    """Convolutional network on square images, the paper's for MNIST (section 5.2).

    A convolution and ReLU per entry of ``channels``, then a weighted sum. The
    images are padded with zeros, so that filters fit them whatever their size;
    each convolution makes the side ``stride`` times shorter. The output is not
    bounded as the paper's is: the label distribution sees to that.
    """

    channels: tuple[int, ...] = (4, 8)
    kernel: int = 5
    stride: int = 2

    def __post_init__(self) -> None:
        """Refuse convolutions of no filter or of absurd size."""
        if not self.channels or not all(1 <= c <= 256 for c in self.channels):
            raise ValueError(
                f"channels are 1 to 256 for each convolution, got {self.channels}"
            )
        if not 1 <= self.kernel <= 15:
            raise ValueError(f"kernel must be 1 to 15, got {self.kernel}")
        if not 1 <= self.stride <= self.kernel:
            raise ValueError(
                f"stride must be 1 to {self.kernel}, the kernel, or pixels are "
                f"skipped, got {self.stride}"
            )

    def genes(self, space: StimulusSpace) -> int:
        """Weights and biases of all layers.

        Raises ``ValueError`` if stimuli of the space are not square images.
        """
        return sum((i + 1) * o for i, o in self._layers(space))

    def raw(self, space: StimulusSpace, theta: jax.Array, x: jax.Array) -> jax.Array:
        """Output of the network, weights scaled by 1/sqrt(inputs of the layer)."""
        side = _side(space)
        value, start = x.reshape(-1, side, side, 1), 0
        *convolutions, (inputs, _) = self._layers(space)
        for patch, outputs in convolutions:
            stop = start + (patch + 1) * outputs
            block = theta[start:stop].reshape(patch + 1, outputs)
            value = jax.nn.relu(_affine(block, self._convolve, value))
            start = stop
        block = theta[start:].reshape(inputs + 1, 1)
        return _affine(block, jnp.matmul, value.reshape(-1, inputs))[:, 0]

    def _convolve(self, image: jax.Array, weights: jax.Array) -> jax.Array:
        """Filters ``(kernel**2 * before, after)`` on ``(n, side, side, before)``."""
        filters = weights.reshape(self.kernel, self.kernel, image.shape[3], -1)
        return jax.lax.conv_general_dilated(
            image,
            filters,
            (self.stride, self.stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def _layers(self, space: StimulusSpace) -> list[tuple[int, int]]:
        """Inputs and outputs of each convolution's filters and of the sum."""
        side = _side(space)
        for _ in self.channels:
            side = math.ceil(side / self.stride)
        convolutions = pairwise((1, *self.channels))
        return [
            *((self.kernel**2 * before, after) for before, after in convolutions),
            (side**2 * self.channels[-1], 1),
        ]


def _affine(
    block: jax.Array,
    weigh: Callable[[jax.Array, jax.Array], jax.Array],
    value: jax.Array,
) -> jax.Array:
    """Weighted sums plus bias (last row), of unit size for unit genes."""
    drive = weigh(value, block[:-1])
    drive = drive + jnp.broadcast_to(block[-1], drive.shape)
    return drive * math.sqrt(2 / block.shape[0])


def _side(space: StimulusSpace) -> int:
    features = len(space.features)
    side = math.isqrt(features)
    if side**2 != features:
        raise ValueError(
            "a convolutional labelling expects square images as stimuli, "
            f"got {features} features"
        )
    return side
