"""The command ``penchant serve``."""

import gc
import signal
import socket
from pathlib import Path

import click

_HERE = ("127.0.0.1", "localhost", "::1")


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
    from server.app import serve as run
    from server.logs import set_up
    from server.redaction import redact
    from server.running import assemble
    from server.studies import load_studies

    set_up(log_json, log_level)
    alone = studies[0].with_suffix(".db")
    where = journal or str(alone if len(studies) == 1 else "penchant.db")
    mode = "dry-run" if simulated else "live"
    try:
        loaded = load_studies(list(studies))
        server = assemble(
            loaded, where, mode, host not in _HERE, webhook=webhook, ping=ping
        )
        server.studies.open_all()
    except (OSError, ValueError) as error:
        raise click.ClickException(redact(str(error))) from error
    # A service is ended by SIGTERM; it is to give its studies back as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    port = port or free_port()
    for name in loaded:
        click.echo(f"study {name} ({mode}) at http://{host}:{port}?study={name}")
    gc.set_threshold(700)  # little at a time, so that no trial waits for it
    server.watch.start()
    try:
        run(server.app, server.socketio, host, port)
    except KeyboardInterrupt:
        pass
    finally:
        server.close()


def _interrupt() -> None:
    raise KeyboardInterrupt


def free_port() -> int:
    """A port of this computer that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
