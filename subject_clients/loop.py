"""The session loop: from hello to done, whatever the subject and the transport."""

import json
import threading
import time
from collections.abc import Callable

from server.protocol import PROTOCOL, Ack, Assignment, Done, Refusal, Reply, Trial, Wait
from subject_clients.adapter import Adapter, GiveUp
from subject_clients.transport import Transport


class Refused(ConnectionError):
    """The server refused a message; says why."""


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
    ) -> None:
        """``name`` is the subject's pseudonym; ``token`` the server's, if any.

        ``group`` is the subject's, where the study has groups.
        """
        self._name, self._adapter, self._transport = name, adapter, transport
        self._token, self._sleep = token, sleep
        self._group = {"group": group} if group else {}
        # A heartbeat must not come between a message and its reply.
        self._line = threading.Lock()

    def run_session(self) -> Done:
        """Wait for an assignment and work through it.

        Returns how it ended. Raises :class:`Refused` and ``ConnectionError``.
        """
        while isinstance(reply := self._hello(), Wait):
            self._sleep(reply.retry_after_s)
        if isinstance(reply, Done):
            return reply
        assert isinstance(reply, Assignment)
        with _Heartbeat(self._beat, reply):
            try:
                return self._trials(reply)
            except GiveUp as reason:
                why = str(reason)[:1000] or "no reason given"
                self._send("abandon", session=reply.session, reason=why)
                return Done(study=False, reason=f"session abandoned: {reason}")

    def _trials(self, assignment: Assignment) -> Done:
        self._adapter.begin(assignment)
        trial = self._send("next", session=assignment.session)
        while isinstance(trial, Trial):
            answer = self._adapter.present(trial)
            ack = self._send(
                "respond",
                session=assignment.session,
                uid=trial.uid,
                **answer._asdict(),
            )
            assert isinstance(ack, Ack)
            if ack.next is None:
                return Done(study=False, reason="session finished")
            trial = ack.next
        assert isinstance(trial, Done)
        return trial

    def _hello(self) -> Reply:
        return self._send(
            "hello",
            protocol=PROTOCOL,
            subject=self._name,
            simulated=self._adapter.simulated,
            **self._group,
        )

    def _beat(self, session: str) -> None:
        self._send("heartbeat", session=session)

    def _send(self, kind: str, **message: object) -> Reply:
        if self._token is not None:
            message["token"] = self._token
        json.dumps(message, allow_nan=False)  # an adapter's fault is no outage
        with self._line:
            reply = self._transport.send(kind, message)
        if isinstance(reply, Refusal):
            raise Refused(f"{kind} was refused ({reply.error}): {reply.detail}")
        return reply


class _Heartbeat:
    """Renews the lease from a thread of its own while a session runs."""

    def __init__(self, beat: Callable[[str], None], assignment: Assignment) -> None:
        self._beat, self._assignment = beat, assignment
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._assignment.heartbeat_s):
            try:
                self._beat(self._assignment.session)
            except Refused:
                return  # the session loop meets the same fault and reports it
            except ConnectionError:
                continue
