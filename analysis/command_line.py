"""What commands that read journals share; heavy imports wait inside."""

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from analysis.salvage import Sound

MOST_SHOWN = 20
"""Problems of a journal that a command tells of; the tables have all."""


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Faults that a user can mend become one line instead of a traceback."""
    from server.redaction import redact

    try:
        yield
    except (OSError, ValueError) as error:
        raise click.ClickException(redact(str(error))) from error


def beside(journal: str) -> contextlib.AbstractContextManager[None]:
    """In the journal's folder: study files name their stimulus tables from there."""
    return contextlib.chdir("." if "://" in journal else Path(journal).parent)


def read_all(where: str) -> "list[tuple[str, Sound]]":
    """Every study in a journal, with its sound events; problems go to stderr.

    Raises ``ValueError`` without any study, and ``OSError`` where nothing is sound.
    """
    from analysis.salvage import salvage, studies_in
    from server.journal import JournalError

    names = studies_in(where)
    if not names:
        raise JournalError(f"{where} holds no study")
    read, failed = [], []
    for name in names:
        try:
            read.append((name, salvage(where, name)))
        except JournalError as error:  # another study of the file may be sound
            failed.append(error)
    if not read:
        raise failed[0]
    for fault in failed:
        click.echo(f"problem: {fault}", err=True)
    shown = dict.fromkeys(problem for _, events in read for problem in events.problems)
    for problem in islice(shown, MOST_SHOWN):
        click.echo(f"problem: {problem}", err=True)
    if len(shown) > MOST_SHOWN:
        click.echo(f"and {len(shown) - MOST_SHOWN} more problems", err=True)
    return read
