"""Gradient search of a study: meta-steps through its simulated subjects."""

import time

import jax
import numpy as np

from meta_learner.assignment import exact_decimals, named_key
from meta_learner.gradient import Gradient, Problem, descend, to_rows
from server.desk import Desk
from server.events import MetaSteps
from server.study import StudyState
from server.study_file import Study

STRETCHES = 5
"""Parts in which the meta-steps of a component are stored."""


def run_meta_steps(desk: Desk) -> float:
    """Take the next meta-steps of a study and store them as one fact.

    Returns the subjects trained and tested per second.
    """
    start = time.perf_counter()
    taken = meta_steps(desk.state)
    seconds = time.perf_counter() - start
    desk.commit([taken])
    return len(taken.errors) * desk.state.study.sessions_per_generation / seconds


def meta_steps(state: StudyState) -> MetaSteps:
    """The next stretch of meta-steps, computed; nothing is changed."""
    study = state.study
    assert isinstance(study.search, Gradient)
    budget = study.file.search.generations
    most = -(-budget // STRETCHES)
    stop = min(state.generation + most, budget)
    key = named_key(study.seed, "meta-steps", state.component)
    steps = (state.generation, stop)
    problem, series = problem_of(study), state.series
    end, measured = jax.device_get(
        descend(study.search, problem, series, state.search, key, steps, most)
    )
    taken = stop - state.generation
    return MetaSteps(
        state.component,
        state.generation,
        [[_number(e) for e in row] for row in measured.errors[:taken]],
        exact_decimals(measured.penalties[:taken]),
        [exact_decimals(row) for row in to_rows(end)],
    )


def problem_of(study: Study) -> Problem:
    """What a study minimises, with the learners that stand in for its groups."""
    born = {} if study.null else study.stand_ins()
    learners = tuple(born[group] for group in study.groups if group in born)
    return Problem(study.labeller, study.design, learners, study.objective)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
