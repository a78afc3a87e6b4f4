"""``penchant conformance``: does a client, or a server, keep to the protocol?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from subject_clients.conformance import Verdict
    from subject_clients.conformance_stage import Stage

JSON = click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the verdicts here too.",
)
COLOURS = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


@click.group()
def conformance() -> None:
    """Check a client or a server, written in whatever language.

    Ends with status 1 if a rule of the protocol is broken.
    """


@conformance.command()
@click.argument("url")
@click.option("--token", envvar="PENCHANT_TOKEN", help="An operator's checks most.")
@click.option("--group", help="Of subjects, in a study with groups.")
@click.option("--only", multiple=True, metavar="CHECK", help="This check only.")
@JSON
def server(
    url: str,
    token: str | None,
    group: str | None,
    only: tuple[str, ...],
    file: Path | None,
) -> None:
    """Check the server at URL, with made-up subjects.

    It has to serve a rehearsal (`penchant serve --simulated`). With `lease_s = 2`
    in the study file leases are checked too.
    """
    from subject_clients.conformance_server import CHECKS, check_server

    if unknown := set(only) - set(CHECKS):
        raise click.UsageError(f"no check {unknown.pop()!r}; there are {list(CHECKS)}")
    try:
        verdicts = check_server(url, token, group, only)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    _tell(verdicts, file)


@conformance.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=5000, show_default=True, help="Port; 0 finds one.")
@click.option(
    "--response",
    type=click.Choice(["choice", "graded"]),
    default="choice",
    show_default=True,
    help="What the study that is played asks for.",
)
@click.option("--heartbeat", default=1.0, show_default=True, help="In seconds.")
@click.option(
    "--patience", default=120.0, show_default=True, help="Seconds without a message."
)
@click.option("--only", multiple=True, metavar="SCENARIO", help="This scenario only.")
@JSON
def client(
    host: str,
    port: int,
    response: str,
    heartbeat: float,
    patience: float,
    only: tuple[str, ...],
    file: Path | None,
) -> None:
    """Wait for a client, and play to it what it may meet.

    Start the client again and again: one session for each scenario, until it is told
    that the study is over.
    """
    from subject_clients.conformance_client import judge
    from subject_clients.conformance_port import serving, speaks_socket_io
    from subject_clients.conformance_scenarios import SCENARIOS
    from subject_clients.conformance_stage import Pace, Stage

    if unknown := set(only) - set(SCENARIOS):
        known = list(SCENARIOS)
        raise click.UsageError(f"no scenario {unknown.pop()!r}; there are {known}")
    chosen = {name: SCENARIOS[name] for name in only or SCENARIOS}
    kind = "graded" if response == "graded" else "choice"
    stage = Stage(chosen, Pace(heartbeat_s=heartbeat), kind)  # type: ignore[arg-type]
    try:
        with serving(stage, host, port) as url:
            over = "HTTP and Socket.IO" if speaks_socket_io() else "HTTP alone"
            click.echo(
                f"{len(chosen)} scenarios at {url}, over {over}; start the client"
            )
            _watch(stage, patience)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    _tell(judge(stage), file)


def _watch(stage: "Stage", patience_s: float) -> None:
    """Tell what is played, until all was or the client is silent."""
    import time

    shown = None
    while not stage.finished.wait(0.1):
        if stage.playing not in (None, shown):
            shown = stage.playing
            click.echo(f"  {shown}")
        if time.monotonic() - stage.last_heard > patience_s:
            click.echo(f"no message for {patience_s:g} s")
            return


def _tell(verdicts: "Sequence[Verdict]", file: Path | None) -> None:
    """A table, a file if one is wanted, and the status of the command."""
    import json

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "", "why it matters", "what was seen")
    for one in verdicts:
        outcome = Text(one.outcome, COLOURS[one.outcome])
        # As text: what a client sent is no markup of ours.
        table.add_row(one.check, outcome, one.why, Text(one.seen))
    Console().print(table)
    if file is not None:
        content = [one._asdict() for one in verdicts]
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    failed = sum(one.outcome == "failed" for one in verdicts)
    skipped = sum(one.outcome == "skipped" for one in verdicts)
    passed = len(verdicts) - failed - skipped
    click.echo(f"{passed} passed, {failed} failed, {skipped} skipped")
    if failed:
        raise SystemExit(1)
