"""``penchant subject rig``: a rig with its hardware, by a file that describes it."""

from pathlib import Path

import click

from subject_clients.options import wired
from subject_clients.rig.config import RigFile


@click.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The rig's file.",
)
@click.option("--name", help="Pseudonym of the subject that is in the rig now.")
@click.option("--check", is_flag=True, help="Check the rig, with nobody in it.")
@click.option("--url", help="The server, if not the one in the file.")
@click.option("--group", help="The subject's group, in a study with groups.")
@wired
def rig(
    config: Path,
    name: str | None,
    check: bool,
    url: str | None,
    group: str | None,
    transport: str,
    token: str | None,
    patience: float,
) -> None:
    """Run one session of the subject in a rig, or check the rig.

    A study needs a rig that has passed its check: scripted subjects work through
    trials, and their rewards are counted. Keys: p pause or go on, s stop after this
    trial, e emergency stop; Ctrl-C stops, twice is an emergency.
    """
    try:
        file = RigFile(config)
        if check:
            _check(file)
            return
        if not name:
            raise click.UsageError("name the subject in the rig: --name mouse-07")
        _refuse_unchecked(file, config)
        from subject_clients.rig.run import run
        from subject_clients.transport import TRANSPORTS

        address = url or file.rig.server
        wire = TRANSPORTS[transport](address, patience)
        reason = run(file, name, address, wire, token, group)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{name}: {reason}")


def _refuse_unchecked(file: RigFile, config: Path) -> None:
    from subject_clients.rig.self_check import unchecked

    if unchecked(file):
        raise click.ClickException(
            f"{config}, as it is now, has not passed its self-check. Take the subject "
            f"out, then: penchant subject rig --config {config} --check"
        )


def _check(file: RigFile) -> None:
    from rich.console import Console
    from rich.table import Table

    from subject_clients.rig.self_check import checked, unfit

    findings = checked(file, file.opened, _asked)
    table = Table("scripted subject", "rewards", "expected", "microlitre", "expected")
    for one in findings:
        table.add_row(
            one.behaviour,
            str(one.rewards),
            str(one.expected),
            f"{one.microlitre:.1f}",
            f"{one.expected_microlitre:.1f}",
        )
    Console().print(table)
    if faults := unfit(findings):
        raise ValueError(faults)
    click.echo(f"passed; kept in {file.check}")


def _asked(what: str) -> None:
    click.prompt(what, default="", show_default=False)
