"""The one place that changes a study: message in, facts on disk, reply out."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any
from uuid import uuid4

from sqlalchemy import Executable
from sqlalchemy.exc import SQLAlchemyError

from server.alarms import Alarm, Snapshot
from server.clerk import Clerk
from server.database import JournalError, SupersededError
from server.events import AlarmRaised, ClientSeen, Fact, SessionEnded
from server.guard import Guard
from server.holds import Holds
from server.journal import Journal
from server.leases import Leases
from server.ledger import Ledger
from server.orders import carried_out
from server.projections import of_sessions
from server.protocol import (
    GiveReward,
    Noted,
    Order,
    ProtocolError,
    Refusal,
    Reply,
    Request,
    Weigh,
    parse_request,
)
from server.roles import LOCAL, Caller
from server.safety_section import SafetySection
from server.steps import advance, foretaste, opening, question
from server.study import ResumeError, StudyState
from server.study_file import Study

_LOG = logging.getLogger(__name__)

TRY_AGAIN_S = 1.0
"""Pause after work beside the trials that failed."""


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
        own, so that no trial waits for it; else between two messages.
        """
        self.state = StudyState(study)
        self.told: Callable[[Fact], object] | None = None
        """Called with each fact once it is on disk."""
        self._journal, self._wall, self._monotonic = journal, wall, monotonic
        self._lock, self._disk = threading.Lock(), threading.Lock()
        self._unstored: list[Fact] = []
        self._recorded = self._stored = 0
        self._failing = False
        self.superseded = False
        """Whether another process has the study now: this desk is of no more use."""
        self._busy_since: float | None = None
        """When storing began that is not done yet; clients wait for it."""
        self._leases = Leases(study.file.session.lease_s)
        self._live = mode == "live"
        engine = journal.engine
        self._guard = Guard(
            study.name, study.file.safety, Ledger(engine), Holds(engine), wall
        )
        self._clerk = Clerk(
            self.state, self._record, self._go_on, self._leases, self._guard, monotonic
        )
        self._beside, self._work = beside, threading.Event()
        self._closing = False
        self._resume(study, mode)
        self.advance()
        if self.state.theta is not None:
            self.state.drawn(0)  # compile before the first subject waits for it
        if beside:
            self._work.set()
            threading.Thread(target=self._work_for_ever, daemon=True).start()

    def handle(self, kind: str, payload: Any, caller: Caller = LOCAL) -> Reply:
        """Answer one message; every fault of it becomes a :class:`Refusal`."""
        try:
            request = parse_request(kind, payload)
            if not caller.may(kind):
                raise ProtocolError(
                    403, "forbidden", f"a token of role {caller.role} sends no {kind}"
                )
            if self._failing:
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

    def warm_up(self) -> None:
        """Compile what the next step of the search needs, before subjects wait."""
        with self._lock:
            ahead = self.state.copy()
        foretaste(ahead)

    def step(self) -> bool:
        """Work out one step of the search, without holding up messages meanwhile.

        Returns whether there was one, or something changed and it must be done again.
        """
        with self._lock:
            ahead, revision = self.state.copy(), self.state.revision
        facts = []
        while fact := advance(ahead):
            ahead.apply(fact)
            facts.append(fact)
        if not facts:
            return False
        if ahead.theta is not None:
            ahead.drawn(0)
        with self._lock:
            if self.state.revision != revision:
                return True
            self.state.foreseen = ahead.foreseen
            try:
                self._record(facts)
                if self.state.theta is not None:
                    self.state.drawn(0)
            finally:
                self.state.foreseen = None
        self._settle()
        return True

    def infer(self) -> bool:
        """Work out one step of the model, without holding up messages meanwhile.

        Returns whether there was one to work out.
        """
        with self._lock:
            asked = question(self.state)
        if asked is None:
            return False
        fact = asked.answer()
        with self._lock:
            # Sessions may have begun or ended meanwhile: a fit stands, as far as it
            # goes; labellings stand unless others were asked, or the search is over.
            now = question(self.state)
            if now and now.step == asked.step:
                self._record([fact])
        self._settle()
        return True

    def summary(self) -> dict[str, Any]:
        """Progress of the study, without labels."""
        with self._lock:
            return self.state.summary()

    def close(self) -> None:
        """Work no more beside the trials, and give the study back."""
        self._closing = True
        self._work.set()
        self._journal.close()

    def sessions_under_way(self) -> list[dict[str, Any]]:
        """Who is in a session, and how far, without labels."""
        with self._lock:
            return self.state.attendance.under_way()

    def look(self) -> tuple[Snapshot, SafetySection] | None:
        """Where subjects stand, for a study that limits what is done to them."""
        self.tick()
        if self._guard.limits is None:
            return None
        with self._lock:
            return self._guard.snapshot(self.state.attendance), self._guard.limits

    def raise_alarm(self, alarm: Alarm) -> None:
        """Keep an alarm in the journal; a breach is there with its reward."""
        if alarm.name != "breach":
            self.commit([AlarmRaised(*astuple(alarm))])

    @property
    def healthy(self) -> bool:
        """Whether what it hears is stored."""
        return not self._failing

    def _resume(self, study: Study, mode: str) -> None:
        self._journal.claim()
        for event in self._journal.read():
            self.state.apply(event.fact)
            self._note(event.fact, event.at)
        if self.state.opened is None:
            self.commit([opening(study, mode)])
        elif self.state.opened.mode != mode:
            raise ResumeError(
                f"the journal is of a {self.state.opened.mode} study, asked for "
                f"{mode}: simulated and real subjects never share a journal"
            )
        open_ = [n for n, s in self.state.sessions.items() if s.status == "open"]
        self._leases.begin_again(open_, self._monotonic())
        if self._live:
            self._guard.holding_again(self.state.attendance)

    def _decide(self, request: Request, caller: Caller) -> Reply:
        arrived = self._monotonic()
        reply: Reply
        with self._lock:
            self._leases.forgive(self._monotonic() - arrived)
            self._expire()
            try:
                if isinstance(request, Order):
                    reply = self._obey(request, caller)
                else:
                    reply = self._clerk.answer(request, caller)
            except ProtocolError as error:  # it may have put a message in quarantine
                reply = error.refusal
            mine = self._recorded
        self._settle(mine)
        return reply

    def _obey(self, order: Order, caller: Caller) -> Reply:
        remark = None
        if isinstance(order, GiveReward) and order.session in self.state.sessions:
            self._guard.check_order(self.state.sessions[order.session], order)
        if isinstance(order, Weigh):
            remark = self._guard.remark(order)
        self._record(carried_out(self.state, order, caller.name, uuid4().hex))
        return Noted(detail=remark or "done")

    def _record(self, facts: Sequence[Fact]) -> None:
        """Take facts in, and what follows from them; the lock is held."""
        self._take(facts)
        if any(isinstance(fact, SessionEnded) for fact in facts):
            self._go_on()

    def _go_on(self) -> None:
        """Let the search take its next steps, now or in its own thread."""
        if self._beside:
            self._work.set()
        else:
            self._advance()

    def _take(self, facts: Sequence[Fact]) -> None:
        """Take facts into the state, and leave them to be stored; the lock is held."""
        at = self._wall()
        for fact in facts:
            self.state.apply(fact)
            self._note(fact, at)
            if isinstance(fact, SessionEnded):
                self._leases.end(fact.session)
            if self._live:
                self._guard.let_go(fact)
        self._unstored += facts
        self._recorded += len(facts)

    def _settle(self, recorded: int | None = None) -> None:
        """Wait until what was recorded so far is on disk; no lock is held.

        Whoever comes first stores what all others wait for. Raises
        :class:`JournalError`; then it stays to be stored.
        """
        if recorded is None:
            recorded = self._recorded
        if self._stored >= recorded:
            return
        with self._disk:
            if self._stored >= recorded:
                return
            with self._lock:
                batch = list(self._unstored)
            at = self._wall()
            if self._busy_since is None:
                self._busy_since = self._monotonic()
            try:
                events = self._journal.append(batch, at, self._look_ups(batch, at))
            except Exception as error:
                self._failing = True
                self.superseded = isinstance(error, SupersededError)
                raise
            self._failing = False
            with self._lock:
                self._leases.forgive(self._monotonic() - self._busy_since)
                self._busy_since = None
                del self._unstored[: len(batch)]
                self._stored += len(batch)
        if self.told:
            for event in events:
                self.told(event.fact)

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
        busy_since = self._busy_since
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
        while True:
            self._work.wait()
            self._work.clear()
            if self._closing:
                return
            try:
                while self.step() or self.infer():
                    pass
            except Exception:  # no message may find the search asleep
                if not self._closing:
                    _LOG.exception("what comes next could not be worked out")
                    time.sleep(TRY_AGAIN_S)
                self._work.set()
