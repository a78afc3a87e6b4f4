"""Where a study stands: what its state holds, and what can be asked of it.

Read-only: :class:`server.study.StudyState` is this with the facts that change it.
"""

from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import replace
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import Assignments, draw_assignments, named_key
from meta_learner.evolution import Evolution
from meta_learner.labelling import Series
from meta_learner.objective import Floats
from server.attendance import Attendance
from server.events import SessionOpened, StudyOpened, VerificationAsked
from server.evidence import Told
from server.helping import Help, no_help
from server.modelling import MOST_ASKED
from server.scores import Place, Scores
from server.session import Session
from server.study_file import Study
from server.verification import draw_verification


class Standing:
    """Search, series, current generation, and who is here."""

    def __init__(self, study: Study) -> None:
        """The state before the first event."""
        self.study = study
        self.opened: StudyOpened | None = None
        self.series: Series = ()
        self.component = 0
        self.generation = 0
        self.finished = False
        self.sessions_ended = 0
        self.given_up = 0
        """Of these, how many were abandoned or stopped."""
        self.best_error: float | None = None
        self.search: Any = study.search.init(named_key(study.seed, "search", 0))
        self.theta: Any = None
        self.penalties: Floats = np.zeros((0, 2))
        self.scores = Scores(0, len(study.groups))
        self.attendance = Attendance()
        """Subjects and their sessions."""
        self.revision = 0
        """Counts what could change the next step of the search."""
        self.carried: dict[int, int] = {}
        """Candidates of an earlier generation, with that generation."""
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
        self._running: list[int] = []
        """Candidates whose sessions the next generation waits for."""
        self._before = self.scores
        self._last_theta: Any = None
        self.foreseen: dict[Any, Any] | None = None
        """What pure functions gave on a copy that went ahead; taken, not computed."""

    @property
    def sessions(self) -> dict[str, Session]:
        """Sessions that are not over, and those that ended last, by name."""
        return self.attendance.sessions

    def copy(self) -> Self:
        """As it stands, for a thread that works out what comes next.

        What that computes, it keeps in :attr:`foreseen`.
        """
        other = copy(self)
        vars(other).update(
            attendance=self.attendance.copy(),
            scores=deepcopy(self.scores),
            _before=deepcopy(self._before),
            _drawn=dict(self._drawn),
            foreseen={},
        )
        return other

    def _once(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """A pure result of this state: from a copy that has it, or computed."""
        if self.foreseen is None:
            return compute()
        if key not in self.foreseen:
            self.foreseen[key] = compute()
        return self.foreseen[key]

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
            "sessions_given_up": self.given_up,
            "sessions_planned": self.study.sessions,
            "verifying": self.verification is not None and not self.finished,
            "open_sessions": sum(s.status == "open" for s in self.sessions.values()),
            "halted": self.attendance.halted,
            "best_error": self.best_error,
            "finished": self.finished,
        }

    def free(self, group: str = "") -> list[int]:
        """Candidates that need one more session of a group, in order.

        Those with the fewest come first, so that all are begun before any is
        repeated.
        """
        over = self.finished or self.study.null or self.has_explored
        if self.theta is None or over:
            return []
        column, held = self.study.groups.index(group), self._held()
        missing = self.scores.missing(held)[:, column]
        begun = self.scores.wanted[:, column] - missing
        order = np.argsort(begun, kind="stable")
        return [int(i) for i in order if missing[i]]

    @property
    def complete(self) -> bool:
        """Whether the generation can be told.

        When all is scored; or from the study's quorum on as soon as another subject
        would have to wait for those that are slow.
        """
        if self.scores.scored.all():
            return True
        share = float(self.scores.scored.all(1).mean())
        quorum = self.study.file.allocation.quorum
        waiting = self.scores.missing(self._held()).any()
        return quorum < 1 and share >= quorum and not waiting

    def running(self) -> list[int]:
        """Candidates that the next generation takes over, their sessions running."""
        more = self.generation + 1 < self.study.file.search.generations
        if not (self.study.carries and more):
            return []
        held = {candidate for candidate, _ in self._held()}
        return [i for i in sorted(held) if not self.scores.scored[i].all()]

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

    def had(self, subject: str) -> set[int]:
        """Candidates of the current generation that a subject has finished."""
        return {
            s.opened.candidate
            for s in self.sessions.values()
            if s.opened.subject == subject
            and s.status == "finished"
            and self.is_current(s.opened)
        }

    def place(self, opened: SessionOpened) -> Place:
        """Candidate and group of a session: its place in the scores."""
        return opened.candidate, self.study.groups.index(opened.group)

    def may_return(self, session: Session) -> bool:
        """Whether a lost session can be held again: no other has its place."""
        opened = session.opened
        if session.status != "lost":
            return False
        candidate, group = self.place(opened)
        if not self.is_current(opened) or self.scores.scored[candidate, group]:
            return True
        return bool(self.scores.missing(self._held())[candidate, group])

    def drawn(self, attempt: int) -> list[Assignments]:
        """Assignment of every candidate at an attempt, drawn together."""
        if attempt not in self._drawn:
            key = ("drawn", self.component, self.generation, attempt)
            self._drawn[attempt] = self._once(key, lambda: self._draw(attempt))
        return self._drawn[attempt]

    def _draw(self, attempt: int) -> list[Assignments]:
        if self.verification is not None:
            study, asked = self.study, self.verification
            return draw_verification(study, self.series, asked, attempt)
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
                    np.asarray(self.theta)[which],
                    np.array(slots),
                    np.uint32(self.study.seed),
                )
            )
            for place, i in enumerate(which):
                drawn[int(i)] = Assignments(*(leaf[place] for leaf in together))
        return [drawn[i] for i in range(len(sizes))]

    def _held(self) -> list[Place]:
        """Candidate and group of each open session."""
        return [
            self.place(s.opened)
            for s in self.sessions.values()
            if s.status == "open" and self.is_current(s.opened)
        ]

    def is_current(self, opened: SessionOpened) -> bool:
        """Whether a session is on a candidate of the current generation.

        On one carried over it may have begun in any since it was asked.
        """
        asked = self.carried.get(opened.candidate, self.generation)
        in_time = asked <= opened.generation <= self.generation
        return opened.component == self.component and in_time

    def ask(self) -> tuple[Any, Any]:
        """Candidates that the search proposes next, and its state after that."""
        assert isinstance(self.study.search, Evolution)
        key = named_key(self.study.seed, "ask", self.component, self.generation)
        search = self.study.search

        def asked() -> tuple[Any, Any]:
            theta, after = search.ask(self.search, key)
            if self._running:  # their sessions go on
                kept = np.array(theta)
                kept[self._running] = np.asarray(self._last_theta)[self._running]
                theta = jnp.asarray(kept)
            return theta, after

        asked_for = ("ask", self.component, self.generation)
        proposed: tuple[Any, Any] = self._once(asked_for, asked)
        return proposed

    @property
    def carrying(self) -> list[int]:
        """Candidates that the next generation takes over, their sessions running."""
        return list(self._running)
