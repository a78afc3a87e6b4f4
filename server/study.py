"""A study as a fold of its journal, and the decisions that follow from it.

:class:`StudyState` changes in :meth:`StudyState.apply` and nowhere else; the
functions below look at it and return facts, without IO, clock or hidden draws.
"""

import platform
import warnings
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import (
    Assignments,
    Slot,
    decimals,
    draw_assignments,
    exact_decimals,
    named_key,
    penalties,
)
from meta_learner.evolution import Evolution
from meta_learner.gradient import Gradient, from_rows
from meta_learner.labelling import Series, freeze
from meta_learner.objective import Floats
from server.events import (
    ClientSeen,
    ComponentFrozen,
    Fact,
    GenerationAsked,
    GenerationTold,
    MetaSteps,
    Quarantined,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyFinished,
    StudyOpened,
)
from server.session import Session, apply_responded
from server.study_file import Study

MAX_UNUSABLE = 3
"""Unusable sessions after which a candidate is left unscored."""

KEPT_SESSIONS = 1000
"""Sessions just over that are kept, so that a message sent again gets its reply."""


class ResumeError(ValueError):
    """The journal belongs to another study file, mode or kind of run."""


class StudyState:
    """Where a study stands: search, series, current generation, open sessions."""

    def __init__(self, study: Study) -> None:
        """The state before the first event."""
        self.study = study
        self.opened: StudyOpened | None = None
        self.series: Series = ()
        self.component = 0
        self.generation = 0
        self.finished = False
        self.sessions_ended = 0
        self.best_error: float | None = None
        self.search: Any = study.search.init(named_key(study.seed, "search", 0))
        self.theta: Any = None
        self.penalties: Floats = np.zeros((0, 2))
        none = (0, len(study.groups))
        self.errors: Floats = np.zeros(none)
        """Relative errors (candidates, groups); NaN while ``scored`` is False."""
        self.scored = np.zeros(none, bool)
        """Whether no more session of a group on a candidate is needed."""
        self.unusable = np.zeros(none, int)
        self.attempts = np.zeros(none, int)
        self.sessions: dict[str, Session] = {}
        """Sessions that are not over, and those that ended last, by name."""
        self.exposures: dict[str, int] = {}
        """Sessions begun by each subject."""
        self.holding: dict[str, str] = {}
        """Session that each subject is in."""
        self.group_of: dict[str, str] = {}
        """Group of each subject that has begun a session."""
        self._drawn: dict[int, Assignments] = {}

    def apply(self, fact: Fact) -> None:
        """Take one fact in; the only way in which the state changes."""
        match fact:
            case StudyOpened():
                self._open(fact)
            case GenerationAsked():
                self._ask(fact)
            case SessionOpened():
                self._begin(fact)
            case Responded():
                session = self.sessions[fact.session]
                self.sessions[fact.session] = apply_responded(session, fact)
            case SessionEnded():
                self._end(fact)
            case GenerationTold():
                self._tell(fact)
            case MetaSteps():
                self._descend(fact)
            case ComponentFrozen():
                self._freeze(fact)
            case StudyFinished():
                self.finished = True
            case ClientSeen():
                self._see(fact)
            case Quarantined():
                pass  # kept for the operator, without effect

    def summary(self) -> dict[str, Any]:
        """Progress in numbers, without labels."""
        done = self.component * self.study.file.search.generations + self.generation
        return {
            "study": self.study.name,
            "mode": self.opened.mode if self.opened else None,
            "component": self.component,
            "generation": self.generation,
            "generations_done": done,
            "sessions_ended": self.sessions_ended,
            "sessions_planned": self.study.sessions,
            "open_sessions": sum(s.status == "open" for s in self.sessions.values()),
            "best_error": self.best_error,
            "finished": self.finished,
        }

    def free(self, group: str = "") -> list[int]:
        """Candidates that wait for a session of a group, in order."""
        if self.theta is None or self.study.null or self.finished:
            return []
        column, held = self.study.groups.index(group), self._held()
        waiting = np.flatnonzero(~self.scored[:, column]).tolist()
        return [i for i in waiting if (i, column) not in held]

    def place(self, opened: SessionOpened) -> tuple[int, int]:
        """Candidate and group of a session: its place in ``errors``."""
        return opened.candidate, self.study.groups.index(opened.group)

    def may_return(self, session: Session) -> bool:
        """Whether a lost session can be held again: no other has its place."""
        opened = session.opened
        taken = self._is_current(opened) and self.place(opened) in self._held()
        return session.status == "lost" and not taken

    def drawn(self, attempt: int) -> Assignments:
        """Assignments of all candidates at an attempt, drawn in one call."""
        if attempt not in self._drawn:
            population = self.theta.shape[0]
            slots = jnp.array(
                [
                    (self.component, self.generation, i, attempt)
                    for i in range(population)
                ]
            )
            drawn = draw_assignments(
                self.study.labeller,
                self.study.design,
                self.series,
                self.theta,
                slots,
                jnp.uint32(self.study.seed),
            )
            self._drawn[attempt] = jax.device_get(drawn)
        return self._drawn[attempt]

    def _held(self) -> set[tuple[int, int]]:
        """Candidates and groups that an open session holds."""
        return {
            self.place(s.opened)
            for s in self.sessions.values()
            if s.status == "open" and self._is_current(s.opened)
        }

    def _is_current(self, opened: SessionOpened) -> bool:
        place = (opened.component, opened.generation)
        return place == (self.component, self.generation)

    def _open(self, fact: StudyOpened) -> None:
        if fact.sha256 != self.study.sha256:
            raise ResumeError(
                "the journal was begun with another study file: a study is immutable "
                "once begun. Give the changed study another name or journal."
            )
        if fact.null != self.study.null:
            raise ResumeError("a study and its null cannot share a journal stream")
        self.opened = fact

    def _ask(self, fact: GenerationAsked) -> None:
        asked, self.search = _ask(self)
        self.theta = jnp.asarray(np.array(fact.theta, np.float32))
        if not np.array_equal(asked, self.theta):
            warnings.warn(
                f"generation {fact.generation} of the journal cannot be computed again "
                "to the last digit by the versions of JAX or evosax installed here; "
                "the recorded candidates are used",
                stacklevel=2,
            )
        shape = (len(fact.theta), len(self.study.groups))
        self.penalties = np.array(fact.penalties)
        self.errors = np.full(shape, np.nan)
        self.scored = np.zeros(shape, bool)
        self.unusable = np.zeros(shape, int)
        self.attempts = np.zeros(shape, int)
        self._drawn = {}
        if not self.study.null:
            # Labels all the same: known before any subject sees them to be no
            # better than answering the mean.
            y = self.drawn(0).y[:, self.study.design.training_stimuli :]
            constant = np.ptp(y, axis=1) == 0
            self.errors[constant], self.scored[constant] = 1.0, True

    def _begin(self, fact: SessionOpened) -> None:
        self.sessions[fact.session] = Session(fact)
        self.attempts[self.place(fact)] = fact.attempt + 1
        self.exposures[fact.subject] = fact.exposure + 1
        self.group_of[fact.subject] = fact.group
        self.holding[fact.subject] = fact.session

    def _end(self, fact: SessionEnded) -> None:
        # Taken out and put in again: those over stand in the order they ended.
        session = replace(self.sessions.pop(fact.session), status=fact.status)
        self.sessions[fact.session] = session
        opened = session.opened
        if fact.status == "lost":
            return
        self.sessions_ended += 1
        self.holding.pop(opened.subject, None)
        if not self._is_current(opened):
            return
        place = self.place(opened)
        if fact.used and fact.error is not None and fact.label_variance:
            counted = self.study.objective.counted
            self.errors[place] = counted(fact.error, fact.label_variance)
            self.scored[place] = True
            (combined,) = self.study.objective.combined(self.errors[place[:1], :])
            if not np.isnan(combined):
                best = np.inf if self.best_error is None else self.best_error
                self.best_error = min(float(combined), best)
        elif fact.status == "unusable":
            self.unusable[place] += 1
            if self.unusable[place] >= MAX_UNUSABLE:
                # Without one group there is no score: spare the others' subjects.
                self.scored[opened.candidate] = True

    def _tell(self, fact: GenerationTold) -> None:
        assert isinstance(self.study.search, Evolution)
        losses = np.array([np.nan if v is None else v for v in fact.losses])
        self.search = self.study.search.tell(
            self.search, self.theta, jnp.asarray(losses)
        )
        self.theta = None
        over = [name for name, session in self.sessions.items() if session.over]
        for name in over[:-KEPT_SESSIONS]:
            del self.sessions[name]
        self.generation += 1

    def _descend(self, fact: MetaSteps) -> None:
        assert isinstance(self.study.search, Gradient)
        self.search = from_rows(self.study.search, fact.search)
        self.generation += len(fact.errors)
        if not self.study.null:
            self.sessions_ended += len(fact.errors) * self.study.sessions_per_generation
            last = np.array(fact.errors[-1:], float)
            self.best_error = float(self.study.objective.combined(last)[0])

    def _freeze(self, fact: ComponentFrozen) -> None:
        theta = jnp.asarray(np.array(fact.theta, np.float32))
        self.series = (*self.series, freeze(self.study.labeller, self.series, theta))
        self.component += 1
        self.generation = 0
        key = named_key(self.study.seed, "search", self.component)
        self.search = self.study.search.init(key)

    def _see(self, fact: ClientSeen) -> None:
        session = self.sessions.get(fact.session)
        if fact.what == "returned" and session and self.may_return(session):
            self.sessions[fact.session] = replace(session, status="open")


def replay(study: Study, facts: Iterable[Fact]) -> StudyState:
    """The state after a journal's facts."""
    state = StudyState(study)
    for fact in facts:
        state.apply(fact)
    return state


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
    file = state.study.file
    if state.finished:
        return None
    if state.component == file.study.components:
        return StudyFinished()
    if state.generation == file.search.generations:
        best = state.study.search.best(state.search)
        return ComponentFrozen(state.component, exact_decimals(best))
    if state.study.by_gradient:
        return None  # its meta-steps are the dry run's to take
    if state.theta is None:
        theta, _ = _ask(state)
        cost = penalties(state.study.labeller, state.series, theta)
        return GenerationAsked(
            state.component,
            state.generation,
            exact_decimals(theta),
            exact_decimals(cost),
        )
    if state.study.null or state.scored.all():
        losses = [None if np.isnan(v) else float(v) for v in _meta_losses(state)]
        return GenerationTold(state.component, state.generation, losses)
    return None


def assign(
    state: StudyState,
    candidate: int,
    subject: str,
    client: dict[str, Any],
    group: str = "",
) -> SessionOpened:
    """A session of ``subject`` on a candidate of the current generation.

    What is shown does not depend on the group.
    """
    attempt = int(state.attempts[candidate, state.study.groups.index(group)])
    drawn, design = state.drawn(attempt), state.study.design
    slot = Slot(state.component, state.generation, candidate, attempt)
    rewards = design.feedback == "reward"
    return SessionOpened(
        session=f"{slot.session}-{group}" if group else slot.session,
        **slot._asdict(),
        subject=subject,
        exposure=state.exposures.get(subject, 0),
        client=client,
        x=decimals(drawn.x[candidate]),
        y=decimals(drawn.y[candidate]),
        training_stimuli=design.training_stimuli,
        trials=drawn.order[candidate].tolist(),
        training_trials=design.training_trials,
        right_rewarded=drawn.right_rewarded[candidate].tolist() if rewards else [],
        group=group,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a bare clone
        return "not installed"


def would_be_used(state: StudyState, session: Session) -> bool:
    """Whether the result of a session still has a candidate to score."""
    opened = session.opened
    place = (opened.component, opened.generation)
    current = place == (state.component, state.generation)
    return current and not state.scored[state.place(opened)]


def _ask(state: StudyState) -> tuple[Any, Any]:
    assert isinstance(state.study.search, Evolution)
    key = named_key(state.study.seed, "ask", state.component, state.generation)
    return state.study.search.ask(state.search, key)


def _meta_losses(state: StudyState) -> Floats:
    losses: Floats
    losses = state.study.objective.meta_losses(state.errors, state.penalties)
    if not state.study.null:
        return losses
    # Without a learner losses may all be equal: break ties at random, so that
    # selection is neutral drift and not the order of the candidates.
    place = (state.study.seed, state.component, state.generation)
    order = np.random.default_rng(place).permutation(len(losses))
    broken: Floats = losses + 1e-9 * order
    return broken
