"""The journal: what goes in comes out, durably, for one writer at a time."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_study import facts, hello, open_desk, run_all, run_one, send

from server.events import KINDS, ClientSeen, Fact, from_row, to_row
from server.journal import Journal, JournalError, open_database, studies
from server.protocol import Ack, Refusal

OpenJournal = Callable[..., Journal]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)
any_fact = st.sampled_from([*KINDS.values()]).flatmap(
    lambda kind: st.builds(kind, **{f.name: json_values for f in fields(kind)})
)


def seen(what: str) -> Fact:
    return ClientSeen("c0-g0-i0-a0", "mouse-1", what)


@given(
    batches=st.lists(st.lists(any_fact, max_size=4), max_size=4), at=st.floats(0, 1e10)
)
def test_what_is_appended_is_read_again(batches: list[list[Fact]], at: float) -> None:
    journal = Journal(":memory:", "small")
    told = [event for batch in batches for event in journal.append(batch, at)]
    read = list(journal.read())
    journal.close()
    assert read == told
    assert [event.fact for event in read] == [f for batch in batches for f in batch]
    assert [event.seq for event in read] == list(range(len(read)))
    assert all(event.at == at for event in read)


@given(fact=any_fact)
def test_each_kind_of_fact_has_a_row(fact: Fact) -> None:
    kind, payload = to_row(fact)
    assert KINDS[kind] is type(fact)
    assert from_row(kind, payload) == fact


def test_reading_may_begin_later(journal: Journal) -> None:
    journal.append([seen(str(i)) for i in range(5)], 0.0)
    assert [event.seq for event in journal.read(after=2)] == [3, 4]
    assert not list(journal.read(after=4))


def test_a_closed_journal_goes_on_where_it_was(open_journal: OpenJournal) -> None:
    first = open_journal()
    first.append([seen("connected")], 0.0)
    first.close()
    again = open_journal()
    assert [event.seq for event in again.append([seen("disconnected")], 1.0)] == [1]
    assert facts(again) == [seen("connected"), seen("disconnected")]


def test_studies_of_one_file_are_apart(open_journal: OpenJournal) -> None:
    late, early = open_journal(study="a"), open_journal(study="b")
    early.append([seen("b")], 1.0)
    late.append([seen("a"), seen("a again")], 2.0)
    early.append([seen("b again")], 3.0)
    assert facts(late) == [seen("a"), seen("a again")]
    assert facts(early) == [seen("b"), seen("b again")]
    assert studies(late.where) == ["b", "a"]  # oldest first


def test_all_of_a_transaction_is_stored_or_nothing(journal: Journal) -> None:
    unstorable: Any = ClientSeen("s", "mouse-1", object())  # type: ignore[arg-type]
    with pytest.raises(JournalError, match="not JSON serializable"):
        journal.append([seen("connected"), unstorable], 0.0)
    assert not facts(journal)
    journal.append([seen("connected")], 0.0)
    assert facts(journal) == [seen("connected")]


def test_a_second_writer_is_refused_and_nothing_is_lost(
    open_journal: OpenJournal,
) -> None:
    first, second = open_journal(), open_journal()
    first.append([seen("first")], 0.0)
    with pytest.raises(JournalError, match="'small' is being written by another"):
        second.append([seen("second")], 0.0)
    first.append([seen("first again")], 0.0)
    assert facts(first) == [seen("first"), seen("first again")]


def test_a_second_server_tells_its_clients_and_the_first_goes_on(
    open_journal: OpenJournal,
) -> None:
    first = open_desk(open_journal())
    second = open_desk(open_journal())
    run_one(first.handle, "sim-first")
    refused = hello(second, "mouse-2")
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.error) == (503, "not_stored")
    run_all(first)
    assert first.state.finished


def test_writing_threads_take_turns(journal: Journal) -> None:
    desk = open_desk(journal)
    threads = [
        threading.Thread(target=hello, args=(desk, f"mouse-{i}")) for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(desk.state.sessions) == 4
    assert [event.seq for event in journal.read()] == list(range(2 + 4))


class FullDisk:
    """A journal whose disk is full for a while."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self.room = journal, 10**6
        self.read = journal.read

    def append(self, *args: Any) -> Any:
        if self.room <= 0:
            raise JournalError("no space left on device")
        self.room -= 1
        return self._journal.append(*args)


@pytest.mark.parametrize("room", range(4))
def test_a_full_disk_stops_no_study_for_good(journal: Journal, room: int) -> None:
    """Wherever storing fails, the message may be sent again and the search goes on."""
    disk: Any = FullDisk(journal)
    desk = open_desk(disk)
    while desk.state.generation == 0:
        session = hello(desk, f"mouse-{desk.state.sessions_ended}").session
        for index in range(12):
            disk.room = room if index == 11 else 10**6
            message = {"session": session, "uid": f"{session}/{index}", "value": 0.5}
            reply = send(desk, "respond", **message)
            disk.room = 10**6
            if isinstance(reply, Refusal):
                assert reply.error == "not_stored"
                reply = send(desk, "respond", **message)
            assert isinstance(reply, Ack)
    run_all(desk)
    assert desk.state.finished


# --- what is wrong with the file -----------------------------------------------


def damage(path: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("update events set kind = 'session_dreamt'", "unknown kind 'session_dreamt'"),
        ("update events set payload = '{\"session\": '", "cannot read"),
        ("update events set payload = '{\"dream\": 1}'", "'client_seen' is damaged"),
        ("update events set payload = '[]'", "'client_seen' is damaged"),
        ("alter table events drop column payload", "no such column"),
    ],
)
def test_a_damaged_event_is_named(
    open_journal: OpenJournal, tmp_path: Path, statement: str, what: str
) -> None:
    journal = open_journal()
    journal.append([seen("connected")], 0.0)
    journal.close()
    damage(tmp_path / "journal.db", statement)
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
        "sqlite://host:port:port/x",
        "postgresql+nodriver://host/journal",
    ],
)
def test_a_place_that_cannot_be_opened(where: str) -> None:
    with pytest.raises(JournalError, match="cannot"):
        Journal(where, "small")


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "journal.db")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL
