"""The one place that changes a study: message in, facts on disk, reply out."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from typing import Any
from uuid import uuid4

from sqlalchemy import Executable
from sqlalchemy.exc import SQLAlchemyError

from server.ahead import Ahead
from server.alarms import Alarm, Snapshot
from server.backlog import Backlog
from server.board import Board
from server.clerk import Clerk, may_speak_for
from server.completion import finished, told
from server.database import JournalError
from server.events import AlarmRaised, ClientSeen, Event, Fact, SessionEnded
from server.gallery import Stand, stand_of
from server.guard import Guard
from server.holds import Holds
from server.journal import Journal
from server.leases import Leases
from server.ledger import Ledger
from server.orders import carried_out
from server.overview import Present
from server.projections import of_sessions
from server.protocol import (
    Done,
    Heartbeat,
    Noted,
    Order,
    ProtocolError,
    Refusal,
    Reply,
    Request,
    Stop,
    parse_request,
)
from server.roles import LOCAL, Caller
from server.safety_section import SafetySection
from server.steps import advance, opening, question
from server.study import ResumeError, StudyState
from server.study_file import Study

_LOG = logging.getLogger(__name__)


class Desk:
    """Serves one study: the single writer of its journal.

    Every message is decided by pure functions over the state, applied, stored, and
    only then answered. While one thread waits for the disk others decide, so that
    messages that come together share a commit. ``wall`` (seconds since 1970) dates
    events, ``monotonic`` measures leases; tests give their own.
    """

    def __init__(
        self,
        study: Study,
        journal: Journal,
        mode: str,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        beside: bool = False,
    ) -> None:
        """Open or resume the study; raises ``ResumeError`` if it is another one.

        With ``beside`` what comes next in the search is worked out in a thread of its
        own, so that no trial waits for it; else between two messages. Until that thread
        has something to show, whatever wants the state waits.
        """
        self.state = StudyState(study)
        self.board = Board(study)
        """What there is to tell of the study's past."""
        self.told: Callable[[Fact], object] | None = None
        """Called with each fact once it is on disk."""
        self.hurry: Callable[[Fact], object] | None = None
        """Called with an emergency stop at once: it waits for no disk."""
        self._journal, self._wall, self._monotonic = journal, wall, monotonic
        self._lock = threading.Lock()
        self._leases = Leases(study.file.session.lease_s)
        self._backlog = Backlog(
            self._append, self._stored, self._lock, self._leases, wall, monotonic
        )
        self._live = mode == "live"
        engine = journal.engine
        self._guard = Guard(
            study.name, study.file.safety, Ledger(engine), Holds(engine), wall
        )
        self._clerk = Clerk(
            self.state,
            self._record,
            self._go_on,
            self._leases,
            self._guard,
            monotonic,
            wall,
        )
        self._beside = beside
        self.ahead = Ahead(
            self.state, self._lock, self._record, self._advance, self._settle
        )
        """What comes next in the search, worked out beside the trials."""
        self._resume(study, mode)
        if beside:
            self.ahead.start(self._work_for_ever)
        else:
            self.advance()

    def handle(self, kind: str, payload: Any, caller: Caller = LOCAL) -> Reply:
        """Answer one message; every fault of it becomes a :class:`Refusal`."""
        try:
            request = parse_request(kind, payload)
            if not caller.may(kind):
                raise ProtocolError(
                    403, "forbidden", f"a token of role {caller.role} sends no {kind}"
                )
            urgent = isinstance(request, Stop) and request.emergency
            if self._backlog.failing and not (urgent or isinstance(request, Heartbeat)):
                self._settle()  # nothing is decided on what could not be stored
            return self._decide(request, caller)
        except ProtocolError as error:
            return error.refusal
        except (JournalError, SQLAlchemyError) as error:
            return Refusal(
                status=503,
                error="not_stored",
                detail=f"the journal could not be written ({type(error).__name__}): "
                "send the message again",
            )

    def disconnected(self, session_name: str) -> None:
        """Note that the connection of a session is gone; its lease runs on."""
        with self._lock:
            session = self.state.sessions.get(session_name)
            if session is None or session.status != "open":
                return
            subject = session.opened.subject
            self._record([ClientSeen(session_name, subject, "disconnected")])
        self._settle()

    def commit(self, facts: Sequence[Fact]) -> None:
        """Apply facts and store them durably."""
        with self._lock:
            self._record(facts)
        self._settle()

    def advance(self) -> None:
        """Take every step of the search that needs no subject, here and now."""
        with self._lock:
            self._advance()
        self._settle()

    def tick(self) -> None:
        """Notice what no message tells: leases that ran out."""
        with self._lock:
            self._expire()
        self._settle()

    def summary(self) -> dict[str, Any]:
        """Progress of the study, without labels."""
        with self._lock:
            return self.state.summary()

    def close(self) -> None:
        """Work no more beside the trials, and give the study back."""
        self.ahead.close()
        self._journal.close()

    def sessions_under_way(self) -> list[dict[str, Any]]:
        """Who is in a session, and how far, without labels."""
        with self._lock:
            return self.state.attendance.under_way()

    def given_elsewhere(self, subjects: Sequence[str]) -> dict[str, float]:
        """Microlitres that subjects were given today in other studies; a query."""
        return self._guard.given_elsewhere(subjects) if self._live else {}

    def present(self, elsewhere: Mapping[str, float]) -> Present:
        """Where the study stands now; ``elsewhere`` as :meth:`given_elsewhere` told."""
        with self._lock:
            state, attendance = self.state, self.state.attendance
            sessions = tuple(s for s in state.sessions.values() if not s.over)
            stopped = (s.opened.session for s in sessions if attendance.stopped(s))
            return Present(
                self._wall(),
                state.summary(),
                sessions,
                frozenset(stopped),
                self._leases.silence(self._monotonic()),
                self._guard.given_today(elsewhere),
                self._guard.most_free(sessions, elsewhere),
            )

    def stand(self) -> Stand:
        """What the search has found, and where it is."""
        with self._lock:
            return stand_of(self.state)

    def completion(self, session: str | None, caller: Caller) -> dict[str, Any]:
        """What a caller is told who has finished a session, this one or any.

        ``again`` says whether the study takes another session of the same subject.
        Raises :class:`JournalError`.
        """
        study = self.state.study
        with self._lock:
            sessions = self.state.sessions.values()
            mine = [s for s in sessions if may_speak_for(caller, s)]
            done = finished(mine, session)
            over, heard = self.state.finished, self._backlog.recorded
        self._settle(heard)  # nobody is paid for what is not on disk
        again = not over and study.file.study.exposure != "naive"
        said = {"finished": done is not None, "study_over": over, "again": again}
        return said | told(study.file.human, done)

    def look(self) -> tuple[Snapshot, SafetySection] | None:
        """Where subjects stand, for a study that limits what is done to them."""
        with suppress(JournalError):  # a full disk must not keep alarms from anyone
            self.tick()
        if self._guard.limits is None:
            return None
        with self._lock:
            self._guard.forget_elsewhere()
            return self._guard.snapshot(self.state.attendance), self._guard.limits

    def raise_alarm(self, alarm: Alarm) -> None:
        """Keep an alarm in the journal; a breach is there with its reward."""
        if alarm.name == "breach":
            return
        if self._backlog.failing:
            self._settle()  # or come again: it must not be recorded twice
        with suppress(JournalError):
            self.commit([AlarmRaised(*astuple(alarm))])

    @property
    def superseded(self) -> bool:
        """Whether another process has the study now: this desk is of no more use."""
        return self._backlog.superseded

    @property
    def storing(self) -> bool:
        """Whether what it hears is stored."""
        return not self._backlog.failing

    @property
    def healthy(self) -> bool:
        """Whether it stores what it hears, and its search does not fail."""
        return self.storing and not self.ahead.failing

    def _resume(self, study: Study, mode: str) -> None:
        self._journal.claim()
        for event in self._journal.read():
            self.state.apply(event.fact)
            self._note(event.fact, event.at)
            self.board.restore(event)
        if self.state.opened is None:
            self.commit([opening(study, mode)])
        elif self.state.opened.mode != mode:
            raise ResumeError(
                f"the journal {self._journal.where} is of a {self.state.opened.mode} "
                f"study, asked for {mode}: simulated and real subjects never share a "
                "journal. Name another with --journal"
            )
        open_ = [n for n, s in self.state.sessions.items() if s.status == "open"]
        self._leases.begin_again(open_, self._monotonic())
        if self._live:
            self._guard.holding_again(self.state.attendance)

    def _decide(self, request: Request, caller: Caller) -> Reply:
        arrived = self._monotonic()
        reply: Reply
        urgent: Fact | None = None
        with self._lock:
            now = self._monotonic()
            self._leases.forgive(now - arrived, now)
            self._guard.forget_elsewhere()
            self._expire()
            try:
                if isinstance(request, Order):
                    reply, facts = self._obey(request, caller)
                    if isinstance(request, Stop) and request.emergency and facts:
                        urgent = facts[0]
                else:
                    reply = self._clerk.answer(request, caller)
            except ProtocolError as error:  # it may have put a message in quarantine
                reply = error.refusal
            mine = self._backlog.recorded
        if urgent and self.hurry:  # without the lock, which listeners may want
            _tell(self.hurry, urgent)
        if isinstance(reply, Done) and reply.emergency:
            with suppress(JournalError):  # safe state waits for no disk
                self._settle(mine)
            return reply
        self._settle(mine)
        return reply

    def _obey(self, order: Order, caller: Caller) -> tuple[Noted, list[Fact]]:
        facts = carried_out(self.state, order, caller.name, uuid4().hex)
        remark = self._guard.weigh_up(order, self.state.attendance) if facts else "done"
        self._record(facts)
        return Noted(detail=remark), facts

    def _record(self, facts: Sequence[Fact]) -> None:
        """Take facts in, and what follows from them; the lock is held."""
        self._take(facts)
        if any(isinstance(fact, SessionEnded) for fact in facts):
            self._go_on()

    def _go_on(self) -> None:
        """Let the search take its next steps, now or in its own thread."""
        if not self._beside:
            self._advance()
        else:
            self.ahead.wake()

    def _take(self, facts: Sequence[Fact]) -> None:
        """Take facts into the state, and leave them to be stored; the lock is held."""
        at = self._wall()
        for fact in facts:
            self.state.apply(fact)
            self._backlog.add(fact)
            self._note(fact, at)
            if isinstance(fact, SessionEnded):
                self._leases.end(fact.session)

    def _settle(self, recorded: int | None = None) -> None:
        """Wait until what was recorded so far is on disk; no lock is held."""
        self._backlog.settle(recorded)

    def _append(self, batch: list[Fact], at: float) -> list[Event]:
        with self._lock:
            also = self._look_ups(batch, at)
        return self._journal.append(batch, at, also)

    def _stored(self, events: list[Event]) -> None:
        # First what subjects need; no listener may keep it, or a reply, from them.
        for event in events:
            if self._live:
                self._guard.let_go(event.fact)
        for event in events:
            self.board.note(event)
            if self.told:
                _tell(self.told, event.fact)

    def _look_ups(self, batch: Sequence[Fact], at: float) -> Sequence[Executable]:
        if not self._live:
            return ()
        events = self._journal.numbered(batch, at)
        return of_sessions(events, self.state.study.name, self.state.sessions)

    def _note(self, fact: Fact, at: float) -> None:
        if self._live or self._guard.limits:
            session = self.state.sessions.get(getattr(fact, "session", ""))
            self._guard.note(fact, at, session)

    def _expire(self) -> None:
        # A client that waits for the disk is not silent.
        busy_since = self._backlog.busy_since
        now = self._monotonic() if busy_since is None else busy_since
        silent = [
            SessionEnded(
                name, "lost", f"no sign of life for {self._leases.lease_s:g} s"
            )
            for name in self._leases.expired(now)
            if self.state.sessions[name].status == "open"
        ]
        if silent:
            self._record(silent)

    def _advance(self) -> None:
        while fact := advance(self.state) or self._inferred():
            self._take([fact])

    def _inferred(self) -> Fact | None:
        asked = None if self._beside else question(self.state)
        return asked.answer() if asked else None

    def _work_for_ever(self) -> None:
        self.ahead.begin()
        self.ahead.work_for_ever()


def _tell(listener: Callable[[Fact], object], fact: Fact) -> None:
    try:
        listener(fact)
    except Exception:
        _LOG.exception("a listener failed at what is stored all the same")
