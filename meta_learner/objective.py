"""The meta-loss: what a search minimises."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 0.01
"""Relative error below which a lower one earns little more in a ratio.

It is about what noise and test stimuli leave uncertain, and keeps the ratio finite.
"""


def single(errors: Any) -> Any:
    """The error of the only group."""
    return errors[..., 0]


def mean(errors: Any) -> Any:
    """Cooperative: easy on average over the groups."""
    return errors.mean(-1)


def worst(errors: Any) -> Any:
    """Cooperative: easy for the group that finds it hardest."""
    return errors.max(-1)


def difference(errors: Any) -> Any:
    """The paper's contrast (section 4).

    Fragile: it may be won by the neglected group's error alone, which has no bound,
    while the chosen group does not generalise at all.
    """
    return errors[..., 0] - errors[..., 1]


def bounded(errors: Any) -> Any:
    """Difference of errors counted up to 1, that of answering the mean; in [-1, 1]."""
    return difference(errors.clip(0, 1))


def ratio(errors: Any) -> Any:
    """Logarithm of the ratio of errors, each raised by ``FLOOR``."""
    # Errors freed of choice noise may be below zero.
    raised = errors.clip(0, None) + FLOOR
    return difference(raised.__array_namespace__().log(raised))


def normalised(errors: Any) -> Any:
    """Difference of errors over their sum; in (-1, 1).

    ``tanh(ratio / 2)``: the same order of candidates, so that a search by ranks
    cannot tell them apart, but bounded where the loss has other terms or is
    differentiated.
    """
    raised = errors.clip(0, None) + FLOOR
    return difference(raised) / raised.sum(-1)


CONTRASTS: dict[str, Callable[[Any], Any]] = {
    "difference": difference,
    "bounded": bounded,
    "ratio": ratio,
    "normalised": normalised,
}
"""Aims of two groups: easy for the first (chosen), hard for the second (neglected)."""

AIMS = {"single": single, "mean": mean, "worst": worst} | CONTRASTS
"""How the relative errors of groups become one number, smaller being better.

Each takes errors (candidates, groups) and returns (candidates,), of NumPy or JAX,
and can be differentiated. A candidate without an error in one group has none.
"""


@dataclass(frozen=True)
class Objective:
    """Weighted sum of relative generalisation error and the two penalties.

    The error counts relative to the variance of the labels, since shrinking
    the labels would lower it otherwise (``relative = False`` is the paper's raw
    error); ``aim`` says how groups of subjects count together. A penalty that
    labellings satisfy by construction is zero. With ``generalisation_weight = 0``
    the search has no learner: the null.
    """

    generalisation_weight: float = 1.0
    label_distribution_weight: float = 1.0
    orthogonality_weight: float = 1.0
    aim: str = "single"
    relative: bool = True

    def counted(self, error: Any, label_variance: Any) -> Any:
        """An error in squared label units as it counts in the meta-loss."""
        return error / label_variance if self.relative else error

    def combined(self, errors: Any) -> Any:
        """What the aim makes of errors (candidates, groups), shape (candidates,)."""
        return AIMS[self.aim](errors)

    def meta_losses(self, errors: Any, penalties: Any) -> Any:
        """Meta-losses (candidates,), NaN for candidates without an error.

        ``errors`` (candidates, groups) as :meth:`counted`; ``penalties``
        (candidates, 2), label distribution and orthogonality. NumPy or JAX.
        """
        weights = np.array([self.label_distribution_weight, self.orthogonality_weight])
        losses = penalties @ weights
        if self.generalisation_weight > 0:
            losses = losses + self.generalisation_weight * self.combined(errors)
        return losses
