"""Phase difference of a tone between the two ears."""

import math
from dataclasses import dataclass
from typing import Any

import jax

from stimuli.circle import Circle
from stimuli.space import Feature


@dataclass(frozen=True)
class PhaseDifference:
    """A tone whose phase at the right ear leads that at the left.

    Paper section 5.1: phase differences are "sampled uniformly" (figure 5), here
    over the full turn, so that no difference is at an edge. A stimulus is the
    point (cos, sin) of its phase difference: neither learners nor labellings
    see a cut in the circle, and the basis is the Fourier series.
    """

    frequency_hz: float = 20.0

    def __post_init__(self) -> None:
        """Refuse a frequency that is no tone."""
        if not 0 < self.frequency_hz < math.inf:
            raise ValueError(
                f"frequency_hz must be above 0 and finite, got {self.frequency_hz}"
            )

    @property
    def features(self) -> tuple[Feature, ...]:
        """Cosine and sine of the phase difference."""
        return (Feature("cos", "", -1.0, 1.0), Feature("sin", "", -1.0, 1.0))

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw ``n`` phase differences, shape ``(n, 2)``."""
        return _CIRCLE.sample(key, n)

    def present(self, x: Any) -> dict[str, Any]:
        """Tone in Hz, and phase of the right ear minus that of the left, [0, 360)."""
        phase = _CIRCLE.present(x)["direction_deg"]
        return {"frequency_hz": self.frequency_hz, "phase_deg": phase}

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """Fourier series in the phase difference."""
        return _CIRCLE.basis(x, degree)

    def view(self, x: jax.Array) -> jax.Array:
        """The circle of phase differences."""
        return _CIRCLE.view(x)

    def grid(self, n: int) -> jax.Array:
        """``n`` evenly spaced phase differences."""
        return _CIRCLE.grid(n)


_CIRCLE = Circle("direction")
