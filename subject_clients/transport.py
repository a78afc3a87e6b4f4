"""Ways to carry messages: Socket.IO, HTTP, or straight into a server object."""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
import socketio

from server.protocol import Control, Refusal, Reply, parse_reply

_LOG = logging.getLogger(__name__)

RECONNECT_S = 0.2
"""Pause between attempts to reach a server that is gone."""

REPLY_S = 30.0
"""How long a reply may take."""

CUT_AFTER_S = 0.1
"""How soon it is noticed that the connection is gone that a reply was to come by."""

PAUSES_S = {429: 1.0, 503: RECONNECT_S}
"""Refusals that pass, by status, and the pause before the next attempt.

One that asks too often (429) is not helped by asking soon.
"""

IS_IT_RUNNING = ": is `penchant serve` running there, and the address right?"
"""What to ask oneself when nothing that speaks the protocol answers."""

Heard = Callable[[Control], object]
"""Called with what a server pushes, from any thread."""


class Transport(Protocol):
    """Carries one message and returns its reply, however long that takes."""

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        """Deliver a message; resent until acknowledged, so it may arrive twice.

        Raises ``ConnectionError`` when the server stays away for ``patience_s``.
        """
        ...

    def listen(self, heard: Heard | None) -> None:
        """Call ``heard`` with what the server pushes, if it can push at all."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class InMemory:
    """Straight into a handler such as ``Desk.handle``; for tests and notebooks.

    Messages pass through JSON, so that nothing crosses which a wire would refuse.
    """

    def __init__(self, handle: Callable[[str, Any], Reply]) -> None:
        """``handle`` takes a kind and a payload and returns the reply."""
        self._handle = handle

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        """Deliver a message at once."""
        reply = self._handle(kind, json.loads(json.dumps(message, allow_nan=False)))
        return type(reply).model_validate_json(reply.model_dump_json())

    def listen(self, heard: Heard | None) -> None:
        """Nothing is pushed: a heartbeat tells."""

    def close(self) -> None:
        """Nothing to hang up."""


class Http:
    """``POST /api/v1/<kind>``: the contract that curl, MATLAB or R can speak too."""

    def __init__(self, url: str, patience_s: float = 60.0) -> None:
        """``url`` is the server's, such as ``http://127.0.0.1:5000``.

        Of several studies at one server the query names one, ``?study=NAME``.
        """
        self._url, parts = url, urlsplit(url)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self._query = f"?{parts.query}" if parts.query else ""
        self._patience_s = patience_s
        self._session = requests.Session()

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        """Deliver a message, again and again while the server is away."""

        def post() -> Reply:
            url = f"{self._base}/api/v1/{kind}{self._query}"
            answer = self._session.post(url, json=message, timeout=REPLY_S)
            return parse_reply(answer.json())

        failures = (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,  # cut off within a reply
            ValueError,
        )
        return _patiently(post, failures, self._patience_s, self._url)

    def listen(self, heard: Heard | None) -> None:
        """Nothing is pushed: a heartbeat tells."""

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


class Socket:
    """Socket.IO: the same messages over one open connection, and what is pushed."""

    def __init__(self, url: str, patience_s: float = 60.0) -> None:
        """Connect on first use; ``url`` as for :class:`Http`."""
        self._url = url
        self._patience_s = patience_s
        self._client: socketio.SimpleClient | None = None
        self._heard: Heard | None = None

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        """Deliver a message, connecting anew whenever the connection is lost."""

        def call() -> Reply:
            if self._client is None:
                self._client = self._connect()
            try:
                return parse_reply(_called(self._client, kind, message))
            except Exception:
                self.close()
                raise

        failures = (
            socketio.exceptions.SocketIOError,
            OSError,
            TypeError,  # python-socketio's answer to a call cut off by a close
            ValueError,
        )
        return _patiently(call, failures, self._patience_s, self._url)

    def listen(self, heard: Heard | None) -> None:
        """Call ``heard`` with what the server pushes, over any connection to come."""
        self._heard = heard

    def close(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is None:
            return
        wire = client.client.eio.ws
        if wire is not None:
            # python-engineio would wait 3 s for a farewell that its own server
            # does not send.
            wire.abort()
        client.disconnect()
        if wire is not None:
            wire.shutdown()

    def _connect(self) -> "socketio.SimpleClient":
        # The URL's query goes with the handshake.
        client = socketio.SimpleClient(reconnection=False)
        client.connect(self._url, transports=["websocket"], wait_timeout=10)
        client.client.on("control", self._pushed)
        return client

    def _pushed(self, payload: Any = None) -> None:
        try:
            control = Control.model_validate(payload)
        except ValueError:
            _LOG.warning("the server pushed what this release does not know")
            return
        if (heard := self._heard) is not None:
            heard(control)


def _called(
    client: "socketio.SimpleClient", kind: str, message: dict[str, Any]
) -> object:
    """What the server answers; raises ``OSError`` where none can come any more.

    python-socketio's own ``call`` waits on although the connection is cut.
    """
    answered, replies = threading.Event(), list[object]()

    def heard(*reply: object) -> None:
        replies.extend(reply)
        answered.set()

    client.client.emit(kind, message, callback=heard)
    deadline = time.monotonic() + REPLY_S
    while not answered.wait(CUT_AFTER_S):
        if not client.connected:
            raise ConnectionResetError("the connection was cut before a reply")
        if time.monotonic() > deadline:
            raise TimeoutError(f"no reply within {REPLY_S:g} s")
    return replies[0] if replies else None


TRANSPORTS: dict[str, type[Http] | type[Socket]] = {"socket": Socket, "http": Http}


def _patiently(
    attempt: Callable[[], Reply],
    failures: tuple[type[Exception], ...],
    patience_s: float,
    url: str,
) -> Reply:
    """Try until it works; a refusal that passes (``PAUSES_S``) counts as a failure."""
    deadline = time.monotonic() + patience_s
    while True:
        pause_s, cause = RECONNECT_S, None
        try:
            reply = attempt()
            if not (isinstance(reply, Refusal) and reply.status in PAUSES_S):
                return reply
            problem = f"; it said: {reply.detail}"
            pause_s = PAUSES_S[reply.status]
        except failures as error:
            problem, cause = IS_IT_RUNNING, error
        if time.monotonic() > deadline:
            raise ConnectionError(
                f"no answer from {url} for {patience_s:g} s{problem}"
            ) from cause
        time.sleep(pause_s)
