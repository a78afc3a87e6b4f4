"""One setting of ours for all figures, and the paper's own for each, where known.

The paper's are those of its public code (ridge and kernel learners, mushroom body,
ReLU network); their weights were chosen by hand for each figure, of which each has one
set here: figure 3C's are those of all labellings but the first. Step sizes are their
learning rates in units of a hidden weight's initial standard deviation, and Sinkhorn
weights are halved, since theirs counts half of the squared distance. What stays ours:
their disk is our circle, each individual draws its own random features, and the label
distribution is that of 512 reference stimuli in place of the session's.
"""

import json
from collections.abc import Mapping
from typing import Any

Sections = Mapping[str, Mapping[str, Any]]
"""A study file as sections of options."""


def merged(*sections: Sections) -> dict[str, dict[str, Any]]:
    """Sections together: later options win; another choice drops the old options."""
    whole: dict[str, dict[str, Any]] = {}
    for each in sections:
        for name, options in each.items():
            before = whole.get(name, {})
            choice = {"family", "method", "space", "learner"} & set(options)
            chosen = any(before.get(key) != options[key] for key in choice)
            whole[name] = dict(options) if chosen else before | dict(options)
    return whole


def to_toml(sections: Sections) -> str:
    """A study file; JSON values are TOML values."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in options.items())
        for name, options in sections.items()
    )


OURS: Sections = {
    "labelling": {"family": "basis", "degree": 4},
    "search": {"method": "adam", "population": 8, "generations": 600},
}
"""Default objective, which all figures share, and labels that favour no order."""

RELU_KERNEL: Sections = {
    "simulated_subject": {"learner": "kernel_ridge", "activation": "relu"}
}
DIAGNOSTIC: Sections = {
    "simulated_subject": {"learner": "kernel_ridge", "activation": "absolute"}
}
"""Cannot represent any odd function: its first component is of order 2."""

RIDGE: Sections = {"simulated_subject": {"learner": "ridge"}}
CIRCLE: Sections = {"stimuli": {"space": "circle"}}
SPHERE: Sections = {"stimuli": {"space": "sphere"}}


def session(training: int, test: int) -> Sections:
    """How many stimuli are shown with and without their label."""
    return {"session": {"training_stimuli": training, "test_stimuli": test}}


def components(n: int) -> Sections:
    """How many orthogonal labellings are found."""
    return {"study": {"components": n}}


def mlp(*hidden: int, **options: str) -> Sections:
    """Labellings by a multi-layer perceptron, as the paper's."""
    return {"labelling": {"family": "mlp", "hidden": list(hidden), **options}}


def _torch(*hidden: int, output: str = "linear") -> Sections:
    return mlp(*hidden, output=output, initialisation="torch")


def _paper(distribution: float, orthogonality: float, **options: Any) -> Sections:
    """The paper's meta-loss: raw error, penalties with weights."""
    return {
        "objective": {
            "error": "raw",
            "label_distribution": "sinkhorn",
            "label_distribution_weight": distribution,
            "orthogonality": "penalty",
            "orthogonality_weight": orthogonality,
            **options,
        }
    }


def _adagrad(meta_steps: int, step_size: float) -> Sections:
    return {
        "search": {
            "method": "adagrad",
            "population": 1,
            "generations": meta_steps,
            "step_size": step_size,
        }
    }


_DOT_PRODUCTS = (1000 / 3) ** 2
"""Squared dot products over 1000 uniform labels, in squared correlations."""

_ADAM: Sections = {"search": {"method": "adam", "population": 1}}

SHOWN: dict[str, tuple[Sections, ...]] = {
    "fig2b": (CIRCLE, session(6, 24), RIDGE),
    "fig2c": (SPHERE, session(20, 80), RELU_KERNEL),
    "fig3b": (CIRCLE, session(6, 24), components(3), RIDGE),
    "fig3c": (SPHERE, session(6, 24), components(6), RELU_KERNEL),
    "fig7": (
        {"stimuli": {"space": "hypercube", "distribution": "gaussian"}},
        session(50, 300),
        {"simulated_subject": {"learner": "mushroom_body"}},
    ),
    "fig9": (
        SPHERE,
        session(30, 300),
        components(6),
        {"simulated_subject": {"learner": "relu_network"}},
    ),
}
"""What the paper's subjects are shown in a figure, and who they are."""

PAPER: dict[str, tuple[Sections, ...]] = {
    "fig2b": (_torch(150, 150, output="cos"), _paper(1.0, 0.0), _adagrad(100, 0.2)),
    "fig2c": (_torch(150, 150, output="cos"), _paper(0.05, 0.0), _adagrad(100, 0.2)),
    "fig3b": (_torch(20, 20, 20, 20), _paper(5e5, _DOT_PRODUCTS), _adagrad(200, 0.08)),
    "fig3c": (_torch(20, 20, 20, 20), _paper(5e5, _DOT_PRODUCTS), _adagrad(1000, 0.08)),
    "fig7": (
        _torch(150, 150),
        _paper(0.25, 0.0),
        merged(_ADAM, {"search": {"generations": 200, "step_size": 0.05}}),
    ),
    "fig9": (
        _torch(150, 150),
        _paper(10.0, 1e-3 * _DOT_PRODUCTS, label_distribution="energy"),
        merged(_ADAM, {"search": {"generations": 500, "step_size": 0.2}}),
    ),
}
"""The paper's labelling family, meta-loss and optimiser for a figure."""


def paper_study(figure: str) -> str:
    """The study file of a figure with the paper's own settings."""
    study = {"study": {"name": f"paper-{figure}", "seed": 1}}
    return to_toml(merged(*SHOWN[figure], *PAPER[figure], study))
