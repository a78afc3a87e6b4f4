"""The databases that journals live in: how they are opened, and of which version.

SQLite by a file's path, PostgreSQL by URL. Both wait for the disk at each commit.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import create_engine, delete, event, func, insert, inspect, select, text
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from server import schema

_POSTGRES = "postgresql+psycopg"
_SPELLINGS = {"postgres": _POSTGRES, "postgresql": _POSTGRES, _POSTGRES: _POSTGRES}
_EXPECTED = "expected a file, or a URL such as postgresql://user@host/database"

_HINTS = {
    "SQLITE_FULL": "make room; nothing of this was stored, and sent again it is taken",
    "SQLITE_BUSY": "another program keeps the file locked: close it",
    "SQLITE_READONLY": "this user must be able to write the file and its folder",
    "SQLITE_CANTOPEN": "this user must be able to write the file and its folder",
    "53100": "make room; nothing of this was stored, and sent again it is taken",
}
"""What to do, by SQLite's names of errors and PostgreSQL's codes."""

_ENCODE = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class JournalError(OSError):
    """The journal cannot be opened, read or written."""


class SupersededError(JournalError):
    """Another process writes the study, or has written it since it was read."""


class Stream(NamedTuple):
    """A study in a database; ``begun_at`` and ``last_at`` in seconds since 1970."""

    study: str
    events: int
    begun_at: float
    last_at: float


class Description(NamedTuple):
    """What a database holds; ``size_bytes`` is None in memory."""

    version: int
    streams: list[Stream]
    size_bytes: int | None


def open_database(where: str | Path) -> Engine:
    """Engine for a path or URL, with its tables; they are made where there are none.

    Raises :class:`JournalError`, also for a database of another version.
    """
    engine = _connect(where)
    try:
        with failures("open", where):
            with engine.connect() as connection:
                version = _version(connection)
            if version is None:
                with _alone(engine) as connection:
                    version = _version(connection)
                    if version is None:  # nobody was faster
                        schema.metadata.create_all(connection)
                        version = _set_version(connection, schema.VERSION)
            _check_version(version, where)
    except BaseException:
        engine.dispose()
        raise
    return engine


def migrate(where: str | Path) -> tuple[int, int]:
    """Bring an older database up to date in one transaction; its version before, after.

    The steps are a list of functions rather than Alembic's folder of scripts: events
    never change, so that a migration adds tables or rebuilds what is looked up. It
    must run from an installed package without files of configuration beside it.

    Raises :class:`JournalError`.
    """
    engine = _connect(existing(where))
    try:
        with failures("migrate", where), _alone(engine) as connection:
            before = _version(connection)
            if before is None:
                raise JournalError(f"{shown(where)} holds no journal")
            if before > schema.VERSION:
                _check_version(before, where)
            for step in _STEPS[before:]:
                step(connection)
            return before, _set_version(connection, schema.VERSION)
    finally:
        engine.dispose()


def describe(where: str | Path) -> Description:
    """Version, studies and size of a database, of whatever version."""
    engine = _connect(existing(where))
    table = schema.events.c
    query = (
        select(table.study, func.count(), func.min(table.at), func.max(table.at))
        .group_by(table.study)
        .order_by(func.min(table.at))
    )
    try:
        with failures("read", where), engine.connect() as connection:
            version = _version(connection)
            if version is None:
                raise JournalError(f"{shown(where)} holds no journal")
            streams = [Stream(*row) for row in connection.execute(query)]
            return Description(version, streams, _size(connection))
    finally:
        engine.dispose()


def back_up(where: str | Path, into: Path) -> None:
    """Copy an SQLite database as it is now, also while a server writes it.

    Raises :class:`JournalError`; what is at ``into`` is never replaced.
    """
    engine = _connect(existing(where))
    part = into.with_name(into.name + ".part")
    try:
        if engine.dialect.name != "sqlite":
            raise JournalError(
                f"{shown(where)} is no file: back it up with pg_dump, which copies a "
                "PostgreSQL database while it is in use"
            )
        if into.exists():
            raise JournalError(f"{into} is there already: give another name")
        part.unlink(missing_ok=True)
        with (
            failures("back up", where),
            engine.connect() as connection,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            if _version(connection) is None:
                raise JournalError(f"{shown(where)} holds no journal")
            source: Any = connection.connection.driver_connection
            source.backup(copy)
        part.rename(into)
    finally:
        engine.dispose()


def existing(where: str | Path) -> str | Path:
    """The same, if it is a URL or a file that is there; else :class:`JournalError`."""
    if "://" not in str(where) and not Path(where).is_file():
        raise JournalError(f"there is no journal {where}")
    return where


def shown(where: str | Path) -> str:
    """A path or URL as it may be printed: without passwords."""
    written = str(where)
    if "://" not in written:
        return written
    try:
        url = make_url(written)
        if "@" in (url.host or ""):  # an unescaped one: the password goes on there
            raise ValueError
    except (SQLAlchemyError, ValueError):
        return written.partition("://")[0] + "://..."
    hidden = dict.fromkeys(_passwords(url), "***")
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


@contextlib.contextmanager
def failures(doing: str, where: str | Path) -> Iterator[None]:
    """What a database or a row of it may raise, as :class:`JournalError`."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, ValueError) as error:
        raise JournalError(
            f"cannot {doing} the journal {shown(where)}: {_reason(error)}"
        ) from error


def file_of(connection: Connection) -> Path | None:
    """The file of an SQLite database, links resolved; None for any other database."""
    if connection.dialect.name != "sqlite":
        return None
    main = connection.exec_driver_sql("PRAGMA database_list").first()
    path = main[2] if main else ""
    return Path(path) if path else None


def in_memory(engine: Engine) -> bool:
    """Whether the database is lost with its engine, which has one connection only."""
    return _in_memory(engine.url)


def _connect(where: str | Path) -> Engine:
    """Engine without a look at what is there; raises :class:`JournalError`."""
    url = _url(where)
    options: dict[str, Any] = {}
    if url.drivername == _POSTGRES:
        defaults = {"connect_timeout": "10", "application_name": "penchant"}
        url = url.update_query_dict(defaults | dict(url.query))
        secret = {name: url.query[name] for name in _passwords(url)}
        url = url.difference_update_query(secret)  # which the engine would show
        options["connect_args"] = secret
        options["pool_pre_ping"] = True  # the database may have been restarted
    elif _in_memory(url):
        # One connection is the database: whoever wants it waits for the one before.
        options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
        options["connect_args"] = {"check_same_thread": False}
    try:
        with failures("open", where):
            engine = create_engine(
                url,
                hide_parameters=True,  # labels and secrets stay out of messages
                json_serializer=to_json,
                json_deserializer=_from_json,
                **options,
            )
    except ImportError as error:
        raise JournalError(
            f"cannot open the journal {shown(where)}: PostgreSQL needs a driver "
            f"({error}). Install it: pip install 'penchant[postgres]'"
        ) from error
    made_durable = _sqlite_waits if url.drivername != _POSTGRES else _postgres_waits
    event.listen(engine, "connect", made_durable)
    return engine


def _url(where: str | Path) -> URL:
    written = str(where)
    if "://" not in written:
        return URL.create("sqlite", database=written)
    try:
        url = make_url(written)
    except (SQLAlchemyError, ValueError):  # whose words may hold the password
        url = None
    if url is None or "@" in (url.host or ""):
        raise JournalError(
            f"cannot open the journal {shown(where)}: this is no URL. {_EXPECTED}; "
            "within a password write @ as %40, : as %3A and / as %2F"
        )
    if url.get_backend_name() == "sqlite" and not url.host:
        return url.set(drivername="sqlite")
    if url.drivername not in _SPELLINGS:
        raise JournalError(f"cannot open the journal {shown(where)}: {_EXPECTED}")
    return url.set(drivername=_SPELLINGS[url.drivername])


def _passwords(url: URL) -> list[str]:
    """Options after the ``?`` that must not be shown."""
    return [name for name in url.query if "password" in name.lower()]


def _in_memory(url: URL) -> bool:
    return url.drivername == "sqlite" and url.database in {None, "", ":memory:"}


@contextlib.contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction during which no other process makes or migrates tables."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":  # which else commits each table
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            key = "select pg_advisory_xact_lock(hashtextextended('penchant', 0))"
            connection.execute(text(key))
        yield connection


def _version(connection: Connection) -> int | None:
    """None where there is nothing; 0 is the release before versions."""
    tables = inspect(connection)
    # In this order: another process may make them all between the two questions.
    if not tables.has_table(schema.events.name):
        return None
    if not tables.has_table(schema.version_table.name):
        return 0
    said = connection.execute(select(schema.version_table.c.version)).scalars()
    if len(versions := [*said]) != 1:
        raise ValueError(f"it must have one version, and says {versions}")
    return int(versions[0])


def _set_version(connection: Connection, version: int) -> int:
    connection.execute(delete(schema.version_table))
    connection.execute(insert(schema.version_table), {"version": version})
    return version


def _check_version(version: int, where: str | Path) -> None:
    if version < schema.VERSION:
        raise JournalError(
            f"the journal {shown(where)} is of an older Penchant (version {version} "
            f"of its tables, now {schema.VERSION}). Make a copy, then run: "
            f"penchant db migrate {shown(where)}"
        )
    if version > schema.VERSION:
        raise JournalError(
            f"the journal {shown(where)} is of a newer Penchant (version {version} of "
            f"its tables, here {schema.VERSION}): install a newer Penchant"
        )


def _from_0(connection: Connection) -> None:
    # The tables beside the events. When they change, the ones of now belong here.
    schema.metadata.create_all(connection)


_STEPS: list[Callable[[Connection], None]] = [_from_0]
"""Step n takes a database from version n to n + 1."""


def _size(connection: Connection) -> int | None:
    if connection.dialect.name != "sqlite":
        query = "select pg_database_size(current_database())"
        return int(connection.execute(text(query)).scalar_one())
    path = file_of(connection)
    if path is None:
        return None
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def to_json(value: Any) -> str:
    """A value as it is stored; raises ``ValueError`` for what is no JSON."""
    try:
        return _ENCODE(value)
    except TypeError as error:  # which psycopg lets through as it is
        raise ValueError(str(error)) from error


def _from_json(written: str) -> Any:
    try:
        return from_json(written)  # twice as fast
    except ValueError:  # half a surrogate pair, or damaged: then in the usual words
        return json.loads(written)


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    name = getattr(cause, "sqlite_errorname", "") or ""
    code = "_".join(name.split("_")[:2]) or getattr(cause, "sqlstate", None)
    hint = _HINTS.get(code or "")
    return f"{cause}: {hint}" if hint else str(cause)


def _sqlite_waits(connection: Any, _record: object) -> None:
    """Write-ahead log, and every commit waits for the disk."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        # Of a new file this does not wait: another connection is just about it.
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
    cursor.close()


def _postgres_waits(connection: Any, _record: object) -> None:
    """Every commit waits for the disk; a computer that vanished is noticed soon."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select set_config('synchronous_commit', 'on', false)"
            " where current_setting('synchronous_commit') = 'off'"
        )
        for name, value in (("idle", 15), ("interval", 5), ("count", 3)):
            cursor.execute(f"set tcp_keepalives_{name} = {value}")
    connection.commit()
