"""The fly's mushroom body: many hidden cells that see two inputs each."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from simulated_subjects.layers import Layer, check_descent, fit, uniform_layer

CONNECTIONS = 2
"""Inputs that each Kenyon cell is connected to."""

_GROUP_OF_TWO = (0, 1)


@dataclass(frozen=True)
class MushroomBody:
    """Glomeruli to Kenyon cells (ReLU, two inputs each) to one readout.

    Paper section 5.3, figure 7 and appendix E. Which two inputs a cell sees is
    drawn once per individual (key): any pair alike (``random``), the first
    input above all (``biased``), or mostly both of one group, {0, 1} or
    {2, 3, 4} (``grouped``); the last two are defined for five inputs. Both
    layers are drawn as PyTorch draws full ones, then learnt by full-batch
    gradient descent. The paper's code takes steps of .05 with 100 cells; the
    steepest curvature grows with the cells, and 150 excitatory ones diverge at
    that rate in some individuals, so here it is .03.

    ``excitatory`` weights to the Kenyon cells are absolute values of free
    ones: a step is as long as a free one, and one that would cross zero is
    reflected. Clipped at zero instead, a weight would not depend on the labels
    any more, and who trains the labels by gradient would see nothing of it.
    """

    kenyon_cells: int = 150
    connectivity: Literal["random", "biased", "grouped"] = "random"
    sign: Literal["free", "excitatory"] = "free"
    learning_rate: float = 0.03
    steps: int = 50

    def __post_init__(self) -> None:
        """Refuse numbers of cells for which there is no network, and no descent."""
        if not 1 <= self.kenyon_cells <= 100_000:
            raise ValueError(
                f"kenyon_cells must be 1 to 100000, got {self.kenyon_cells}"
            )
        check_descent(self.learning_rate, self.steps)

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[Layer, Layer]:
        """Layer to the Kenyon cells, two weights each and zeros, and readout.

        Raises ``ValueError`` if ``x`` have another number of features than the
        connectivity is defined for.
        """
        inputs, cells = x.shape[1], self.kenyon_cells
        mask_key, cell_key, readout_key = jax.random.split(key, 3)
        connected = self._connected(mask_key, inputs)
        born = (
            uniform_layer(cell_key, inputs, cells),
            uniform_layer(readout_key, cells, 1),
        )

        def effective(layers: tuple[Layer, Layer]) -> tuple[Layer, Layer]:
            (weights, bias), readout = layers
            if self.sign == "excitatory":
                weights = jnp.abs(weights)
            return Layer(weights * connected, bias), readout

        def output(layers: tuple[Layer, Layer], x: jax.Array) -> jax.Array:
            return self.predict(effective(layers), x)

        return effective(fit(output, born, x, y, self.learning_rate, self.steps))

    def predict(self, state: tuple[Layer, Layer], x: jax.Array) -> jax.Array:
        """Output of the network, shape ``(m,)``."""
        cells, readout = state
        return readout(jax.nn.relu(cells(x)))[:, 0]

    def _connected(self, key: jax.Array, inputs: int) -> jax.Array:
        """1 where an input reaches a cell, else 0: ``(inputs, kenyon_cells)``."""
        first_p, second_p = _probabilities(self.connectivity, inputs)
        first_key, second_key = jax.random.split(key)
        first = jax.random.categorical(
            first_key, jnp.log(first_p), shape=(self.kenyon_cells,)
        )
        second = jax.random.categorical(second_key, jnp.log(second_p)[first])
        return (jax.nn.one_hot(first, inputs) + jax.nn.one_hot(second, inputs)).T


def _probabilities(
    connectivity: str, inputs: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of a cell's first input ``(inputs,)``, and of its second given the first.

    The second, ``(inputs, inputs)``, has a row for each first input. Appendix E.
    """
    if connectivity == "random":
        if inputs < CONNECTIONS:
            raise ValueError(
                f"a mushroom body expects stimuli of 2 features or more, got {inputs}"
            )
        first = np.full(inputs, 1 / inputs)
    elif inputs != 5:
        raise ValueError(
            f"a mushroom body of {connectivity} connectivity expects stimuli of "
            f"exactly 5 features, got {inputs}"
        )
    elif connectivity == "biased":
        first = np.array([0.6, 0.1, 0.1, 0.1, 0.1])
    else:
        first = np.full(5, 0.2)
        return first, np.array([_second_if_grouped(i) for i in range(5)])
    # Without replacement: what is left shares out the probability of the first.
    others = first[None] * (1 - np.eye(inputs))
    return first, others / others.sum(1, keepdims=True)


def _second_if_grouped(first: int) -> list[float]:
    """Probabilities of the second input: most likely of the first one's group."""
    first_in_two = first in _GROUP_OF_TWO
    near, far = (0.85, 0.05) if first_in_two else (0.4, 0.1)
    return [
        0.0
        if second == first
        else near
        if (second in _GROUP_OF_TWO) == first_in_two
        else far
        for second in range(5)
    ]
