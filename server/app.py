"""HTTP and Socket.IO doors to a :class:`server.desk.Desk`."""

import json
import logging
from typing import Any

from flask import Flask, Response, request
from flask_socketio import SocketIO
from werkzeug.exceptions import HTTPException

from server.desk import Desk
from server.protocol import (
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    REPLIES,
    REQUESTS,
    Assignment,
    Refusal,
    Reply,
)


def create_app(desk: Desk) -> tuple[Flask, SocketIO]:
    """The Flask application and its Socket.IO server for one study."""
    app = Flask("penchant")
    app.config["MAX_CONTENT_LENGTH"] = MAX_MESSAGE_BYTES
    _add_http(app, desk)
    # Threads, not gevent: JAX and monkey patching do not mix, and threads are as fast.
    socketio = SocketIO(
        app,
        async_mode="threading",
        # Above our own limit, so that most oversized messages get a clear refusal.
        max_http_buffer_size=4 * MAX_MESSAGE_BYTES,
    )
    _add_socket(socketio, desk)
    return app, socketio


def serve(app: Flask, socketio: SocketIO, host: str, port: int) -> None:
    """Serve until interrupted."""
    # Werkzeug reports every hung-up websocket as a bad request.
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    socketio.run(app, host=host, port=port, allow_unsafe_werkzeug=True)


def _add_http(app: Flask, desk: Desk) -> None:
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
        return _json(desk.handle(kind, payload))

    @app.get("/api/v1/status")
    def status() -> dict[str, Any]:
        return desk.summary()

    @app.get("/api/v1/schema")
    def schema() -> dict[str, Any]:
        return protocol_schema()

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        return {"ok": True}

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


def _add_socket(socketio: SocketIO, desk: Desk) -> None:
    # Which session each connection serves: known to the transport alone.
    serving: dict[str, str] = {}

    def on_message(kind: str) -> Any:
        def handler(*payload: Any) -> dict[str, Any]:
            reply = _handle(desk, kind, payload)
            if isinstance(reply, Assignment):
                serving[request.sid] = reply.session  # type: ignore[attr-defined]
            return reply.model_dump()

        return handler

    for kind in REQUESTS:
        socketio.on_event(kind, on_message(kind))

    @socketio.on("*")
    def unknown(kind: str, *payload: Any) -> dict[str, Any]:
        return _handle(desk, kind, payload).model_dump()

    @socketio.on("disconnect")
    def gone(*_: Any) -> None:
        session = serving.pop(request.sid, None)  # type: ignore[attr-defined]
        if session is not None:
            desk.disconnected(session)


def _handle(desk: Desk, kind: str, payload: tuple[Any, ...]) -> Reply:
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
    return desk.handle(kind, payload[0] if len(payload) == 1 else list(payload))


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
    }
