"""A port on which clients find a stage: HTTP, and Socket.IO where it is installed."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from server.protocol import MAX_MESSAGE_BYTES, Refusal
from subject_clients.conformance_stage import Said, Stage

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


def speaks_socket_io() -> bool:
    """Whether what Socket.IO needs is installed, as with ``penchant[server]``."""
    return bool(find_spec("werkzeug") and find_spec("simple_websocket"))


@contextlib.contextmanager
def serving(
    stage: Stage, host: str = "127.0.0.1", port: int = 0, socket_io: bool | None = None
) -> Iterator[str]:
    """Serve a stage; gives the URL. Without ``socket_io`` over HTTP alone."""
    app = _over_http(stage)
    if speaks_socket_io() if socket_io is None else socket_io:
        server = _with_socket_io(stage, app, host, port)
    else:
        server = make_server(host, port, app, _Server, _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _over_http(stage: Stage) -> App:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path, kind = environ["PATH_INFO"].rsplit("/", 1)
        if environ["REQUEST_METHOD"] != "POST" or not path.endswith("/api/v1"):
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        length = min(int(environ.get("CONTENT_LENGTH") or 0), MAX_MESSAGE_BYTES)
        body = environ["wsgi.input"].read(length)
        try:
            said = stage.handle(kind, json.loads(body, parse_constant=_no_constant))
        except (ValueError, RecursionError):
            said = stage.unreadable(kind)
        return _reply(said, environ, start_response)

    return app


def _reply(said: Said, environ: Environ, start: StartResponse) -> Iterable[bytes]:
    if said.reply is None:
        _cut(environ)
        start("500 Cut", [("Content-Length", "0")])
        return []
    status = said.reply.status if isinstance(said.reply, Refusal) else 200
    body = said.reply.model_dump_json().encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start(f"{status} {'OK' if status == 200 else 'Refused'}", headers)
    return [body]


def _cut(environ: Environ) -> None:
    """As if somebody pulled the cable: no farewell, which a client might obey."""
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def _with_socket_io(stage: Stage, app: App, host: str, port: int) -> WSGIServer:
    import socketio
    from werkzeug import serving

    class Quiet(serving.WSGIRequestHandler):
        def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    wire = socketio.Server(async_mode="threading")

    def heard(kind: str, sid: str, *payload: Any) -> Any:
        message = payload[0] if len(payload) == 1 else list(payload)
        said = stage.handle(kind, message)
        for control in said.pushes:
            wire.emit("control", control.model_dump(), to=sid)
        if said.reply is None:
            environ = wire.get_environ(sid)
            if "transport=websocket" in environ["QUERY_STRING"]:
                _cut(environ)
            else:  # it began by polling, over other connections than its present one
                wire.eio.disconnect(wire.manager.eio_sid_from_sid(sid, "/"))
            return None
        return said.reply.model_dump()

    wire.on("*", heard)
    both = socketio.WSGIApp(wire, app)
    server: WSGIServer = serving.make_server(  # type: ignore[assignment]
        host, port, both, threaded=True, request_handler=Quiet
    )
    return server


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> Environ:
        # Under the name at which Werkzeug has it too.
        return super().get_environ() | {"werkzeug.socket": self.connection}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
