"""The append-only list of events of each study: the only source of truth."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import Executable, bindparam, func, insert, select, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from server.database import (
    JournalError,
    SupersededError,
    failures,
    file_of,
    in_memory,
    migrate,
    open_database,
    shown,
    to_json,
)
from server.events import Event, Fact, from_row, to_row
from server.schema import events as table

__all__ = ["Journal", "JournalError", "migrate", "open_database", "studies"]

_PAGE = 128
"""Events read at once: few, since the candidates of a generation may be megabytes."""

_INSERT = insert(table)
_LAST = select(func.max(table.c.seq)).where(table.c.study == bindparam("of"))
_READ = (
    select(table.c.seq, table.c.at, table.c.kind, table.c.payload)
    .where(table.c.study == bindparam("of"), table.c.seq > bindparam("after"))
    .order_by(table.c.seq)
    .limit(_PAGE)
)
_LOCK = text(
    "select pg_try_advisory_lock(hashtextextended("
    "'penchant ' || current_schema() || ' ' || :study, 0))"
)
_UNLOCK = text(_LOCK.text.replace("try_advisory_lock", "advisory_unlock"))


class Journal:
    """The events of one study in a database, SQLite by default.

    ``where`` is a file path or a URL, ``postgresql://user@host/database``. Two
    operations: ``append`` is durable when it returns; ``read`` gives events in order.

    One process at a time writes a study. It holds a lock that its death releases:
    on a file beside an SQLite database; in PostgreSQL of the connection that writes, so
    that whoever loses the lock has lost the means to write too.
    """

    def __init__(self, where: str | Path, study: str) -> None:
        """Open or create the journal; raises :class:`JournalError`."""
        self.where = shown(where)
        self.study = study
        self._engine = open_database(where)
        insertion: Any = _INSERT.compile(dialect=self._engine.dialect)
        self._insertion, self._order = str(insertion), insertion.positiontup
        self._lock = threading.Lock()
        self._claimed: contextlib.ExitStack | None = None
        self._closed = False
        self._writer: Connection | None = None
        try:
            self._next = self._last() + 1
        except JournalError:
            self._engine.dispose()
            raise

    @property
    def engine(self) -> Engine:
        """The database, for what is looked up beside the events."""
        return self._engine

    def claim(self) -> None:
        """Become the only process that writes this study, until ``close``.

        Raises :class:`JournalError` if another is, or has been since this journal was
        opened: then what was read from it may be old.
        """
        with self._lock:
            self._claim()

    def numbered(self, facts: Sequence[Fact], at: float) -> list[Event]:
        """The events that ``append`` would make of these facts now."""
        return [Event(self._next + i, at, fact) for i, fact in enumerate(facts)]

    def append(
        self, facts: Sequence[Fact], at: float, also: Sequence[Executable] = ()
    ) -> list[Event]:
        """Store facts in one transaction; all are on disk, or none is.

        ``also`` are statements for other tables, within the same transaction. Raises
        :class:`JournalError` if another process writes the same study, or if the
        database refuses; the same facts may be appended again.
        """
        with self._lock:
            events = self.numbered(facts, at)
            if events or also:
                self._claim()
                with failures("write", self.where):
                    self._store(events, also)
            self._next += len(events)
            return events

    def read(self, after: int = -1) -> Iterator[Event]:
        """Events with ``seq`` above ``after``, in order.

        Raises :class:`JournalError` for one that cannot be read.
        """
        # By pages, not by one long query, which would keep SQLite's log growing
        # and, in memory, the only connection.
        while True:
            with failures("read", self.where), self._engine.connect() as connection:
                rows = connection.execute(_READ, {"of": self.study, "after": after})
                page = [
                    Event(seq, at, from_row(kind, payload))
                    for seq, at, kind, payload in rows
                ]
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].seq

    def close(self) -> None:
        """Give the study and the database back."""
        with self._lock:
            self._closed = True
            self._release()
            self._engine.dispose()

    def __repr__(self) -> str:
        """Without passwords."""
        return f"Journal({self.where!r}, {self.study!r})"

    def _store(self, events: list[Event], also: Sequence[Executable]) -> None:
        rows = [
            {"study": self.study, "seq": e.seq, "at": e.at, "kind": kind, "payload": p}
            for e in events
            for kind, p in [to_row(e.fact)]
        ]
        try:
            with self._transaction() as connection:
                if rows:
                    self._insert(connection, rows)
                for statement in also:
                    connection.execute(statement)
        except DBAPIError as error:
            if error.connection_invalidated:  # and the lock gone with it
                self._release()
            raise

    def _insert(self, connection: Connection, rows: list[dict[str, object]]) -> None:
        # Compiled once, since this is what every trial waits for.
        rows = [row | {"payload": to_json(row["payload"])} for row in rows]
        if self._order is not None:  # a driver that takes parameters by place
            some: Any = [tuple(row[name] for name in self._order) for row in rows]
        else:
            some = rows
        try:
            connection.exec_driver_sql(self._insertion, some)
        except IntegrityError as error:
            raise SupersededError(
                f"{self._is_taken()}: event {self._next} exists already. "
                "Stop one of the two."
            ) from error

    def _transaction(self) -> contextlib.AbstractContextManager[Connection]:
        if self._writer is None:  # in memory: the one connection is everybody's
            return self._engine.begin()
        return _begun(self._writer)

    def _last(self) -> int:
        with failures("read", self.where), self._engine.connect() as connection:
            last = connection.execute(_LAST, {"of": self.study}).scalar()
        return -1 if last is None else int(last)

    def _claim(self) -> None:
        if self._closed:
            raise JournalError(f"the journal {self.where} is closed: open it again")
        if self._claimed is not None:
            return
        with failures("write", self.where), contextlib.ExitStack() as stack:
            writer = self._take(stack)
            if (last := self._last()) != self._next - 1:
                raise SupersededError(
                    f"{self._is_taken()}, or was: it holds events up to {last}, and "
                    f"{self._next - 1} is the last known here. Stop one of the two and "
                    "start the other again."
                )
            self._writer, self._claimed = writer, stack.pop_all()

    def _take(self, stack: contextlib.ExitStack) -> Connection | None:
        """The connection to write with, and the lock, both given back by ``stack``."""
        if in_memory(self._engine):
            return None
        with self._engine.connect() as connection:
            path = file_of(connection)
        if path is not None:
            self._lock_file(path, stack)
        writer = stack.enter_context(self._engine.connect())
        if path is None:
            with writer.begin():
                locked = writer.execute(_LOCK, {"study": self.study}).scalar()
            if not locked:
                writer.invalidate()
                raise SupersededError(f"{self._is_taken()}. Stop one of the two.")
            stack.callback(self._unlock, writer)
        return writer

    def _unlock(self, writer: Connection) -> None:
        """Give the lock back now: the database may take a while to miss a client."""
        if not writer.invalidated:
            with contextlib.suppress(DBAPIError), writer.begin():
                writer.execute(_UNLOCK, {"study": self.study})
        # The lock is the session's, if it is still there: no pool must keep it.
        writer.invalidate()

    def _lock_file(self, path: Path, stack: contextlib.ExitStack) -> None:
        beside = path.with_name(f"{path.name}.{quote(self.study, safe='')}.lock")
        lock = FileLock(beside, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise SupersededError(
                f"{self._is_taken()}. Stop one of the two."
            ) from error
        except (OSError, NotImplementedError) as error:
            raise JournalError(
                f"cannot write the journal {self.where}: no lock on {beside}: {error}"
            ) from error
        stack.callback(lock.release)

    def _is_taken(self) -> str:
        return f"study {self.study!r} is being written by another process"

    def _release(self) -> None:
        if self._claimed is not None:
            claimed, self._claimed, self._writer = self._claimed, None, None
            claimed.close()


@contextlib.contextmanager
def _begun(connection: Connection) -> Iterator[Connection]:
    with connection.begin():
        yield connection


def studies(where: str | Path) -> list[str]:
    """Names of the studies that a database holds, oldest first."""
    engine = open_database(where)
    try:
        with failures("read", where), engine.connect() as connection:
            begun = select(table.c.study).where(table.c.seq == 0)
            return list(connection.execute(begun.order_by(table.c.at)).scalars())
    finally:
        engine.dispose()
