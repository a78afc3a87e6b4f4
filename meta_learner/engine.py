"""The search for one component as one compiled loop, without server or journal.

For nulls, benchmarks and power analyses: what a study does over thousands of
sessions, in seconds.
"""

from collections.abc import Callable
from functools import partial

import jax

from meta_learner.evolution import Evolution, State
from meta_learner.labelling import Component, Labeller, Series

Losses = Callable[[Series, jax.Array, jax.Array], jax.Array]
"""Meta-losses (candidates,) of a series, candidates (candidates, genes) and a key."""


def find_component(
    labeller: Labeller,
    search: Evolution,
    losses: Losses,
    series: Series,
    key: jax.Array,
    generations: jax.Array | int,
) -> Component:
    """Run ``generations`` (1 or more) of a search and freeze where it ends.

    May be traced, with ``generations`` too: one compilation serves any budget.
    """
    theta = run_search(search, partial(losses, series), key, generations)
    return labeller.freeze(series, theta)


def run_search(
    search: Evolution,
    losses: Callable[[jax.Array, jax.Array], jax.Array],
    key: jax.Array,
    generations: jax.Array | int,
) -> jax.Array:
    """Where a search stands after ``generations`` (1 or more), ``(genes,)``."""
    start, later = jax.random.split(key)

    def generation(i: jax.Array | int, state: State) -> State:
        ask_key, loss_key = jax.random.split(jax.random.fold_in(later, i))
        theta, state = search.ask(state, ask_key)
        return search.tell_all(state, theta, losses(theta, loss_key))

    state, done = search.init(start), 0
    if state.inner is None:
        # A population-based strategy: its state changes shape with its first
        # results. Only here, since a second copy doubles the time to compile.
        state, done = generation(0, state), 1
    return search.best(jax.lax.fori_loop(done, generations, generation, state))
