"""Power analysis by simulation: how many sessions a study of a subject will need.

Many studies by the subject model, for each split of a session's trials between
training and test, of the subject that the study file declares. How near they come to
the truth is measured twice: by the overlap of the recovered components with those of a
model that saw very many noiseless sessions, and, without any model, by how much worse
fresh individuals generalise the recovered components (regret).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from meta_learner.adaptive_design import training_sizes
from meta_learner.assignment import Design, named_key
from meta_learner.bias import components, labels_of
from meta_learner.reference import Reference, overlap_with, reference
from meta_learner.subject_fit import COLD, WARM, fit_model, start
from meta_learner.subject_model import Evidence, SubjectModel, degree_for
from meta_learner.subject_search import SubjectSearch
from server.simulated_study import (
    Simulation,
    begin,
    learn,
    simulate_session,
    tell_batch,
)
from server.study_file import Study, StudyFileError
from simulated_subjects.individual import run_sessions
from simulated_subjects.learner import Learner
from simulated_subjects.responses import Graded

TRAINING = (4, 6, 10, 20, 30)
"""Numbers of training stimuli looked at, of those that leave a third to the test."""

_TRUE_SESSIONS, _TRUE_TESTED = 512, 24
"""Noiseless sessions behind the reference, and test stimuli of each."""

_INDIVIDUALS = 128
"""Fresh individuals that learn each component, for its true error."""

_ROOMS = (6, 2, 1)
"""Fits are compiled for a sixth, half, and all of the sessions."""

Floats = NDArray[np.float64]
Progress = Callable[[int, str], None]
"""Told of sessions simulated since it was last told, and what is under way."""


@dataclass(frozen=True)
class Question:
    """What is asked of a plan: see the options of ``penchant plan``."""

    overlap: float = 0.9
    probability: float = 0.8
    lost: float = 0.0
    studies: int = 16
    sessions: int = 120
    batch: int = 4


@dataclass(frozen=True)
class Split:
    """Sessions of one design; ``fixed`` trains with all of its training stimuli."""

    design: Design
    fixed: bool = True

    @property
    def name(self) -> str:
        """Training and test stimuli, in words."""
        n, m = self.design.training_stimuli, self.design.test_stimuli
        least = training_sizes(self.design)[0]
        return f"{n} + {m}" if self.fixed or least == n else f"{least}-{n} + {m}"


@dataclass(frozen=True)
class Course:
    """What the simulated studies of one split reached.

    ``overlap`` (steps, studies) after so many ``sessions`` (steps,); ``regret``
    (studies,) at the study's own budget.
    """

    split: Split
    sessions: NDArray[np.int64]
    overlap: Floats
    regret: Floats

    def share(self, wanted: float) -> Floats:
        """Of studies with the ``wanted`` overlap at each step, ``(steps,)``."""
        share: Floats = np.mean(self.overlap >= wanted, axis=1)
        return share


@dataclass(frozen=True)
class Power:
    """A plan: ``budget`` are the study's own sessions, or the most looked at.

    ``best_error`` is the relative error of the true components on fresh individuals.
    """

    question: Question
    courses: list[Course]
    budget: int
    best_error: float


def check(study: Study) -> Learner:
    """The subject to plan for; raises :class:`StudyFileError` where there is none."""
    study.check_sessions()
    if study.file.groups:
        raise StudyFileError(
            f"a plan is for one subject, and this study has the groups "
            f"{', '.join(study.groups)}: plan each in a study file of its own, with "
            "its learner in [simulated_subject]"
        )
    return study.stand_ins()[""]


def splits(study: Study, trials: int, training: Sequence[int] = ()) -> list[Split]:
    """Ways to split ``trials``: fixed ones, then the adaptive choice.

    Fixed numbers of ``training`` stimuli, by default those of :data:`TRAINING` that
    leave a third of the trials to the test, and the study's own. Repeats stay as in
    the study. Raises ``ValueError`` for one that leaves fewer than two test stimuli.
    """
    design = study.design

    def divided(n: int) -> Design:
        left = trials - n * design.training_repeats
        tested = left // design.test_repeats
        if tested < 2:
            raise ValueError(
                f"{n} training stimuli leave {max(left, 0)} of {trials} trials to the "
                f"test: expected {2 * design.test_repeats} or more"
            )
        return replace(design, training_stimuli=n, test_stimuli=tested)

    most = 2 * trials // 3 // design.training_repeats
    # As many of other trials as in the study's own.
    whole = design.training_trials + design.test_trials
    own = max(1, round(design.training_stimuli * trials / whole))
    fixed = training or {n for n in TRAINING if n <= most} | {own}
    each = [Split(divided(n)) for n in sorted(set(fixed))]
    return [*each, Split(divided(own), fixed=False)]


def plan(
    study: Study, question: Question, asked: Sequence[Split], progress: Progress
) -> Power:
    """Simulate the studies of every split; minutes on a few cores.

    Raises ``ValueError`` for more components than the model has functions, and
    :class:`StudyFileError` where there is no subject to simulate.
    """
    learner, k = check(study), study.file.study.components
    model = _model(study)
    if k >= model.functions:
        raise ValueError(
            f"the subject model has {model.functions - 1} functions of this space: "
            f"study.components is {k}"
        )
    key = named_key(study.seed, "plan")
    progress(0, "reference")
    true = true_components(model, study.design, learner, k, key)

    def error_of(rows: Floats) -> float:
        each = true_errors(model, learner, study.design, jnp.asarray(rows), key)
        return float(each.mean())

    # Of a tied group any member is as good: the first.
    rows = np.concatenate([true.leading, true.tied])[:k]
    best = error_of(rows)
    steps = milestones(question.batch, question.sessions)
    # Compared at a step: the study's own budget, or the last step before it.
    budget = max((s for s in steps if s <= study.exploring_sessions), default=steps[0])
    room = (
        max(split.design.training_stimuli for split in asked),
        max(split.design.test_trials for split in asked),
    )

    def course(split: Split) -> Course:
        simulation = Simulation(
            model,
            split.design,
            learner,
            study.responses,
            steps[-1],
            question.batch,
            question.lost,
            split.fixed,
        )
        overlaps = []
        for done, found in _found(simulation, steps, question.studies, k, room, key):
            overlaps.append([overlap_with(true, rows) for rows in found])
            if done == budget:
                errors = np.array([error_of(rows) for rows in found])
            progress(done - (0, *steps)[len(overlaps) - 1], split.name)
        return Course(split, np.array(steps), np.array(overlaps), errors - best)

    return Power(question, [course(split) for split in asked], budget, best)


def milestones(batch: int, most: int) -> list[int]:
    """Sessions after which the model is fitted: every batch, then ever more rarely.

    A study itself learns after every batch, so that a plan errs on the safe side.
    """
    done, most = [0], max(most // batch, 1) * batch
    while done[-1] < most:
        step = max(1, done[-1] // 2 // batch) * batch
        done.append(min(done[-1] + step, most))
    return done[1:]


def sessions_needed(
    sessions: NDArray[np.int64], share: Floats, probability: float
) -> float:
    """Sessions from which on ``share`` (steps,) stays at ``probability`` or above.

    Between steps by a straight line; NaN if that is not reached.
    """
    below = np.flatnonzero(share < probability)
    if not len(below):
        return float(sessions[0])
    i = below[-1]
    if i == len(share) - 1:
        return float("nan")
    pair = slice(i, i + 2)
    return float(np.ceil(np.interp(probability, share[pair], sessions[pair]) - 1e-9))


def true_components(
    model: SubjectModel, design: Design, learner: Learner, k: int, key: jax.Array
) -> Reference:
    """Components of a learner, from very many noiseless sessions of individuals.

    Graded ones on random labellings, with every number of training stimuli that an
    adaptive study may choose.
    """
    graded = replace(model, response="graded")
    plain = replace(design, test_stimuli=_TRUE_TESTED, test_repeats=1, feedback="label")
    simulation = Simulation(graded, plain, learner, Graded(), _TRUE_SESSIONS, 1)
    label_key, size_key, session_key = jax.random.split(key, 3)
    rows = jax.random.normal(label_key, (_TRUE_SESSIONS, model.functions - 1))
    sizes = jnp.array(simulation.sizes)
    trained = jax.random.choice(size_key, sizes, (_TRUE_SESSIONS,))
    keys = jax.random.split(session_key, _TRUE_SESSIONS)
    simulate = jax.jit(jax.vmap(partial(simulate_session, simulation)))
    fit = fit_model(graded, simulate(keys, rows, trained), start(graded), COLD)
    values, every = components(graded, fit.parameters, model.functions - 1)
    return reference(np.asarray(values, float), np.asarray(every, float), k)


@partial(jax.jit, static_argnums=(0, 1, 2))
def true_errors(
    model: SubjectModel,
    learner: Learner,
    design: Design,
    rows: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Relative generalisation error of labellings ``(k, functions - 1)``, ``(k,)``.

    Of fresh individuals that learn them, noiseless, on fresh stimuli; no model.
    """
    n = design.training_stimuli
    repeated = jnp.tile(jnp.arange(n), design.training_repeats)
    order = jnp.concatenate([repeated, n + jnp.arange(design.test_stimuli)])

    def one(row: jax.Array) -> jax.Array:
        keys = jax.random.split(key, _INDIVIDUALS)
        draw = partial(model.space.sample, n=n + design.test_stimuli)
        x = jax.vmap(draw)(keys)
        y = jax.vmap(labels_of, (0, None))(model.basis(x), row)
        orders = jnp.tile(order, (_INDIVIDUALS, 1))
        answers, _ = run_sessions(
            learner, Graded(), keys, x, orders, y[:, order[: len(repeated)]]
        )
        error: jax.Array = jnp.mean((answers - y[:, n:]) ** 2) / jnp.var(y[:, n:])
        return error

    errors: jax.Array = jax.lax.map(one, rows)
    return errors


def _model(study: Study) -> SubjectModel:
    """That of the study, or one that suits its space."""
    if isinstance(study.search, SubjectSearch):
        return study.search.model
    space = study.labeller.space
    return SubjectModel(space, degree_for(space), study.design.response)


def _found(
    simulation: Simulation,
    steps: Sequence[int],
    studies: int,
    k: int,
    room: tuple[int, int],
    key: jax.Array,
) -> Iterator[tuple[int, Floats]]:
    """Sessions done and components recovered ``(studies, k, functions - 1)``.

    ``room`` are training stimuli and test trials to which evidence is padded, so
    that fits of all splits are compiled once.
    """
    model = simulation.model
    progressing = begin(simulation, studies)
    fits, precisions = progressing.fit, progressing.precision
    told: list[Evidence] = []
    for done in steps:
        while (so_far := len(told) * simulation.batch) < done:
            keys = jax.random.split(jax.random.fold_in(key, so_far), studies)
            told.append(tell_batch(simulation, fits, precisions, keys))
        space = next(n for part in _ROOMS if (n := -(-steps[-1] // part)) >= done)
        evidence = _padded(told, space, *room)
        most = COLD if done == steps[0] else WARM
        _, fits, precisions = learn(model, evidence, fits, most)
        of_study = jax.vmap(partial(components, model, k=k))
        yield done, np.asarray(of_study(fits.parameters)[1], float)


def _padded(
    told: Sequence[Evidence], sessions: int, trained: int, tested: int
) -> Evidence:
    """Batches one after the other, and nothing after them: what is not there is 0."""

    def whole(*batches: jax.Array) -> jax.Array:
        return jnp.concatenate(batches, 1)

    stimuli, trials = (sessions, trained), (sessions, tested)
    sizes = (stimuli, stimuli, stimuli, trials, trials, trials, (sessions,))

    def pad(leaf: jax.Array, size: tuple[int, ...], value: float) -> jax.Array:
        more = [(0, n - m) for n, m in zip(size, leaf.shape[1:], strict=False)]
        rest = [(0, 0)] * (leaf.ndim - 1 - len(more))
        return jnp.pad(leaf, [(0, 0), *more, *rest], constant_values=value)

    repeats = Evidence._fields.index("repeats")  # which are divided by
    return Evidence(
        *(
            pad(leaf, size, float(i == repeats))
            for i, (leaf, size) in enumerate(
                zip(jax.tree.map(whole, *told), sizes, strict=True)
            )
        )
    )
