"""ReLU networks trained by gradient descent, and contrasts: figures 1C, 4B, 9, 12."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.finding import Finding
from analysis.recovery import Floats
from reproduction.claim import Claim, Entry, Result
from reproduction.drawing import map_panel
from reproduction.experiment import (
    Experiment,
    fresh_errors,
    label_deviation,
    null_errors,
    power_claim,
)
from reproduction.settings import (
    DIAGNOSTIC,
    SPHERE,
    Sections,
    components,
    mlp,
    session,
)

NETWORK: Sections = {"simulated_subject": {"learner": "relu_network"}}
FEW: Sections = {"search": {"population": 4, "generations": 300}}
"""Networks are trained step by step: fewer individuals, fewer meta-steps."""

DEPTHS = (0, 1, 2, 3, 4)
Options = Mapping[str, Any]

_DEEP: Options = {"learner": "relu_network", "initialisation": "he"}
_SHALLOW: Options = {**_DEEP, "hidden": [20] * 2}
_EIGHT: Options = {**_DEEP, "hidden": [20] * 8}


def fig1c(experiment: Experiment) -> Result:
    """What tells a network of two hidden layers from one of eight."""
    pairs = {
        "two layers chosen, eight neglected": (_SHALLOW, _EIGHT),
        "eight layers chosen, two neglected": (_EIGHT, _SHALLOW),
    }
    shown = (SPHERE, session(30, 60), FEW)
    result = Result()
    for name, pair in pairs.items():
        found = experiment.few().run(name, *shown, _contrast(*pair))
        errors, paper = _errors(found), "different generalisation"
        result.claims += [_ratio(errors, name, paper, 1.5), _chosen_error(errors, name)]
        result.panels += [map_panel(name, found[0], 1)]
    result.notes.append(
        "The paper calls this contrast hard to make robust if the learners are "
        "similar; ours minimises the difference of errors over their sum."
    )
    return result


def fig4b(experiment: Experiment) -> Result:
    """A labelling for the kernel learner that the linear one cannot generalise."""
    kernel, linear = {"learner": "kernel_ridge"}, {"learner": "ridge"}
    even = {"learner": "kernel_ridge", "activation": "absolute"}
    shown = (SPHERE, session(50, 150))
    ours = experiment.run("kernel over linear", *shown, _contrast(kernel, linear))
    theirs = experiment.run(
        "kernel over linear, paper's difference",
        *shown,
        _contrast(kernel, linear, "difference"),
    )
    other = experiment.run("linear over even", *shown, _contrast(linear, even))
    both = (*shown, {"groups.relu": kernel, "groups.even": even})
    easy = {
        aim: experiment.run(f"easy for both, {aim}", *both, {"objective": {"aim": aim}})
        for aim in ("mean", "worst")
    }
    errors, paper = _errors(ours), "an order of magnitude"
    return Result(
        [
            _ratio(errors, "kernel over linear", paper, 20.0),
            _chosen_error(errors, "kernel over linear"),
            _ratio(_errors(theirs), "the same by the paper's difference", paper),
            power_claim(ours, 0, 2, "not linearly separable", 0.8),
            power_claim(other, 0, 1, "", 0.95, "diagnostic", "linear over even: "),
            *(
                _worse_error(
                    _errors(found),
                    f"cooperative, {aim}: the worse error of ReLU and even",
                )
                for aim, found in easy.items()
            ),
            power_claim(easy["worst"], 0, 2, "", 0.8, which="cooperative, worst: "),
        ],
        panels=[
            map_panel("kernel chosen, linear neglected", ours[0], 1),
            map_panel("diagnostic: linear chosen, even kernel neglected", other[0], 1),
            map_panel("cooperative: easy for both kernels", easy["worst"][0], 1),
        ],
    )


def fig9(experiment: Experiment) -> Result:
    """Six labellings for a network of two hidden layers."""
    shown = (SPHERE, session(30, 60))
    ours = experiment.few().run("network", *shown, FEW, components(6), NETWORK)
    diagnostic = experiment.run("diagnostic", *shown, components(3), DIAGNOSTIC)
    return Result(
        [
            *_orders(ours, "six smooth functions of increasing frequency"),
            _rise(ours, "and of increasing error"),
            power_claim(diagnostic, slice(0, 3), 2, "", 0.95, "diagnostic"),
        ],
        panels=[
            map_panel("ReLU network", ours[0]),
            map_panel("diagnostic learner", diagnostic[0]),
        ],
    )


def fig12(experiment: Experiment) -> Result:
    """The same with labellings by networks of no to four hidden layers."""
    shown = (SPHERE, session(30, 60), FEW, components(6), NETWORK)
    result = Result()
    for depth in DEPTHS:
        family = mlp(*[20] * depth)
        found = experiment.few().run(f"depth {depth}", *shown, family)
        which = f"depth {depth}: "
        if depth == 0:
            spread = tuple(float(label_deviation(f)[3:].max()) for f in found)
            result.claims += [
                Claim(
                    f"{which}largest standard deviation of labels 4 to 6",
                    "no more than three",
                    spread,
                    target=0.1,
                    at_most=True,
                ),
            ]
        else:
            paper = "three of order 1, three of order 2"
            result.claims += _orders(found, paper, which)
        result.panels += [map_panel(f"labels by {depth} hidden layers", found[0])]
    return result


def _contrast(chosen: Options, neglected: Options, aim: str = "normalised") -> Sections:
    return {
        "objective": {"aim": aim, "chosen": "chosen"},
        "groups.chosen": chosen,
        "groups.neglected": neglected,
    }


def _orders(found: Sequence[Finding], paper: str, which: str = "") -> list[Claim]:
    """Three of order 1, then three of order 2."""
    return [
        power_claim(found, slice(0, 3), 1, paper, 0.9, which=which),
        power_claim(found, slice(3, 6), 2, paper, 0.8, which=which),
    ]


def _rise(found: Sequence[Finding], paper: str) -> Claim:
    errors = [fresh_errors(f)[:, 0] for f in found]
    ratio = tuple(float(e[3:].mean() / e[:3].mean()) for e in errors)
    statement = "mean error of labellings 4 to 6 over that of 1 to 3"
    return Claim(statement, paper, ratio, target=1.5, share=False)


def _errors(found: Sequence[Finding]) -> tuple[Floats, Floats]:
    """Errors of first labellings on fresh individuals: (seeds, groups), and the null's.

    That of the null is (replicates, groups).
    """
    ours = np.stack([fresh_errors(finding)[0] for finding in found])
    return ours, np.concatenate([null_errors(finding) for finding in found])


def _ratio(
    errors: tuple[Floats, Floats],
    which: str,
    paper: str,
    target: float | None = None,
) -> Claim:
    """Error of the neglected learner over that of the chosen."""
    values, null = (e[:, 1] / np.maximum(e[:, 0], 1e-6) for e in errors)
    statement = f"{which}: error of neglected over chosen"
    return Claim(statement, paper, tuple(values), tuple(null), target, share=False)


def _chosen_error(errors: tuple[Floats, Floats], which: str) -> Claim:
    values, null = (tuple(e[:, 0]) for e in errors)
    return Claim(f"{which}: error of the chosen", "", values, null, 0.5, at_most=True)


def _worse_error(errors: tuple[Floats, Floats], statement: str) -> Claim:
    values, null = (tuple(e.max(1)) for e in errors)
    return Claim(statement, "", values, null, 0.1, at_most=True)


FIGURES = {
    "fig1c": Entry(
        "networks of different depth generalise differently",
        "A network of two and one of eight hidden layers generalise the same data "
        "differently (figure 1C); contrasts of similar learners are hard to make "
        "robust (section 4).",
        fig1c,
        minutes=4,
    ),
    "fig4b": Entry(
        "a labelling for the kernel learner and not for the linear one",
        "Kernel regression generalises it an order of magnitude better than linear "
        "regression (section 4).",
        fig4b,
    ),
    "fig9": Entry(
        "six orthogonal labellings, ReLU network by gradient descent",
        "Six smooth classifications that increase in frequency and in error "
        "(appendix A).",
        fig9,
        minutes=4,
    ),
    "fig12": Entry(
        "the meta-learner's depth",
        "With two to four hidden layers three functions of order 1 and three of "
        "order 2; a linear one finds no more than three (appendix D).",
        fig12,
        minutes=12,
    ),
}
