"""The no-learner null: what the search finds when no subject is listened to.

The same family, search, label distribution and orthogonality, with the
generalisation error at weight zero. A bias that the null finds as well is a
property of the pipeline and says nothing about the subject. Needs no session.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.engine import find_component
from meta_learner.evolution import Evolution
from meta_learner.label_distribution import PENALTIES
from meta_learner.labelling import Component, Labeller, Series
from meta_learner.objective import Objective

_TIE = 1e-6
"""Size of the random numbers that break ties between equal losses."""

def null_series(
    labeller: Labeller,
    search: Evolution,
    objective: Objective,
    generations: Sequence[int],
    key: jax.Array,
    replicates: int,
) -> Series:
    """Independent null series: every array has a leading axis of ``replicates``.

    ``generations`` (components,) is the budget of each component, 1 or more.
    """
    keys = jax.random.split(key, (replicates, len(generations)))
    series: Series = ()
    for i, budget in enumerate(generations):
        found = _null_component(
            labeller, search, objective, series, keys[:, i], jnp.asarray(budget)
        )
        series = (*series, found)
    return series


@partial(jax.jit, static_argnums=0)
def null_labels(labeller: Labeller, series: Series, x: jax.Array) -> jax.Array:
    """Labels of stimuli ``(n, features)`` by null series, one component or more.

    Shape ``(replicates, components, n)``.
    """
    return jax.lax.map(lambda one: labeller.component_labels(one, x), series)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _null_component(
    labeller: Labeller,
    search: Evolution,
    objective: Objective,
    series: Series,
    keys: jax.Array,
    generations: jax.Array,
) -> Component:
    """The next component of each replicate."""

    def losses(series: Series, theta: jax.Array, key: jax.Array) -> jax.Array:
        # Where losses are equal, order at random: selection is neutral drift.
        tie = _TIE * jax.random.uniform(key, theta.shape[:1])
        return _penalties(labeller, objective, series, theta) + tie

    def one(before: Series, key: jax.Array) -> Component:
        return find_component(labeller, search, losses, before, key, generations)

    return jax.vmap(one)(series, keys)


def _penalties(
    labeller: Labeller, objective: Objective, series: Series, theta: jax.Array
) -> jax.Array:
    """Weighted penalties (candidates,); zero where met by construction."""
    distribution = labeller.label_distribution in PENALTIES
    orthogonality = labeller.orthogonality == "penalty" and len(series) > 0
    weights = np.array(
        [
            objective.label_distribution_weight * distribution,
            objective.orthogonality_weight * orthogonality,
        ],
        np.float32,
    )
    if not weights.any():
        return jnp.zeros(theta.shape[0])
    # One candidate at a time, of all replicates: bounds the memory.
    return jax.lax.map(lambda one: labeller.penalties(series, one), theta) @ weights
