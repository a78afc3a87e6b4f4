"""What a study answers to a subject's client: a message in, facts and a reply out."""

from collections.abc import Callable, Sequence

from server.events import ClientSeen, Fact, RewardGiven, SessionEnded
from server.guard import Guard
from server.leases import Leases
from server.protocol import (
    PROTOCOL,
    Abandon,
    Ack,
    Alive,
    Assignment,
    Done,
    FromSubject,
    Heartbeat,
    Hello,
    Next,
    Noted,
    ProtocolError,
    Reply,
    Respond,
    Rewarded,
    Trial,
    Wait,
)
from server.roles import Caller
from server.session import (
    Session,
    apply_responded,
    finish,
    quarantine,
    respond,
    trial,
    trial_uid,
)
from server.steps import assign, would_be_used
from server.study import StudyState

RETRY_AFTER_S = 0.2
"""When a subject without a free candidate should ask again."""

PAUSED_RETRY_S = 1.0
"""When a client whose session is paused should ask again."""


class Clerk:
    """Answers subjects' clients; looks at the state and changes it by facts alone."""

    def __init__(
        self,
        state: StudyState,
        record: Callable[[Sequence[Fact]], None],
        go_on: Callable[[], None],
        leases: Leases,
        guard: Guard,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """``record`` takes facts into the state; ``guard`` keeps subjects from harm.

        ``go_on`` lets the search take its next steps, if it can.
        """
        self._state, self._record, self._go_on = state, record, go_on
        self._leases, self._guard = leases, guard
        self._monotonic, self._wall = monotonic, wall

    def answer(self, request: FromSubject, caller: Caller) -> Reply:
        """The reply to a message; raises :class:`ProtocolError`."""
        match request:
            case Hello():
                return self._hello(request, caller)
            case Next():
                return self._next(self.session(request.session, caller))
            case Respond():
                return self._respond(request, caller)
            case Heartbeat():
                return self._heartbeat(self.session(request.session, caller))
            case Abandon():
                return self._abandon(request, caller)
            case Rewarded():
                return self._rewarded(request, caller)

    def session(self, name: str, caller: Caller) -> Session:
        """The session of a message, its lease renewed, or begun again if lost.

        One of somebody else is as unknown as one that never was.
        """
        session = self._known(name, caller)
        if self._state.may_return(session):
            self._seen(session, "returned")
            session = self._state.sessions[name]
        if session.status == "open":
            self._leases.renew(name, self._monotonic())
        return session

    def _known(self, name: str, caller: Caller) -> Session:
        session = self._state.sessions.get(name)
        if session is None or not may_speak_for(caller, session):
            raise ProtocolError(
                404, "unknown_session", f"{name!r} is no current session: send hello"
            )
        return session

    def _hello(self, request: Hello, caller: Caller) -> Reply:
        state, live = self._state, self._live
        if live and request.simulated:
            raise ProtocolError(
                403, "simulated", "simulated subjects cannot join a live study"
            )
        rig = request.rig or caller.rig or ""
        _check_identity(request, rig, caller)
        group = self._group(request)
        attendance = state.attendance
        if request.subject in attendance.dropped:
            return Done(study=False, reason="this subject has left the study")
        held = state.sessions.get(attendance.holding.get(request.subject, ""))
        if held and not held.over and (again := self._again(held, rig, caller)):
            return again
        if state.finished:
            return Done(study=True, reason="the study is finished")
        naive = state.study.file.study.exposure == "naive"
        if naive and request.subject in attendance.exposures:
            return Done(
                study=False, reason="this study takes one session of each subject"
            )
        if attendance.halted is not None:
            return Wait(retry_after_s=PAUSED_RETRY_S, reason=attendance.halted)
        free = self._free(request.subject, group)
        if not free:  # a quorum, or a model, may go on rather than let it wait
            self._go_on()
            free = self._free(request.subject, group)
        if not free:
            of_group = f" of {group}, or was" if group else ""
            reason = f"every candidate of this generation is with a subject{of_group}"
            if state.theta is None:
                reason = "the next labellings are not worked out yet"
            return Wait(retry_after_s=RETRY_AFTER_S, reason=reason)
        self._one_at_a_time(rig)
        capabilities = dict(request.capabilities)
        opened = assign(
            state, free[0], request.subject, capabilities, group, rig, caller.name
        )
        if live:
            self._guard.admit(request.subject, rig, opened.session)
        self._record([opened])
        self._leases.renew(opened.session, self._monotonic())
        return self._assignment(state.sessions[opened.session])

    def _free(self, subject: str, group: str) -> list[int]:
        """Candidates that a subject may learn next."""
        had = self._state.had(subject)
        return [i for i in self._state.free(group) if i not in had]

    def _again(self, held: Session, rig: str, caller: Caller) -> Reply | None:
        """The session that a subject is in goes on at the same rig, or is given up."""
        name = held.opened.session
        elsewhere = rig != held.opened.rig or not may_speak_for(caller, held)
        if elsewhere and held.status == "open":
            raise ProtocolError(
                409,
                "subject_busy",
                f"{held.opened.subject} is in a session elsewhere: abandon it, or wait "
                f"until it has been silent for {self._leases.lease_s:g} s",
            )
        if elsewhere:  # silent there: whoever comes now begins anew
            ended = SessionEnded(name, "abandoned", "the subject went on elsewhere")
            self._record([ended])
            if self._live:  # what it holds is free once that is stored
                return Wait(retry_after_s=RETRY_AFTER_S, reason=ended.reason)
            return None
        self._seen(held, "returned")
        return self._assignment(self.session(name, caller))

    def _one_at_a_time(self, rig: str) -> None:
        for session in self._state.sessions.values() if rig else ():
            if session.status == "open" and session.opened.rig == rig:
                raise ProtocolError(
                    409, "rig_busy", f"{rig} has {session.opened.subject} in a session"
                )

    def _group(self, request: Hello) -> str:
        """The group that a subject says it is of; empty in a study without groups."""
        group, groups = request.group or "", self._state.study.groups
        if group not in groups:
            named = " or ".join(groups)
            raise ProtocolError(
                422,
                "wrong_group",
                f"expected the group of the subject, {named or 'none'} in this study; "
                f"got {group or 'none'}",
            )
        known = self._state.attendance.group_of.get(request.subject, group)
        if known != group:
            raise ProtocolError(
                409, "other_group", f"{request.subject} has had a session in {known}"
            )
        return group

    def _next(self, session: Session) -> Reply:
        if session.over or session.due is None:
            return self._done(session)
        if why := self._state.attendance.stopped(session):
            return Wait(retry_after_s=PAUSED_RETRY_S, reason=why)
        return self._trial(session, session.due)

    def _respond(self, request: Respond, caller: Caller) -> Reply:
        session = self.session(request.session, caller)
        study = self._state.study
        choice = study.design.response == "choice"
        try:
            decided = respond(session, request, choice)
        except ProtocolError as error:
            if error.refusal.error == "conflict":
                self._record([quarantine(request, error.refusal.detail)])
            raise
        if isinstance(decided, int):  # answered before: the acknowledgement again
            return self._ack(session, decided)
        index = decided.trials[0]
        judged, stop = self._guard.judge(session, decided)
        facts: list[Fact] = [decided, *judged]
        if not session.over:
            if index == session.trials - 1:
                complete = apply_responded(session, decided)
                used = would_be_used(self._state, session)
                facts.append(finish(complete, used, choice, study.psychometric))
            elif stop:
                facts.append(SessionEnded(request.session, "abandoned", stop))
        self._record(facts)
        return self._ack(self._state.sessions[request.session], index)

    def _heartbeat(self, session: Session) -> Reply:
        if session.over:
            return self._done(session)
        return Alive(
            lease_s=self._leases.lease_s,
            paused=self._state.attendance.stopped(session) is not None,
            at=self._wall(),
            rewards=list(session.wished),
        )

    def _abandon(self, request: Abandon, caller: Caller) -> Reply:
        session = self._known(request.session, caller)
        reason = request.reason
        if caller.name == session.opened.caller:
            session = self.session(request.session, caller)
        else:  # an operator's decision is no sign of life from the client
            reason = f"abandoned by {caller.name}: {reason}"
        if not session.over:
            self._record([SessionEnded(request.session, "abandoned", reason)])
        return Done(study=self._state.finished, reason="session abandoned")

    def _rewarded(self, request: Rewarded, caller: Caller) -> Reply:
        session = self.session(request.session, caller)
        name, _, number = request.uid.rpartition("/")
        if name == request.session and number.isdecimal():
            raise ProtocolError(
                422,
                "uid_of_a_trial",
                "expected a uid of its own; a reward for a response goes with it",
            )
        subject, reward = session.opened.subject, request.reward
        given = RewardGiven(
            request.session, subject, request.uid, reward.microlitre, reward.how
        )
        before = next((one for one in session.given if one.uid == request.uid), None)
        if before is None:
            self._record([given, *self._guard.judge(session, given)[0]])
        elif before != given:
            detail = (
                f"reward {request.uid} was told before, and differently; both are "
                "kept, the first one counts"
            )
            self._record([quarantine(request, detail)])
            raise ProtocolError(409, "conflict", detail)
        return Noted(detail=f"{reward.microlitre:g} microlitre counted")

    @property
    def _live(self) -> bool:
        opened = self._state.opened
        return opened is not None and opened.mode == "live"

    def _assignment(self, session: Session) -> Assignment:
        design = self._state.study.design
        return Assignment(
            protocol=PROTOCOL,
            study=self._state.study.name,
            session=session.opened.session,
            response=design.response,
            training_trials=session.opened.training_trials,
            test_trials=design.test_trials,
            next_trial=len(session.answers),
            lease_s=self._leases.lease_s,
            heartbeat_s=self._leases.heartbeat_s,
            began_at=self._guard.began(session.opened.session),
        )

    def _trial(self, session: Session, index: int) -> Trial:
        space = self._state.study.labeller.space
        return trial(session, space, index, self._guard.hand_out(session))

    def _ack(self, session: Session, index: int) -> Ack:
        over = index == session.trials - 1 or session.over
        waits = over or self._state.attendance.stopped(session) is not None
        following = None if waits else self._trial(session, index + 1)
        return Ack(
            uid=trial_uid(session, index),
            next=following,
            done=over,
            emergency=session.emergency,
        )

    def _done(self, session: Session) -> Done:
        why = f": {session.reason}" if session.reason else ""
        return Done(
            study=self._state.finished,
            reason=f"session {session.status}{why}",
            emergency=session.emergency,
        )

    def _seen(self, session: Session, what: str) -> None:
        self._record([ClientSeen(session.opened.session, session.opened.subject, what)])


def may_speak_for(caller: Caller, session: Session) -> bool:
    """Whether a message about a session may come from a caller."""
    opened = session.opened
    if caller.role == "operator":
        return True
    bound = caller.subject or caller.rig
    own = (caller.subject or opened.subject) == opened.subject and (
        caller.rig or opened.rig
    ) == opened.rig
    return own if bound else caller.name == opened.caller


def _check_identity(request: Hello, rig: str, caller: Caller) -> None:
    """A token may be of one subject, or of one rig."""
    if caller.role == "participant" and rig:
        raise ProtocolError(403, "not_yours", "a participant has no rig to name")
    for what, said, bound in (
        ("subject", request.subject, caller.subject),
        ("group", request.group, caller.group),
        ("rig", rig, caller.rig),
    ):
        if bound and said != bound:
            raise ProtocolError(
                403, "not_yours", f"this token is of the {what} {bound}, not of {said}"
            )
