"""Steps of a hybrid study: fit the model, ask what it screens, tell what it reduces.

As in :mod:`server.modelling`, a step takes up to seconds, so it is a pure function of
a :class:`HelpQuestion` taken from the state.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import exact_decimals, named_key, penalties
from meta_learner.evolution import Evolution, State
from meta_learner.hybrid import (
    RECENT,
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
from meta_learner.labelling import Series
from meta_learner.objective import Floats
from meta_learner.shrinkage import shrunk
from meta_learner.subject_fit import Fit, refit, start
from meta_learner.subject_model import SubjectModel
from server.events import GenerationAsked, GenerationTold, ModelFitted
from server.evidence import Told, evidence_of, tested_labels, told
from server.modelling import fit_of, fitted_fact
from server.session import Session
from server.study_file import Study

WINDOW = 128
"""Newest sessions to which the model is fitted: every fit costs the same."""

_NEW = 4
"""The model is fitted again once one session in so many is new to it."""


class Scored(NamedTuple):
    """A session that scored its candidate, and the label of each test trial (m,)."""

    candidate: int
    told: Told
    labels: Floats


class Help(NamedTuple):
    """What a study knows of the model that helps its search. Changes by replacement.

    ``sessions`` have scored candidates, of which ``fitted`` are in ``fit`` and the
    newest in ``window``; ``scored`` are those of the current generation. ``past`` are
    generations of the current component: trust is earned anew for each.
    """

    fit: Fit
    fitted: int = 0
    sessions: int = 0
    window: tuple[Told, ...] = ()
    past: tuple[Predictions, ...] = ()
    scored: tuple[Scored, ...] = ()

    @property
    def due(self) -> bool:
        """Whether the model is to be fitted before it helps again."""
        new = self.sessions - self.fitted
        return new > 0 and _NEW * new >= len(self.window)

    def taken(self, session: Session) -> "Help":
        """With a session that has scored its candidate."""
        candidate = session.opened.candidate
        new = Scored(candidate, told(session), tested_labels(session))
        return self._replace(scored=(*self.scored, new))

    def moved_on(self, fact: GenerationTold) -> "Help":
        """After a generation, whose sessions count in the order of candidates."""
        # Not in the order in which they ended: that must not matter.
        told = [each.told for each in sorted(self.scored, key=_candidate)]
        return self._replace(
            sessions=self.sessions + len(told),
            window=(*self.window, *told)[-WINDOW:],
            past=(*self.past, predictions_of(fact))[-RECENT:],
            scored=(),
        )

    def refitted(self, fact: ModelFitted) -> "Help":
        """With the model as it was fitted."""
        return self._replace(fit=fit_of(fact), fitted=fact.sessions)


def no_help(model: SubjectModel) -> Help:
    """Before any session."""
    return Help(start(model))


def predictions_of(fact: GenerationTold) -> Predictions:
    """The predictions of a generation, as arrays."""
    return Predictions(*np.array(fact.predictions, float))


class HelpQuestion(NamedTuple):
    """All that the next step needs; ``theta`` the candidates to tell of, if any.

    ``errors`` and ``standard_errors`` (candidates, 1) as they count in the meta-loss,
    ``penalties`` (candidates, 2).
    """

    study: Study
    component: int
    generation: int
    series: Series
    search: State
    help: Help
    theta: jax.Array | None
    errors: Floats
    standard_errors: Floats
    penalties: Floats

    @property
    def step(self) -> tuple[Literal["fit", "ask", "tell"], int, int]:
        """Which step of the study this is."""
        if self.theta is not None:
            return "tell", self.component, self.generation
        return "fit" if self.help.due else "ask", self.component, self.generation

    def answer(self) -> ModelFitted | GenerationAsked | GenerationTold:
        """The fact that this step adds; slow, and changes nothing."""
        match self.step[0]:
            case "fit":
                return _fit(self)
            case "ask":
                return _ask(self)
            case "tell":
                return _tell(self)


def _candidate(scored: Scored) -> int:
    return scored.candidate


def _model(question: HelpQuestion) -> SubjectModel:
    assert question.study.helper is not None
    return question.study.helper


def _size(study: Study, sessions: int) -> tuple[int, int, int]:
    """What evidence is padded to: compiled code serves all of it."""
    return sessions, study.design.training_stimuli, study.design.test_trials


def _fit(question: HelpQuestion) -> ModelFitted:
    study, model = question.study, _model(question)
    room = min(WINDOW, study.exploring_sessions)
    evidence = evidence_of(model, question.help.window, _size(study, room))
    fit = refit(model, evidence, question.help.fit)
    return fitted_fact(fit, question.help.sessions)


def _ask(question: HelpQuestion) -> GenerationAsked:
    study, place = question.study, (question.component, question.generation)
    search, key = study.search, named_key(study.seed, "ask", *place)
    assert isinstance(search, Evolution)
    share = shown_share(judge(question.help.past))
    screened: list[int] = []
    if share == 0:
        theta, _ = search.ask(question.search, key)
    else:
        theta, _ = proposals(search, question.search, key)
        expected = _expected(question, theta)[0]
        chosen = screen(
            expected, search.population, share, named_key(study.seed, "screen", *place)
        )
        screened = np.flatnonzero(chosen != np.arange(search.population)).tolist()
        theta = theta[chosen]
    cost = penalties(study.labeller, question.series, theta)
    return GenerationAsked(
        *place, exact_decimals(theta), exact_decimals(cost), screened=screened
    )


def _tell(question: HelpQuestion) -> GenerationTold:
    judgement, now = judge(question.help.past), _predictions(question)
    # What the model predicts of a labelling has no noise of a session.
    noise = (1 - judgement.weight) * question.standard_errors
    errors = shrunk(reduced(judgement, now)[:, None], noise)
    losses = question.study.objective.meta_losses(errors, question.penalties)
    return GenerationTold(
        question.component,
        question.generation,
        _or_null(losses),
        list(judgement),
        [[_or_null(row) for row in part] for part in now],
    )


def _expected(question: HelpQuestion, theta: jax.Array) -> jax.Array:
    """Error and gain expected of labellings ``(n, genes)``, shape ``(2, n)``.

    A population at a time: one compilation serves proposals and candidates.
    """
    study, size = question.study, question.study.file.search.population
    place = (question.component, question.generation)
    parts = [
        predicted_errors(
            _model(question),
            study.labeller,
            study.design,
            question.help.fit.parameters,
            question.series,
            theta[i : i + size],
            named_key(study.seed, "predict", *place),
        )
        for i in range(0, len(theta), size)
    ]
    return jnp.concatenate(parts, 1)


def _predictions(question: HelpQuestion) -> Predictions:
    """Measured and predicted of the generation; nothing is predicted of no session."""
    assert question.theta is not None
    count = len(question.theta)
    measured, noise, given = np.full((3, 2, count), np.nan)
    measured[0], noise[0] = question.errors[:, 0], question.standard_errors[:, 0]
    expected = np.array(_expected(question, question.theta), float)
    scored = sorted(question.help.scored, key=_candidate)
    which = [each.candidate for each in scored]
    expected[:, np.setdiff1d(np.arange(count), which)] = np.nan
    if scored:
        model, design = _model(question), question.study.design
        evidence = evidence_of(
            model, [each.told for each in scored], _size(question.study, count)
        )
        labels = np.zeros((count, design.test_trials), np.float32)
        labels[: len(scored)] = [each.labels for each in scored]
        gains = measured_gains(evidence, jnp.asarray(labels))
        measured[1, which], noise[1, which] = gains[:, : len(scored)]
        parameters = question.help.fit.parameters
        foreseen = session_errors(model, parameters, evidence, jnp.asarray(labels))
        given[:, which] = np.asarray(foreseen)[:, : len(scored)]
    return Predictions(measured, noise, expected, given)


def _or_null(values: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
