"""The command ``penchant serve``."""

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from server.running import Server

_HERE = ("127.0.0.1", "localhost", "::1")

_COMPILED_S = 300.0
"""By then whatever was being compiled is."""


@click.command()
@click.argument(
    "studies", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path)
)
@click.option(
    "--journal",
    metavar="FILE_OR_URL",
    help="The database of all studies. [default: the study file's name with .db; "
    "penchant.db for several]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address.")
@click.option("--port", default=5000, show_default=True, help="Port; 0 finds one.")
@click.option(
    "--simulated",
    is_flag=True,
    help="A rehearsal: simulated subjects may join, and the journal says so.",
)
@click.option("--webhook", metavar="URL", help="Where alarms are posted.")
@click.option(
    "--ping", metavar="URL", help="Dead-man's switch, asked every minute while well."
)
@click.option("--log-json", is_flag=True, help="One JSON object a line.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def serve(
    studies: tuple[Path, ...],
    journal: str | None,
    host: str,
    port: int,
    simulated: bool,
    webhook: str | None,
    ping: str | None,
    log_json: bool,
    log_level: str,
) -> None:
    """Run STUDIES with subjects that connect to this computer.

    Stopped or killed at any moment, the same command goes on where it was. Beyond
    127.0.0.1, and wherever `penchant token issue` was used once, every client needs
    a token.
    """
    # Nothing is lost by an end at once, and Python is never ended within its imports,
    # where an exception may abort it or be swallowed.
    with _stopped_by(lambda *_: os._exit(0)):
        from server.app import serve as run
        from server.logs import set_up

        set_up(log_json, log_level)
        alone = studies[0].with_suffix(".db")
        where = journal or str(alone if len(studies) == 1 else "penchant.db")
        mode = "dry-run" if simulated else "live"
        exposed = host not in _HERE
        with _opened(studies, where, mode, exposed, webhook, ping) as server:
            port = port or free_port()
            for name in server.studies.names:
                url = f"http://{host}:{port}?study={name}"
                click.echo(f"study {name} ({mode}) at {url}")
            gc.set_threshold(700)  # little at a time, so that no trial waits for it
            server.watch.start()
            # A service is ended by SIGTERM; it gives its studies back as on Ctrl-C.
            with contextlib.suppress(KeyboardInterrupt), _stopped_by(_interrupt):
                run(server.app, server.socketio, host, port)
    _leave()


@contextlib.contextmanager
def _opened(
    files: Sequence[Path],
    where: str,
    mode: str,
    exposed: bool,
    webhook: str | None,
    ping: str | None,
) -> Iterator["Server"]:
    """A server with its studies open; raises ``ClickException`` if they cannot be."""
    from server.redaction import redact
    from server.running import assemble
    from server.studies import load_studies

    with contextlib.ExitStack() as stack:
        try:
            loaded = load_studies(list(files))
            server = assemble(loaded, where, mode, exposed, webhook=webhook, ping=ping)
            # As long as it takes: an error ends Python, where nothing may compile.
            stack.callback(server.close, _COMPILED_S)
            server.studies.open_all()
        except (OSError, ValueError) as error:
            raise click.ClickException(redact(str(error))) from error
        yield server
        stack.pop_all()
        server.close()


@contextlib.contextmanager
def _stopped_by(handler: Callable[..., object]) -> Iterator[None]:
    """What SIGTERM and Ctrl-C do meanwhile."""
    both = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(one, handler) for one in both]
    try:
        yield
    finally:
        for one, handled in zip(both, before, strict=True):
            signal.signal(one, handled)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _leave() -> None:
    """End at once if there are threads left: one cut off inside XLA aborts Python."""
    if threading.active_count() > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def free_port() -> int:
    """A port of this computer that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
