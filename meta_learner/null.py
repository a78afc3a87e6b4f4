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

from meta_learner.engine import run_search
from meta_learner.evolution import Evolution
from meta_learner.gradient import Gradient, State
from meta_learner.label_distribution import PENALTIES
from meta_learner.labelling import Component, Labeller, Series
from meta_learner.objective import Floats, Objective

_TIE = 1e-6
"""Size of the random numbers that break ties between equal losses."""


def null_series(
    labeller: Labeller,
    search: Evolution | Gradient,
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
        # Without penalties nothing depends on the series: one compiled search
        # then serves all components.
        seen = series if _weights(labeller, objective, series).any() else ()
        blind = _null_search if isinstance(search, Evolution) else _null_descent
        steps = jnp.asarray(budget)
        theta = blind(labeller, search, objective, seen, keys[:, i], steps)
        series = (*series, _freeze(labeller, series, theta))
    return series


@partial(jax.jit, static_argnums=0)
def _freeze(labeller: Labeller, series: Series, theta: jax.Array) -> Component:
    return jax.vmap(labeller.freeze)(series, theta)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _null_search(
    labeller: Labeller,
    search: Evolution,
    objective: Objective,
    series: Series,
    keys: jax.Array,
    generations: jax.Array,
) -> jax.Array:
    """Where the search ends in each replicate, ``(replicates, genes)``."""

    def one(before: Series, key: jax.Array) -> jax.Array:
        def losses(theta: jax.Array, key: jax.Array) -> jax.Array:
            # Where losses are equal, order at random: selection is neutral drift.
            tie = _TIE * jax.random.uniform(key, theta.shape[:1])
            return _penalties(labeller, objective, before, theta) + tie

        return run_search(search, losses, key, generations)

    return jax.vmap(one)(series, keys)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _null_descent(
    labeller: Labeller,
    search: Gradient,
    objective: Objective,
    series: Series,
    keys: jax.Array,
    steps: jax.Array,
) -> jax.Array:
    """Where a gradient search ends in each replicate, ``(replicates, genes)``.

    Without penalties it has no gradient, and stays where it began.
    """
    starts = jax.vmap(search.init)(keys)
    weights = _weights(labeller, objective, series)
    if not weights.any():
        begun: jax.Array = starts.mean
        return begun

    def one(before: Series, start: State) -> jax.Array:
        def loss(theta: jax.Array) -> jax.Array:
            return labeller.penalties(before, theta) @ weights

        def step(_: int, state: State) -> State:
            return search.step(state, jax.grad(loss)(state.theta))

        end: State = jax.lax.fori_loop(0, steps, step, start)
        return end.mean

    ends: jax.Array = jax.vmap(one)(series, starts)
    return ends


def _penalties(
    labeller: Labeller, objective: Objective, series: Series, theta: jax.Array
) -> jax.Array:
    """Weighted penalties (candidates,)."""
    weights = _weights(labeller, objective, series)
    if not weights.any():
        return jnp.zeros(theta.shape[0])
    # One candidate at a time, of all replicates: bounds the memory.
    both: jax.Array = jax.lax.map(lambda one: labeller.penalties(series, one), theta)
    return both @ weights


def _weights(labeller: Labeller, objective: Objective, series: Series) -> Floats:
    """Weight of each penalty (2,); zero where it is met by construction."""
    distribution = labeller.label_distribution in PENALTIES
    orthogonality = labeller.orthogonality == "penalty" and len(series) > 0
    return np.array(
        [
            objective.label_distribution_weight * distribution,
            objective.orthogonality_weight * orthogonality,
        ]
    )
