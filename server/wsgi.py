r"""The server as a WSGI application, for gunicorn behind a proxy.

    gunicorn --workers 1 --threads 400 --bind 127.0.0.1:5001 \
        'server.wsgi:application("a.toml", "b.toml", journal="postgresql://...")'

Several such processes may be given the same studies: each serves those that the proxy
sends to it, and takes over those of a process that is gone.
"""

import atexit
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from werkzeug.middleware.proxy_fix import ProxyFix

from server.compile_cache import keep_compiled
from server.logs import set_up
from server.protocol import ProtocolError
from server.running import assemble
from server.studies import Studies, load_studies

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def application(
    *studies: str,
    journal: str,
    simulated: bool = False,
    message_queue: str | None = None,
    webhook: str | None = None,
    ping: str | None = None,
    log_level: str = "info",
) -> Wsgi:
    """The application of one process; studies are opened when they are asked for.

    Every client needs a token: a proxy is there to let others in. Raises ``OSError``
    and ``ValueError`` for what cannot be opened.
    """
    keep_compiled()
    set_up(as_json=True, level=log_level)
    server = assemble(
        load_studies([Path(study) for study in studies]),
        journal,
        "dry-run" if simulated else "live",
        exposed=True,
        message_queue=message_queue,
        webhook=webhook,
        ping=ping,
    )
    server.watch.start()
    atexit.register(server.close)  # what works beside the trials ends before Python
    # One proxy stands in front: whom it forwards is who asked.
    return ProxyFix(_Elsewhere(server.app.wsgi_app, server.studies), x_for=1)


class _Elsewhere:
    """Sends a connection on where another process serves its study.

    With status 503 before the handshake a proxy tries the next process; later it
    could not.
    """

    def __init__(self, app: Wsgi, studies: Studies) -> None:
        self._app, self._studies = app, studies

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        handshake = environ["PATH_INFO"].startswith("/socket.io") and "sid" not in query
        if handshake and "study" in query:
            try:
                self._studies.desk(query["study"][0])
            except ProtocolError as error:
                status = error.refusal.status
                body = error.refusal.model_dump_json().encode()
                headers = [("Content-Type", "application/json")]
                start_response(f"{status} {error.refusal.error}", headers)
                return [body]
        return self._app(environ, start_response)
