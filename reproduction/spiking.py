"""A spiking network that hears interaural phase differences: figure 5."""

from collections.abc import Sequence

import numpy as np

from analysis.finding import Finding
from analysis.recovery import Floats
from reproduction.claim import Claim, Entry, Result
from reproduction.drawing import map_panel
from reproduction.experiment import Experiment, fresh_errors, power_claim
from reproduction.settings import DIAGNOSTIC, Sections, components, session

SMALL: Sections = {
    "simulated_subject": {
        "learner": "spiking_network",
        "neurons_per_ear": 40,
        "hidden": 20,
        "time_steps": 25,
        "dt_ms": 2.0,
        "rate_max_hz": 500.0,
        "learning_rate": 0.06,
        "steps": 150,
    }
}
"""One period of the tone in steps of 2 ms: what two cores can train often."""

_EVOLUTION: Sections = {
    "search": {"method": "CMA_ES", "population": 16, "generations": 40}
}
"""By errors alone: see the note that the figure carries."""

_PHASES: Sections = {"stimuli": {"space": "phase_difference"}}


def fig5(experiment: Experiment) -> Result:
    """Three labellings of phase differences."""
    few = experiment.few()
    shown = (_PHASES, components(3))
    ours = few.run("spiking network", *shown, session(30, 50), _EVOLUTION, SMALL)
    diagnostic = experiment.run(
        "diagnostic, evolution", *shown, session(10, 50), _EVOLUTION, DIAGNOSTIC
    )
    by_chance = np.mean([_rises(row) for f in ours for row in _frequencies(f.null)])
    return Result(
        [
            Claim(
                "seeds in which frequency rises from 1 by the third labelling",
                "low-frequency functions first",
                tuple(map(_rises, np.concatenate([_found(f) for f in ours]))),
                target=1.0,
            ),
            power_claim(ours, slice(0, 2), 1, "low frequency", 0.9),
            power_claim(ours, 2, 2, "and then the next", 0.8),
            _rising_error(ours),
            power_claim(diagnostic, slice(0, 2), 2, "", 0.95, "diagnostic"),
        ],
        [
            (
                "A smaller network than the tutorial's (40 neurons an ear, 20 hidden "
                "ones, one period of the tone in 2 ms steps), and 3 seeds. The search "
                "is an evolution strategy: gradients through 150 steps of surrogate "
                "training come out 10,000 times too large and do not point along the "
                "finite differences of the true error (cosine -.05 and .14 for two "
                "labellings, 32 individuals each)."
            ),
            f"Without a learner the frequency rises in {by_chance:.0%} of the series.",
        ],
        [
            map_panel("spiking network", ours[0]),
            map_panel("diagnostic learner", diagnostic[0]),
        ],
    )


def _found(finding: Finding) -> Floats:
    return _frequencies(finding.recovered.power[None])


def _frequencies(power: Floats) -> Floats:
    """Leading frequency of each labelling, (series, labellings)."""
    leading: Floats = power.argmax(-1) + 1.0
    return leading


def _rises(frequencies: Sequence[float]) -> float:
    """1 if frequencies begin with 1, never fall and end higher, else 0."""
    first, *_, last = frequencies
    return float(first == 1 and last > 1 and bool((np.diff(frequencies) >= 0).all()))


def _rising_error(findings: Sequence[Finding]) -> Claim:
    errors = [fresh_errors(f)[:, 0] for f in findings]
    ratio = tuple(float(e[2] / e[:2].mean()) for e in errors)
    statement = "error of the third labelling over that of the first two"
    return Claim(statement, "increasingly poorly", ratio, target=1.5, share=False)


FIGURES = {
    "fig5": Entry(
        "spiking network, interaural phase differences",
        "The spiking network finds it easiest to learn low-frequency functions, the "
        "later ones increasingly poorly (section 5.1).",
        fig5,
        minutes=12,
    )
}
