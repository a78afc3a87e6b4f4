"""Whether what a study file names fits together, found without computing."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from meta_learner.families import LabellingFamily
from simulated_subjects.catalogue import LEARNERS
from simulated_subjects.learner import Learner
from stimuli import random_keys
from stimuli.space import StimulusSpace


def misfits(
    space: StimulusSpace, family: LabellingFamily, learners: Mapping[str, Learner]
) -> list[str]:
    """One line for each section that does not fit the space; none if all do.

    ``learners`` are those of the groups, by name.
    """
    key, x, y = random_keys.key(0), _array(10, len(space.features)), _array(10)

    def label() -> None:
        def raw(theta: jax.Array, x: jax.Array) -> jax.Array:
            return family.raw(space, theta, x)

        jax.eval_shape(raw, _array(family.genes(space)), x)

    def learn(learner: Learner) -> None:
        state = jax.eval_shape(learner.train, key, x, y)
        jax.eval_shape(learner.predict, state, x)

    faults = _fault("labelling", label)
    for group, learner in learners.items():
        section = f"groups.{group}" if group else "simulated_subject"
        faults += _fault(section, learn, learner)
    return faults


def learner_named(name: str, space: StimulusSpace, family: LabellingFamily) -> Learner:
    """A learner with its defaults; raises ``ValueError`` if it does not fit."""
    if name not in LEARNERS:
        known = ", ".join(sorted(LEARNERS))
        raise ValueError(f"unknown learner {name!r}; known: {known}")
    learner = LEARNERS[name]()
    if faults := misfits(space, family, {"": learner}):
        raise ValueError(f"{name}: {faults[0].partition(': ')[2]}")
    return learner


def _array(*shape: int) -> Any:
    """The outline of an array, without numbers."""
    return jax.eval_shape(lambda: jnp.zeros(shape))


def _fault(section: str, attempt: Callable[..., None], *arguments: Any) -> list[str]:
    try:
        attempt(*arguments)
    except (ValueError, TypeError) as error:  # TypeError: shapes, in JAX
        return [f"{section}: {error}"]
    return []
