"""The Socket.IO door: the same messages as over HTTP, and what is pushed."""

import contextlib
import json
from typing import Any

from flask import request
from flask_socketio import SocketIO, join_room

from server.database import JournalError
from server.desk import Desk
from server.door import Door
from server.events import Fact, Halted, RewardAsked, SessionEnded, SessionOpened
from server.protocol import (
    MAX_MESSAGE_BYTES,
    REQUESTS,
    Ack,
    Alive,
    Assignment,
    ProtocolError,
    Refusal,
    Reply,
    Trial,
)


class Sockets:
    """Carries messages of open connections, and pushes orders and progress."""

    def __init__(self, socketio: SocketIO, door: Door) -> None:
        """Begin to listen."""
        self._socketio, self._door = socketio, door
        # Study and session that each connection serves: known to the transport alone.
        self._serving: dict[str, tuple[Desk, str]] = {}
        socketio.on_event("connect", self._connected)
        socketio.on_event("disconnect", self._gone)
        for kind in REQUESTS:
            socketio.on_event(kind, lambda *said, kind=kind: self._answer(kind, said))
        socketio.on_event("*", lambda kind, *said: self._answer(kind, said))
        door.studies.told.append(self._push)
        door.studies.hurried.append(self._push)

    def _connected(self, auth: Any = None) -> bool:
        """Let a connection in; with ``watch`` it is pushed what it may see."""
        door = self._door
        try:
            door.check_page(request.headers.get("Origin"), request.host)
            if isinstance(auth, dict) and auth.get("watch"):
                caller = door.viewer(auth.get("token", ""), address())
                for study in [caller.study] if caller.study else door.studies.names:
                    join_room(_watchers(study))
        except ProtocolError:
            return False
        return True

    def _answer(self, kind: str, said: tuple[Any, ...]) -> dict[str, Any]:
        study = _study()
        reply = _handled(self._door, kind, said, study)
        session = _session_of(reply, said)
        known = self._serving.get(_sid())
        if session and (known is None or known[1] != session):
            self._serve(session, study or getattr(reply, "study", None))
        return reply.model_dump()

    def _serve(self, session: str, study: str | None) -> None:
        """Remember whom a connection serves, and push to it what is of that session."""
        if study is None and len(self._door.studies.names) > 1:
            return  # it did not say: its heartbeats tell it what pushes would
        # Neither a study that has just gone elsewhere nor a connection that has just
        # been lost may keep the reply from whoever still listens.
        with contextlib.suppress(ProtocolError, ValueError):
            desk = self._door.studies.desk(study)
            for one in ("", session):  # orders to all, and to this one
                join_room(_clients(desk.state.study.name, one))
            self._serving[_sid()] = desk, session

    def _gone(self, *_: Any) -> None:
        if served := self._serving.pop(_sid(), None):
            desk, session = served
            with contextlib.suppress(JournalError):  # stored once there is room
                desk.disconnected(session)

    def _push(self, study: str, fact: Fact) -> None:
        if isinstance(fact, Halted | RewardAsked):
            what = fact.what if isinstance(fact, Halted) else "reward"
            control = {"type": "control", "session": fact.session, "what": what}
            room = _clients(study, fact.session)
            self._socketio.emit("control", control, to=room)
        if isinstance(fact, Halted | SessionOpened | SessionEnded):
            summary = self._door.studies.desk(study).summary()
            self._socketio.emit("progress", summary, to=_watchers(study))


def _session_of(reply: Reply, payload: tuple[Any, ...]) -> str | None:
    """The session that a client has just shown to be its own."""
    if isinstance(reply, Assignment):
        return reply.session
    if isinstance(reply, Trial | Ack | Alive):
        return str(payload[0]["session"])
    return None


def _clients(study: str, session: str = "") -> str:
    return f"clients {study} {session}"


def _watchers(study: str) -> str:
    return f"watchers {study}"


def _handled(
    door: Door, kind: str, payload: tuple[Any, ...], study: str | None
) -> Reply:
    """Check what JSON over HTTP has had checked by its parser, then answer."""
    try:
        size = len(json.dumps(payload, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return Refusal(
            status=400, error="not_json", detail="the payload must be one JSON object"
        )
    if size > MAX_MESSAGE_BYTES:
        return Refusal(
            status=413,
            error="request_entity_too_large",
            detail=f"a message may have {MAX_MESSAGE_BYTES} bytes at most",
        )
    message = payload[0] if len(payload) == 1 else list(payload)
    return door.handle(kind, message, study, address(), bearer())


def _study() -> str | None:
    """The study that a connection named in its address."""
    if "study=" not in request.environ.get("QUERY_STRING", ""):
        return None  # without parsing it for each message
    return request.args.get("study")


def _sid() -> str:
    return str(request.sid)  # type: ignore[attr-defined]


def address() -> str:
    """Where the request at hand comes from."""
    return request.remote_addr or ""


def bearer() -> str:
    """The secret in the ``Authorization`` of the request at hand, or nothing."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""
