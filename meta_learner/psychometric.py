"""From labels to choices: what a subject that knows the labels would answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from meta_learner.objective import Floats

FEWEST = 20
"""Answers below which nothing is fitted."""


@dataclass(frozen=True)
class Psychometric:
    """How a subject turns a label into choices, right being +1 and left -1.

    P(right) = lapse / 2 + (1 - lapse) * logistic(slope * (label + side_bias)).
    """

    slope: float = 2.0
    side_bias: float = 0.0
    lapse: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no psychometric function, or does not depend on labels."""
        if not 0 < self.slope < math.inf:
            raise ValueError(f"slope must be above 0 and finite, got {self.slope}")
        if not math.isfinite(self.side_bias):
            raise ValueError(f"side_bias must be finite, got {self.side_bias}")
        if not 0 <= self.lapse < 1:
            raise ValueError(f"lapse must be 0 or more and below 1, got {self.lapse}")

    def expected(self, labels: Any) -> Any:
        """Mean choice for each label, in [-1, 1]; an array of NumPy or JAX."""
        tanh = labels.__array_namespace__().tanh
        return (1 - self.lapse) * tanh(self.slope * (labels + self.side_bias) / 2)


def fit_psychometric(
    labels: Sequence[float], answers: Sequence[float]
) -> Psychometric | None:
    """Maximum likelihood, with weak priors, from choices (-1, +1) on known labels.

    Both (trials,), of many sessions together; ``None`` below ``FEWEST`` trials.
    The labels must be ones that the subject *knows*, as those of stimuli it was
    trained on: in test trials a shallow slope or lapses cannot be told from
    imperfect generalisation. What it knows badly makes the slope come out too low.
    """
    y, answer = np.asarray(labels, float), np.asarray(answers, float)
    if len(y) < FEWEST:
        return None

    def loss(values: Floats) -> float:
        likelihood = (1 + answer * _function(values).expected(y)) / 2
        return float(
            -np.log(np.maximum(likelihood, 1e-12)).sum()
            + ((values - _PRIOR_MEAN) ** 2 / (2 * _PRIOR_SD**2)).sum()
        )

    return _function(scipy.optimize.minimize(loss, _PRIOR_MEAN, bounds=_BOUNDS).x)


# Logarithm of the slope, side bias, log-odds of a lapse: about matching, .05 lapses.
_PRIOR_MEAN = np.array([math.log(2), 0.0, -3.0])
_PRIOR_SD = np.array([1.0, 0.5, 1.0])
_BOUNDS = [(math.log(0.01), math.log(100)), (-2.0, 2.0), (-10.0, 2.0)]


def _function(values: Floats) -> Psychometric:
    log_slope, side_bias, log_odds = map(float, values)
    lapse = 1 / (1 + math.exp(-log_odds))
    return Psychometric(math.exp(log_slope), side_bias, lapse)
