"""The last part of a study: components measured directly, beside their controls."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from meta_learner.assignment import (
    Assignments,
    Slot,
    draw_frozen,
    exact_decimals,
    named_key,
)
from meta_learner.bias import prior_components
from meta_learner.evolution import Evolution
from meta_learner.families import Basis
from meta_learner.labelling import Labeller, Series, freeze
from meta_learner.null import null_series
from meta_learner.subject_model import degree_for
from meta_learner.subject_search import SubjectSearch
from meta_learner.verification import matched_controls
from server.events import VerificationAsked
from server.study_file import Study

_GRID = 1024
"""Stimuli on which a component's power per order is measured."""


def ask_verification(study: Study, series: Series) -> VerificationAsked:
    """Every labelling to measure, each once for every session it is to have.

    The order is shuffled: time of year and of day fall on all alike.
    """
    each, key = study.verified, named_key(study.seed, "verification")
    null_key, match_key, order_key = jax.random.split(key, 3)
    family, degree = study.labeller.family, degree_for(study.labeller.space)
    if isinstance(family, Basis):
        degree = max(degree, family.degree)
    rows = [
        ("null", -1, theta)
        for theta in exact_decimals(_null_theta(study, each, null_key))
    ]
    for k in range(len(series)):
        rows += [("component", k, [])] * each
        own = jax.random.fold_in(match_key, k)
        for theta in exact_decimals(
            _matched(study.labeller, series, k, degree, each, own)
        ):
            rows.append(("matched", k, theta))
    shuffled = [
        rows[i] for i in np.asarray(jax.random.permutation(order_key, len(rows)))
    ]
    roles, components, thetas = (list(column) for column in zip(*shuffled, strict=True))
    return VerificationAsked(roles, components, thetas, degree)


def draw_verification(
    study: Study, series: Series, asked: VerificationAsked, attempt: int
) -> list[Assignments]:
    """Assignments of all labellings to verify, at an attempt.

    Each session has stimuli of its own, whatever the search shares.
    """
    design = replace(study.design, shared_stimuli=False)
    matched = replace(study.labeller, family=Basis(asked.degree))
    drawn = []
    for i, role in enumerate(asked.roles):
        labeller = matched if role == "matched" else study.labeller
        if role == "component":
            k = asked.components[i]
            before, component = series[:k], series[k]
        else:
            theta = jnp.asarray(np.array(asked.theta[i], np.float32))
            before, component = (), freeze(labeller, (), theta)
        slot = jnp.array([Slot(len(series), 0, i, attempt)])
        one = draw_frozen(
            labeller, design, before, component, slot, jnp.uint32(study.seed)
        )
        drawn.append(jax.tree.map(lambda leaf: np.asarray(leaf)[0], one))
    return drawn


def _null_theta(study: Study, n: int, key: jax.Array) -> jax.Array:
    """What the study's search would show without any learner, ``(n, genes)``."""
    if isinstance(study.search, SubjectSearch):
        rows: jax.Array = prior_components(study.search.model, 1, n, key)
        return rows[:, 0]
    assert isinstance(study.search, Evolution)  # a gradient has no sessions
    blind = replace(study.objective, generalisation_weight=0.0)
    budget = (study.file.search.generations,)
    (first,) = null_series(study.labeller, study.search, blind, budget, key, n)
    return first.theta


def _matched(
    labeller: Labeller, series: Series, k: int, degree: int, n: int, key: jax.Array
) -> NDArray[np.float32]:
    """Random coefficients with a component's power in each order, one row each."""
    x = labeller.space.grid(_GRID)
    values, order = map(np.asarray, labeller.space.basis(x, degree))
    labels = np.asarray(labeller.component_labels(series[: k + 1], x))[k]
    coefficients = np.linalg.lstsq(values, labels, rcond=None)[0][1:]
    return matched_controls(coefficients, order[1:], n, key)
