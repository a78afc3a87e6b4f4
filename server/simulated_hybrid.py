"""Whole studies of evolution helped by the subject model, in process: no journal.

For benchmarks and power analyses, with simulated subjects. Stimuli, labels, feedback
and errors are those of a server's study.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import Assignments, Design, draw_assignments
from meta_learner.evolution import Evolution
from meta_learner.generalisation import generalisation_error
from meta_learner.hybrid import (
    TIMES,
    Judgement,
    Predictions,
    judge,
    measured_gains,
    predicted_errors,
    proposals,
    reduced,
    screen,
    session_errors,
    shown_share,
)
from meta_learner.labelling import Labeller, Series, freeze
from meta_learner.objective import Floats
from meta_learner.subject_fit import COLD, WARM, Fit, fit_model, start
from meta_learner.subject_model import Evidence, SubjectModel
from simulated_subjects.individual import run_sessions
from simulated_subjects.learner import Learner
from simulated_subjects.responses import ResponseModel


@dataclass(frozen=True)
class HybridStudy:
    """A search with one simulated subject; evolution on its own unless ``helped``.

    The model is fitted to the last ``window`` sessions alone: every generation costs
    the same, and all is compiled once.
    """

    labeller: Labeller
    design: Design
    search: Evolution
    learner: Learner
    responses: ResponseModel
    model: SubjectModel
    helped: bool = True
    window: int = 192


class Generation(NamedTuple):
    """After a generation: mean of the search (genes,), and the judgement it used."""

    best: jax.Array
    judgement: Judgement


class Sessions(NamedTuple):
    """What sessions brought, a leading axis of candidates.

    ``labels`` (candidates, test trials); measured errors and gains, and their
    standard errors, (2, candidates) as in ``Predictions``.
    """

    evidence: Evidence
    labels: jax.Array
    measured: Floats
    standard_errors: Floats


def run_series(
    study: HybridStudy, seed: int, components: int, generations: int
) -> Series:
    """Components found one after the other; the model learns anew for each."""
    series: Series = ()
    for _ in range(components):
        *_, last = run_component(study, series, seed, generations)
        series = (*series, freeze(study.labeller, series, last.best))
    return series


def run_component(
    study: HybridStudy, series: Series, seed: int, generations: int
) -> Iterator[Generation]:
    """One component after ``series``, a generation at a time."""
    search, model = study.search, study.model
    key = jax.random.fold_in(jax.random.key(seed), len(series))
    state, fit, past = search.init(key), start(model), list[Predictions]()
    window = _empty(study)
    for i in range(generations):
        ask_key, helper_key = jax.random.split(jax.random.fold_in(key, i))
        judgement = judge(past)
        theta, state = proposals(search, state, ask_key, TIMES if study.helped else 1)
        theta, expected = _shown(study, series, fit, theta, judgement, helper_key)
        sessions = _run_generation(study, series, theta, i, seed)
        given = np.full_like(expected, np.nan)
        if study.helped:
            given = np.asarray(
                session_errors(
                    model, fit.parameters, sessions.evidence, sessions.labels
                )
            )
            window = _slid(window, sessions.evidence)
            fit = fit_model(model, window, fit, COLD if i == 0 else WARM)
        now = Predictions(sessions.measured, sessions.standard_errors, expected, given)
        past.append(now)
        losses = jnp.asarray(reduced(judgement, now), jnp.float32)
        state = search.tell(state, theta, losses)
        yield Generation(search.best(state), judgement)


def _shown(
    study: HybridStudy,
    series: Series,
    fit: Fit,
    theta: jax.Array,
    judgement: Judgement,
    key: jax.Array,
) -> tuple[jax.Array, Floats]:
    """Candidates to show of all that are proposed, and what is expected of them."""
    if not study.helped:
        return theta, np.full((2, len(theta)), np.nan)
    error_key, screen_key = jax.random.split(key)
    expected = predicted_errors(
        study.model,
        study.labeller,
        study.design,
        fit.parameters,
        series,
        theta,
        error_key,
    )
    share = shown_share(judgement)
    shown = screen(expected[0], study.search.population, share, screen_key)
    return theta[shown], np.asarray(expected[:, shown])


def _run_generation(
    study: HybridStudy, series: Series, theta: jax.Array, generation: int, seed: int
) -> Sessions:
    """One session on each candidate ``(candidates, genes)``."""
    design = study.design
    place = (len(series), generation)
    slots = jnp.array([(*place, candidate, 0) for candidate in range(len(theta))])
    drawn = draw_assignments(
        study.labeller, design, series, theta, slots, jnp.uint32(seed)
    )
    subjects = jax.random.key(seed)
    for part in place:
        subjects = jax.random.fold_in(subjects, part)
    seen, labels = _answered(study, drawn, jax.random.split(subjects, len(theta)))
    tested = np.asarray(drawn.order)[:, design.training_trials :]
    errors = np.full((2, len(theta)), np.nan)
    for i, y in enumerate(np.asarray(drawn.y)):
        there = np.asarray(seen.answered[i]) > 0
        answers = np.asarray(seen.answers[i])[there].tolist()
        found = generalisation_error(y.tolist(), tested[i][there].tolist(), answers)
        if found:
            both = np.array([found.error, found.standard_error])
            errors[:, i] = both / found.label_variance
    measured, standard = np.stack([errors, measured_gains(seen, labels)], axis=1)
    return Sessions(seen, labels, measured, standard)


@partial(jax.jit, static_argnums=0)
def _answered(
    study: HybridStudy, drawn: Assignments, births: jax.Array
) -> tuple[Evidence, jax.Array]:
    """What sessions tell, and the label of each test trial."""
    design, model = study.design, study.model
    n, trained = design.training_stimuli, design.training_trials
    y = jnp.take_along_axis(drawn.y, drawn.order, 1)
    taught = y[:, :trained]
    if design.response == "choice":
        taught = jnp.where(drawn.right_rewarded, 1.0, -1.0)
    answers, responded = run_sessions(
        study.learner, study.responses, births, drawn.x, drawn.order, taught
    )

    def one(
        x: jax.Array,
        order: jax.Array,
        taught: jax.Array,
        answers: jax.Array,
        responded: jax.Array,
    ) -> Evidence:
        basis = model.basis(x)
        total = jnp.zeros(n).at[order[:trained]].add(taught)
        return Evidence(
            basis[:n],
            total / design.training_repeats,
            jnp.full(n, float(design.training_repeats)),
            basis[order[trained:]],
            answers,
            responded.astype(jnp.float32),
            jnp.ones(()),
        )

    seen = jax.vmap(one)(drawn.x, drawn.order, taught, answers, responded)
    return seen, y[:, trained:]


def _empty(study: HybridStudy) -> Evidence:
    """A window without a session."""
    design, size, functions = study.design, study.window, study.model.functions
    trained, tested = (size, design.training_stimuli), (size, design.test_trials)
    return Evidence(
        jnp.zeros((*trained, functions)),
        jnp.zeros(trained),
        jnp.ones(trained),
        jnp.zeros((*tested, functions)),
        jnp.ones(tested),
        jnp.zeros(tested),
        jnp.zeros(size),
    )


def _slid(window: Evidence, seen: Evidence) -> Evidence:
    """The window with the newest sessions in, the oldest out."""
    slid: Evidence = jax.tree.map(
        lambda old, new: jnp.concatenate([old, new])[-len(old) :], window, seen
    )
    return slid
