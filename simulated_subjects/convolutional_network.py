"""A network with one convolution, for square images."""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np

from simulated_subjects.layers import Layer, check_descent, fit, uniform_layer


@dataclass(frozen=True)
class ConvolutionalNetwork:
    """One convolution, ReLU and a linear readout; all weights are learnt.

    Paper section 5.2, figure 6, with its rate and number of steps; full batch,
    mean squared error, weights drawn as PyTorch does. Stimuli are square grey
    images, row by row. The filters move by ``stride`` pixels in place of
    pooling, within the image: what is left over at its lower and right edge
    is not seen. Each individual (key) draws its own weights. One that ``sees``
    only the asymmetry of an image, its difference from its mirror image, is a
    control subject: it can tell slant, and what goes with it.
    """

    channels: int = 8
    kernel: int = 5
    stride: int = 2
    learning_rate: float = 0.0025
    steps: int = 100
    sees: Literal["image", "asymmetry"] = "image"

    def __post_init__(self) -> None:
        """Refuse what is no convolution or no gradient descent."""
        for name, most in (("channels", 1024), ("kernel", 64), ("stride", 64)):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {value}")
        check_descent(self.learning_rate, self.steps)

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[Layer, Layer]:
        """Filters ``(kernel**2, channels)`` and the readout of their responses.

        Raises ``ValueError`` if ``x`` are not square images as large as a filter.
        """
        # Patches do not depend on the weights: cut once, training is then two
        # matrix products a step. Batched convolutions and their second
        # derivatives take XLA 25 times as long on a CPU.
        patches = self._patches(x)
        filter_key, readout_key = jax.random.split(key)
        born = (
            uniform_layer(filter_key, self.kernel**2, self.channels),
            uniform_layer(readout_key, patches.shape[1] * self.channels, 1),
        )
        return fit(_output, born, patches, y, self.learning_rate, self.steps)

    def predict(self, state: tuple[Layer, Layer], x: jax.Array) -> jax.Array:
        """Output of the network, shape ``(m,)``."""
        return _output(state, self._patches(x))

    def _patches(self, x: jax.Array) -> jax.Array:
        """What the filters see, ``(images, places, kernel**2)``, row by row."""
        side = math.isqrt(x.shape[1])
        if side**2 != x.shape[1] or side < self.kernel:
            raise ValueError(
                f"a convolutional network with kernel {self.kernel} expects square "
                f"images of at least {self.kernel} x {self.kernel} pixels as "
                f"stimuli, got {x.shape[1]} features"
            )
        starts = np.arange(0, side - self.kernel + 1, self.stride)
        along = starts[:, None] + np.arange(self.kernel)[None]
        pixels = side * along[:, None, :, None] + along[None, :, None, :]
        if self.sees == "asymmetry":
            images = x.reshape(-1, side, side)
            x = (images - images[:, :, ::-1]).reshape(x.shape)
        return x[:, pixels.reshape(len(starts) ** 2, self.kernel**2)]


def _output(layers: tuple[Layer, Layer], patches: jax.Array) -> jax.Array:
    convolution, readout = layers
    hidden = jax.nn.relu(convolution(patches))
    return readout(hidden.reshape(hidden.shape[0], -1))[:, 0]
