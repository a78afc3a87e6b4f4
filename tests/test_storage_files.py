"""What may be wrong with a database: damage, disk, rights, version, place."""

import contextlib
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_study import facts
from sqlalchemy import MetaData, inspect

from server import schema
from server.database import back_up, describe, migrate, open_database, shown
from server.events import ClientSeen, Fact
from server.journal import Journal, JournalError

if TYPE_CHECKING:  # pytest wants to be the first that imports it
    from postgres import Server

pytest_plugins = ["postgres"]

OpenJournal = Callable[..., Journal]

OLD_EVENTS = """
create table events (
    study varchar not null, seq integer not null, at float not null,
    kind varchar not null, payload json not null, primary key (study, seq)
)
"""
"""The only table of the release before versions."""


def seen(what: str) -> Fact:
    return ClientSeen("c0-g0-i0-a0", "mouse-1", what)


def alter(path: Path, statement: str, *values: Any) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("update events set kind = 'session_dreamt'", "unknown kind 'session_dreamt'"),
        ("update events set payload = '{\"session\": '", "cannot read"),
        ("update events set payload = '{\"dream\": 1}'", "'client_seen' is damaged"),
        ("update events set payload = '[]'", "'client_seen' is damaged"),
        ("alter table events drop column payload", "no such column"),
        ("delete from schema_version", r"one version, and says \[\]"),
    ],
)
def test_a_damaged_event_is_named(
    open_journal: OpenJournal, tmp_path: Path, statement: str, what: str
) -> None:
    journal = open_journal()
    journal.append([seen("connected")], 0.0)
    journal.close()
    alter(tmp_path / "journal.db", statement)
    with pytest.raises(JournalError, match=what) as caught:
        list(open_journal().read())
    assert "journal.db" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough" * 100])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    if content:
        with pytest.raises(JournalError, match=r"journal\.db.* not a database"):
            Journal(path, "small")
    else:  # an empty file is an empty database
        Journal(path, "small").close()


def test_a_database_with_torn_pages(open_journal: OpenJournal, tmp_path: Path) -> None:
    journal = open_journal()
    for i in range(200):
        journal.append([seen("x" * 500 + str(i))], 0.0)
    journal.close()
    path = tmp_path / "journal.db"
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"journal\.db.* malformed"):
        list(open_journal().read())


@pytest.mark.parametrize(
    "where",
    [
        "/no/such/folder/journal.db",
        "nodatabase://host/journal",
        "mysql://host/journal",
        "sqlite://host:port:port/x",
        "postgresql+nodriver://host/journal",
        "postgresql://nobody@/journal?host=/no/such/folder",
    ],
)
def test_a_place_that_cannot_be_opened(where: str) -> None:
    with pytest.raises(JournalError, match="cannot open"):
        Journal(where, "small")


@pytest.mark.parametrize(
    "where",
    [
        "postgresql://penchant:hunter2@127.0.0.1:1/journal",
        "postgresql://penchant@127.0.0.1:1/journal?password=hunter2",
        "postgresql://penchant:p@hunter2@127.0.0.1:1/journal",
        "postgresql://penchant:p@127.0.0.1:hunter2/journal",
        "mysql://penchant:hunter2@127.0.0.1/journal",
        "mysql://penchant:p@hunter2@127.0.0.1/journal",
    ],
)
def test_no_message_shows_a_password(where: str) -> None:
    for use in (lambda: Journal(where, "small"), lambda: migrate(where)):
        with pytest.raises(JournalError) as caught:
            use()
        assert "hunter2" not in str(caught.value)
    assert "hunter2" not in shown(where)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(JournalError, match=r"install 'penchant\[postgres\]'"):
        Journal("postgresql://host/journal", "small")


def test_what_a_journal_says_of_itself(postgres: "Server") -> None:
    name = postgres.database().partition("@/")[2]
    where = f"postgresql://postgres:hunter2@/{name}&password=hunter2"
    journal = Journal(where, "small")
    assert "hunter2" not in repr(journal) + journal.where + repr(journal.engine)
    assert repr(journal).endswith("'small')")
    journal.append([seen("connected")], 0.0)
    assert facts(journal) == [seen("connected")]
    journal.close()


# --- durable, and refused for a reason ------------------------------------------------


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "journal.db")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL


def test_a_commit_waits_for_the_disk_of_a_hurried_server(postgres: "Server") -> None:
    where = postgres.database()
    name = where.partition("@/")[2].partition("?")[0]
    postgres.execute(f"alter database {name} set synchronous_commit = off")
    engine = open_database(where)
    with engine.connect() as connection:
        shown = connection.exec_driver_sql("show synchronous_commit").scalar()
    engine.dispose()
    assert shown == "on"


def test_a_full_disk_is_named_and_room_is_enough(open_journal: OpenJournal) -> None:
    journal = open_journal()
    journal.append([seen("before")], 0.0)
    writer: Any = journal._writer
    pages = writer.exec_driver_sql("PRAGMA page_count").scalar()
    writer.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    writer.rollback()
    much = [seen("x" * 1000) for _ in range(100)]
    for _ in range(2):
        with pytest.raises(JournalError, match=r"disk is full.*make room"):
            journal.append(much, 1.0)
    assert facts(journal) == [seen("before")]
    writer.exec_driver_sql("PRAGMA max_page_count = 100000")
    writer.rollback()
    assert journal.append(much, 2.0)[0].seq == 1
    assert len(facts(journal)) == 101


def test_a_locked_file_is_named(open_journal: OpenJournal, tmp_path: Path) -> None:
    journal = open_journal()
    journal.append([seen("before")], 0.0)
    writer: Any = journal._writer
    writer.exec_driver_sql("PRAGMA busy_timeout = 10")  # instead of 5 s
    writer.rollback()
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match=r"database is locked: another program"):
        journal.append([seen("after")], 1.0)
    other.execute("ROLLBACK")
    other.close()
    assert journal.append([seen("after")], 1.0)[0].seq == 1


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Files and folder are read-only; root, who may always write, is nobody then."""
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


def test_a_folder_that_may_only_be_read() -> None:
    # Not in tmp_path, whose parents are closed to others.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        journal = Journal(Path(name) / "journal.db", "small")
        journal.append([seen("before")], 0.0)
        journal.close()
        with (
            read_only(Path(name)),
            pytest.raises(JournalError, match="able to write the file and its folder"),
        ):
            Journal(journal.where, "small")
        again = Journal(journal.where, "small")
        with (
            read_only(Path(name)),
            pytest.raises(JournalError, match=r"no lock on .*journal\.db\.small\.lock"),
        ):
            again.append([seen("after")], 1.0)
        (Path(name) / "journal.db.small.lock").chmod(0o644)
        again.append([seen("after")], 1.0)
        again.close()


# --- versions ------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the last release, with an event in it."""
    path = tmp_path / "old.db"
    alter(path, OLD_EVENTS)
    payload = '{"session": "s", "subject": "mouse-1", "what": "connected"}'
    alter(path, "insert into events values ('small',0,5.0,'client_seen',?)", payload)
    return path


def test_an_older_database_is_refused_until_it_is_migrated(old: Path) -> None:
    with pytest.raises(JournalError, match=f"penchant db migrate {old}"):
        Journal(old, "small")
    assert (describe(old).version, describe(old).streams[0].events) == (0, 1)
    assert migrate(old) == (0, schema.VERSION)
    assert migrate(old) == (schema.VERSION, schema.VERSION)
    journal = Journal(old, "small")
    assert facts(journal) == [ClientSeen("s", "mouse-1", "connected")]
    journal.close()


def test_a_migrated_database_is_as_a_new_one(old: Path, tmp_path: Path) -> None:
    """If this fails, a step of the migration is missing for what has changed."""
    migrate(old)
    new = tmp_path / "new.db"
    open_database(new).dispose()
    tables = []
    for path in (old, new):
        engine, found = open_database(path), MetaData()
        found.reflect(engine)
        columns = {
            name: [(c.name, str(c.type), c.nullable) for c in table.columns]
            for name, table in found.tables.items()
        }
        indices = {n: inspect(engine).get_indexes(n) for n in found.tables}
        tables.append((columns, indices))
        engine.dispose()
    assert tables[0] == tables[1]
    assert {*tables[0][0]} == {*schema.metadata.tables}


def test_a_newer_database_is_refused(open_journal: OpenJournal, tmp_path: Path) -> None:
    open_journal().close()
    path = tmp_path / "journal.db"
    alter(path, "update schema_version set version = 99")
    for use in (lambda: Journal(path, "small"), lambda: migrate(path)):
        with pytest.raises(JournalError, match="install a newer Penchant"):
            use()


def test_an_interrupted_migration_changes_nothing(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.read_bytes()

    def fail(*_: Any) -> int:
        raise ValueError("pulled the plug")

    monkeypatch.setattr("server.database._set_version", fail)
    with pytest.raises(JournalError, match=r"cannot migrate.*pulled the plug"):
        migrate(old)
    monkeypatch.undo()
    assert describe(old).version == 0
    with contextlib.closing(sqlite3.connect(old)) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [
            ("events",),
            ("sqlite_autoindex_events_1",),
        ]
    assert len(old.read_bytes()) == len(before)


def test_only_a_journal_is_migrated(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        migrate(tmp_path / "none.db")
    alter(tmp_path / "other.db", "create table recipes (name varchar)")
    with pytest.raises(JournalError, match="holds no journal"):
        migrate(tmp_path / "other.db")


def test_an_older_postgresql_database(postgres: "Server") -> None:
    where = postgres.database()
    name = where.partition("@/")[2].partition("?")[0]
    postgres.execute(OLD_EVENTS, database=name)
    with pytest.raises(JournalError, match="penchant db migrate postgresql://"):
        Journal(where, "small")
    assert migrate(where) == (0, schema.VERSION)
    journal = Journal(where, "small")
    journal.append([seen("connected")], 0.0)
    assert describe(where).streams == [("small", 1, 0.0, 0.0)]
    journal.close()


def test_a_new_database_may_be_opened_by_many_at_once(where: str) -> None:
    begin, failed = threading.Barrier(6), []

    def use(number: int) -> None:
        begin.wait()
        try:
            journal = Journal(where, f"study-{number}")
            journal.append([seen("connected")], 0.0)
            journal.close()
        except JournalError as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(describe(where).streams) == 6


def test_a_backup_is_whole_while_the_database_is_written(
    open_journal: OpenJournal, tmp_path: Path
) -> None:
    journal, stop = open_journal(), threading.Event()
    journal.append([seen("connected")], 0.0)

    def write() -> None:
        while not stop.is_set():
            journal.append([seen("connected"), seen("returned")], 0.0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for name in ("first.db", "second.db"):
            back_up(tmp_path / "journal.db", tmp_path / name)
    finally:
        stop.set()
        writer.join()
    for name in ("first.db", "second.db"):
        copied = facts(open_journal(name))
        assert len(copied) % 2 == 1  # no half of a commit
        assert copied == facts(journal)[: len(copied)]
    assert not list(tmp_path.glob("*.part"))
    copy = open_journal("second.db")
    copy.append([seen("disconnected")], 0.0)  # a server can go on from it
    assert facts(copy)[-1] == seen("disconnected")


def test_a_backup_replaces_nothing(open_journal: OpenJournal, tmp_path: Path) -> None:
    open_journal().append([seen("connected")], 0.0)
    there = tmp_path / "there.db"
    there.write_bytes(b"last Monday")
    with pytest.raises(JournalError, match="is there already"):
        back_up(tmp_path / "journal.db", there)
    assert there.read_bytes() == b"last Monday"
    with pytest.raises(JournalError, match="there is no journal"):
        back_up(tmp_path / "nowhere.db", tmp_path / "copy.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(JournalError, match="holds no journal"):
        back_up(tmp_path / "empty.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    with pytest.raises(JournalError, match="pg_dump"):
        back_up("postgresql://nobody@localhost/lab", tmp_path / "copy.db")
