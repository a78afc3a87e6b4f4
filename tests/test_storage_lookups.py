"""What is looked up beside events: rewards, weights, and who is where."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable, select

from server import schema
from server.events import (
    Event,
    Fact,
    Responded,
    RewardAsked,
    RewardGiven,
    SessionOpened,
    StudyOpened,
    Weighed,
)
from server.holds import Hold, Holds, Kind
from server.journal import Journal
from server.ledger import Given, Ledger, Weight
from server.projections import rebuild, statements

pytest_plugins = ["postgres"]

OpenJournal = Callable[..., Journal]


def opened(session: str, subject: str, rig: str = "rig-1") -> Fact:
    return SessionOpened(
        session, 0, 0, 0, 0, subject, 0, {}, [], [], 0, [], 0, [], rig=rig
    )


def answered(session: str, trials: list[int], rewards: list[Any]) -> Fact:
    n = len(trials)
    return Responded(
        session, trials, ["responded"] * n, [1.0] * n, [0.5] * n, [None] * n, rewards
    )


def earned(microlitre: float) -> dict[str, Any]:
    return {"microlitre": microlitre, "how": "earned"}


HISTORY: list[tuple[float, list[Fact]]] = [
    (0.0, [StudyOpened("", "", "live", False, {})]),
    (10.0, [opened("s0", "mouse-1"), opened("s1", "mouse-2", "rig-2")]),
    (20.0, [answered("s0", [0], [earned(5.0)])]),
    (30.0, [answered("s0", [1, 2, 3], [None, earned(4.0), None])]),
    (40.0, [answered("s0", [4], [])]),
    (50.0, [answered("s1", [0], [earned(2.0)])]),
    (60.0, [RewardAsked("s0", "wish", 3.0, "thirsty", "ann")]),
    (70.0, [RewardGiven("s0", "mouse-1", "wish", 3.0, "free")]),
    (80.0, [RewardGiven("s0", "mouse-1", "by hand", 1.5, "free")]),
    (90.0, [Weighed("mouse-1", 24.0, 25.0, "ann")]),
    (95.0, [Weighed("mouse-1", 23.5, None, "ann")]),
]


def of(events: list[Event], study: str) -> list[Executable]:
    sittings = {"s0": ("mouse-1", "rig-1"), "s1": ("mouse-2", "rig-2")}
    return statements(events, study, sittings.__getitem__, lambda _, uid: uid == "wish")


def store(journal: Journal) -> None:
    for at, facts in HISTORY:
        events = journal.numbered(facts, at)
        journal.append(facts, at, also=of(events, journal.study))


def rows(journal: Journal) -> list[Any]:
    tables = (schema.rewards, schema.weights)
    with journal.engine.connect() as connection:
        found = [connection.execute(select(table)).all() for table in tables]
    return [sorted(map(tuple, table)) for table in found]


def test_the_ledger_adds_up_a_subjects_rewards(open_here: OpenJournal) -> None:
    journal = open_here()
    store(journal)
    ledger = Ledger(journal.engine)
    assert ledger.given("mouse-1", 0.0) == 5.0 + 4.0 + 3.0 + 1.5
    assert ledger.given("mouse-1", 30.0) == 4.0 + 3.0 + 1.5  # at or after
    assert ledger.given("mouse-1", 80.5) == ledger.given("mouse-3", 0.0) == 0.0
    assert (ledger.last_reward("mouse-1"), ledger.last_reward("mouse-3")) == (80, None)
    assert ledger.last_weight("mouse-1") == Weight(95.0, "small", 23.5, 25.0)
    assert ledger.last_weight("mouse-2") is None
    history = ledger.history("mouse-1")
    assert [w.grams for w in history.weights] == [24.0, 23.5]
    assert [(r.uid, r.how, r.granted) for r in history.rewards] == [
        ("s0/0", "earned", True),
        ("s0/2", "earned", True),
        ("wish", "free", True),
        ("by hand", "free", False),
    ]
    assert history.rewards[0] == Given(
        20.0, "small", "s0", "s0/0", "rig-1", 5.0, "earned", True
    )


def test_the_ledger_is_over_all_studies(open_here: OpenJournal) -> None:
    for study in ("small", "other"):
        store(open_here(study))
    ledger = Ledger(open_here("third").engine)
    assert ledger.given("mouse-2", 0.0) == 2 * 2.0
    assert {r.study for r in ledger.history("mouse-2").rewards} == {"small", "other"}


def test_the_tables_follow_from_the_events(open_here: OpenJournal) -> None:
    journal, other = open_here(), open_here("other")
    store(journal)
    store(other)
    whole = rows(journal)
    rebuild(journal)
    assert rows(journal) == whole
    with journal.engine.begin() as connection:
        wrong = schema.rewards.update().values(microlitre=99.0, uid="x", session="y")
        connection.execute(wrong.where(schema.rewards.c.uid == "s0/0"))
        connection.execute(schema.weights.delete())
    for damaged in (journal, other):
        assert rows(journal) != whole
        rebuild(damaged)
    assert rows(journal) == whole


def test_the_same_event_counts_once(open_here: OpenJournal) -> None:
    journal = open_here()
    store(journal)
    once = rows(journal)
    journal.append([], 0.0, also=of([*journal.read()], "small"))
    assert rows(journal) == once


def test_many_rewards_are_rebuilt() -> None:
    journal = Journal(":memory:", "small")
    journal.append([*HISTORY[0][1], *HISTORY[1][1]], 0.0)
    sessions = [answered("s0", [*range(1200)], [earned(1.0)] * 1200)]
    sessions += [answered("s1", [trial], [earned(1.0)]) for trial in range(600)]
    journal.append(sessions, 1.0)
    rebuild(journal)
    ledger = Ledger(journal.engine)
    assert (ledger.given("mouse-1", 0.0), ledger.given("mouse-2", 0.0)) == (1200, 600)
    journal.close()


def test_simulated_subjects_drink_nothing() -> None:
    journal = Journal(":memory:", "small")
    journal.append([StudyOpened("", "", "dry-run", False, {})], 0.0)
    journal.append([f for _, facts in HISTORY[1:] for f in facts], 0.0)
    rebuild(journal)
    assert rows(journal) == [[], []]
    journal.close()


# --- at most one live session ---------------------------------------------------------


def test_a_subject_is_in_one_session_at_a_time(open_here: OpenJournal) -> None:
    holds = Holds(open_here().engine)
    mine = Hold("subject", "mouse-1", "small", "s0")
    assert holds.take(*mine) is None
    assert holds.take(*mine) is None  # it was ours already
    assert holds.take("subject", "mouse-1", "small", "s1") == mine
    assert holds.take("subject", "mouse-1", "other", "s0") == mine
    assert holds.take("rig", "mouse-1", "other", "s0") is None
    holds.release("small", "s9")
    assert holds.held("subject", "mouse-1") == mine
    holds.release("small", "s0")
    assert holds.held("subject", "mouse-1") is None
    assert holds.take("subject", "mouse-1", "other", "s0") is None
    holds.release("other")
    assert holds.held("subject", "mouse-1") is holds.held("rig", "mouse-1") is None


def test_holds_are_put_right_after_a_crash(open_here: OpenJournal) -> None:
    holds = Holds(open_here().engine)
    for name, session in (("mouse-1", "s0"), ("mouse-2", "over"), ("mouse-3", "s1")):
        holds.take("subject", name, "small", session)
    theirs = Hold("rig", "rig-1", "other", "s7")
    holds.take(*theirs)
    live: dict[tuple[Kind, str], str] = {
        ("subject", "mouse-1"): "s0",
        ("subject", "mouse-3"): "s2",
        ("subject", "mouse-4"): "s3",
        ("rig", "rig-1"): "s0",
    }
    assert holds.resync("small", live) == [theirs]
    held = {name: holds.held("subject", f"mouse-{name}") for name in range(1, 5)}
    assert {name: hold and hold.session for name, hold in held.items()} == {
        1: "s0",
        2: None,
        3: "s2",
        4: "s3",
    }
    assert holds.held("rig", "rig-1") == theirs
    assert holds.resync("small", {}) == []
    assert holds.held("subject", "mouse-1") is None


def test_of_many_threads_one_takes_a_rig(open_here: OpenJournal) -> None:
    holds = Holds(open_here().engine)
    begin, answers = threading.Barrier(8), []

    def take(number: int) -> None:
        begin.wait()
        answers.append(holds.take("rig", "rig-1", f"study-{number}", "s0"))

    threads = [threading.Thread(target=take, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert answers.count(None) == 1
    assert {*answers} == {None, holds.held("rig", "rig-1")}


TAKER = """
import sys
from server.database import open_database
from server.holds import Holds
holds = Holds(open_database(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
taken = [holds.take("rig", f"rig-{i}", sys.argv[2], "s0") is None for i in range(60)]
print(sum(taken))
"""


def test_of_two_processes_one_takes_each_rig(
    open_here: OpenJournal, where: str
) -> None:
    open_here()
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, where, study],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for study in ("small", "other")
    ]
    for taker in takers:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "ready\n"
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    counts = [int(taker.communicate(timeout=60)[0]) for taker in takers]
    assert sum(counts) == 60


@pytest.mark.parametrize("ask", ["given", "last_reward", "last_weight", "history"])
def test_a_database_that_is_gone_is_a_fault_of_the_journal(ask: str) -> None:
    journal = Journal(":memory:", "small")
    with journal.engine.begin() as connection:
        schema.metadata.drop_all(connection)
    arguments = ("mouse-1", 0.0) if ask == "given" else ("mouse-1",)
    with pytest.raises(OSError, match="no such table"):
        getattr(Ledger(journal.engine), ask)(*arguments)
    with pytest.raises(OSError, match="no such table"):
        Holds(journal.engine).take("rig", "rig-1", "small", "s0")
    journal.close()
