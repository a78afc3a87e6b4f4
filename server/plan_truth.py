"""What a plan's studies are compared with: the subject's true components."""

from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from meta_learner.assignment import Design, named_key
from meta_learner.bias import components, labels_of
from meta_learner.reference import Reference, reference
from meta_learner.subject_fit import COLD, fit_model, start
from meta_learner.subject_model import SubjectModel, degree_for
from meta_learner.subject_search import SubjectSearch
from server.simulated_study import Simulation, simulate_session
from server.spread import study_from
from server.study_file import Study, StudyFileError
from simulated_subjects.individual import run_sessions
from simulated_subjects.learner import Learner
from simulated_subjects.responses import Graded

_TRUE_SESSIONS, _TRUE_TESTED = 512, 24
"""Noiseless sessions behind the reference, and test stimuli of each."""

_INDIVIDUALS = 128
"""Fresh individuals that learn each component, for its true error."""

Floats = NDArray[np.float64]


class Truth(NamedTuple):
    """What all studies of a plan are compared with.

    ``best_error`` is the relative error of the true components on fresh individuals.
    """

    study: Study
    model: SubjectModel
    components: Reference
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


def model_of(study: Study) -> SubjectModel:
    """The model to plan by; raises ``ValueError`` where it has too few functions."""
    model, k = _model(study), study.file.study.components
    if k >= model.functions:
        raise ValueError(
            f"the subject model has {model.functions - 1} functions of this space: "
            f"study.components is {k}"
        )
    return model


@lru_cache(maxsize=1)
def truth_of(text: str, sha256: str, folder: str | None) -> Truth:
    """Worked out once by each process: its studies come one after the other."""
    study = study_from(text, sha256, folder)
    learner, k = check(study), study.file.study.components
    model = model_of(study)
    key = named_key(study.seed, "plan")
    true = true_components(model, study.design, learner, k, key)
    # Of a tied group any member is as good: the first.
    rows = np.concatenate([true.leading, true.tied])[:k]
    return Truth(study, model, true, error_of(study, model, rows))


def error_of(study: Study, model: SubjectModel, rows: Floats) -> float:
    """Mean relative error of fresh individuals on labellings (k, functions - 1)."""
    key = named_key(study.seed, "plan")
    each = true_errors(model, check(study), study.design, jnp.asarray(rows), key)
    return float(each.mean())


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
