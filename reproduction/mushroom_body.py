"""The mushroom body's connectivity and its bias: figure 7."""

from collections.abc import Callable, Sequence

import numpy as np

from analysis.finding import Finding
from analysis.recovery import Floats, labels_at
from reproduction.claim import Claim, Entry, Result, Role
from reproduction.drawing import map_panel
from reproduction.experiment import Experiment, null_labels_at
from reproduction.settings import Sections, mlp, session

SEEDS = 10
"""At least so many: a random direction in five dimensions is often near an axis."""

DEPENDS = 0.8
"""Share of variance from which a labelling depends on one input or the group means."""

OVERCONNECTED = 0
GROUPS = ((0, 1), (2, 3, 4))
_STIMULI = 4096
_DEGREE = 4

STUDIES: dict[str, dict[str, str]] = {
    "random": {"connectivity": "random"},
    "biased": {"connectivity": "biased"},
    "grouped": {"connectivity": "grouped"},
    "grouped, excitatory": {"connectivity": "grouped", "sign": "excitatory"},
    "random, excitatory": {"connectivity": "random", "sign": "excitatory"},
}


def fig7(experiment: Experiment) -> Result:
    """One labelling for each connectivity, and for a network without sparsity."""
    first, count = experiment.seeds[0], max(SEEDS, len(experiment.seeds))
    seeds = range(first, first + count)
    many = experiment.with_seeds(seeds)
    found = {
        name: many.run(name, *_study(options)) for name, options in STUDIES.items()
    }
    full = {"learner": "relu_network", "hidden": [150], "steps": 50}
    dense = many.run("fully connected", *_study({}), {"simulated_subject": full})
    return Result(
        _claims(found, dense),
        [
            (
                "A random labelling has little of its variance in group means, so "
                "that at most .8 there shows only what E lacks beside F."
            )
        ],
        panels=[map_panel(name, each[0], 1) for name, each in found.items()],
    )


def _claims(found: dict[str, list[Finding]], dense: Sequence[Finding]) -> list[Claim]:
    """The four verdicts, each with its control."""
    return [
        _claim(
            found["random"],
            "B, random: largest share of one input",
            one_input,
            "depends on one input",
        ),
        _claim(
            dense,
            "fully connected: largest share of one input",
            one_input,
            "no preferred direction",
            diagnostic=True,
        ),
        _claim(
            found["biased"],
            "C, biased: share of the over-connected input",
            over_connected,
            "depends on the over-connected input",
        ),
        _claim(
            found["random"],
            "random: share of that input",
            over_connected,
            "",
            diagnostic=True,
        ),
        _claim(
            found["grouped"],
            "E, grouped: largest share of one input",
            one_input,
            "the neuron basis is still preferred",
        ),
        _claim(
            found["grouped"],
            "E, grouped: share of the group means",
            group_means,
            "does not generalise over the group",
            at_most=True,
        ),
        _claim(
            found["grouped, excitatory"],
            "F, grouped and excitatory: share of the group means",
            group_means,
            "generalises across group members",
        ),
        _claim(
            found["random, excitatory"],
            "random and excitatory: share of the group means",
            group_means,
            "",
            diagnostic=True,
        ),
    ]


def one_input(x: Floats, y: Floats) -> float:
    """Largest share of the variance of labels that one input explains by itself."""
    return max(_explained(x[:, [i]], y) for i in range(x.shape[1]))


def over_connected(x: Floats, y: Floats) -> float:
    """The same for the over-connected input."""
    return _explained(x[:, [OVERCONNECTED]], y)


def group_means(x: Floats, y: Floats) -> float:
    """Share that the mean activities of both groups explain together."""
    means = np.stack([x[:, list(group)].mean(1) for group in GROUPS], 1)
    return _explained(means, y)


def _explained(x: Floats, y: Floats) -> float:
    """Share of variance explained by a polynomial of some variables, (n, variables)."""
    z = (x - x.mean(0)) / x.std(0)
    powers = np.indices((_DEGREE + 1,) * x.shape[1]).reshape(x.shape[1], -1)
    powers = powers[:, powers.sum(0) <= _DEGREE]
    terms = np.prod(z[:, :, None] ** powers[None], 1)
    rest = y - terms @ np.linalg.lstsq(terms, y, rcond=None)[0]
    return float(1 - rest.var() / y.var())


def _study(options: Sections | dict[str, str]) -> tuple[Sections, ...]:
    """Odours of five glomeruli, labels by a network as in the paper."""
    return (
        {"stimuli": {"space": "hypercube", "distribution": "gaussian"}},
        session(50, 300),
        mlp(50, 50),
        {"search": {"generations": 300}},
        {"simulated_subject": {"learner": "mushroom_body", **options}},
    )


def _claim(
    findings: Sequence[Finding],
    statement: str,
    statistic: Callable[[Floats, Floats], float],
    paper: str,
    at_most: bool = False,
    diagnostic: bool = False,
) -> Claim:
    study = findings[0].record.study
    grid = study.labeller.space.grid(_STIMULI)
    x = np.asarray(grid, np.float64)
    values = [
        statistic(x, labels_at(f.record.study.labeller, f.recovered.series, grid)[0])
        for f in findings
    ]
    null = [statistic(x, y[0]) for y in null_labels_at(findings, grid)]
    target = None if diagnostic else DEPENDS
    role: Role = "diagnostic" if diagnostic else "ours"
    return Claim(statement, paper, tuple(values), tuple(null), target, at_most, role)


FIGURES = {
    "fig7": Entry(
        "connectivity of the mushroom body",
        "With random sparse connections the labelling depends on one input; with "
        "biased ones on the over-connected input; grouped ones generalise over a group "
        "only if they are excitatory (section 5.3).",
        fig7,
        minutes=6,
    )
}
