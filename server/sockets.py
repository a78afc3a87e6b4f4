"""The Socket.IO door: the same messages as over HTTP, and what is pushed."""

import contextlib
import json
from typing import Any, NamedTuple

from flask_socketio import SocketIO
from werkzeug.wrappers import Request

from server.dashboard_data import Dashboards
from server.dashboard_live import Pusher
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
from server.roles import Caller


class Whence(NamedTuple):
    """Where a request comes from, and what it says of itself beside its body."""

    study: str | None
    """The study named in the address."""
    address: str
    bearer: str
    """The secret in its ``Authorization``, or nothing."""


def whence(request: Request) -> Whence:
    """What door and studies want to know of a request."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    bearer = secret.strip() if scheme.lower() == "bearer" else ""
    return Whence(request.args.get("study"), request.remote_addr or "", bearer)


class Sockets:
    """Carries messages of open connections, and pushes orders and progress.

    Handlers are python-socketio's own: Flask's context, made anew for each message,
    would cost a third of its answer, and tells nothing that the handshake did not.
    """

    def __init__(self, socketio: SocketIO, door: Door, dashboards: Dashboards) -> None:
        """Begin to listen."""
        self._server, self._door = socketio.server, door
        self._whence: dict[str, Whence] = {}
        # Connections that are pushed progress: the secret that they showed, and the
        # studies that they may see.
        self._watching: dict[str, tuple[tuple[str, str], list[str]]] = {}
        # Study and session that each connection serves: known to the transport alone.
        self._serving: dict[str, tuple[Desk, str]] = {}
        self._server.on("connect", self._connected)
        self._server.on("disconnect", self._gone)
        for kind in REQUESTS:
            self._server.on(
                kind, lambda sid, *said, kind=kind: self._answer(kind, sid, said)
            )
        self._server.on("*", self._unknown)
        self._pusher = Pusher(dashboards, self._watched, self._tell)
        door.studies.closing.append(self._pusher.close)
        door.studies.told.append(self._push)
        door.studies.hurried.append(self._control)

    def _connected(self, sid: str, _environ: Any = None, auth: Any = None) -> bool:
        """Let a connection in; with ``watch`` it is pushed what it may see."""
        # What comes as an argument a client can send too, as an event of that name.
        request, door = self._handshake(sid), self._door
        if request is None:
            return False
        try:
            door.check_page(request.headers.get("Origin"), request.host)
            if isinstance(auth, dict) and auth.get("watch"):
                secret = auth.get("token", ""), request.remote_addr or ""
                seen = self._seen(door.viewer(*secret), request.args.get("study"))
                self._watching[sid] = secret, seen
                for study in seen:
                    self._server.enter_room(sid, _watchers(study))
                self._pusher.wake()
        except ProtocolError:
            return False
        return True

    def _seen(self, caller: Caller, study: str | None) -> list[str]:
        """The studies that a watcher is told of: the one it names, or all it may see.

        Raises :class:`ProtocolError` for one that it may not see.
        """
        names = self._door.studies.names
        mine = [name for name in names if caller.study in (None, name)]
        if study is None:
            return mine
        if study not in mine:
            raise ProtocolError(403, "not_yours", "this token is of another study")
        return [study]

    def _watched(self) -> set[str]:
        """Studies that somebody watches; whose token is gone is sent away first."""
        self._send_away()
        return {name for _, seen in list(self._watching.values()) for name in seen}

    def _tell(self, study: str, news: dict[str, Any]) -> None:
        self._server.emit("dashboard", news, to=_watchers(study))

    def _unknown(self, kind: str, *said: Any) -> dict[str, Any]:
        """An event of no kind of ours, which comes with its name and its connection.

        One that is named ``*`` comes without its name.
        """
        if self._handshake(kind) is not None:
            return self._answer("*", kind, said)
        return self._answer(kind, said[0], said[1:])

    def _answer(self, kind: str, sid: str, said: tuple[Any, ...]) -> dict[str, Any]:
        came_from = self._whence.get(sid)
        if came_from is None:
            request = self._handshake(sid)
            if request is None:  # gone: nobody hears this
                return {}
            came_from = self._whence[sid] = whence(request)
        reply = _handled(self._door, kind, said, came_from)
        session = _session_of(reply, said)
        known = self._serving.get(sid)
        if session and (known is None or known[1] != session):
            study = came_from.study or getattr(reply, "study", None)
            self._serve(sid, session, study)
        return reply.model_dump()

    def _handshake(self, sid: str) -> Request | None:
        """The request that a connection began with; None once it is gone."""
        environ = self._server.get_environ(sid)
        return Request(environ) if environ else None

    def _serve(self, sid: str, session: str, study: str | None) -> None:
        """Remember whom a connection serves, and push to it what is of that session."""
        if study is None and len(self._door.studies.names) > 1:
            return  # it did not say: its heartbeats tell it what pushes would
        # Neither a study that has just gone elsewhere nor a connection that has just
        # been lost may keep the reply from whoever still listens.
        with contextlib.suppress(ProtocolError, ValueError, KeyError):
            desk = self._door.studies.desk(study)
            if before := self._serving.pop(sid, None):
                was = _clients(before[0].state.study.name, before[1])
                self._server.leave_room(sid, was)
            for one in ("", session):  # orders to all, and to this one
                self._server.enter_room(sid, _clients(desk.state.study.name, one))
            self._serving[sid] = desk, session

    def _gone(self, sid: str, *_: Any) -> None:
        self._whence.pop(sid, None)
        self._watching.pop(sid, None)
        if served := self._serving.pop(sid, None):
            desk, session = served
            with contextlib.suppress(JournalError):  # stored once there is room
                desk.disconnected(session)

    def _push(self, study: str, fact: Fact) -> None:
        hurried = isinstance(fact, Halted) and fact.what == "emergency"
        if not hurried:
            self._control(study, fact)
        if isinstance(fact, Halted | SessionOpened | SessionEnded):
            self._send_away()
            summary = self._door.studies.desk(study).summary()
            self._server.emit("progress", summary, to=_watchers(study))

    def _control(self, study: str, fact: Fact) -> None:
        """Push an order to those whom it is for; an emergency before it is stored."""
        if isinstance(fact, Halted | RewardAsked):
            what = fact.what if isinstance(fact, Halted) else "reward"
            control = {"type": "control", "session": fact.session, "what": what}
            room = _clients(study, fact.session)
            self._server.emit("control", control, to=room)

    def _send_away(self) -> None:
        """Whose token was withdrawn, or ran out, is pushed nothing more."""
        for sid, (secret, _) in list(self._watching.items()):
            try:
                self._door.viewer(*secret)
            except ProtocolError:
                self._watching.pop(sid, None)
                self._server.disconnect(sid)


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
    door: Door, kind: str, payload: tuple[Any, ...], came_from: Whence
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
    return door.handle(kind, message, *came_from)
