"""Any program that answers ZeroMQ requests: Bonsai.ZeroMQ, MATLAB, LabVIEW, C++.

Each message is one request, as JSON, and is answered at once by one message. What
happens later the program tells when it is asked next, which is many times a second.
"""

import logging
import time
from collections import deque
from typing import Annotated, Any

from pydantic import Field

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bridge import BridgeRig, BridgeSection, missing
from subject_clients.rig.bridge_words import FromRig, ToRig, read, written

_LOG = logging.getLogger(__name__)

REPLY_S = 0.25
"""A request without a reply for so long is given up, with its socket."""


class ZeroMq(BridgeSection):
    """A program with a REP socket."""

    address: Annotated[str, Field(pattern=r"^(tcp|ipc)://.+")] = "tcp://127.0.0.1:5557"
    """Where its socket is bound."""
    alive_s: Annotated[float, Field(ge=0.02, le=10)] = 0.05
    """From one question to the next: how late its account of a trial may come."""

    def open(self) -> BridgeRig:
        """Connect; raises :class:`RigFault`."""
        try:
            import zmq
        except ImportError as error:
            raise missing("pyzmq") from error
        try:
            return BridgeRig(ZeroMqWire(zmq, self.address), self)
        except zmq.ZMQError as error:
            raise RigFault(f"cannot connect to {self.address}: {error}") from error


class ZeroMqWire:
    """One request at a time; a socket whose request is lost is thrown away."""

    uid_most = 100

    def __init__(self, zmq: Any, address: str) -> None:
        """``zmq`` is the module."""
        self._zmq, self._address = zmq, address
        self._due: deque[bytes] = deque(maxlen=8)
        self._asked_at: float | None = None
        self._context = zmq.Context()
        self._socket = self._connected()

    def encode(self, word: ToRig) -> bytes:
        """All of it, as JSON."""
        return written(word).encode()

    def send(self, content: bytes, urgent: bool) -> None:
        """After the request under way; an urgent one instead of all others."""
        if urgent:
            self._due.clear()
            if self._asked_at is not None:
                self._give_up()
        if content not in self._due:
            self._due.append(content)
        self._next()

    def receive(self, timeout_s: float) -> FromRig | None:
        """The reply to the request under way."""
        self._next()
        if not self._socket.poll(timeout_s * 1000):
            if self._asked_at and time.monotonic() - self._asked_at > REPLY_S:
                self._give_up()
            return None
        reply = b"".join(self._socket.recv_multipart())
        self._asked_at = None
        self._next()
        return read(reply)

    def close(self) -> None:
        """Let go of socket and thread."""
        self._socket.close(linger=0)
        self._context.term()

    def _next(self) -> None:
        if self._asked_at is None and self._due:
            self._socket.send(self._due.popleft())
            self._asked_at = time.monotonic()

    def _give_up(self) -> None:
        _LOG.info("no reply from %s within %g s", self._address, REPLY_S)
        self._socket.close(linger=0)
        self._socket, self._asked_at = self._connected(), None

    def _connected(self) -> Any:
        socket = self._context.socket(self._zmq.REQ)
        try:
            socket.connect(self._address)
        except self._zmq.ZMQError as error:
            socket.close(linger=0)
            self._context.term()
            raise RigFault(f"cannot connect to {self._address}: {error}") from error
        return socket
