"""Ways to carry messages: Socket.IO, HTTP, or straight into a server object."""

import json
import time
from collections.abc import Callable
from typing import Any, Protocol

import requests
import socketio

from server.protocol import Refusal, Reply, parse_reply

RECONNECT_S = 0.2
"""Pause between attempts to reach a server that is gone."""


class Transport(Protocol):
    """Carries one message and returns its reply, however long that takes."""

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        """Deliver a message; resent until acknowledged, so it may arrive twice.

        Raises ``ConnectionError`` when the server stays away for ``patience_s``.
        """
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

    def close(self) -> None:
        """Nothing to hang up."""


class Http:
    """``POST /api/v1/<kind>``: the contract that curl, MATLAB or R can speak too."""

    def __init__(self, url: str, patience_s: float = 60.0) -> None:
        """``url`` is the server's, such as ``http://127.0.0.1:5000``."""
        self._url = url.rstrip("/")
        self._patience_s = patience_s
        self._session = requests.Session()

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        """Deliver a message, again and again while the server is away."""

        def post() -> Reply:
            url = f"{self._url}/api/v1/{kind}"
            answer = self._session.post(url, json=message, timeout=30)
            return parse_reply(answer.json())

        failures = (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,  # cut off within a reply
            ValueError,
        )
        return _patiently(post, failures, self._patience_s, self._url)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


class Socket:
    """Socket.IO: the same messages over one open connection."""

    def __init__(self, url: str, patience_s: float = 60.0) -> None:
        """Connect on first use; ``url`` as for :class:`Http`."""
        self._url = url
        self._patience_s = patience_s
        self._client: socketio.SimpleClient | None = None

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        """Deliver a message, connecting anew whenever the connection is lost."""

        def call() -> Reply:
            if self._client is None:
                self._client = self._connect()
            try:
                return parse_reply(self._client.call(kind, message, timeout=30))
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
        client = socketio.SimpleClient(reconnection=False)
        client.connect(self._url, transports=["websocket"], wait_timeout=10)
        return client


TRANSPORTS: dict[str, type[Http] | type[Socket]] = {"socket": Socket, "http": Http}


def _patiently(
    attempt: Callable[[], Reply],
    failures: tuple[type[Exception], ...],
    patience_s: float,
    url: str,
) -> Reply:
    """Try until it works; a refusal with status 503 counts as a failure."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            reply = attempt()
            if not (isinstance(reply, Refusal) and reply.status == 503):
                return reply
            problem: object = reply.detail
        except failures as error:
            problem = error
        if time.monotonic() > deadline:
            raise ConnectionError(
                f"no answer from {url} for {patience_s:g} s; last problem: {problem!r}"
            )
        time.sleep(RECONNECT_S)
