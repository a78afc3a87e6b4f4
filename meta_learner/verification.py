"""Verdict on recovered components, from sessions that measured nothing else.

The sessions are fresh and their number is fixed before the first of them, so that
neither the search, nor a model's mistake, nor a stopping rule can make a component
look easy to generalise that is not.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy
from numpy.typing import NDArray

LEVEL = 0.05
"""Probability that a study without bias confirms a component, at most."""


class Measured(NamedTuple):
    """Sessions on labellings of one role, ``(sessions,)`` each; NaN for none.

    ``shortfalls`` are 1 less the slope of answers on labels, ``errors`` relative
    generalisation errors: both 0 where all is generalised, and 1 where nothing is.
    """

    errors: NDArray[np.float64]
    shortfalls: NDArray[np.float64]


class Comparison(NamedTuple):
    """Shortfall of controls less that of the component, with its interval.

    ``low`` and ``high`` bound the ``difference`` with 90 % confidence shared by all
    components of the study (Welch, Bonferroni); NaN where there are fewer than two
    sessions of each.
    """

    component_error: float
    control_error: float
    component_shortfall: float
    control_shortfall: float
    difference: float
    low: float
    high: float
    component_sessions: int
    control_sessions: int

    @property
    def easier(self) -> bool:
        """Whether the component is easier to generalise than the controls."""
        return self.low > 0


class Verdict(NamedTuple):
    """Whether a component is confirmed: easier than the null's labellings.

    ``matched`` compares with random labellings of the same power in each order: it
    says whether the component is special among those as smooth as itself.
    """

    component: int
    null: Comparison
    matched: Comparison

    @property
    def confirmed(self) -> bool:
        """Easier than what is found without any subject."""
        return self.null.easier

    @property
    def beyond_smoothness(self) -> bool:
        """Easier than labellings of the same power in each order."""
        return self.matched.easier


def matched_controls(
    coefficients: NDArray[Any], order: NDArray[np.int64], n: int, key: jax.Array
) -> NDArray[np.float32]:
    """Random coefficients with the power of ``coefficients`` in each order.

    ``coefficients`` and ``order`` (functions - 1,), the constant left out; returns
    ``(n, functions - 1)``.
    """
    within = order[:, None] == np.arange(1, order.max() + 1)
    amplitude = np.sqrt(coefficients**2 @ within)
    noise = np.asarray(jax.random.normal(key, (n, len(coefficients))))
    length = np.sqrt(noise**2 @ within)
    scaled: NDArray[np.float32]
    scaled = (noise / (length @ within.T) * (amplitude @ within.T)).astype(np.float32)
    return scaled


def compare(component: Measured, control: Measured, components: int = 1) -> Comparison:
    """Compare sessions on a component with those on its controls.

    By shortfalls, which are linear in the answers: of 50 choices an error, a square,
    has a standard error above 1, and a shortfall one of a quarter.
    """
    own, other = (m.shortfalls[np.isfinite(m.shortfalls)] for m in (component, control))
    low = high = float("nan")
    if min(len(own), len(other)) > 1:
        test = scipy.stats.ttest_ind(other, own, equal_var=False)
        bounds = test.confidence_interval(1 - 2 * LEVEL / components)
        low, high = float(bounds.low), float(bounds.high)
    return Comparison(
        _mean(component.errors),
        _mean(control.errors),
        _mean(own),
        _mean(other),
        _mean(other) - _mean(own),
        low,
        high,
        len(own),
        len(other),
    )


def verdicts(
    components: Sequence[Measured], null: Measured, matched: Sequence[Measured]
) -> list[Verdict]:
    """A verdict for each component, from the sessions that measured it."""
    count = len(components)
    return [
        Verdict(i, compare(own, null, count), compare(own, alike, count))
        for i, (own, alike) in enumerate(zip(components, matched, strict=True))
    ]


def _mean(values: NDArray[np.float64]) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")
