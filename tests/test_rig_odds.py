"""Rigs whose hardware, clock or computer does what it should not."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest
from box import Box, Generous
from rigs import Builder, Clock, choice
from scripted import SESSION, Script, ack, assignment

from server.protocol import Reward, parse_request
from subject_clients.loop import Subject
from subject_clients.rig.adapter import RigFault
from subject_clients.rig.config import LimitsSection
from subject_clients.rig.ledger import Ledger
from subject_clients.tasks.trial import Happened, RigTrial

ODD: dict[str, dict[str, Any]] = {
    "no reaction time": {"reaction_time_s": float("nan")},
    "a negative time": {"reaction_time_s": -0.01},
    "an unknown outcome": {"outcome": "miss"},
    "a count that is none": {"counts": {"licks": float("nan")}},
    "a side that is none": {"side": "up"},
}


@pytest.mark.parametrize("what", ODD)
def test_odd_numbers_of_hardware_cost_no_reward_and_no_session(
    build: Builder, what: str
) -> None:
    class Odd(Box):
        def run(self, trial: RigTrial, pokes: Any) -> Happened:
            return dataclasses.replace(super().run(trial, pokes), **ODD[what])

    rig = build(Odd())
    answer = rig.present(choice(0))
    assert answer.reward == Reward(microlitre=3.0)
    assert answer.reaction_time_s in (None, 0.2)
    message = answer._asdict() | {"reward": None}
    parse_request("respond", {"session": "s", "uid": "s/0", **message})
    again = build(Box()).present(choice(0))  # started again, it is the same answer
    assert again == answer


@pytest.mark.parametrize("volume", [-1.0, float("nan"), "3"])
def test_a_volume_that_is_none_counts_as_all_that_was_allowed(
    build: Builder, volume: Any
) -> None:
    class Odd(Box):
        def run(self, trial: RigTrial, pokes: Any) -> Happened:
            happened = super().run(trial, pokes)
            return dataclasses.replace(happened, delivered_microlitre=volume)

    rig = build(Odd())
    answer = rig.present(choice(0))
    if volume == "3":  # it is a number after all
        assert answer.outcome == "responded"
    else:
        assert answer.outcome == "aborted"
        with pytest.raises(RigFault, match="a volume of"):
            rig.present(choice(1))
    assert answer.reward == Reward(microlitre=3.0)


def test_too_much_is_known_after_a_crash_too(
    build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash comes between what happened and the ledger."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    rig = build(Generous())
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "settle", killed)
        with pytest.raises(KeyboardInterrupt):
            rig.present(choice(0, most=2.0))
    rig = build(Box())
    answer = rig.present(choice(0, most=2.0))
    assert answer.reward == Reward(microlitre=4.0)
    with pytest.raises(RigFault, match="where 2 were allowed"):
        rig.present(choice(1))


def test_a_clock_that_is_set_back_opens_no_second_day(
    build: Builder, noon: Clock
) -> None:
    box = Box()
    limits = LimitsSection(trial_microlitre=4, session_microlitre=9, day_microlitre=9)
    noon.now += 86_400  # a wrong date
    for i in range(4):
        build(box, limits).present(choice(i))
    noon.now -= 86_400
    rig = build(box, limits)
    rig.begin(assignment(session="another", response="choice"))
    rig.present(choice(5))
    assert sum(ul for _, ul in box.valve) == 9


def test_a_free_reward_and_a_trial_at_once_stay_within_the_cap(tmp_path: Path) -> None:
    limits = LimitsSection(trial_microlitre=3, session_microlitre=5, day_microlitre=9)
    ledger = Ledger(tmp_path / "ledger.jsonl", limits)
    given: list[float] = []
    ready = threading.Barrier(8)

    def reserve(uid: str) -> None:
        ready.wait()
        given.append(ledger.reserve(uid, "mouse-1", "s", 3.0))

    threads = [threading.Thread(target=reserve, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given, reverse=True)[:2] == [3.0, 2.0]
    assert sum(given) == 5.0
    ledger.close()


def test_a_computer_that_shuts_down_gives_no_session_up(build: Builder) -> None:
    """SIGTERM, or a terminal that is gone: nobody at the rig wanted to stop."""

    class Ends(Box):
        def next_trial(self, trial: RigTrial) -> None:
            super().next_trial(trial)
            build.control.end()

    box = Ends()
    script = Script(assignment(response="choice"), choice(0), ack(0))
    with pytest.raises(ConnectionError, match="the session goes on"):
        Subject("mouse-1", build(box), script).run_session()
    assert script.kinds == ["hello", "next", "respond"]  # and not abandon
    assert box.safe[0] == "the client was told to end"


def test_after_a_pause_a_trial_is_asked_for_anew(build: Builder) -> None:
    """Its grant has grown old meanwhile."""
    box = Box()
    rig = build(box)
    control = build.control
    asked = threading.Event()

    class Asked(Script):
        def send(self, kind: str, message: dict[str, Any]) -> Any:
            if kind == "next":
                asked.set()
            return super().send(kind, message)

    control.pause()
    script = Asked(assignment(response="choice"), choice(0), choice(0), ack(0, True))
    subject = Subject("mouse-1", rig, script)
    thread = threading.Thread(target=subject.run_session)
    thread.start()
    assert asked.wait(20)
    control.pause()  # goes on
    thread.join(20)
    assert script.kinds == ["hello", "next", "next", "respond"]
    assert box.valve == [(f"{SESSION}/0", 3.0)]


def test_an_emergency_gives_no_free_reward(build: Builder) -> None:
    rig = build(Box())
    assert rig.allowed(2.0) == 2.0
    build.control.stop_at_once()
    assert rig.allowed(2.0) == 0.0
