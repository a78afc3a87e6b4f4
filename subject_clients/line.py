"""What a subject says to its server: one message at a time, none of them lost."""

import json
import threading
from collections.abc import Callable

from server.protocol import Control, Refusal, Reply
from subject_clients.outbox import Box, Entry
from subject_clients.transport import Transport

FINAL = {400, 409, 410, 413, 422}
"""Statuses of refusals that the same message would meet again."""

NOT_FOUND = {"unknown_session", "unknown_trial"}
"""Refusals with status 404 that are final: others may be of a wrong address."""


class Refused(ConnectionError):
    """The server refused a message; says why."""

    def __init__(self, kind: str, refusal: Refusal) -> None:
        """``kind`` of message, and what came back."""
        super().__init__(f"{kind} was refused ({refusal.error}): {refusal.detail}")
        self.refusal = refusal

    @property
    def final(self) -> bool:
        """Whether to send the same again is of no use."""
        return self.refusal.status in FINAL or self.refusal.error in NOT_FOUND


class Line:
    """Asks what changes nothing, and tells what must arrive by way of a box."""

    def __init__(self, transport: Transport, token: str | None, box: Box) -> None:
        """``token`` goes with every message, and into no box."""
        self._transport, self._token, self.box = transport, token, box
        # A heartbeat must not come between a message and its reply.
        self._busy = threading.Lock()

    def ask(self, kind: str, **message: object) -> Reply:
        """Send a message that may get lost; raises :class:`Refused`."""
        if self._token is not None:
            message["token"] = self._token
        json.dumps(message, allow_nan=False)  # an adapter's fault is no outage
        with self._busy:
            reply = self._transport.send(kind, message)
        if isinstance(reply, Refusal):
            raise Refused(kind, reply)
        return reply

    def tell(self, kind: str, **message: object) -> Reply:
        """Keep a message, then deliver it; raises :class:`Refused`."""
        json.dumps(message, allow_nan=False)
        return self.deliver(self.box.put(kind, message))

    def deliver(self, entry: Entry) -> Reply:
        """Send what is in the box; raises :class:`Refused`."""
        try:
            reply = self.ask(entry.kind, **entry.message)
        except Refused as refused:
            if refused.final:
                self.box.refused(entry, refused.refusal)
            raise
        self.box.done(entry)
        return reply

    def catch_up(self) -> None:
        """Deliver what an earlier session or run has left, oldest first.

        What is refused for good is set aside, and the rest goes on.
        """
        for entry in self.box.pending():
            try:
                self.deliver(entry)
            except Refused as refused:
                if not refused.final:
                    raise

    def listen(self, heard: Callable[[Control], object] | None) -> None:
        """Hand on what the server pushes, where the transport can hear it."""
        self._transport.listen(heard)
