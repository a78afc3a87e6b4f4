"""Planting a bias: a subject is brought up on labellings of one family only."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simulated_subjects.perceptron import Perceptron
from simulated_subjects.planted_family import LABEL_STD, Draw, Family, family
from simulated_subjects.procedure import (
    PROCEDURES,
    Adapted,
    Parts,
    Procedure,
    Rule,
    adapt,
    outputs,
)
from simulated_subjects.upbringing import Upbringing, bring_up
from stimuli import random_keys
from stimuli.space import StimulusSpace

HIDDEN = (32, 32)
WAVE = 2.0
"""Of its first layer: a ReLU network cannot be taught high frequencies."""

STEPS, LEARNING_RATE = 5, 0.05
"""Of a planted subject's own learning: few, as the procedure does the rest."""

LIMIT = 10.0
"""Norm of its gradients, at most: far above what labels of a study give."""

FRESH_STEPS = 100
"""Of one that was not brought up."""

UPBRINGING = Upbringing(meta_steps=600, tasks=8, rate=4e-3)

CONTRAST = 0.1
"""Weight of tasks that are to stay hard, beside 1 of those that are to be easy."""

_TASKS = 200
"""By which a relative error is measured."""

_QUERY = 30
"""Stimuli without labels that a subject remembers and looks at while it learns."""


class Subject(NamedTuple):
    """A network with a procedure, and the stimuli that it remembers.

    ``remembered`` (m, features) were seen without labels; ``about`` says where the
    subject comes from.
    """

    rule: Rule
    network: Perceptron
    procedure: Procedure
    remembered: jax.Array
    about: dict[str, str]


def plant(
    bias: str,
    space: StimulusSpace,
    training_stimuli: int,
    seed: int,
    upbringing: Upbringing = UPBRINGING,
    parts: Parts = PROCEDURES["npbml"],
    contrast: float = CONTRAST,
) -> Subject:
    """A subject to which the labellings of a bias come easily, and others do not.

    Meta-trained on tasks of ``training_stimuli``; about half a minute. ``contrast``
    is the weight of tasks that are to stay hard. See
    :func:`~simulated_subjects.planted_family.family` for the biases. Raises
    ``ValueError`` where the space has no such bias, or no upbringing came of it.
    """
    pool_key, key = jax.random.split(random_keys.key(seed))
    labellings = family(bias, space, training_stimuli, pool_key)
    rule = Rule(parts, STEPS, LEARNING_RATE, limit=LIMIT)
    network = _network(len(space.features))
    draw = Draw(training_stimuli, _QUERY, contrast)
    procedure, errors = bring_up(rule, network, upbringing, draw, labellings, key)
    if not jnp.isfinite(errors[-1]):
        raise ValueError(
            f"{bias}: the upbringing diverged with seed {seed}; try another seed"
        )
    about = {
        "bias": bias,
        "space": repr(space),
        "training_stimuli": str(training_stimuli),
        "seed": str(seed),
        "upbringing": repr(upbringing),
        "contrast": str(contrast),
    }
    remembered = labellings.x[:_QUERY]
    return Subject(rule, network, procedure, remembered, about)


def fresh(features: int) -> Subject:
    """One that was not brought up: each individual draws a start of its own.

    It takes :data:`FRESH_STEPS`, without which plain descent learns next to nothing.
    """
    rule = Rule(Parts(initialisation=False), FRESH_STEPS, LEARNING_RATE)
    network = _network(features)
    nothing = jnp.zeros((0, features))
    return Subject(rule, network, {}, nothing, {})


def _network(features: int) -> Perceptron:
    return Perceptron(features, HIDDEN, bias=1.0, wave=WAVE)


def learn(subject: Subject, key: jax.Array, x: jax.Array, y: jax.Array) -> Adapted:
    """The subject after stimuli ``(n, features)`` with labels ``(n,)``."""
    rule, network, procedure, remembered, _ = subject
    return adapt(rule, network, procedure, key, x, y, remembered)


def relative_error(
    subject: Subject, labellings: Family, training_stimuli: int, seed: int
) -> float:
    """Mean squared error over the variance of labels, on labellings of a family.

    Mean of :data:`_TASKS` tasks; 1 is that of who says the mean.
    """
    keys = jax.random.split(random_keys.key(seed), _TASKS)
    rule, network, procedure, remembered, _ = subject
    draw = Draw(training_stimuli, _QUERY)
    errors = _relative_errors(
        rule, network, draw, procedure, remembered, labellings, keys
    )
    return float(errors.mean())


@partial(jax.jit, static_argnums=(0, 1, 2))
def _relative_errors(
    rule: Rule,
    network: Perceptron,
    draw: Draw,
    procedure: Procedure,
    remembered: jax.Array,
    labellings: Family,
    keys: jax.Array,
) -> jax.Array:
    subject = Subject(rule, network, procedure, remembered, {})

    def one(key: jax.Array) -> jax.Array:
        task_key, subject_key = jax.random.split(key)
        task = draw(labellings, task_key)
        learnt = learn(subject, subject_key, task.x, task.y)
        said = outputs(network, learnt, task.query)[:, 0]
        return jnp.mean((said - task.wanted) ** 2) / LABEL_STD**2

    errors: jax.Array = jax.lax.map(one, keys)
    return errors
