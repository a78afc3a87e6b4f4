"""Steps of a subject-model study: fit what sessions told, ask what tells most.

A step takes up to seconds, so it is a pure function of a :class:`Question` taken
from the state: a server computes it beside its trials, a dry run in between.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import exact_decimals, named_key
from meta_learner.bias import components, expected_errors, interval, space_overlap
from meta_learner.posterior import posterior_draws
from meta_learner.subject_fit import (
    Fit,
    draw,
    precision_of,
)
from meta_learner.subject_model import Evidence
from meta_learner.subject_search import SubjectSearch
from server.events import GenerationAsked, ModelFitted
from server.evidence import Told, evidence_of
from server.study_file import Study

MOST_ASKED = 3
"""Candidates asked for each session of the budget, at most: unusable ones end."""

_DRAWS = 64
"""Draws from the posterior that stand for it in a credible interval."""


class Question(NamedTuple):
    """All that the next step needs: ``wanted`` candidates, 0 for a fit.

    ``told`` are the finished sessions, the first ``fitted`` of them in ``fit``;
    ``pending`` those under way, whose answers are not yet known.
    """

    study: Study
    told: tuple[Told, ...]
    pending: tuple[Told, ...]
    fit: Fit
    fitted: int
    generation: int
    wanted: int

    @property
    def step(self) -> tuple[str, int]:
        """Which step of the study this is."""
        return "ask" if self.wanted else "fit", self.generation

    def answer(self) -> ModelFitted | GenerationAsked:
        """The fact that this step adds; slow, and changes nothing."""
        return _ask(self) if self.wanted else _fit(self)


def fit_of(fact: ModelFitted) -> Fit:
    """The fit that a fact tells."""
    arrays = (fact.parameters, fact.deviations, fact.weight)
    return Fit(*(jnp.asarray(np.array(a, np.float32)) for a in arrays))


def fitted_fact(fit: Fit, sessions: int, width: float | None = None) -> ModelFitted:
    """The fact that tells a fit to so many sessions."""
    return ModelFitted(
        sessions,
        exact_decimals(fit.parameters),
        exact_decimals(fit.deviations),
        float(np.asarray(fit.weight).astype(str)),
        width,
    )


def _fit(question: Question) -> ModelFitted:
    study, search = question.study, _search(question.study)
    evidence = _evidence(question, question.told)
    fit = search.tell(question.fit, evidence)
    width = None
    if study.file.stopping.width is not None:
        width = round(_width(study, evidence, fit, len(question.told)), 4)
    return fitted_fact(fit, len(question.told), width)


def _ask(question: Question) -> GenerationAsked:
    # That pending answers will come is known: as good as answered.
    coming = [
        told._replace(answers=np.zeros_like(told.answers)) for told in question.pending
    ]
    evidence = _evidence(question, (*question.told, *coming))
    key = named_key(question.study.seed, "ask", question.generation)
    theta, trained = _search(question.study).ask(
        question.fit, evidence, question.wanted, key
    )
    return GenerationAsked(
        0,
        question.generation,
        exact_decimals(theta),
        [[0.0, 0.0]] * question.wanted,
        np.asarray(trained).tolist(),
    )


def _search(study: Study) -> SubjectSearch:
    assert isinstance(study.search, SubjectSearch)
    return study.search


def _evidence(question: Question, told: tuple[Told, ...]) -> Evidence:
    """Evidence filled up to the study's budget: compiled code serves all of it."""
    study, design = question.study, question.study.design
    most = (
        study.exploring_sessions + study.file.search.population,
        design.training_stimuli,
        design.test_trials,
    )
    return evidence_of(_search(study).model, told, most)


def _width(study: Study, evidence: Evidence, fit: Fit, sessions: int) -> float:
    """Widest 90 % credible interval of the quantity that is to be known well."""
    model, k = _search(study).model, study.file.study.components
    key = named_key(study.seed, "width", sessions)
    rows = _search(study).best(fit, k)

    def of(draws: jax.Array) -> float:
        if study.file.stopping.quantity == "space":
            overlaps = [space_overlap(rows, components(model, u, k)[1]) for u in draws]
            return 1.0 - float(jnp.quantile(jnp.stack(overlaps), 0.1))
        errors = jax.lax.map(
            lambda u: expected_errors(model, u, rows, study.design, key), draws
        )
        low, _, high = interval(errors)
        return float((high - low).max())

    width = of(draw(fit, precision_of(model, evidence, fit), _DRAWS, key))
    wanted = study.file.stopping.width
    if wanted is None or width > wanted:
        return width
    # The normal approximation is quick; what ends a study is what is reported.
    return max(width, of(posterior_draws(model, evidence, fit, _DRAWS, key)))
