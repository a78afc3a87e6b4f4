"""What commands that read journals share; heavy imports wait inside."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from server.events import Event


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


def read_all(where: str) -> list[tuple[str, "list[Event]"]]:
    """Every study in a journal, with its events; raises ``ValueError`` without any."""
    from server.journal import Journal, JournalError, studies

    if "://" not in where and not Path(where).is_file():
        raise JournalError(f"there is no journal {where}")
    read = [(name, list(Journal(where, name).read())) for name in studies(where)]
    if not read:
        raise JournalError(f"{where} holds no study")
    return read
