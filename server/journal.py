"""The append-only list of events of each study: the only source of truth."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import (
    JSON,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from server.events import Event, Fact, from_row, to_row

_TABLE = Table(
    "events",
    MetaData(),
    Column("study", String, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("payload", JSON, nullable=False),
)


class JournalError(OSError):
    """The journal cannot be opened, read or written."""


class Journal:
    """The events of one study in a database, SQLite by default.

    ``where`` is a file path or a SQLAlchemy URL. Two operations: ``append`` is
    durable when it returns; ``read`` gives events in order.
    """

    def __init__(self, where: str | Path, study: str) -> None:
        """Open or create the journal; raises :class:`JournalError`."""
        self.where = str(where)
        self.study = study
        self._engine = open_database(where)
        last_seq = select(func.max(_TABLE.c.seq)).where(_TABLE.c.study == study)
        with _readable(where), self._engine.connect() as connection:
            last = connection.execute(last_seq).scalar()
        self._next = 0 if last is None else last + 1

    def append(self, facts: Sequence[Fact], at: float) -> list[Event]:
        """Store facts in one transaction; all are on disk, or none is.

        Raises :class:`JournalError` if another process writes the same study, or
        if the database refuses.
        """
        events = [Event(self._next + i, at, fact) for i, fact in enumerate(facts)]
        rows = [
            dict(zip(("kind", "payload"), to_row(e.fact), strict=True))
            | {"study": self.study, "seq": e.seq, "at": e.at}
            for e in events
        ]
        if rows:
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(_TABLE), rows)
            except IntegrityError as error:
                raise JournalError(
                    f"study {self.study!r} is being written by another process: "
                    f"event {self._next} exists already. Stop one of the two."
                ) from error
            except SQLAlchemyError as error:
                raise JournalError(
                    f"cannot write the journal {self.where}: {_reason(error)}"
                ) from error
        self._next += len(events)
        return events

    def read(self, after: int = -1) -> Iterator[Event]:
        """Events with ``seq`` above ``after``, in order.

        Raises :class:`JournalError` for one that cannot be read.
        """
        query = (
            select(_TABLE.c.seq, _TABLE.c.at, _TABLE.c.kind, _TABLE.c.payload)
            .where(_TABLE.c.study == self.study, _TABLE.c.seq > after)
            .order_by(_TABLE.c.seq)
        )
        with _readable(self.where), self._engine.connect() as connection:
            for seq, at, kind, payload in connection.execute(query):
                yield Event(seq, at, from_row(kind, payload))

    def close(self) -> None:
        """Give the database back."""
        self._engine.dispose()


def studies(where: str | Path) -> list[str]:
    """Names of the studies that a database holds, oldest first."""
    engine = open_database(where)
    try:
        with _readable(where), engine.connect() as connection:
            begun = select(_TABLE.c.study).where(_TABLE.c.seq == 0)
            return list(connection.execute(begun.order_by(_TABLE.c.at)).scalars())
    finally:
        engine.dispose()


def open_database(where: str | Path) -> Engine:
    """Engine for a path or URL, with the events table; SQLite made durable.

    Raises :class:`JournalError`.
    """
    url = str(where) if "://" in str(where) else f"sqlite:///{where}"
    with _readable(where):
        engine = create_engine(url)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _make_durable)
        _TABLE.metadata.create_all(engine)
    return engine


@contextlib.contextmanager
def _readable(where: str | Path) -> Iterator[None]:
    """What a database or a row of it may raise, as :class:`JournalError`."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, ImportError, ValueError) as error:
        raise JournalError(
            f"cannot read the journal {where}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", error))


def _make_durable(connection, _record) -> None:  # type: ignore[no-untyped-def]
    """Write-ahead log, and every commit waits for the disk."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
