"""What each learnt part of a procedure does to a subject's bias for orders."""

from typing import Any

import jax
import jax.numpy as jnp

from meta_learner.assignment import named_key
from simulated_subjects.perceptron import Perceptron
from simulated_subjects.planted_family import Draw, family
from simulated_subjects.planting import Subject, relative_error
from simulated_subjects.procedure import Parts, Rule
from simulated_subjects.upbringing import Upbringing, bring_up
from stimuli.sphere import Sphere

BIAS = "order 2 harmonics"
ORDERS = (1, 2, 3, 4)

STIMULI = 30
"""From which a labelling is learnt."""

_UNLABELLED = 30
"""Stimuli that a subject remembers, and by which it is judged while brought up."""

STEPS, MORE_STEPS = 5, 100
"""Of all subjects, and of one that was not brought up and may learn for longer."""

_LEARNING_RATE, _CONTRAST = 0.05, 0.1

_NETWORK = Perceptron(len(Sphere().features), (32, 32))
_UPBRINGING = Upbringing(meta_steps=1000, tasks=8, rate=2e-3)

SETTINGS = {
    "bias": BIAS,
    "stimuli": STIMULI,
    "unlabelled": _UNLABELLED,
    "hidden": list(_NETWORK.hidden),
    "step size": _LEARNING_RATE,
}
"""What all rows share."""

PLANTED = {"steps": STEPS, "upbringing": _UPBRINGING._asdict()}
"""What those share that were brought up."""


def planted(parts: Parts, contrast: bool, seed: int) -> dict[str, Any]:
    """Relative error on each of :data:`ORDERS` of a subject planted with order 2.

    ``contrast``: it was also brought up to fail at what is not of order 2.
    """
    pool_key, key = jax.random.split(named_key(seed, BIAS))
    labellings = family(BIAS, Sphere(), STIMULI, pool_key)
    rule = Rule(parts, STEPS, _LEARNING_RATE)
    draw = Draw(STIMULI, _UNLABELLED, _CONTRAST if contrast else 0.0)
    procedure, _ = bring_up(rule, _NETWORK, _UPBRINGING, draw, labellings, key)
    remembered = labellings.x[:_UNLABELLED]
    return _row(Subject(rule, _NETWORK, procedure, remembered, {}), seed)


def as_born(steps: int, seed: int) -> dict[str, Any]:
    """The same of subjects that were not brought up; each has a start of its own."""
    rule = Rule(Parts(initialisation=False), steps, _LEARNING_RATE)
    nothing = jnp.zeros((0, _NETWORK.inputs))
    return _row(Subject(rule, _NETWORK, {}, nothing, {}), seed)


def _row(subject: Subject, seed: int) -> dict[str, Any]:
    """Errors on each order, and how many numbers were learnt over tasks."""
    errors = [
        relative_error(
            subject,
            family(f"order {order}", Sphere(), STIMULI, named_key(seed, f"{order}")),
            STIMULI,
            seed,
        )
        for order in ORDERS
    ]
    learnt = sum(w.size for w in jax.tree.leaves(subject.procedure))
    return {"errors": errors, "learnt": learnt}
