"""The meta-loss: what a search minimises."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """Weighted sum of relative generalisation error and the two penalties.

    The error counts relative to the variance of the labels, since shrinking
    the labels would lower it otherwise. A penalty that labellings satisfy by
    construction is zero. With ``generalisation_weight = 0`` the search has no
    learner: the null.
    """

    generalisation_weight: float = 1.0
    label_distribution_weight: float = 1.0
    orthogonality_weight: float = 1.0

    def meta_losses(self, relative_errors: Floats, penalties: Floats) -> Floats:
        """Meta-losses (candidates,), NaN for candidates without an error.

        ``relative_errors`` (candidates,); ``penalties`` (candidates, 2), label
        distribution and orthogonality.
        """
        weights = np.array([self.label_distribution_weight, self.orthogonality_weight])
        losses: Floats = penalties @ weights
        if self.generalisation_weight > 0:
            losses = losses + self.generalisation_weight * relative_errors
        return losses
