"""Response models: from a learner's prediction to a lifelike response."""

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp


class ResponseModel(Protocol):
    """How a simulated subject answers. Implementations are frozen dataclasses."""

    def respond(
        self, key: jax.Array, prediction: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Responses to predicted labels, and whether there was one at all.

        Both have the shape of ``prediction``; responses are in [-1, 1].
        """
        ...


def _check_probability(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a probability: 0 to 1, got {value}")


@dataclass(frozen=True)
class Graded:
    """A number in [-1, 1] (slider, lick rate, preference index) with noise.

    ``noise`` is the standard deviation of the response, ``omission`` the
    probability of none.
    """

    noise: float = 0.0
    omission: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no standard deviation or no probability."""
        if not 0 <= self.noise < math.inf:
            raise ValueError(
                f"noise is a standard deviation: 0 or more, got {self.noise}"
            )
        _check_probability(omission=self.omission)

    def respond(
        self, key: jax.Array, prediction: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Prediction plus noise, clipped to the response range."""
        noise_key, omission_key = jax.random.split(key)
        noise = self.noise * jax.random.normal(noise_key, prediction.shape)
        responded = jax.random.uniform(omission_key, prediction.shape) >= self.omission
        return jnp.clip(prediction + noise, -1.0, 1.0), responded


@dataclass(frozen=True)
class TwoChoice:
    """Right (+1) or left (-1), by a psychometric function with lapses.

    P(right) = lapse / 2 + (1 - lapse) * logistic(slope * (prediction + side_bias)).
    With ``slope = 2`` a prediction near zero is matched, as P(right) = (1 + y) / 2.
    """

    slope: float = 2.0
    side_bias: float = 0.0
    lapse: float = 0.0
    omission: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no psychometric function."""
        if not 0 <= self.slope < math.inf:
            raise ValueError(f"slope must be 0 or more and finite, got {self.slope}")
        if not math.isfinite(self.side_bias):
            raise ValueError(f"side_bias must be finite, got {self.side_bias}")
        _check_probability(lapse=self.lapse, omission=self.omission)

    def respond(
        self, key: jax.Array, prediction: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Choices drawn from the psychometric function."""
        choice_key, omission_key = jax.random.split(key)
        intended = jax.nn.sigmoid(self.slope * (prediction + self.side_bias))
        p_right = self.lapse / 2 + (1 - self.lapse) * intended
        right = jax.random.uniform(choice_key, prediction.shape) < p_right
        responded = jax.random.uniform(omission_key, prediction.shape) >= self.omission
        return jnp.where(right, 1.0, -1.0), responded


RESPONSE_MODELS: dict[str, type[ResponseModel]] = {
    "graded": Graded,
    "choice": TwoChoice,
}
"""Response model of each kind of response that a session can ask for."""
