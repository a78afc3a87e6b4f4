"""Whole simulated studies as one compiled program: many seeds, no journal.

For power analyses and sweeps: what `server.dry_run` does generation by generation, and
a journal records, for all generations and components of many studies at once. Draws are
those of a journalled study of the same seed, and so are its results, but for rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from meta_learner.assignment import (
    Assignments,
    Design,
    Slot,
    draw_assignments,
    named_key,
    penalties,
)
from meta_learner.evolution import Evolution, State
from meta_learner.labelling import Labeller, Series
from meta_learner.objective import Objective
from meta_learner.psychometric import Psychometric
from meta_learner.scoring import meta_losses, session_error
from server.study_file import Study
from simulated_subjects.individual import individual_key, run_sessions
from simulated_subjects.learner import Learner
from simulated_subjects.responses import ResponseModel

_ON_CPU, _ON_ACCELERATOR = 64, 64
"""Sessions that run side by side on a CPU, whose caches hold no more, and studies that
do on an accelerator."""

_RARE = 1e-3
"""Sessions without an error in a study, above which they are reckoned with."""

Names = jax.Array
"""Checksums of session names, of which individuals are born.

``(components, generations, candidates, attempts, groups)``.
"""


@dataclass(frozen=True)
class Recipe:
    """All that studies have in common but the seed; static argument.

    ``subjects`` are sessions of each group on a candidate, ``re_evaluated`` the best
    candidates of a generation that get one more.
    """

    labeller: Labeller
    design: Design
    search: Evolution
    objective: Objective
    groups: tuple[str, ...]
    learners: tuple[Learner, ...]
    responses: ResponseModel
    psychometric: Psychometric | None
    components: int
    generations: int
    subjects: int
    re_evaluated: int


class WholeStudies(NamedTuple):
    """Studies that ran, a leading axis of studies in every array.

    ``series``, what was found; ``standing`` (studies, components, generations, genes)
    where the search stood after each generation, the last of which was frozen;
    ``errors`` (studies, components, generations) the lowest of each generation.
    """

    series: Series
    standing: jax.Array
    errors: jax.Array


def recipe_of(study: Study) -> Recipe:
    """The recipe of a study.

    Raises ``ValueError`` for one that only runs by its journal: whose search is no
    evolution strategy on its own, which gives noisy candidates more subjects, or whose
    subjects leave so much out that sessions are run again.
    """
    if why := _journalled(study):
        raise ValueError(why)
    file, search = study.file, study.search
    assert isinstance(search, Evolution)
    learners = study.stand_ins()
    return Recipe(
        study.labeller,
        study.design,
        search,
        study.objective,
        study.groups,
        tuple(learners[group] for group in study.groups),
        study.responses,
        study.psychometric,
        file.study.components,
        file.search.generations,
        file.allocation.subjects_per_candidate,
        min(file.search.re_evaluate, search.population),
    )


def runs_whole(study: Study) -> bool:
    """Whether a study can be run without its journal: see :func:`recipe_of`."""
    return not _journalled(study) and not study.verified


def _journalled(study: Study) -> str:
    """Why a study needs its journal, or nothing."""
    file = study.file
    if not isinstance(study.search, Evolution) or study.helper:
        return (
            f"search.method {file.search.method} does not run as a whole: expected an "
            "evolution strategy, such as DES or CMA_ES"
        )
    if study.null:
        return "a null has no subject to simulate: it runs by its journal"
    if _may_be_unusable(study):
        return (
            "simulated_responses.omission is so large that sessions may have no error "
            "and be run again: such a study does not run as a whole"
        )
    if file.allocation.replicate_above is not None:
        return (
            "allocation.replicate_above gives candidates subjects one by one: such a "
            "study does not run as a whole"
        )
    return ""


def _may_be_unusable(study: Study) -> bool:
    """Whether a session without an error is to be expected at all."""
    omission = float(getattr(study.responses, "omission", 0.0))
    repeats = study.design.test_repeats
    scored = binom.sf(1 if repeats > 1 else 0, repeats, 1 - omission)
    unusable = binom.cdf(1, study.design.test_stimuli, scored)
    return bool(unusable * study.sessions > _RARE)


def run_whole(recipe: Recipe, seeds: Sequence[int]) -> WholeStudies:
    """Run the studies of ``seeds`` to their end, or to ``recipe.generations``.

    Where several subjects learn a candidate, a later session whose labels come out all
    the same is left out; a journal would ask for another. Compiled once for a recipe,
    whatever the number of seeds.
    """
    together = _together(recipe, len(seeds))
    # One shape for any number of seeds: the last block is filled up.
    filled = np.array([*seeds, *[seeds[0]] * (-len(seeds) % together)], np.uint32)
    names = jnp.asarray(_names(recipe))
    blocks = [
        jax.device_get(_run(recipe, jnp.asarray(block), names))
        for block in filled.reshape(-1, together)
    ]
    whole: WholeStudies = jax.tree.map(
        lambda *leaves: jnp.asarray(np.concatenate(leaves)[: len(seeds)]), *blocks
    )
    return whole


def _together(recipe: Recipe, studies: int) -> int:
    """Studies side by side: on a CPU as many as its caches hold."""
    if jax.default_backend() != "cpu":
        return min(_ON_ACCELERATOR, studies)
    return max(2, _ON_CPU // (recipe.search.population * len(recipe.groups)))


def _names(recipe: Recipe) -> NDArray[np.uint32]:
    attempts = recipe.subjects + (recipe.re_evaluated > 0)
    shape = (
        recipe.components,
        recipe.generations,
        recipe.search.population,
        attempts,
        len(recipe.groups),
    )
    names = np.empty(shape, np.uint32)
    for *place, group in np.ndindex(shape):
        name, of = Slot(*place).session, recipe.groups[group]
        names[*place, group] = crc32((f"{name}-{of}" if of else name).encode())
    return names


@partial(jax.jit, static_argnums=0)
def _run(recipe: Recipe, seeds: jax.Array, names: Names) -> WholeStudies:
    whole: WholeStudies = jax.vmap(lambda seed: _study(recipe, seed, names))(seeds)
    return whole


def _study(recipe: Recipe, seed: jax.Array, names: Names) -> WholeStudies:
    series: Series = ()
    standing, errors = [], []
    for component in range(recipe.components):
        run = partial(_generation, recipe, seed, series, component)
        state = recipe.search.init(named_key(seed, "search", component))
        of_component = names[component]
        first: list[tuple[jax.Array, jax.Array]] = []
        if state.inner is None:
            # A population-based strategy: its state changes shape with its first
            # results. Only here, since a second copy doubles the time to compile.
            state, told = run(state, (jnp.asarray(0), of_component[0]))
            first = [told]
        rest = jnp.arange(len(first), recipe.generations)
        state, told = jax.lax.scan(run, state, (rest, of_component[len(first) :]))
        for one in first:
            told = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), one, told)
        standing.append(told[0])
        errors.append(told[1])
        best = recipe.search.best(state)
        series = (*series, recipe.labeller.freeze(series, best))
    return WholeStudies(series, jnp.stack(standing), jnp.stack(errors))


def _generation(
    recipe: Recipe,
    seed: jax.Array,
    series: Series,
    component: int,
    state: State,
    now: tuple[jax.Array, jax.Array],
) -> tuple[State, tuple[jax.Array, jax.Array]]:
    generation, names = now
    search, objective = recipe.search, recipe.objective
    theta, state = search.ask(state, named_key(seed, "ask", component, generation))
    cost = penalties(recipe.labeller, series, theta)

    def run(candidates: jax.Array, attempt: jax.Array) -> tuple[jax.Array, ...]:
        places = jnp.stack(
            jnp.broadcast_arrays(component, generation, candidates, attempt), -1
        )
        return _sessions(
            recipe, seed, series, theta[candidates], places, names[candidates, attempt]
        )

    every = jnp.arange(search.population)
    # In a loop: XLA on few cores hangs where two solvers run at once.
    *attempts, constant = jax.lax.map(partial(run, every), jnp.arange(recipe.subjects))
    errors, noise = _averaged(*attempts)
    # Labels all the same: known without any subject to be no better than the mean.
    settled = constant[0][:, None]
    errors, noise = jnp.where(settled, 1.0, errors), jnp.where(settled, 0.0, noise)
    if recipe.re_evaluated:
        losses = meta_losses(objective, errors, noise, cost)
        elites = jnp.argsort(losses)[: recipe.re_evaluated]
        *again, _ = run(elites, jnp.asarray(recipe.subjects))
        known = errors[elites], noise[elites]
        better = _averaged(
            jnp.stack([known[0], again[0]]),
            jnp.stack([known[1], again[1]]),
            (recipe.subjects, 1),
        )
        kept = settled[elites]
        errors = errors.at[elites].set(jnp.where(kept, 1.0, better[0]))
        noise = noise.at[elites].set(jnp.where(kept, 0.0, better[1]))
    losses = meta_losses(objective, errors, noise, cost)
    after = search.tell_scored(state, theta, losses)
    if state.inner is not None:
        scored = jnp.isfinite(losses).any()
        after = jax.tree.map(partial(jnp.where, scored), after, state)
    return after, (search.best(after), jnp.nanmin(objective.combined(errors)))


def _averaged(
    errors: jax.Array, noise: jax.Array, counts: Sequence[int] = ()
) -> tuple[jax.Array, jax.Array]:
    """Mean error and its standard error over a leading axis of sessions."""
    weights = jnp.asarray(counts or [1] * len(errors), jnp.float32)[:, None, None]
    weights = jnp.where(jnp.isnan(errors), 0.0, weights)
    total = weights.sum(0)
    mean = jnp.nansum(weights * errors, 0) / jnp.maximum(total, 1)
    squared = jnp.nansum((weights * noise) ** 2, 0)
    return (
        jnp.where(total > 0, mean, jnp.nan),
        jnp.sqrt(squared) / jnp.maximum(total, 1),
    )


def _sessions(
    recipe: Recipe,
    seed: jax.Array,
    series: Series,
    theta: jax.Array,
    places: jax.Array,
    names: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Errors, as they count, and their standard errors, both (candidates, groups).

    And whether the labels tested are all the same, (candidates,).
    """
    drawn = draw_assignments(
        recipe.labeller, recipe.design, series, theta, places, seed
    )
    errors, noise = [], []
    for learner, born in zip(recipe.learners, names.T, strict=True):
        keys = jax.vmap(partial(individual_key, seed))(born)
        error, uncertain = _group(recipe, learner, drawn, keys)
        errors.append(error)
        noise.append(uncertain)
        # One group after the other, as above.
        x = drawn.x + 0 * jnp.nan_to_num(error.sum())
        drawn = drawn._replace(x=x)
    constant = jnp.ptp(drawn.y[:, recipe.design.training_stimuli :], axis=1) == 0
    return jnp.stack(errors, -1), jnp.stack(noise, -1), constant


def _group(
    recipe: Recipe, learner: Learner, drawn: Assignments, keys: jax.Array
) -> tuple[jax.Array, jax.Array]:
    design = recipe.design
    n, trained = design.training_stimuli, design.training_trials
    if design.feedback == "reward":
        targets = jnp.where(drawn.right_rewarded, 1.0, -1.0)
    else:
        targets = jnp.take_along_axis(drawn.y, drawn.order[:, :trained], 1)
    answers = run_sessions(
        learner, recipe.responses, keys, drawn.x, drawn.order, targets
    )
    measure: Callable[..., tuple[jax.Array, ...]] = partial(
        session_error,
        psychometric=recipe.psychometric,
        without_side=design.response == "choice",
    )
    tested = drawn.y[:, n:]
    error, noise, variance = jax.vmap(measure)(
        tested, drawn.order[:, trained:] - n, *answers
    )
    counted = recipe.objective.counted
    return counted(error, variance), counted(noise, variance)
