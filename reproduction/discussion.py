"""What the paper's discussion (section 6) proposes, built and measured."""

from functools import partial
from pathlib import Path

from reproduction.claim import Claim, Entry, Panel, Result
from reproduction.drawing import map_panel
from reproduction.experiment import Experiment, power_claim
from reproduction.generated import (
    draw_generated_inputs,
    draw_unsupervised,
    generated_inputs,
    unsupervised,
)
from reproduction.settings import DIAGNOSTIC, RELU_KERNEL, Sections, session

RECORDING = Path(__file__).parent / "recording.csv"
"""120 responses of eight model neurons to directions drawn at random.

Gaussian tuning 60 deg wide, 8 to 28 Hz, noise of 1.5 Hz.
"""

_RECORDED: Sections = {
    "stimuli": {"space": "recorded", "path": str(RECORDING), "variance_kept": 0.85},
    "labelling": {"degree": 3},
}


def inputs(experiment: Experiment) -> Result:
    """Inputs as well as labels from noise, for learners that favour one input."""
    numbers = generated_inputs(experiment.seeds)
    null = tuple(numbers["null"])
    claims = [
        Claim(
            f"{name}: its share of the inputs' variance", "", tuple(shares), null, 0.8
        )
        for name, shares in numbers["favoured"].items()
    ]
    claims += [
        Claim(f"share of the {name}", "", tuple(shares), null, role="diagnostic")
        for name, shares in numbers["diagnostic"].items()
    ]
    drawn = partial(draw_generated_inputs, numbers)
    return Result(claims, panels=[Panel("variance of the inputs found", drawn)])


def recorded(experiment: Experiment) -> Result:
    """Stimuli from a generative model of a recorded population."""
    shown = (_RECORDED, session(30, 50))
    ours = experiment.run("ReLU kernel", *shown, RELU_KERNEL)
    diagnostic = experiment.run("diagnostic", *shown, DIAGNOSTIC)
    return Result(
        [
            power_claim(ours, 0, 1, "", 0.95),
            power_claim(diagnostic, 0, 2, "", 0.8, "diagnostic"),
        ],
        [
            (
                "Orders are those of polynomials orthonormal under the fitted model. "
                "Even functions are of order 2 only where the distribution is nearly "
                "symmetric about its mean, as here."
            )
        ],
        [
            map_panel("ReLU kernel", ours[0]),
            map_panel("diagnostic learner", diagnostic[0]),
        ],
    )


def unlabelled(experiment: Experiment) -> Result:
    """Data sets on which principal components keep the similarity of inputs."""
    numbers = unsupervised(experiment.seeds)
    claims = []
    for k, explained in numbers["explained"].items():
        statement = f"PCA with {k}: variance of its data in the first {k}"
        null = tuple(numbers["null"][k])
        paper = "data in a linear subspace"
        claims.append(Claim(statement, paper, tuple(explained), null, 0.99))
        ratio = tuple(numbers["diagnostic"]["participation ratio"][k])
        statement = f"PCA with {k}: dimensions used (participation ratio)"
        claims.append(Claim(statement, "", ratio, share=False))
    drawn = partial(draw_unsupervised, numbers)
    return Result(claims, panels=[Panel("spectra of the data found", drawn)])


FIGURES = {
    "generated-inputs": Entry(
        "a meta-learner that makes inputs and labels from noise",
        "Proposed in the discussion: it could find the input statistics that a "
        "network is tuned to (section 6).",
        inputs,
    ),
    "recorded-inputs": Entry(
        "inputs like those of a recorded population",
        "Proposed in the discussion: generative modelling of neural data as the "
        "input distribution (section 6).",
        recorded,
    ),
    "unsupervised": Entry(
        "an unsupervised learner: principal components",
        "Proposed in the discussion: for PCA the meta-learner would learn data that "
        "lie in a linear subspace (section 6).",
        unlabelled,
    ),
}
