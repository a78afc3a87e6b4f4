"""Verdict on recovered components, from sessions that measured nothing else.

The sessions are fresh and their number is fixed before the first of them, so that
neither the search, nor a model's mistake, nor a stopping rule can make a component
look easy to generalise that is not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import ttest_ind

LEVEL = 0.05
"""Probability that a study without bias confirms a component, at most."""


class Comparison(NamedTuple):
    """Relative error of controls less that of the component, with its interval.

    ``low`` and ``high`` bound it with 90 % confidence shared by all components of
    the study (Welch, Bonferroni); NaN where there are fewer than two sessions of each.
    """

    component_error: float
    control_error: float
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


def compare(
    component: ArrayLike, control: ArrayLike, components: int = 1
) -> Comparison:
    """Compare relative errors of sessions; NaN among them are left out."""
    first, second = (np.asarray(e, float)[np.isfinite(e)] for e in (component, control))
    own, other = (float(e.mean()) if len(e) else np.nan for e in (first, second))
    low = high = float("nan")
    if min(len(first), len(second)) > 1:
        test = ttest_ind(second, first, equal_var=False)
        bounds = test.confidence_interval(1 - 2 * LEVEL / components)
        low, high = float(bounds.low), float(bounds.high)
    return Comparison(own, other, other - own, low, high, len(first), len(second))


def verdicts(
    errors: Sequence[ArrayLike], null: ArrayLike, matched: Sequence[ArrayLike]
) -> list[Verdict]:
    """A verdict for each component, from relative errors of sessions."""
    return [
        Verdict(i, compare(own, null, len(errors)), compare(own, alike, len(errors)))
        for i, (own, alike) in enumerate(zip(errors, matched, strict=True))
    ]
