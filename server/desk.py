"""The one place that changes a study: message in, facts on disk, reply out."""

import hmac
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from server.events import ClientSeen, Fact, SessionEnded
from server.journal import Journal, JournalError
from server.protocol import (
    PROTOCOL,
    Abandon,
    Ack,
    Alive,
    Assignment,
    Done,
    Heartbeat,
    Hello,
    Next,
    ProtocolError,
    Refusal,
    Reply,
    Request,
    Respond,
    Trial,
    Wait,
    parse_request,
)
from server.session import Session, apply_responded, finish, quarantine, respond, trial
from server.steps import advance, assign, opening, question, would_be_used
from server.study import ResumeError, StudyState
from server.study_file import Study

_LOG = logging.getLogger(__name__)

RETRY_AFTER_S = 0.2
"""When a subject without a free candidate should ask again."""

HEARTBEATS_PER_LEASE = 4
"""A lease must outlive a few missed heartbeats ; one is too few."""


class Desk:
    """Serves one study: the single writer of its journal.

    Every message is decided by pure functions over the state, stored, applied
    and only then answered. ``wall`` (seconds since 1970) dates events,
    ``monotonic`` measures leases; tests give their own.
    """

    def __init__(
        self,
        study: Study,
        journal: Journal,
        mode: str,
        token: str | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        beside: bool = False,
    ) -> None:
        """Open or resume the study; raises ``ResumeError`` if it is another one.

        With ``beside`` a model of the subject is worked out in a thread of its own,
        so that no trial waits for it; else between two messages.
        """
        self.state = StudyState(study)
        self._journal = journal
        self._token = token
        self._wall, self._monotonic = wall, monotonic
        self._lock = threading.Lock()
        self._last_seen: dict[str, float] = {}
        self._broken = False
        for event in journal.read():
            self.state.apply(event.fact)
        if self.state.opened is None:
            self.commit([opening(study, mode)])
        elif self.state.opened.mode != mode:
            raise ResumeError(
                f"the journal is of a {self.state.opened.mode} study, asked for "
                f"{mode}: simulated and real subjects never share a journal"
            )
        self._inferring = threading.Event()
        self._beside = beside and study.infers
        self.advance()
        if self.state.theta is not None:
            self.state.drawn(0)  # compile before the first subject waits for it
        if self._beside:
            threading.Thread(target=self._infer_for_ever, daemon=True).start()

    def handle(self, kind: str, payload: Any) -> Reply:
        """Answer one message; every fault of it becomes a :class:`Refusal`."""
        try:
            request = parse_request(kind, payload)
            self._authorise(request)
            arrived = self._monotonic()
            with self._lock:
                self._forgive(self._monotonic() - arrived)
                self._expire_leases()
                self.advance()  # a step may be left from when it could not be stored
                return self._answer(request)
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
            if session and session.status == "open":
                self._seen(session, "disconnected")

    def commit(self, facts: Sequence[Fact]) -> None:
        """Store facts durably, then apply them."""
        if self._broken:
            raise JournalError("memory is behind the journal: start the server again")
        events = self._journal.append(facts, self._wall())
        self._broken = True  # until what is on disk is in memory too
        for event in events:
            self.state.apply(event.fact)
        self._broken = False

    def advance(self) -> None:
        """Take every step of the search that needs no subject."""
        while fact := advance(self.state) or self._inferred():
            self.commit([fact])
        self._inferring.set()

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
                self.commit([fact])
            self.advance()
        return True

    def summary(self) -> dict[str, Any]:
        """Progress of the study, without labels."""
        with self._lock:
            return self.state.summary()

    def _inferred(self) -> Fact | None:
        asked = None if self._beside else question(self.state)
        return asked.answer() if asked else None

    def _infer_for_ever(self) -> None:
        while True:
            self._inferring.wait()
            self._inferring.clear()
            try:
                while self.infer():
                    pass
            except Exception:  # the next message tries again
                _LOG.exception("the subject model could not be worked out")

    def _authorise(self, request: Request) -> None:
        if self._token is None:
            return
        if not hmac.compare_digest(
            (request.token or "").encode(), self._token.encode()
        ):
            raise ProtocolError(401, "unauthorised", "a valid token is required")

    def _answer(self, request: Request) -> Reply:
        match request:
            case Hello():
                return self._hello(request)
            case Next():
                return self._next(request)
            case Respond():
                return self._respond(request)
            case Heartbeat():
                return self._heartbeat(request)
            case Abandon():
                return self._abandon(request)

    def _hello(self, request: Hello) -> Reply:
        state = self.state
        live = state.opened is not None and state.opened.mode == "live"
        if live and request.simulated:
            raise ProtocolError(
                403, "simulated", "simulated subjects cannot join a live study"
            )
        group = self._group(request)
        held = state.sessions.get(state.holding.get(request.subject, ""))
        if held and not held.over:
            self._seen(held, "returned")
            return self._assignment(self._session(held.opened.session))
        if state.finished:
            return Done(study=True, reason="the study is finished")
        naive = state.study.file.study.exposure == "naive"
        if naive and request.subject in state.exposures:
            return Done(
                study=False, reason="this study takes one session of each subject"
            )
        free = state.free(group)
        if not free:
            of_group = f" of {group}, or was" if group else ""
            return Wait(
                retry_after_s=RETRY_AFTER_S,
                reason="every candidate of this generation is with a subject"
                + of_group,
            )
        capabilities = dict(request.capabilities)
        opened = assign(state, free[0], request.subject, capabilities, group)
        self.commit([opened])
        self._last_seen[opened.session] = self._monotonic()
        return self._assignment(state.sessions[opened.session])

    def _group(self, request: Hello) -> str:
        """The group that a subject says it is of; empty in a study without groups."""
        group, groups = request.group or "", self.state.study.groups
        if group not in groups:
            named = " or ".join(groups)
            raise ProtocolError(
                422,
                "wrong_group",
                f"expected the group of the subject, {named or 'none'} in this study; "
                f"got {group or 'none'}",
            )
        known = self.state.group_of.get(request.subject, group)
        if known != group:
            raise ProtocolError(
                409, "other_group", f"{request.subject} has had a session in {known}"
            )
        return group

    def _next(self, request: Next) -> Reply:
        session = self._session(request.session)
        if session.over or session.due is None:
            return Done(study=self.state.finished, reason=f"session {session.status}")
        return self._trial(session, session.due)

    def _respond(self, request: Respond) -> Reply:
        session = self._session(request.session)
        choice = self.state.study.design.response == "choice"
        try:
            decided = respond(session, request, choice)
        except ProtocolError as error:
            if error.refusal.error == "conflict":
                self.commit([quarantine(request, error.refusal.detail)])
            raise
        if isinstance(decided, int):  # answered before: the acknowledgement again
            return self._ack(session, decided)
        index = decided.trials[0]
        facts: list[Fact] = [decided]
        if index == session.trials - 1:
            complete = apply_responded(session, decided)
            used = would_be_used(self.state, session)
            study = self.state.study
            facts.append(finish(complete, used, choice, study.psychometric))
        self.commit(facts)
        ack = self._ack(self.state.sessions[request.session], index)
        if len(facts) > 1:
            self._last_seen.pop(request.session, None)
            self.advance()
        return ack

    def _heartbeat(self, request: Heartbeat) -> Reply:
        session = self._session(request.session)
        if session.over:
            return Done(study=self.state.finished, reason=f"session {session.status}")
        return Alive(lease_s=self._lease_s)

    def _abandon(self, request: Abandon) -> Reply:
        session = self._session(request.session)
        if not session.over:
            ended = SessionEnded(request.session, "abandoned", request.reason)
            self.commit([ended])
            self._last_seen.pop(request.session, None)
        return Done(study=self.state.finished, reason="session abandoned")

    def _session(self, name: str) -> Session:
        """The session of a message, its lease renewed, or begun again if lost."""
        session = self.state.sessions.get(name)
        if session is None:
            raise ProtocolError(
                404, "unknown_session", f"{name!r} is no current session: send hello"
            )
        if self.state.may_return(session):
            self._seen(session, "returned")
            session = self.state.sessions[name]
        if session.status == "open":
            self._last_seen[name] = self._monotonic()
        return session

    def _assignment(self, session: Session) -> Assignment:
        design = self.state.study.design
        return Assignment(
            protocol=PROTOCOL,
            session=session.opened.session,
            response=design.response,
            training_trials=session.opened.training_trials,
            test_trials=design.test_trials,
            next_trial=len(session.answers),
            lease_s=self._lease_s,
            heartbeat_s=self._lease_s / HEARTBEATS_PER_LEASE,
        )

    def _trial(self, session: Session, index: int) -> Trial:
        return trial(session, self.state.study.labeller.space, index)

    def _ack(self, session: Session, index: int) -> Ack:
        last = index == session.trials - 1
        following = None if last or session.over else self._trial(session, index + 1)
        uid = f"{session.opened.session}/{index}"
        return Ack(uid=uid, next=following, done=last or session.over)

    def _seen(self, session: Session, what: str) -> None:
        self.commit([ClientSeen(session.opened.session, session.opened.subject, what)])

    @property
    def _lease_s(self) -> float:
        return self.state.study.file.session.lease_s

    def _forgive(self, waited_s: float) -> None:
        """Clients are not silent while this server is too busy to hear them."""
        if waited_s > self._lease_s / HEARTBEATS_PER_LEASE:
            for session in self._last_seen:
                self._last_seen[session] += waited_s

    def _expire_leases(self) -> None:
        now = self._monotonic()
        silent = [
            SessionEnded(name, "lost", f"no sign of life for {self._lease_s:g} s")
            for name, session in self.state.sessions.items()
            if session.status == "open"
            and now - self._last_seen.setdefault(name, now) > self._lease_s
        ]
        if silent:
            self.commit(silent)
