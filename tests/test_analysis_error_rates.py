"""Two hundred studies of subjects whose bias is known: how often the analysis is right.

Each study: 120 sessions on mixtures of orders, in generations that share stimuli. What
a true error is was measured apart, on labels purely of an order.
"""

import numpy as np
import pytest
from planted_studies import Studies, studies, true_errors
from scipy.stats import binom

from analysis.spectrum import bias_spectrum, is_biased
from meta_learner.assignment import Design
from meta_learner.spectrum import LEVEL
from simulated_subjects.fourier_ridge import FourierRidge
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.unteachable import Unteachable
from stimuli.circle import Circle
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STUDIES = 200
DESIGN = Design(training_stimuli=10, test_stimuli=50)
ALPHA = 0.05

PLANTED: dict[str, tuple[StimulusSpace, Learner, int, int]] = {
    "order 5": (Circle(), FourierRidge(), 6, 5),
    "order 2": (Sphere(), KernelRidge(activation="absolute", penalty=0.1), 4, 2),
    "order 1": (Sphere(), KernelRidge(penalty=0.1), 4, 1),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_errors_lie_in_their_intervals_as_often_as_said(planted: str) -> None:
    space, learner, degree, easiest = PLANTED[planted]
    true = true_errors(space, learner, DESIGN, degree)
    told = studies(space, learner, DESIGN, degree, STUDIES)
    spectra = [
        bias_spectrum(own, told.powers).iloc[:degree]
        for _, own in told.sessions.groupby("study")
    ]
    inside = np.array([(s["low"] <= true) & (true <= s["high"]) for s in spectra])
    found = np.array([s["error"].argmin() + 1 for s in spectra])
    print(planted, "true", true.round(3), "inside", inside.mean(0))
    print(planted, "mean", np.mean([s["error"] for s in spectra], 0).round(3))
    print(planted, "found", np.mean(found == easiest))
    # Each order by itself at one in a thousand, the planted one among them.
    least, most = binom.ppf((0.0005, 0.9995), STUDIES, LEVEL)
    assert (inside.sum(0) >= least).all()
    assert (inside.sum(0) <= most).all()
    assert np.mean(found == easiest) > 0.5
    assert _declared(told, 20) == 20


@pytest.mark.parametrize("name", ["unteachable", "even-handed"])
def test_no_bias_is_found_where_there_is_none(name: str) -> None:
    """At 5 %, as often as chance allows: at most 18 of 200 (one in 200 by chance)."""
    learner = Unteachable() if name == "unteachable" else None
    told = studies(Sphere(), learner, DESIGN, 4, STUDIES)
    declared = _declared(told, STUDIES)
    print(name, "declared biased", declared, "of", STUDIES)
    assert declared <= binom.ppf(0.995, STUDIES, ALPHA)


def _declared(told: Studies, n: int) -> int:
    """Of the first ``n`` studies, those whose spectrum is said not to be flat."""
    return sum(
        is_biased(own, told.powers, resamples=199, seed=int(study)).p_value <= ALPHA
        for study, own in told.sessions.groupby("study")
        if study < n
    )
