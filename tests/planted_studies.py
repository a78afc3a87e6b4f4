"""Many small studies of subjects whose bias is known, as the tables of analysis."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meta_learner.assignment import Design, draw_assignments
from meta_learner.families import Basis
from meta_learner.labelling import Labeller
from meta_learner.spectrum import candidates_labelled, orders_of
from simulated_subjects.individual import run_sessions
from simulated_subjects.learner import Learner
from simulated_subjects.responses import Graded, ResponseModel
from simulated_subjects.unteachable import Unteachable
from stimuli.space import StimulusSpace

Floats = NDArray[np.float64]

ANSWERS = Graded(noise=0.1)
GENERATIONS, CANDIDATES = 15, 8
"""Of a study: stimuli are shared within a generation."""


class Studies(NamedTuple):
    """Sessions and powers of several studies, told apart by the column ``study``."""

    sessions: pd.DataFrame
    powers: pd.DataFrame


class Answered(NamedTuple):
    """What sessions brought, ``(sessions, test trials)`` each."""

    answers: Floats
    labels: Floats


def mixtures(order: NDArray[np.int64], n: int, draws: np.random.Generator) -> Floats:
    """Genes (n, functions) of labellings with power spread over orders at random."""
    highest = int(order.max())
    share = draws.dirichlet(np.full(highest, 0.5), n)
    genes = draws.normal(size=(n, len(order)))
    for k in range(1, highest + 1):
        own = order == k
        length = np.linalg.norm(genes[:, own], axis=1)
        genes[:, own] *= (np.sqrt(share[:, k - 1]) / length)[:, None]
    return genes


def answered(
    labeller: Labeller,
    learner: Learner,
    design: Design,
    genes: Floats,
    generation: NDArray[np.int64],
    seed: int,
    responses: ResponseModel = ANSWERS,
) -> Answered:
    """Sessions of individuals that are born for them, one on each labelling."""
    n = len(genes)
    zeros = np.zeros(n, np.int64)
    slots = jnp.asarray(np.stack([zeros, generation, np.arange(n), zeros], 1))
    drawn = draw_assignments(
        labeller, design, (), jnp.asarray(genes, jnp.float32), slots, jnp.asarray(seed)
    )
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), n)
    each = jax.vmap(lambda y, order: y[order])(drawn.y, drawn.order)
    trained = design.training_trials
    answers, _ = run_sessions(
        learner, responses, keys, drawn.x, drawn.order, each[:, :trained]
    )
    return Answered(*(np.asarray(a, np.float64) for a in (answers, each[:, trained:])))


class Shown(NamedTuple):
    """The labellings of several studies."""

    genes: Floats
    generation: NDArray[np.int64]
    powers: pd.DataFrame


@cache
def shown(space: Any, degree: int, n: int, seed: int = 0) -> Shown:
    """Labellings of ``n`` studies, the same for every subject."""
    labeller, orders = Labeller(space, Basis(degree)), orders_of(space)
    size = n * GENERATIONS * CANDIDATES
    draws = np.random.default_rng(seed)
    genes = mixtures(orders.order[orders.order <= degree], size, draws)
    found = candidates_labelled(labeller, (), genes, orders)
    names = [f"power_{name}" for name in orders.names]
    powers = pd.DataFrame(found.power, columns=names)
    powers.insert(0, "session", [f"s{i}" for i in range(size)])
    powers.insert(1, "variance", found.variance)
    return Shown(genes, np.arange(size) // CANDIDATES, powers)


def studies(
    space: StimulusSpace,
    learner: Learner | None,
    design: Design,
    degree: int,
    n: int,
    seed: int = 0,
) -> Studies:
    """``n`` studies; without a learner, answers are half the label and noise.

    That subject misses as much of every order, exactly.
    """
    hashable: Any = space
    labellings = shown(hashable, degree, n, seed)
    size = len(labellings.genes)
    labeller = Labeller(space, Basis(degree))
    told = answered(
        labeller,
        learner or Unteachable(),
        design,
        labellings.genes,
        labellings.generation,
        seed,
    )
    answers = told.answers
    if learner is None:
        noise = np.random.default_rng(seed + 1).normal(0, 0.3, answers.shape)
        answers = 0.5 * told.labels + noise
    table = pd.DataFrame({"session": labellings.powers["session"]})
    table["study"] = np.arange(size) // (GENERATIONS * CANDIDATES)
    table["component"], table["group"], table["exposure"] = 0, "", 0
    table["generation"] = labellings.generation % GENERATIONS
    table["candidate"] = np.arange(size) % CANDIDATES
    table["subject"], table["status"] = table["session"], "finished"
    table["error"] = np.mean((answers - told.labels) ** 2, axis=1)
    return Studies(table, labellings.powers)


def true_errors(
    space: StimulusSpace,
    learner: Learner,
    design: Design,
    degree: int,
    n: int = 2000,
    seed: int = 99,
) -> Floats:
    """Relative error on labels purely of each order, measured on fresh individuals."""
    labeller, orders = Labeller(space, Basis(degree)), orders_of(space)
    order = orders.order[orders.order <= degree]
    draws = np.random.default_rng(seed)
    errors = []
    for k in range(1, degree + 1):
        genes = draws.normal(size=(n, len(order))) * (order == k)
        told = answered(labeller, learner, design, genes, np.arange(n), seed + k)
        variance = candidates_labelled(labeller, (), genes[:200], orders).variance
        missed = np.mean((told.answers - told.labels) ** 2)
        errors.append(missed / variance.mean())
    return np.array(errors)
