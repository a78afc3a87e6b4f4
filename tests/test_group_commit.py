"""Responses that come together share a commit; each is on disk when acknowledged."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fragile import FullDisk
from small_study import (
    Clock,
    facts,
    hello,
    open_desk,
    send,
    small_study,
    snapshot,
)

from server.attendance import Attendance
from server.desk import Desk
from server.events import Fact, Responded, SessionEnded
from server.journal import Journal
from server.protocol import Ack, Refusal
from server.study import replay

Decided = Callable[[str, int], None]
SOON_S = 20.0
SUBJECTS, TRIALS = 4, 12


class Held:
    """A journal whose next commit waits until it is let go; it counts commits."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.commits = 0
        self.busy, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __getattr__(self, name: str) -> Any:
        """All but storing is the journal's own."""
        return getattr(self._journal, name)

    def append(self, *batch: Any) -> Any:
        """Store, once it may."""
        self.commits += 1
        self.busy.set()
        assert self.go.wait(SOON_S)
        return self._journal.append(*batch)

    def hold(self) -> None:
        """The next commit waits."""
        self.busy.clear()
        self.go.clear()


@pytest.fixture
def held(journal: Journal) -> Iterator[Held]:
    one = Held(journal)
    yield one
    one.go.set()


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> Decided:
    """Waits until so many things have happened in memory, on disk or not."""
    changed, happened = threading.Condition(), Counter[str]()

    def watch(what: str) -> None:
        original = getattr(Attendance, what)

        def counted(attendance: Attendance, fact: Fact) -> None:
            original(attendance, fact)
            with changed:
                happened[what] += 1
                changed.notify_all()

        monkeypatch.setattr(Attendance, what, counted)

    def wait(what: str, number: int) -> None:
        with changed:
            assert changed.wait_for(lambda: happened[what] >= number, SOON_S)

    for what in ("begin", "respond"):
        watch(what)
    return wait


def begin(desk: Desk) -> list[str]:
    """All subjects of a generation begin."""
    return [str(hello(desk, f"mouse-{i}").session) for i in range(SUBJECTS)]


def respond(desk: Desk, session: str, index: int = 0, value: float = 0.5) -> Any:
    """A response to one trial."""
    uid = f"{session}/{index}"
    return send(desk, "respond", session=session, uid=uid, value=value)


def check_replay(desk: Desk, journal: Journal) -> None:
    """What is on disk is what the desk knows."""
    assert snapshot(replay(small_study(), facts(journal))) == snapshot(desk.state)


def test_responses_that_wait_for_the_disk_share_a_commit(
    journal: Journal, held: Held, decided: Decided
) -> None:
    desk: Desk = open_desk(held)  # type: ignore[arg-type]
    sessions = begin(desk)
    held.hold()
    before = held.commits
    with ThreadPoolExecutor() as pool:
        first = pool.submit(respond, desk, sessions[0])
        assert held.busy.wait(SOON_S)
        others = [pool.submit(respond, desk, name) for name in sessions[1:]]
        decided("respond", SUBJECTS)
        assert not any(one.done() for one in (first, *others))
        assert not facts(journal, Responded)
        held.go.set()
        assert all(isinstance(one.result(SOON_S), Ack) for one in (first, *others))
    assert held.commits == before + 2  # the first, and all that came meanwhile
    assert {fact.session for fact in facts(journal, Responded)} == set(sessions)
    check_replay(desk, journal)


def test_what_is_acknowledged_is_on_disk_for_another_connection(
    journal: Journal, held: Held, tmp_path: Path
) -> None:
    """Read past the server, at the moment of each acknowledgement."""
    desk: Desk = open_desk(held)  # type: ignore[arg-type]
    sessions = begin(desk)
    together = threading.Barrier(SUBJECTS)
    seen: list[str] = []

    def sit(session: str) -> None:
        with closing(sqlite3.connect(tmp_path / "journal.db")) as reader:
            for index in range(TRIALS):
                together.wait(SOON_S)
                assert isinstance(respond(desk, session, index), Ack)
                stored = reader.execute(
                    "select count(*) from events where kind = 'responded' "
                    "and json_extract(payload, '$.session') = ? "
                    "and json_extract(payload, '$.trials[0]') = ?",
                    (session, index),
                ).fetchone()
                assert stored == (1,)
                seen.append(session)

    before = held.commits
    with ThreadPoolExecutor(SUBJECTS) as pool:
        list(pool.map(sit, sessions))
    assert len(seen) == SUBJECTS * TRIALS
    assert held.commits - before <= SUBJECTS * TRIALS
    stored = facts(journal, Responded)
    for session in sessions:
        in_order = [fact.trials[0] for fact in stored if fact.session == session]
        assert in_order == list(range(TRIALS))
    assert len(facts(journal, SessionEnded)) == SUBJECTS
    assert desk.state.generation == 1
    check_replay(desk, journal)


def test_everything_is_told_once_and_only_when_it_is_stored(
    journal: Journal, held: Held, decided: Decided
) -> None:
    desk: Desk = open_desk(held)  # type: ignore[arg-type]
    sessions = begin(desk)
    told: list[Fact] = []

    def tell(fact: Fact) -> None:
        assert fact in facts(journal, Responded)
        told.append(fact)

    desk.told = tell
    held.hold()
    with ThreadPoolExecutor() as pool:
        replies = [pool.submit(respond, desk, name) for name in sessions]
        decided("respond", SUBJECTS)
        assert not told
        held.go.set()
        for reply in replies:
            assert isinstance(reply.result(SOON_S), Ack)
    key = [fact.session for fact in told if isinstance(fact, Responded)]
    assert sorted(key) == sorted(sessions)


# --- a disk that is full, or slow ----------------------------------------------


def test_a_full_disk_acknowledges_nothing_and_loses_nothing(journal: Journal) -> None:
    disk = FullDisk(journal)
    desk: Desk = open_desk(disk)  # type: ignore[arg-type]
    sessions = begin(desk)
    disk.full = True
    with ThreadPoolExecutor() as pool:
        for _ in range(2):  # sent again: known by now, and still not on disk
            for reply in pool.map(lambda name: respond(desk, name), sessions):
                assert isinstance(reply, Refusal)
                assert (reply.status, reply.error) == (503, "not_stored")
        for kind in ("next", "heartbeat"):
            assert send(desk, kind, session=sessions[0]).status == 503
        assert not facts(journal, Responded)
        disk.full = False
        for reply in pool.map(lambda name: respond(desk, name), sessions):
            assert isinstance(reply, Ack)
    assert sorted(f.session for f in facts(journal, Responded)) == sorted(sessions)
    assert desk.healthy
    check_replay(desk, journal)


def test_a_slow_disk_costs_nobody_its_lease(
    journal: Journal, held: Held, decided: Decided
) -> None:
    """Clients wait for the server then; they are not silent."""
    clock = Clock()
    desk: Desk = open_desk(held, clock)  # type: ignore[arg-type]
    session = str(hello(desk, "mouse-1").session)
    held.hold()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(respond, desk, session)
        decided("respond", 1)
        assert held.busy.wait(SOON_S)
        clock.now += 100.0
        second = pool.submit(hello, desk, "mouse-2")
        decided("begin", 2)  # a newcomer, while the disk is busy
        held.go.set()
        assert isinstance(first.result(SOON_S), Ack)
        assert second.result(SOON_S).session == "c0-g0-i1-a0"
    assert desk.state.sessions[session].status == "open"
    clock.now += 29.0
    assert hello(desk, "mouse-3").session == "c0-g0-i2-a0"
    clock.now += 2.0  # whoever is silent after that is silent
    hello(desk, "mouse-4")
    assert desk.state.sessions[session].status == "lost"
    check_replay(desk, journal)


def test_a_disk_that_was_full_for_long_costs_nobody_its_lease(
    journal: Journal,
) -> None:
    clock, disk = Clock(), FullDisk(journal)
    desk: Desk = open_desk(disk, clock)  # type: ignore[arg-type]
    session = str(hello(desk, "mouse-1").session)
    disk.full = True
    for _ in range(10):
        assert respond(desk, session).status == 503
        clock.now += 29.0
    disk.full = False
    assert hello(desk, "mouse-2").session == "c0-g0-i1-a0"
    assert isinstance(respond(desk, session), Ack)
    assert len(facts(journal, Responded)) == 1
    check_replay(desk, journal)
