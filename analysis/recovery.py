"""What was recovered: labels and power per order of each component."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from analysis.record import Record
from meta_learner.labelling import Labeller, Series, component_labels, freeze
from meta_learner.spectrum import orders_of
from meta_learner.subject_search import SubjectSearch
from server.events import (
    ComponentFrozen,
    GenerationAsked,
    GenerationTold,
    MetaSteps,
    ModelFitted,
)
from server.modelling import fit_of
from server.study import StudyState, replay
from server.study_file import Study

Floats = NDArray[np.float64]


class Recovered(NamedTuple):
    """The components of a study, one row each.

    ``labels`` (components, stimuli) and ``power`` (components, orders + 1) on
    the grid of :class:`Orders`; ``overlap`` (components, components) are
    correlations of labels. ``generations`` (components,) is what the search for
    each has had. ``provisional`` says that the last one is not yet frozen: it
    is where the search stands; of a model, all of them.
    """

    series: Series
    labels: Floats
    power: Floats
    overlap: Floats
    generations: tuple[int, ...]
    provisional: bool


def recover(record: Record) -> Recovered:
    """Every component found so far, and the one that is being searched for."""
    study = record.study
    asked = [fact.component for fact in record.facts(GenerationTold)]
    for steps in record.facts(MetaSteps):
        asked += [steps.component] * len(steps.errors)
    series: Series = ()
    for found in record.facts(ComponentFrozen):
        theta = jnp.asarray(np.array(found.theta, np.float32))
        series = (*series, freeze(study.labeller, series, theta))
    if isinstance(study.search, SubjectSearch):
        return _recover_modelled(record, study.search, series)
    provisional = len(series) in asked
    if provisional:
        best = study.search.best(_search_state(record).search)
        series = (*series, freeze(study.labeller, series, best))
    budgets = tuple(asked.count(i) for i in range(len(series)))
    return _recovered(study, series, budgets, provisional)


def _recover_modelled(
    record: Record, search: SubjectSearch, series: Series
) -> Recovered:
    """Components of a model, all at once: frozen, or where its last fit stands."""
    study, fits = record.study, record.facts(ModelFitted)
    provisional = not series and bool(fits)
    if provisional:
        for theta in search.best(fit_of(fits[-1]), study.file.study.components):
            series = (*series, freeze(study.labeller, series, theta))
    asked = len(record.facts(GenerationAsked))
    return _recovered(study, series, (asked,) * len(series), provisional)


def _recovered(
    study: Study, series: Series, budgets: tuple[int, ...], provisional: bool
) -> Recovered:
    orders = orders_of(study.labeller.space)
    labels = labels_at(study.labeller, series, orders.x)
    return Recovered(
        series,
        labels,
        orders.power(labels),
        _correlations(labels),
        budgets,
        provisional,
    )


def labels_at(labeller: Labeller, series: Series, x: jax.Array) -> Floats:
    """Labels of stimuli ``(n, features)``, ``(components, n)``."""
    return np.asarray(component_labels(labeller, series, x), np.float64)


def _search_state(record: Record) -> StudyState:
    """The state of the search, by replay of what it said and was told.

    Of the component that is searched for alone: each search begins anew.
    """
    frozen = record.facts(ComponentFrozen)
    kinds = GenerationAsked | GenerationTold | MetaSteps
    steps = [
        e.fact
        for e in record.events
        if isinstance(e.fact, kinds) and e.fact.component == len(frozen)
    ]
    return replay(record.study, [*frozen, *steps])


def _correlations(labels: Floats) -> Floats:
    centred = labels - labels.mean(-1, keepdims=True)
    norm = np.sqrt((centred**2).sum(-1, keepdims=True))
    unit: Floats = centred / np.maximum(norm, 1e-12)
    return unit @ unit.T
