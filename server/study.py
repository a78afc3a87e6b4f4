"""A study as a fold of its journal.

:class:`StudyState` changes in :meth:`StudyState.apply` and nowhere else; what
follows from it is decided in :mod:`server.steps`.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import singledispatchmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import (
    Assignments,
    draw_assignments,
    named_key,
)
from meta_learner.evolution import Evolution
from meta_learner.gradient import Gradient, from_rows
from meta_learner.labelling import Series, freeze
from meta_learner.objective import Floats
from server.events import (
    ClientSeen,
    ComponentFrozen,
    ElitesChosen,
    Fact,
    GenerationAsked,
    GenerationTold,
    MetaSteps,
    ModelFitted,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyFinished,
    StudyOpened,
    VerificationAsked,
)
from server.evidence import Told, told
from server.helping import Help, no_help
from server.modelling import MOST_ASKED, fit_of
from server.scores import Place, Scores
from server.session import Session, apply_responded
from server.study_file import Study
from server.verification import draw_verification

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
        self.scores = Scores(0, len(study.groups))
        self.sessions: dict[str, Session] = {}
        """Sessions that are not over, and those that ended last, by name."""
        self.exposures: dict[str, int] = {}
        """Sessions begun by each subject."""
        self.holding: dict[str, str] = {}
        """Session that each subject is in."""
        self.group_of: dict[str, str] = {}
        """Group of each subject that has begun a session."""
        self.training_stimuli: list[int] = []
        """Of each candidate of the current generation."""
        self.verification: VerificationAsked | None = None
        self.told: list[Told] = []
        """What finished sessions told, where the search infers the subject."""
        self.fitted = 0
        """How many of them the model has been fitted to."""
        self.asked = 0
        """Candidates asked so far, of all generations."""
        self.settled = False
        """Whether the stopping rule ended the search."""
        self.help: Help | None = no_help(study.helper) if study.helper else None
        """What is known of the model that helps the search, if one does."""
        self._drawn: dict[int, list[Assignments]] = {}

    @singledispatchmethod
    def apply(self, fact: Fact) -> None:
        """Take one fact in; the only way in which the state changes.

        An answer in quarantine is kept without effect.
        """

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
            "verifying": self.verification is not None and not self.finished,
            "open_sessions": sum(s.status == "open" for s in self.sessions.values()),
            "best_error": self.best_error,
            "finished": self.finished,
        }

    def free(self, group: str = "") -> list[int]:
        """Candidates that wait for a session of a group, in order."""
        over = self.finished or self.study.null or self.has_explored
        if self.theta is None or over:
            return []
        column, held = self.study.groups.index(group), self._held()
        waiting = np.flatnonzero(~self.scores.scored[:, column]).tolist()
        return [i for i in waiting if (i, column) not in held]

    @property
    def has_explored(self) -> bool:
        """Whether a search that infers the subject needs no more sessions."""
        if not self.study.by_model or self.component > 0:
            return False
        budget = self.study.exploring_sessions
        # Sessions that are all unusable must not go on for ever.
        spent = self.asked >= MOST_ASKED * budget and not self.pending()
        return self.settled or len(self.told) >= budget or spent

    def pending(self) -> list[Session]:
        """Open sessions of the search."""
        return [
            session
            for session in self.sessions.values()
            if session.status == "open" and session.opened.component == self.component
        ]

    def place(self, opened: SessionOpened) -> Place:
        """Candidate and group of a session: its place in the scores."""
        return opened.candidate, self.study.groups.index(opened.group)

    def may_return(self, session: Session) -> bool:
        """Whether a lost session can be held again: no other has its place."""
        opened = session.opened
        taken = self._is_current(opened) and self.place(opened) in self._held()
        return session.status == "lost" and not taken

    def drawn(self, attempt: int) -> list[Assignments]:
        """Assignment of every candidate at an attempt, drawn together."""
        if attempt not in self._drawn:
            study, asked = self.study, self.verification
            if asked is not None:
                drawn = draw_verification(study, self.series, asked, attempt)
            else:
                drawn = self._draw(attempt)
            self._drawn[attempt] = drawn
        return self._drawn[attempt]

    def _draw(self, attempt: int) -> list[Assignments]:
        sizes = np.array(self.training_stimuli)
        drawn: dict[int, Assignments] = {}
        for size in np.unique(sizes):
            which = np.flatnonzero(sizes == size)
            slots = [(self.component, self.generation, i, attempt) for i in which]
            together = jax.device_get(
                draw_assignments(
                    self.study.labeller,
                    replace(self.study.design, training_stimuli=int(size)),
                    self.series,
                    self.theta[which],
                    jnp.array(slots),
                    jnp.uint32(self.study.seed),
                )
            )
            for place, i in enumerate(which):
                drawn[int(i)] = Assignments(*(leaf[place] for leaf in together))
        return [drawn[i] for i in range(len(sizes))]

    def _held(self) -> set[Place]:
        """Candidates and groups that an open session holds."""
        return {
            self.place(s.opened)
            for s in self.sessions.values()
            if s.status == "open" and self._is_current(s.opened)
        }

    def _is_current(self, opened: SessionOpened) -> bool:
        place = (opened.component, opened.generation)
        return place == (self.component, self.generation)

    @apply.register
    def _open(self, fact: StudyOpened) -> None:
        if fact.sha256 != self.study.sha256:
            raise ResumeError(
                "the journal was begun with another study file: a study is immutable "
                "once begun. Give the changed study another name or journal."
            )
        if fact.null != self.study.null:
            raise ResumeError("a study and its null cannot share a journal stream")
        self.opened = fact

    def ask(self) -> tuple[Any, Any]:
        """Candidates that the search proposes next, and its state after that."""
        assert isinstance(self.study.search, Evolution)
        key = named_key(self.study.seed, "ask", self.component, self.generation)
        return self.study.search.ask(self.search, key)

    @apply.register
    def _ask(self, fact: GenerationAsked) -> None:
        self._begin_round(len(fact.theta), fact.training_stimuli)
        self.theta = jnp.asarray(np.array(fact.theta, np.float32))
        self.penalties = np.array(fact.penalties)
        if self.study.by_model:
            self.generation = fact.generation
            self.asked += len(fact.theta)
            return
        asked, self.search = self.ask()
        if (asked != self.theta).any(1).sum() > len(fact.screened):
            warnings.warn(
                f"generation {fact.generation} of the journal cannot be computed again "
                "to the last digit by the versions of JAX or evosax installed here; "
                "the recorded candidates are used",
                stacklevel=2,
            )
        if not self.study.null:
            # Labels all the same: known before any subject sees them to be no
            # better than answering the mean.
            for candidate, one in enumerate(self.drawn(0)):
                if np.ptp(one.y[self.training_stimuli[candidate] :]) == 0:
                    for group in range(len(self.study.groups)):
                        self.scores.take((candidate, group), 1.0, 0.0)

    @apply.register
    def _verify(self, fact: VerificationAsked) -> None:
        self.verification = fact
        self._begin_round(len(fact.roles))
        self.theta = np.zeros((len(fact.roles), 0))

    def _begin_round(
        self, candidates: int, training_stimuli: Sequence[int] = ()
    ) -> None:
        """Candidates of which nothing is known yet."""
        self.scores = Scores(candidates, len(self.study.groups))
        same = [self.study.design.training_stimuli] * candidates
        self.training_stimuli = list(training_stimuli) or same
        self.penalties = np.zeros((candidates, 2))
        self._drawn = {}

    @apply.register
    def _begin(self, fact: SessionOpened) -> None:
        self.sessions[fact.session] = Session(fact)
        self.scores.attempts[self.place(fact)] = fact.attempt + 1
        self.exposures[fact.subject] = fact.exposure + 1
        self.group_of[fact.subject] = fact.group
        self.holding[fact.subject] = fact.session

    @apply.register
    def _end(self, fact: SessionEnded) -> None:
        # Taken out and put in again: those over stand in the order they ended.
        session = replace(self.sessions.pop(fact.session), status=fact.status)
        self.sessions[fact.session] = session
        opened = session.opened
        if fact.status == "lost":
            return
        self.sessions_ended += 1
        self.holding.pop(opened.subject, None)
        modelled = self.study.by_model and opened.component == self.component == 0
        if modelled and fact.used and fact.status == "finished":
            self.told.append(told(session))
        if not self._is_current(opened):
            return
        place = self.place(opened)
        if fact.used and fact.error is not None and fact.label_variance:
            objective, errors = self.study.objective, self.scores.errors
            measured = (fact.error, fact.standard_error or 0.0)
            self.scores.take(
                place, *(objective.counted(m, fact.label_variance) for m in measured)
            )
            if self.help and self.verification is None:
                self.help = self.help.taken(session)
            (combined,) = objective.combined(errors[place[:1], :])
            if not np.isnan(combined):
                best = np.inf if self.best_error is None else self.best_error
                self.best_error = min(float(combined), best)
        elif fact.status == "unusable":
            self.scores.miss(place)

    @apply.register
    def _tell(self, fact: GenerationTold) -> None:
        assert isinstance(self.study.search, Evolution)
        losses = np.array([np.nan if v is None else v for v in fact.losses])
        self.search = self.study.search.tell(
            self.search, self.theta, jnp.asarray(losses)
        )
        if self.help:
            self.help = self.help.moved_on(fact)
        self.theta = None
        over = [name for name, session in self.sessions.items() if session.over]
        for name in over[:-KEPT_SESSIONS]:
            del self.sessions[name]
        self.generation += 1

    @apply.register
    def _fit(self, fact: ModelFitted) -> None:
        if self.help:
            self.help = self.help.refitted(fact)
            return
        self.search, self.fitted = fit_of(fact), fact.sessions
        rule = self.study.file.stopping
        if rule.width is not None and fact.width is not None:
            narrow = fact.width <= rule.width
            self.settled = narrow and fact.sessions >= rule.at_least

    @apply.register
    def _descend(self, fact: MetaSteps) -> None:
        assert isinstance(self.study.search, Gradient)
        self.search = from_rows(self.study.search, fact.search)
        self.generation += len(fact.errors)
        if not self.study.null:
            self.sessions_ended += len(fact.errors) * self.study.sessions_per_generation
            last = np.array(fact.errors[-1:], float)
            self.best_error = float(self.study.objective.combined(last)[0])

    @apply.register
    def _freeze(self, fact: ComponentFrozen) -> None:
        theta = jnp.asarray(np.array(fact.theta, np.float32))
        self.series = (*self.series, freeze(self.study.labeller, self.series, theta))
        self.component += 1
        self.generation = 0
        self.theta = None
        if self.help:
            self.help = self.help._replace(past=())
        if not self.study.by_model:  # whose model finds all components at once
            key = named_key(self.study.seed, "search", self.component)
            self.search = self.study.search.init(key)

    @apply.register
    def _respond(self, fact: Responded) -> None:
        session = self.sessions[fact.session]
        self.sessions[fact.session] = apply_responded(session, fact)

    @apply.register
    def _choose(self, fact: ElitesChosen) -> None:
        self.scores.choose(fact.candidates)

    @apply.register
    def _end_study(self, fact: StudyFinished) -> None:
        del fact
        self.finished = True

    @apply.register
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
