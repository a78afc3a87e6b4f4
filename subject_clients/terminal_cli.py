"""``penchant subject terminal``: a person at a terminal."""

from pathlib import Path

import click

from subject_clients.address import split_link
from subject_clients.options import wired


@click.command()
@click.option("--name", required=True, help="Pseudonym of the subject.")
@click.option("--url", default="http://127.0.0.1:5000", show_default=True)
@click.option("--group", help="Its group, in a study with groups.")
@click.option("--rig", help="The apparatus that the subject is in, if any.")
@click.option(
    "--outbox",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where answers wait for their acknowledgement. [default: NAME.outbox]",
)
@wired
def terminal(
    name: str,
    url: str,
    group: str | None,
    rig: str | None,
    outbox: Path | None,
    transport: str,
    token: str | None,
    patience: float,
) -> None:
    """Ask a person here: stimuli in words, answers by keyboard."""
    from subject_clients.loop import Subject
    from subject_clients.outbox import Outbox
    from subject_clients.terminal import Terminal
    from subject_clients.transport import TRANSPORTS

    url, token = split_link(url, token)
    try:
        with Outbox(outbox or Path(f"{name}.outbox"), to=url) as box:
            wire = TRANSPORTS[transport](url, patience)
            subject = Subject(
                name, Terminal(), wire, token, group=group, outbox=box, rig=rig
            )
            done = subject.run_session()
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Thank you: {done.reason}.")
