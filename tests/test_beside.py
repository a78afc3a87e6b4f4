"""The search is worked out beside the trials: none waits for it, nothing is lost."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fragile import FullDisk
from small_study import (
    Clock,
    facts,
    hello,
    open_desk,
    run_all,
    send,
    small_study,
    snapshot,
    study_text,
)
from test_study import answer

from meta_learner.assignment import draw_assignments, penalties
from meta_learner.evolution import Evolution
from meta_learner.labelling import freeze
from server.ahead import MOST_OVERTAKEN
from server.desk import Desk
from server.events import (
    ComponentFrozen,
    GenerationAsked,
    GenerationTold,
    SessionEnded,
    StudyFinished,
)
from server.journal import Journal, JournalError
from server.protocol import Ack, Alive, Assignment, Refusal, Wait
from server.steps import foretaste
from server.study import replay
from server.study_file import Study

OpenJournal = Callable[..., Journal]
HALF = study_text(responses="\n[allocation]\nquorum = 0.5\n")
SOON_S = 20.0
"""Longer than a step takes, compiled or not."""


class Idle(Desk):
    """A desk whose steps a test takes, as its thread would."""

    def _work_for_ever(self) -> None:
        """Leave all but the first to the test."""
        self.ahead.begin()


def idle_desk(
    journal: Journal, clock: Clock | None = None, text: str = study_text()
) -> Idle:
    """A desk whose first generation is asked."""
    clock = clock or Clock()
    desk = Idle(small_study(text), journal, "dry-run", clock, clock, beside=True)
    desk.ahead.join(SOON_S)
    return desk


def wait_until(true: Callable[[], bool], told: threading.Condition) -> None:
    """Wait for what another thread brings about, of which it tells."""
    with told:
        assert told.wait_for(true, SOON_S)


def listen(desk: Desk) -> threading.Condition:
    """Tells of every fact that is on disk."""
    told = threading.Condition()

    def tell(_: Any) -> None:
        with told:
            told.notify_all()

    desk.told = tell
    return told


def finish_all_but_one(desk: Desk) -> str:
    """Three of a generation's four sessions; returns the last one, open."""
    now = desk.state.generation
    names = [hello(desk, f"mouse-{now}-{i}").session for i in range(4)]
    for name in names[:3]:
        answer(desk, name)
    return str(names[3])


# --- one step, taken by hand ---------------------------------------------------


def test_steps_beside_give_the_facts_of_steps_between(
    open_journal: OpenJournal,
) -> None:
    between, beside = open_journal("between.db"), open_journal("beside.db")
    desk, other = open_desk(between), idle_desk(beside)
    for generation in range(2):
        for one in (desk, other):
            for i in range(4):
                name = f"mouse-{generation}-{i}"
                answer(one, hello(one, name).session, value=i / 4)
        assert other.state.generation == generation  # as long as nobody takes a step
        assert other.ahead.step()
        assert not other.ahead.step()
    assert other.state.finished
    assert facts(beside) == facts(between)
    assert snapshot(other.state) == snapshot(desk.state)
    assert snapshot(replay(small_study(), facts(beside))) == snapshot(other.state)
    assert other.state.foreseen is None


def test_a_step_that_was_worked_out_is_not_worked_out_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is taken in, the desk answers nobody: it must be quick."""
    desk = idle_desk(journal)
    answer(desk, finish_all_but_one(desk))
    told = Evolution.tell
    during: list[bool] = []

    def watched(*arguments: Any) -> Any:
        during.append(desk._lock.locked())
        return told(*arguments)

    monkeypatch.setattr(Evolution, "tell", watched)
    assert desk.ahead.step()
    assert during == [False]


def test_what_comes_while_a_step_is_worked_out_is_not_lost(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the step a subject that was late for the generation finishes."""
    clock = Clock()
    desk = idle_desk(journal, clock)
    late = hello(desk, "late").session
    clock.now += 31.0
    for i in range(4):
        answer(desk, hello(desk, f"mouse-{i}").session)
    told, acks = Evolution.tell, list[Any]()

    def meanwhile(*arguments: Any) -> Any:
        if not acks:
            acks.append(answer(desk, late))
        return told(*arguments)

    monkeypatch.setattr(Evolution, "tell", meanwhile)
    while desk.ahead.step():
        pass
    assert acks[0].done
    assert facts(journal, SessionEnded)[-1].session == late
    assert len(facts(journal, GenerationTold)) == 1
    assert desk.state.generation == 1
    assert snapshot(replay(small_study(), facts(journal))) == snapshot(desk.state)


def test_a_slow_subject_may_be_through_while_its_generation_is_told(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was worked out without it is worked out again, with it."""
    desk = idle_desk(journal, text=HALF)
    slow = hello(desk, "slow").session
    for i in range(2):
        answer(desk, hello(desk, f"mouse-{i}").session)
    hello(desk, "slow-too")
    told, acks = Evolution.tell, list[Any]()

    def meanwhile(*arguments: Any) -> Any:
        if not acks:
            acks.append(answer(desk, slow))
        return told(*arguments)

    monkeypatch.setattr(Evolution, "tell", meanwhile)
    while desk.ahead.step():
        pass
    assert acks[0].done
    assert facts(journal, SessionEnded)[-1].used
    (one,) = facts(journal, GenerationTold)
    assert [loss is None for loss in one.losses] == [False, False, False, True]
    assert facts(journal, GenerationAsked)[1].carried == [3]
    again = replay(small_study(HALF), facts(journal))
    assert snapshot(again) == snapshot(desk.state)


def test_a_step_that_is_overtaken_again_and_again_is_taken_all_the_same(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come and go: the last time, they wait for it."""
    desk = idle_desk(journal)
    answer(desk, finish_all_but_one(desk))
    told = Evolution.tell

    def meanwhile(*arguments: Any) -> Any:
        if not desk._lock.locked():
            desk.state.revision += 1  # as when a session begins or ends
        return told(*arguments)

    monkeypatch.setattr(Evolution, "tell", meanwhile)
    for _ in range(MOST_OVERTAKEN):
        assert desk.state.generation == 0
        assert desk.ahead.step()
    assert desk.state.generation == 1
    assert not desk.ahead.step()
    assert snapshot(replay(small_study(), facts(journal))) == snapshot(desk.state)


@pytest.mark.parametrize("search", ["", "re_evaluate = 2"])
def test_what_later_components_need_is_compiled_ahead(
    journal: Journal, search: str
) -> None:
    text = study_text("components = 2").replace(
        "generations = 2", f"generations = 2\n{search}"
    )
    study = Study(text)  # of its own: another test may have compiled for small_study
    desk = open_desk(journal, study=study)
    before, stored = snapshot(desk.state), facts(journal)
    assert set(foretaste(desk.state.copy())) == {0, 1}
    assert (snapshot(desk.state), facts(journal)) == (before, stored)
    programs = draw_assignments, penalties, freeze

    def compiled() -> list[int]:
        return [one._cache_size() for one in programs]  # type: ignore[attr-defined]

    ahead = compiled()
    run_all(desk)
    assert desk.state.finished
    assert compiled() == ahead


# --- in a thread of its own ----------------------------------------------------


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator["Gate"]:
    opened = Gate(monkeypatch)
    yield opened
    opened.go.set()


class Gate:
    """Holds the search in the middle of a step, until the test lets it go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.in_step, self.go = threading.Event(), threading.Event()
        tell = Evolution.tell

        def held(*arguments: Any) -> Any:
            self.in_step.set()
            assert self.go.wait(SOON_S)
            return tell(*arguments)

        monkeypatch.setattr(Evolution, "tell", held)


def test_messages_are_answered_while_a_step_is_worked_out(
    journal: Journal, gate: Gate
) -> None:
    clock = Clock()
    desk = open_desk(journal, clock, beside=True)
    told = listen(desk)
    late = hello(desk, "late").session
    send(desk, "respond", session=late, uid=f"{late}/0", value=0.5)
    clock.now += 31.0
    last = finish_all_but_one(desk)
    ack = answer(desk, last)  # the step begins, and this does not wait for it
    assert ack.done
    assert gate.in_step.wait(SOON_S)
    assert isinstance(hello(desk, "mouse-9"), Wait)
    assert isinstance(hello(desk, "late"), Assignment)
    assert isinstance(send(desk, "heartbeat", session=late), Alive)
    reply = send(desk, "respond", session=late, uid=f"{late}/1", value=0.5)
    assert isinstance(reply, Ack)
    assert send(desk, "respond", session=last, uid=ack.uid, value=0.5) == ack
    assert desk.summary()["generation"] == 0
    assert not facts(journal, GenerationTold)
    gate.go.set()
    wait_until(lambda: len(facts(journal, GenerationAsked)) == 2, told)
    assert hello(desk, "mouse-9").session == "c0-g1-i0-a0"
    assert snapshot(replay(small_study(), facts(journal))) == snapshot(desk.state)


def test_a_server_killed_before_a_step_leaves_it_to_the_next(
    open_journal: OpenJournal,
) -> None:
    journal = open_journal()
    desk = idle_desk(journal)
    answer(desk, finish_all_but_one(desk))
    journal.close()
    heir_journal = open_journal()
    heir = open_desk(heir_journal)
    assert heir.state.generation == 1
    stored = facts(heir_journal)
    with pytest.raises(JournalError):  # had it been alive after all
        desk.ahead.step()
    assert facts(heir_journal) == stored
    assert len(facts(heir_journal, GenerationAsked)) == 2


def test_a_whole_study_beside_is_the_same_study(open_journal: OpenJournal) -> None:
    between, beside = open_journal("between.db"), open_journal("beside.db")
    desk, other = open_desk(between), open_desk(beside, beside=True)
    told = listen(other)
    for generation in range(2):
        for one in (desk, other):
            wait_until(lambda one=one: bool(one.state.free()), told)  # type: ignore[misc]
            for i in range(4):
                answer(one, hello(one, f"mouse-{generation}-{i}").session, value=i / 4)
    wait_until(lambda: bool(facts(beside, StudyFinished)), told)
    assert facts(beside) == facts(between)
    assert len(facts(beside, ComponentFrozen)) == 1


def test_a_full_disk_in_the_thread_is_recovered_from(
    journal: Journal, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be stored is, before anything else is acknowledged."""
    monkeypatch.setattr("server.ahead.TRY_AGAIN_S", 0.0)
    disk = FullDisk(journal)
    desk = open_desk(disk, beside=True)  # type: ignore[arg-type]
    told = listen(desk)
    answer(desk, finish_all_but_one(desk))
    assert gate.in_step.wait(SOON_S)
    disk.full = True
    gate.go.set()
    assert disk.refused.wait(SOON_S)
    for kind in ("hello", "hello"):
        refused = send(desk, kind, protocol=1, subject="mouse-9")
        assert isinstance(refused, Refusal)
        assert (refused.status, refused.error) == (503, "not_stored")
    assert not desk.healthy
    assert not facts(journal, GenerationTold)
    disk.full = False
    reply = hello(desk, "mouse-9")
    assert reply.session == "c0-g1-i0-a0"
    assert desk.healthy
    wait_until(lambda: len(facts(journal, GenerationAsked)) == 2, told)
    assert len(facts(journal, GenerationTold)) == 1
    assert snapshot(replay(small_study(), facts(journal))) == snapshot(desk.state)


def test_a_step_that_fails_is_taken_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ahead.TRY_AGAIN_S", 0.0)
    tell, faults = Evolution.tell, [RuntimeError("out of memory")]

    def sometimes(*arguments: Any) -> Any:
        if faults:
            raise faults.pop()
        return tell(*arguments)

    monkeypatch.setattr(Evolution, "tell", sometimes)
    desk = open_desk(journal, beside=True)
    told = listen(desk)
    answer(desk, finish_all_but_one(desk))
    wait_until(lambda: len(facts(journal, GenerationAsked)) == 2, told)
    assert not faults


def test_whoever_would_wait_wakes_the_search_for_a_quorum(journal: Journal) -> None:
    desk = open_desk(journal, study=small_study(HALF), beside=True)
    told = listen(desk)
    hello(desk, "slow")
    for i in range(2):
        answer(desk, hello(desk, f"mouse-{i}").session)
    hello(desk, "slow-too")
    assert isinstance(hello(desk, "mouse-3"), Wait)
    wait_until(lambda: bool(desk.state.free()), told)
    assert hello(desk, "mouse-3").session == "c0-g1-i1-a0"


def test_a_search_that_cannot_begin_is_told_and_tried_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.ahead.TRY_AGAIN_S", 0.01)
    ask, broken, tried = Evolution.ask, [True], threading.Semaphore(0)

    def sometimes(*arguments: Any) -> Any:
        tried.release()
        if broken:
            raise MemoryError
        return ask(*arguments)

    monkeypatch.setattr(Evolution, "ask", sometimes)
    desk = open_desk(journal, beside=True)
    told = listen(desk)
    assert all(tried.acquire(timeout=SOON_S) for _ in range(3))
    reply = send(desk, "hello", protocol=1, subject="mouse-1")
    assert desk.storing
    assert not desk.healthy
    assert isinstance(reply, Wait | Refusal)
    broken.clear()
    wait_until(lambda: bool(desk.state.free()), told)
    assert hello(desk, "mouse-1").session == "c0-g0-i0-a0"
    wait_until(lambda: desk.healthy, told)
