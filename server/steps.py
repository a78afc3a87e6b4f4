"""What follows from a study's state: pure decisions, returned as facts.

Without IO, clock or hidden draws; nothing here changes the state.
"""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from meta_learner.assignment import (
    Slot,
    decimals,
    exact_decimals,
    named_key,
    penalties,
)
from meta_learner.bias import prior_components
from meta_learner.objective import Floats
from meta_learner.subject_search import SubjectSearch
from server.events import (
    ComponentFrozen,
    ElitesChosen,
    Fact,
    GenerationAsked,
    GenerationTold,
    SessionOpened,
    StudyFinished,
    StudyOpened,
)
from server.evidence import told
from server.helping import HelpQuestion
from server.modelling import MOST_ASKED, Question
from server.session import Session
from server.study import StudyState
from server.study_file import Study
from server.verification import ask_verification


def opening(study: Study, mode: str) -> StudyOpened:
    """The first fact of a study's journal."""
    packages = ("penchant", "jax", "evosax", "numpy")
    versions = {name: _version(name) for name in packages}
    versions |= {"python": platform.python_version(), "platform": platform.platform()}
    return StudyOpened(study.text, study.sha256, mode, study.null, versions)


def advance(state: StudyState) -> Fact | None:
    """The next fact that follows without any subject, or None.

    Call again after applying it, until there is none: then subjects are needed,
    or the study is over.
    """
    study, file = state.study, state.study.file
    if state.finished:
        return None
    if state.component == file.study.components:
        return _finish(state)
    if isinstance(study.search, SubjectSearch):
        return _freeze_modelled(state, study.search)
    if state.generation == file.search.generations:
        best = study.search.best(state.search)
        return ComponentFrozen(state.component, exact_decimals(best))
    if study.by_gradient or study.helper:
        return None  # the dry run takes meta-steps; of a model, see `question`
    if state.theta is None:
        theta, _ = state.ask()
        cost = penalties(study.labeller, state.series, theta)
        return GenerationAsked(
            state.component,
            state.generation,
            exact_decimals(theta),
            exact_decimals(cost),
            carried=state.carrying,
        )
    unchosen = file.search.re_evaluate > 0 and state.scores.elites is None
    if unchosen and state.scores.scored.all() and not study.null:
        number, objective = file.search.re_evaluate, study.objective
        elites = state.scores.best(number, objective, state.penalties)
        return ElitesChosen(state.component, state.generation, elites)
    if study.null or state.complete:
        told, later = _meta_losses(state), state.running()
        told[later] = np.nan  # once all their subjects are through
        losses = [None if np.isnan(v) else float(v) for v in told]
        return GenerationTold(state.component, state.generation, losses)
    return None


def foretaste(ahead: StudyState) -> Iterator[int]:
    """Let an evolution study go ahead on a copy, as if all were scored.

    What is compiled for a step is there when the step is due. First the next step, then
    the beginning of each later component, which has its own programs; gives, between
    pieces, the component they are for. Verification is left out: it would really be
    run.
    """
    generations = ahead.study.file.search.generations
    if ahead.study.infers or ahead.verification:
        return
    while ahead.theta is not None:
        for candidate in range(len(ahead.theta)):
            ahead.scores.settle(candidate, 1.0)
        asked = ahead.component, ahead.generation
        while ahead.theta is None or asked == (ahead.component, ahead.generation):
            if ahead.component == ahead.study.file.study.components:
                return
            fact = advance(ahead)
            if fact is None:
                return
            yield ahead.component
            if isinstance(fact, ElitesChosen):  # scored again, and told next
                ahead.scores.elites = []
            else:
                ahead.apply(fact)
        ahead.drawn(0)
        ahead.generation = generations - 1


def question(state: StudyState) -> Question | HelpQuestion | None:
    """What a model of the subject has to work out next, if anything."""
    return _modelling(state) if state.help is None else _helping(state)


def _helping(state: StudyState) -> HelpQuestion | None:
    """What the model that helps a search works out next.

    First a fit to the generation told last; then candidates; once they are scored,
    what the search is told of them.
    """
    search = state.study.file.search
    searching = state.component < state.study.file.study.components
    if not searching or state.generation == search.generations:
        return None
    if state.theta is not None and not state.scores.scored.all():
        return None
    assert state.help is not None
    return HelpQuestion(
        state.study,
        state.component,
        state.generation,
        state.series,
        state.search,
        state.help,
        state.theta,
        state.scores.errors.copy(),
        state.scores.standard_errors.copy(),
        state.penalties,
    )


def _modelling(state: StudyState) -> Question | None:
    """What a search that infers the subject has to work out next, if anything.

    First a fit, where sessions have ended since the last; then labellings, where
    none waits for a subject.
    """
    study = state.study
    exploring = study.by_model and state.component == 0
    if not exploring or study.null or state.finished:
        return None
    following = Question(
        study,
        tuple(state.told),
        tuple(told(session) for session in state.pending()),
        state.search,
        state.fitted,
        generation=state.generation + (state.asked > 0),
        wanted=0,
    )
    if state.fitted < len(state.told):
        return following
    if state.has_explored or state.free():
        return None
    budget = study.exploring_sessions
    wanted = min(
        study.file.search.population,
        budget - len(state.told) - len(state.pending()),
        MOST_ASKED * budget - state.asked,
    )
    return following._replace(wanted=wanted) if wanted > 0 else None


def assign(
    state: StudyState,
    candidate: int,
    subject: str,
    client: dict[str, Any],
    group: str = "",
    rig: str = "",
    caller: str = "",
) -> SessionOpened:
    """A session of ``subject`` on a candidate of the current generation.

    What is shown does not depend on the group, ``rig`` or ``caller``.
    """
    attempt = int(state.scores.attempts[candidate, state.study.groups.index(group)])
    drawn, design = state.drawn(attempt)[candidate], state.study.design
    slot = Slot(state.component, state.generation, candidate, attempt)
    trained, rewards = state.training_stimuli[candidate], design.feedback == "reward"
    return SessionOpened(
        session=f"{slot.session}-{group}" if group else slot.session,
        **slot._asdict(),
        subject=subject,
        exposure=state.attendance.exposures.get(subject, 0),
        client=client,
        x=decimals(drawn.x),
        y=decimals(drawn.y),
        training_stimuli=trained,
        trials=drawn.order.tolist(),
        training_trials=trained * design.training_repeats,
        right_rewarded=drawn.right_rewarded.tolist() if rewards else [],
        group=group,
        rig=rig,
        caller=caller,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a bare clone
        return "not installed"


def would_be_used(state: StudyState, session: Session) -> bool:
    """Whether the result of a session still has a candidate to score."""
    opened = session.opened
    if state.study.by_model and opened.component == 0:
        return state.component == 0  # what any session tells is of use
    scored = state.is_current(opened) and state.scores.scored[state.place(opened)]
    return state.is_current(opened) and not scored


def _finish(state: StudyState) -> Fact | None:
    """The end of a study whose components are found: they are verified first."""
    study = state.study
    if study.verified and not study.null:
        if state.verification is None:
            return ask_verification(study, state.series)
        if not state.scores.scored.all():
            return None
    return StudyFinished()


def _freeze_modelled(state: StudyState, search: SubjectSearch) -> Fact | None:
    """The next component of a model that has been told all that it will be."""
    study, k = state.study, state.component
    number = study.file.study.components
    if study.null:
        key = named_key(study.seed, "no-learner null")
        rows = prior_components(search.model, number, 1, key)[0]
    elif k == 0 and (
        not state.has_explored or state.pending() or state.fitted < len(state.told)
    ):  # a stopping rule does not throw away sessions under way
        return None
    else:
        rows = search.best(state.search, number)
    return ComponentFrozen(k, exact_decimals(rows[k]))


def _meta_losses(state: StudyState) -> Floats:
    losses = state.scores.meta_losses(state.study.objective, state.penalties)
    if not state.study.null:
        return losses
    # Without a learner losses may all be equal: break ties at random, so that
    # selection is neutral drift and not the order of the candidates.
    place = (state.study.seed, state.component, state.generation)
    order = np.random.default_rng(place).permutation(len(losses))
    broken: Floats = losses + 1e-9 * order
    return broken
