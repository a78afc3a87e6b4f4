"""HTTP and Socket.IO doors to the studies of a server."""

import json
from typing import Any

from flask import Flask, Response, request
from flask_socketio import SocketIO
from werkzeug.exceptions import HTTPException

from server.dashboard_data import Dashboards
from server.dashboard_pages import add_dashboard_pages
from server.desk import Desk
from server.door import Door
from server.packets import PlainPackets
from server.participant_pages import add_participant_pages
from server.protocol import (
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    REPLIES,
    REQUESTS,
    Control,
    ProtocolError,
    Refusal,
    Reply,
)
from server.roles import Caller
from server.sockets import Sockets, whence


def create_app(door: Door, message_queue: str | None = None) -> tuple[Flask, SocketIO]:
    """The Flask application and its Socket.IO server.

    ``message_queue`` is a Redis URL through which server processes push to each
    other's clients.
    """
    app = Flask("penchant")
    app.config["MAX_CONTENT_LENGTH"] = MAX_MESSAGE_BYTES
    _add_http(app, door)
    _add_pages(app, door)
    add_participant_pages(app, door)
    dashboards = Dashboards(door.studies)
    add_dashboard_pages(app, door, dashboards)
    # Threads, not gevent: JAX and monkey patching do not mix, and threads are as fast.
    socketio = SocketIO(
        app,
        async_mode="threading",
        # In the connection's own thread: in order, and without one more for each.
        async_handlers=False,
        serializer=PlainPackets,
        message_queue=message_queue,
        # Above our own limit, so that most oversized messages get a clear refusal.
        max_http_buffer_size=4 * MAX_MESSAGE_BYTES,
    )
    Sockets(socketio, door, dashboards)
    return app, socketio


def serve(app: Flask, socketio: SocketIO, host: str, port: int) -> None:
    """Serve until interrupted."""
    socketio.run(app, host=host, port=port, allow_unsafe_werkzeug=True)


def _add_http(app: Flask, door: Door) -> None:
    @app.before_request
    def of_this_site() -> None:
        if request.path != "/healthz":  # asked by whatever watches over the server
            door.check_page(request.headers.get("Origin"), request.host)

    @app.post("/api/v1/<kind>")
    def message(kind: str) -> Response:
        try:
            payload = json.loads(request.get_data(), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return _json(
                Refusal(
                    status=400,
                    error="not_json",
                    detail="the body must be one JSON object, in UTF-8",
                )
            )
        return _json(door.handle(kind, payload, *whence(request)))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        detail = (
            f"a message may have {MAX_MESSAGE_BYTES} bytes at most"
            if status == 413
            else (error.description or "")
        )
        name = error.name.lower().replace(" ", "_")
        return _json(Refusal(status=status, error=name, detail=detail))

    @app.errorhandler(ProtocolError)
    def refused(error: ProtocolError) -> Response:
        return _json(error.refusal)


def _add_pages(app: Flask, door: Door) -> None:
    """What there is to look at: progress for viewers, health for anyone."""

    def viewer() -> Caller:
        asked = whence(request)
        return door.viewer(asked.bearer, asked.address)

    def desk() -> Desk:
        return door.desk(request.args.get("study"), viewer())

    @app.get("/api/v1/status")
    def status() -> dict[str, Any]:
        return desk().summary()

    @app.get("/api/v1/sessions")
    def sessions() -> dict[str, Any]:
        return {"sessions": desk().sessions_under_way()}

    @app.get("/api/v1/studies")
    def studies() -> dict[str, Any]:
        caller = viewer()
        mine = [n for n in door.studies.names if caller.study in (None, n)]
        return {"studies": mine, "mode": door.studies.mode}

    @app.get("/api/v1/schema")
    def schema() -> dict[str, Any]:
        return protocol_schema()

    @app.get("/healthz")
    def healthz() -> Response:
        desks = door.studies.open_desks().values()
        sick = [desk for desk in desks if not desk.healthy]
        body = {
            "ok": not sick,
            "protocol": PROTOCOL,
            "not_storing": sum(not desk.storing for desk in sick),
            "not_searching": sum(desk.ahead.failing for desk in sick),
        }
        return Response(
            json.dumps(body), 503 if sick else 200, mimetype="application/json"
        )

    @app.get("/metrics")
    def metrics() -> Response:
        if viewer().study is not None:
            raise ProtocolError(403, "forbidden", "expected a viewer of all studies")
        return Response(door.metrics.text(), mimetype="text/plain; version=0.0.4")


def _no_constant(name: str) -> None:
    """NaN and infinities, which Python's parser takes, are not JSON."""
    raise ValueError(f"{name} is not JSON")


def _json(reply: Reply) -> Response:
    status = reply.status if isinstance(reply, Refusal) else 200
    return Response(reply.model_dump_json(), status=status, mimetype="application/json")


def protocol_schema() -> dict[str, Any]:
    """JSON Schemas of every message, as checked in under ``docs/protocol``."""
    return {
        "protocol": PROTOCOL,
        "requests": {k: m.model_json_schema() for k, m in REQUESTS.items()},
        "replies": {k: m.model_json_schema() for k, m in REPLIES.items()},
        "pushes": {"control": Control.model_json_schema()},
    }
