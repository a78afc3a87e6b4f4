"""The journal: what goes in comes out, durably; over SQLite and PostgreSQL."""

import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_study import facts, hello, open_desk, run_all, send
from sqlalchemy import insert, select

from server import schema
from server.events import KINDS, ClientSeen, Fact, from_row, to_row
from server.journal import Journal, JournalError, studies
from server.protocol import Ack, Refusal

pytest_plugins = ["postgres"]

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


@pytest.fixture
def open_journal(open_here: OpenJournal) -> OpenJournal:
    """Each of these tests runs over each kind of database."""
    return open_here


@settings(
    deadline=None,  # of a busy disk
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    batches=st.lists(st.lists(any_fact, max_size=4), max_size=4), at=st.floats(0, 1e10)
)
def test_what_is_appended_is_read_again(
    journal: Journal, batches: list[list[Fact]], at: float
) -> None:
    before = len(list(journal.read()))
    told = [event for batch in batches for event in journal.append(batch, at)]
    read = list(journal.read(after=before - 1))
    assert read == told
    assert [event.fact for event in read] == [f for batch in batches for f in batch]
    assert [event.seq for event in read] == [before + i for i in range(len(read))]
    assert all(event.at == at for event in read)


@settings(deadline=None)
@given(batches=st.lists(st.lists(any_fact, max_size=4), max_size=4))
def test_what_is_kept_in_memory_is_read_again(batches: list[list[Fact]]) -> None:
    journal = Journal(":memory:", "small")
    told = [event for batch in batches for event in journal.append(batch, 0.0)]
    assert list(journal.read()) == told
    journal.close()


@given(fact=any_fact)
def test_each_kind_of_fact_has_a_row(fact: Fact) -> None:
    kind, payload = to_row(fact)
    assert KINDS[kind] is type(fact)
    assert from_row(kind, payload) == fact


def test_reading_may_begin_later(journal: Journal) -> None:
    journal.append([seen(str(i)) for i in range(5)], 0.0)
    assert [event.seq for event in journal.read(after=2)] == [3, 4]
    assert not list(journal.read(after=4))


def test_many_events_are_read_while_more_are_written(journal: Journal) -> None:
    journal.append([seen(str(i)) for i in range(1000)], 0.0)
    reading = journal.read()
    assert next(reading).seq == 0
    journal.append([seen("new")], 1.0)
    assert [event.seq for event in reading] == list(range(1, 1001))


def test_a_closed_journal_goes_on_where_it_was(open_journal: OpenJournal) -> None:
    first = open_journal()
    first.append([seen("connected")], 0.0)
    first.close()
    again = open_journal()
    assert [event.seq for event in again.append([seen("disconnected")], 1.0)] == [1]
    assert facts(again) == [seen("connected"), seen("disconnected")]


def test_studies_of_one_database_are_apart(
    open_journal: OpenJournal, where: str
) -> None:
    late, early = open_journal(study="a"), open_journal(study="b")
    early.append([seen("b")], 1.0)
    late.append([seen("a"), seen("a again")], 2.0)
    early.append([seen("b again")], 3.0)
    assert facts(late) == [seen("a"), seen("a again")]
    assert facts(early) == [seen("b"), seen("b again")]
    assert studies(where) == ["b", "a"]  # oldest first


@pytest.mark.parametrize("value", [object(), float("nan"), {1j: 2}])
def test_all_of_a_transaction_is_stored_or_nothing(
    journal: Journal, value: Any
) -> None:
    unstorable = ClientSeen("s", "mouse-1", value)
    with pytest.raises(JournalError, match=r"JSON|keys must be"):
        journal.append([seen("connected"), unstorable], 0.0)
    assert not facts(journal)
    journal.append([seen("connected")], 0.0)
    assert facts(journal) == [seen("connected")]


def noted(journal: Journal) -> list[str]:
    """The ids of tokens in the journal's database."""
    with journal.engine.connect() as connection:
        return [*connection.execute(select(schema.tokens.c.id)).scalars()]


def a_token(name: str) -> dict[str, Any]:
    return {"id": name, "sha256": name, "role": "viewer", "created_at": 0.0}


def test_what_is_looked_up_is_stored_with_the_events_or_not(journal: Journal) -> None:
    first, again = insert(schema.tokens).values(a_token("a")), ClientSeen("s", "m", "x")
    assert [e.seq for e in journal.append([again], 0.0, also=[first])] == [0]
    assert noted(journal) == ["a"]
    other = insert(schema.tokens).values(a_token("b"))
    with pytest.raises(JournalError, match=r"(?i)unique") as caught:
        journal.append([again], 0.0, also=[other, first])
    assert "another process" not in str(caught.value)
    assert noted(journal) == ["a"]
    assert facts(journal) == [again]
    assert journal.append([], 0.0, also=[other]) == []
    assert noted(journal) == ["a", "b"]


def test_events_are_numbered_as_they_will_be_stored(journal: Journal) -> None:
    journal.append([seen("connected")], 0.0)
    expected = journal.numbered([seen("disconnected")], 1.0)
    assert not list(journal.read(after=0))
    assert journal.append([seen("disconnected")], 1.0) == expected


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
        self.read, self.claim = journal.read, journal.claim
        self.engine = journal.engine

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
