"""The commands that look after databases: ``penchant db``."""

import contextlib
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click


@click.group()
def db() -> None:
    """Look after the databases that journals are in."""


@db.command()
@click.argument("where")
def migrate(where: str) -> None:
    """Bring the database WHERE (a file or URL) up to this release.

    In one transaction: it is done, or nothing has changed. Copy a file before.
    """
    from server.database import migrate as migrate_database
    from server.database import shown

    with _faults():
        before, after = migrate_database(where)
    done = f"from version {before} to {after}" if before != after else "up to date"
    click.echo(f"{shown(where)}: {done}")


@db.command()
@click.argument("where")
@click.argument("into", type=click.Path(path_type=Path))
def backup(where: str, into: Path) -> None:
    """Copy the SQLite database WHERE to the file INTO, also while it is in use.

    INTO is a whole database of one moment: `penchant analyse` reads it, and a server
    can go on from it. Copying the file by other means may miss what was stored last.
    """
    from server.database import back_up, shown

    with _faults():
        back_up(where, into)
    click.echo(f"{shown(where)}: copied to {into}")


@db.command()
@click.argument("where")
def info(where: str) -> None:
    """Show version, studies and size of the database WHERE (a file or URL)."""
    from server.database import describe, shown
    from server.schema import VERSION

    with _faults():
        found = describe(where)
    click.echo(f"{shown(where)}")
    click.echo(f"version  {found.version} (this release: {VERSION})")
    if found.size_bytes is not None:
        click.echo(f"size     {found.size_bytes / 2**20:.1f} MiB")
    for stream in found.streams:
        last = datetime.fromtimestamp(stream.last_at, UTC).isoformat(" ", "seconds")
        click.echo(f"study    {stream.study}: {stream.events} events, last at {last}")


@db.command()
@click.argument("where")
@click.argument("study")
@click.argument("subject")
@click.option("--out", help="A new database for the study without the subject.")
@click.option("--in-place", is_flag=True, help="Change the database itself, for good.")
def scrub(
    where: str, study: str, subject: str, out: str | None, in_place: bool
) -> None:
    """Remove from STUDY in WHERE who SUBJECT was.

    Its name becomes a random one; what its client said of itself, clocks, reasons and
    messages in quarantine go. Trials and the search stay as they were.
    """
    from server.database import shown
    from server.scrub import scrub as scrub_study

    if (out is None) != in_place:
        raise click.UsageError("give either --out FILE or --in-place")
    with warnings.catch_warnings(record=True) as said, _faults():
        warnings.simplefilter("always")
        changed = scrub_study(where, study, subject, out)
    for warning in said:
        click.echo(f"note: {warning.message}", err=True)
    click.echo(f"{shown(out or where)}: {changed} events changed")


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
