"""The session loop: from hello to done, whatever the subject and the transport."""

import time
from collections.abc import Callable, Mapping

from server.protocol import PROTOCOL, Ack, Assignment, Done, Reply, Trial, Wait
from subject_clients.adapter import Adapter, Answer, CanHold, GiveUp
from subject_clients.heartbeat import Fuse, Heartbeat
from subject_clients.line import Line, Refused
from subject_clients.outbox import Memory, Outbox
from subject_clients.transport import Transport

__all__ = ["Refused", "Subject"]


class Subject:
    """One subject at one server: runs sessions trial by trial.

    ``sleep`` is injected so that tests need not wait.
    """

    def __init__(
        self,
        name: str,
        adapter: Adapter,
        transport: Transport,
        token: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
        group: str | None = None,
        outbox: Outbox | None = None,
        rig: str | None = None,
        capabilities: Mapping[str, str | float | bool] | None = None,
    ) -> None:
        """``name`` is the subject's pseudonym; ``token`` the server's, if any.

        ``group`` is the subject's, where the study has groups; ``rig`` the
        apparatus, where there is one; ``capabilities`` what is to be kept with the
        session. What is said goes through ``outbox``, so that it arrives even if
        this program, or the power, should fail.
        """
        self._name, self._adapter, self._sleep = name, adapter, sleep
        self._hold = adapter.hold if isinstance(adapter, CanHold) else None
        self._line = Line(transport, token, Memory() if outbox is None else outbox)
        of = {"group": group, "rig": rig, "capabilities": dict(capabilities or {})}
        self._of = {key: value for key, value in of.items() if value}

    def run_session(self) -> Done:
        """Wait for an assignment and work through it.

        What was left to say comes first. Returns how it ended.

        Raises :class:`Refused` and ``ConnectionError``, after the adapter has been
        brought into its safe state.
        """
        self._line.catch_up()
        while isinstance(reply := self._hello(), Wait):
            self._sleep(reply.retry_after_s)
        fuse = Fuse(self._adapter)
        if isinstance(reply, Done):
            if reply.emergency:
                fuse.stop(reply)
            return reply
        assert isinstance(reply, Assignment)
        with Heartbeat(self._line, self._adapter, fuse, reply) as heart, fuse:
            try:
                done = self._trials(reply, fuse, heart)
            except GiveUp as reason:
                done = self._abandoned(reply.session, reason, fuse)
            if done.emergency:
                fuse.stop(done)
            return done

    def _trials(self, assignment: Assignment, fuse: Fuse, heart: Heartbeat) -> Done:
        session = assignment.session
        self._adapter.begin(assignment)
        due = self._due(session)
        while not isinstance(due, Done):
            if stopped := fuse.stopped():
                return stopped
            if self._hold is not None and self._hold():
                due = self._due(session)
            elif isinstance(due, Trial):
                due = self._shown(session, due, fuse, heart)
            else:  # paused
                self._sleep(due.retry_after_s)
                due = self._due(session)
        return fuse.stopped() or due

    def _shown(
        self, session: str, trial: Trial, fuse: Fuse, heart: Heartbeat
    ) -> Trial | Wait | Done:
        """Show a trial and tell what happened; returns what is due after it."""
        with fuse.within(trial.grant.valid_s if trial.grant else None):
            answer = self._adapter.present(trial)
            if not self._adapter.simulated:
                clocks = heart.clocks() | (answer.clocks or {})
                answer = answer._replace(clocks=clocks)
            reply = self._answered(session, trial.uid, answer, fuse)
        if isinstance(reply, Done):
            return reply
        return reply.next or self._due(session)

    def _answered(
        self, session: str, uid: str, answer: Answer, fuse: Fuse
    ) -> Ack | Done:
        message = answer._asdict()
        message["reward"] = answer.reward and answer.reward.model_dump()
        try:
            reply = self._line.tell("respond", session=session, uid=uid, **message)
        except Refused as refused:
            # Stopped within this trial: its answer is set aside, and all is well.
            if refused.refusal.error != "session_over":
                raise
            reply = fuse.emergency or self._due(session)
            if not isinstance(reply, Done):
                raise
        if isinstance(reply, Ack) and reply.done:
            why = "stopped in an emergency" if reply.emergency else "session finished"
            return Done(study=False, reason=why, emergency=reply.emergency)
        assert isinstance(reply, Ack | Done)
        return reply

    def _due(self, session: str) -> Trial | Wait | Done:
        reply = self._line.ask("next", session=session)
        assert isinstance(reply, Trial | Wait | Done)
        return reply

    def _abandoned(self, session: str, reason: GiveUp, fuse: Fuse) -> Done:
        if stopped := fuse.stopped():  # or what went wrong: then nobody gave up
            return stopped
        why = str(reason)[:1000] or "no reason given"
        self._line.tell("abandon", session=session, reason=why)
        return Done(study=False, reason=f"session abandoned: {reason}")

    def _hello(self) -> Reply:
        return self._line.ask(
            "hello",
            protocol=PROTOCOL,
            subject=self._name,
            simulated=self._adapter.simulated,
            **self._of,
        )
