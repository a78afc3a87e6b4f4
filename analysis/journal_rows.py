"""The rows of a journal, read only, also where the database is damaged.

SQLite files are read by their index, and where that fails by row number around what
cannot be read. Nothing is ever written, so that what can be saved stays so.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from sqlalchemy import Text, cast, func, select
from sqlalchemy.engine import Engine, make_url

from analysis.problem import Problem
from server.database import JournalError, existing, failures, open_database, shown
from server.schema import VERSION, events

_PATIENCE = 50_000
"""Row numbers tried one by one after what cannot be read: a lost inner page of SQLite
hides some ten thousand rows."""

_BY_INDEX = "select seq, at, kind, payload from events where study = ? order by seq"
_BY_ROW = "select rowid, study, seq, at, kind, payload from events not indexed where "


class Row(NamedTuple):
    """An event as it is stored; ``payload`` is JSON."""

    seq: int
    at: float
    kind: str
    payload: bytes | str


class Rows(Protocol):
    """The rows of a database; ``problems`` grows as they are read."""

    name: str
    """Path or URL, as it may be shown."""
    problems: list[Problem]
    numbers: set[int]
    """Of all rows seen by the last :meth:`of`, sound or not."""

    def studies(self) -> list[str]:
        """Names of the studies, oldest first."""
        ...

    def of(self, study: str) -> Iterator[Row]:
        """The rows of a study, each once, mostly in order."""
        ...

    def last(self, study: str) -> int | None:
        """The highest number of an event, if the database knows."""
        ...


@contextlib.contextmanager
def open_rows(where: str | Path) -> Iterator[Rows]:
    """The rows of a journal: a file, or a database's URL.

    Raises :class:`JournalError` for what is no journal.
    """
    path = _file(where)
    if path is None:
        engine = open_database(where)
        try:
            with failures("read", where):
                yield _DatabaseRows(engine, shown(where))
        finally:
            engine.dispose()
        return
    with failures("read", where), _connected(Path(existing(path))) as connection:
        yield _FileRows(connection, shown(where))


def _file(where: str | Path) -> Path | None:
    """The file that a path or URL of SQLite names; None for another database."""
    written = str(where)
    if "://" not in written:
        return Path(written)
    if written.startswith(("http://", "https://")):
        raise JournalError(
            f"{shown(where)} is a server, which gives its events to nobody: name the "
            "journal that it writes, a file or a database's URL. Both can be read "
            "while the server runs"
        )
    if not written.startswith("sqlite:"):
        return None
    database = make_url(written).database
    if not database or database == ":memory:":
        raise JournalError(f"{written} is in the memory of another process")
    return Path(database)


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, and leaves nothing beside the file."""
    log = path.with_name(path.name + "-wal")
    # A log is there as long as anybody has the journal open. Without one SQLite would
    # make one, and might not take it away again.
    alone = not log.exists()
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(address + "&immutable=1" * alone, uri=True)
    # Text that is none, in a damaged row, is no reason to leave out the others.
    connection.text_factory = bytes
    with contextlib.closing(connection):
        yield connection
    if alone and log.exists():
        raise JournalError(
            f"{path} was opened by a server while it was being read: read it again"
        )


class _FileRows:
    """An SQLite file."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.numbers: set[int] = set()
        self._connection = connection
        self._damaged = False
        try:
            tables = self._tables()
        except sqlite3.DatabaseError as error:
            self._damage(error)
            # A file that is shorter than it says is else refused as a whole.
            connection.execute("PRAGMA writable_schema=ON")
            tables = self._tables()
        if events.name not in tables:
            raise JournalError(f"{name} holds no journal: it has no table of events")
        self._check_version(tables)

    def studies(self) -> list[str]:
        """Names of the studies, oldest first."""
        query = "select study, min(at) from events {} group by study"
        for how in ("", "not indexed"):
            with contextlib.suppress(sqlite3.DatabaseError):
                found = self._connection.execute(query.format(how)).fetchall()
                named = [(at, _text(study)) for study, at in found]
                return [study for _, study in sorted(named, key=_by_time)]
        began: dict[str, float] = {}
        for study, row in self._around():
            began[study] = min(row.at, began.get(study, row.at))
        return sorted(began, key=lambda study: began[study])

    def of(self, study: str) -> Iterator[Row]:
        """The rows of a study, by index, then those that it did not lead to."""
        self.numbers = set()
        sound, kinds = self.numbers.add, _Kinds()
        try:
            for seq, at, kind, payload in self._connection.execute(_BY_INDEX, (study,)):
                # All rows but damaged ones, and there may be millions.
                if type(seq) is int and type(at) is float and type(payload) is bytes:
                    sound(seq)
                    yield Row(seq, at, kinds[kind], payload)
                elif (row := _row_of((seq, at, kind, payload))) is not None:
                    sound(seq)
                    yield row
        except sqlite3.DatabaseError as error:
            self._damage(error)
        if self._damaged or len(self.numbers) <= max(self.numbers, default=-1):
            for name, row in self._around():
                if name == study and row.seq not in self.numbers:
                    self.numbers.add(row.seq)
                    yield row

    def last(self, study: str) -> int | None:
        """The highest number of an event, if the index knows."""
        query = "select max(seq) from events where study = ?"
        with contextlib.suppress(sqlite3.DatabaseError):
            (last,) = self._connection.execute(query, (study,)).fetchone()
            return int(last) if isinstance(last, int) else None
        return None

    def _around(self) -> Iterator[tuple[str, Row]]:
        """Study and row, by row number, around whatever cannot be read."""
        onwards = _BY_ROW + "rowid > ? order by rowid"
        after = 0
        while True:
            try:
                for rowid, study, *cells in self._connection.execute(onwards, (after,)):
                    after = rowid
                    if (row := _row_of(cells)) is not None:
                        yield _text(study), row
                return
            except sqlite3.DatabaseError as error:
                self._damage(error)
            found = self._next(after)
            if found is None:
                return
            after, study, *cells = found
            if (row := _row_of(cells)) is not None:
                yield _text(study), row

    def _next(self, after: int) -> Any:
        """The first row that can be read after a row number, within reason."""
        for rowid in range(after + 1, after + 1 + _PATIENCE):
            with contextlib.suppress(sqlite3.DatabaseError):
                one = self._connection.execute(_BY_ROW + "rowid = ?", (rowid,))
                found = one.fetchone()
                if found is not None:
                    return found
        return None

    def _tables(self) -> set[str]:
        query = "select name from sqlite_master where type = 'table'"
        return {_text(name) for (name,) in self._connection.execute(query)}

    def _check_version(self, tables: set[str]) -> None:
        if "schema_version" not in tables:
            return  # of the release before versions, whose events are the same
        with contextlib.suppress(sqlite3.DatabaseError):
            query = "select version from schema_version"
            said = [version for (version,) in self._connection.execute(query)]
            if said and max(said) > VERSION:
                reason = (
                    f"its tables are of a newer Penchant (version {max(said)}, here "
                    f"{VERSION})"
                )
                self.problems.append(
                    Problem(self.name, None, reason, "what is known here is read")
                )

    def _damage(self, error: sqlite3.DatabaseError) -> None:
        if not self._damaged:
            self._damaged = True
            reason = f"the file is damaged ({error})"
            follows = "every event that can be reached is used"
            self.problems.append(Problem(self.name, None, reason, follows))


class _DatabaseRows:
    """Any other database."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.numbers: set[int] = set()
        self._engine = engine

    def studies(self) -> list[str]:
        """Names of the studies, oldest first."""
        columns = events.c
        query = select(columns.study).group_by(columns.study)
        with self._engine.connect() as connection:
            oldest_first = query.order_by(func.min(columns.at))
            return list(connection.execute(oldest_first).scalars())

    def of(self, study: str) -> Iterator[Row]:
        """The rows of a study, in order."""
        self.numbers = set()
        columns = events.c
        query = (
            select(columns.seq, columns.at, columns.kind, cast(columns.payload, Text))
            .where(columns.study == study)
            .order_by(columns.seq)
        )
        with self._engine.connect().execution_options(yield_per=1000) as connection:
            for cells in connection.execute(query):
                self.numbers.add(cells[0])
                yield Row(*cells)

    def last(self, study: str) -> int | None:
        """Every row was read."""
        del study
        return None


class _Kinds(dict[Any, str]):
    """Kinds of events as text: few, however many events."""

    def __missing__(self, kind: Any) -> str:
        """Decoded once."""
        self[kind] = _text(kind)
        return self[kind]


def _row_of(cells: Any) -> Row | None:
    """A row, if its cells are what they must be; a damaged page may hold anything."""
    seq, at, kind, payload = cells
    if not isinstance(seq, int) or not isinstance(at, int | float):
        return None
    return Row(seq, float(at), _text(kind), payload if payload is not None else b"")


def _text(cell: Any) -> str:
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)


def _by_time(named: tuple[Any, str]) -> Any:
    return named[0]
