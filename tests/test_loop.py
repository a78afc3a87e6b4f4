"""The session loop: what it says, what it does when told to, what it never loses."""

import contextlib
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from scripted import (
    SESSION,
    Rig,
    Script,
    Watcher,
    ack,
    assignment,
    trial,
    whole_session,
)
from small_study import facts, open_desk

from server.desk import Desk
from server.events import Responded, SessionEnded
from server.journal import Journal
from server.protocol import (
    Ack,
    Alive,
    Done,
    FreeReward,
    Grant,
    Refusal,
    Reply,
    Reward,
    Trial,
    Wait,
)
from subject_clients.adapter import Adapter, Answer, GiveUp
from subject_clients.loop import Refused, Subject
from subject_clients.outbox import Outbox
from subject_clients.transport import InMemory

GONE = ConnectionError("no answer")
OVER = Refusal(status=410, error="session_over", detail="it is lost")


def run(adapter: Adapter, script: Script, **options: Any) -> Done:
    """One session of mouse-1."""
    return Subject("mouse-1", adapter, script, **options).run_session()


def test_a_session_is_hello_next_and_responses() -> None:
    script = Script(*whole_session())
    watcher = Watcher()
    done = run(watcher, script, token="sesame")
    assert not done.study
    assert [t.index for t in watcher.shown] == [0, 1]
    assert script.kinds == ["hello", "next", "respond", "respond"]
    assert all(message["token"] == "sesame" for _, message in script.heard)
    assert script.heard[0][1] == {
        "protocol": 1,
        "subject": "mouse-1",
        "simulated": False,
        "token": "sesame",
    }
    assert script.heard[3][1]["uid"] == f"{SESSION}/1"
    assert script.heard[3][1]["value"] == 0.25


def test_told_to_wait_it_waits_and_asks_again() -> None:
    slept: list[float] = []
    wait = Wait(retry_after_s=0.7, reason="full")
    over = Done(study=True, reason="the study is finished")
    assert run(Watcher(), Script(wait, wait, over), sleep=slept.append) == over
    assert slept == [0.7, 0.7]


def test_a_session_that_is_over_when_asked_for_its_trial() -> None:
    over = Done(study=False, reason="session finished")
    assert run(Watcher(), Script(assignment(), over)) == over


def test_a_refusal_is_raised_with_its_reason() -> None:
    refusal = Refusal(status=401, error="unauthorised", detail="a token is required")
    with pytest.raises(Refused, match=r"hello was refused .*: a token is required"):
        run(Watcher(), Script(refusal))


@pytest.mark.parametrize("reason", ["thirsty", "", "z" * 5000])
def test_an_adapter_that_gives_up_abandons_the_session(
    desk: Desk, journal: Journal, reason: str
) -> None:
    watcher = Watcher(give_up_at=1, reason=reason)
    done = Subject("mouse-1", watcher, InMemory(desk.handle)).run_session()
    assert "abandoned" in done.reason
    (ended,) = facts(journal, SessionEnded)
    assert ended.status == "abandoned"
    assert ended.reason.startswith(reason[:1000])
    assert len(facts(journal, Responded)) == 1


def test_the_lease_is_renewed_while_a_subject_takes_its_time() -> None:
    script = Script(
        assignment(heartbeat_s=0.05), trial(0), Done(study=False, reason="")
    )

    class Slow(Watcher):
        def present(self, _: Trial) -> Answer:
            for _beat in range(5):
                assert script.beats.acquire(timeout=10)
            raise GiveUp("enough")

    before = set(threading.enumerate())
    run(Slow(), script)
    assert not set(threading.enumerate()) - before  # its thread is gone
    assert script.heard[-1][0] == "abandon"


def test_what_no_wire_can_carry_is_the_fault_of_the_adapter() -> None:
    class Wild(Watcher):
        def present(self, _: Trial) -> Answer:
            return Answer(value=float("nan"))

    with pytest.raises(ValueError, match="not JSON compliant"):
        run(Wild(), Script(assignment(), trial(0, 0.5)))


# --- paused, stopped, in an emergency ------------------------------------------


def test_a_paused_session_asks_until_it_goes_on() -> None:
    slept: list[float] = []
    script = Script(
        assignment(),
        trial(0, 0.5),
        Ack(uid=f"{SESSION}/0", next=None, done=False),
        Wait(retry_after_s=0.4, reason="paused"),
        Wait(retry_after_s=0.5, reason="paused"),
        trial(1),
        ack(1, last=True),
    )
    watcher = Watcher()
    run(watcher, script, sleep=slept.append)
    assert slept == [0.4, 0.5]
    assert [shown.index for shown in watcher.shown] == [0, 1]
    assert script.kinds == ["hello", "next", "respond", *["next"] * 3, "respond"]


def test_a_session_stopped_after_its_trial_says_why() -> None:
    stopped = Done(study=False, reason="stopped by the operator")
    paused = Ack(uid=f"{SESSION}/0", next=None, done=False)
    rig = Rig()
    assert run(rig, Script(assignment(), trial(0), paused, stopped)) == stopped
    assert not rig.safe  # it ended in good order


def test_an_answer_to_a_session_that_is_over_ends_it(tmp_path: Path) -> None:
    """The operator stopped it within a trial, or another client ended it."""
    over = Done(study=False, reason="session stopped")
    with Outbox(tmp_path / "box") as box:
        assert (
            run(Rig(), Script(assignment(), trial(0), OVER, over), outbox=box) == over
        )
        assert not box.pending()
    assert '"value": 0.25' in (tmp_path / "box.refused.jsonl").read_text()


class Caught(Rig):
    """Stands in a trial until it is brought into its safe state."""

    def __init__(self, script: Script, pushed: bool = False) -> None:
        super().__init__()
        self._script, self._pushed = script, pushed

    def present(self, trial: Trial) -> Answer:
        if self._pushed:
            threading.Thread(target=self._script.push, args=["emergency"]).start()
        assert self.is_safe.wait(10)
        return super().present(trial)


EMERGENCY = Done(study=False, reason="water everywhere", emergency=True)


@pytest.mark.parametrize("pushed", [False, True])
def test_an_emergency_stop_reaches_a_rig_within_its_trial(pushed: bool) -> None:
    script = Script(
        assignment(heartbeat_s=60.0 if pushed else 0.05),
        trial(0),
        OVER,
        beats=(Alive(lease_s=40.0), Alive(lease_s=40.0) if pushed else EMERGENCY),
    )
    rig = Caught(script, pushed)
    done = run(rig, script)
    assert done.emergency
    assert len(rig.safe) == 1
    assert rig.safe[0] == done.reason
    assert len(rig.shown) == 1
    assert script.kinds[-1] == "respond"  # it tried to tell what happened


def test_a_rig_that_raises_in_an_emergency_abandons_nothing() -> None:
    class Startled(Caught):
        def present(self, trial: Trial) -> Answer:
            super().present(trial)
            raise GiveUp("the valves are shut")

    script = Script(assignment(heartbeat_s=0.05), trial(0), beats=(EMERGENCY,))
    assert run(Startled(script), script) == EMERGENCY
    assert script.kinds == ["hello", "next"]


def test_no_trial_begins_after_an_emergency_stop() -> None:
    """Though the acknowledgement held one: it had left the server before."""

    class Racing(Rig):
        def present(self, trial: Trial) -> Answer:
            script.push("emergency", session="")  # to all sessions
            return super().present(trial)

    script = Script(*whole_session())
    rig = Racing()
    assert run(rig, script).emergency
    assert len(rig.shown) == 1


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_emergency_in_any_reply_brings_the_safe_state(at: int) -> None:
    script = Script(*[*whole_session()[:at], EMERGENCY])
    rig = Rig()
    assert run(rig, script) == EMERGENCY
    assert rig.safe == ["water everywhere"]


def test_what_is_pushed_to_another_session_is_not_heeded() -> None:
    class Spoken(Rig):
        def present(self, trial: Trial) -> Answer:
            script.push("emergency", session="c0-g0-i1-a0")
            return super().present(trial)

    script = Script(*whole_session())
    assert not run(Spoken(), script).emergency


def test_a_push_wakes_the_heartbeat() -> None:
    class Pushed(Rig):
        def present(self, trial: Trial) -> Answer:
            if trial.index == 0:
                script.push("reward")
                assert script.beats.acquire(timeout=10)
            return super().present(trial)

    script = Script(assignment(heartbeat_s=60.0), *whole_session()[1:])
    run(Pushed(), script)


@pytest.mark.parametrize("fault", [GONE, KeyboardInterrupt(), ZeroDivisionError()])
def test_any_error_brings_the_safe_state(fault: BaseException) -> None:
    class Broken(Rig):
        def present(self, _: Trial) -> Answer:
            raise fault

    rig = Broken()
    with pytest.raises(type(fault)):
        run(rig, Script(assignment(), trial(0)))
    assert len(rig.safe) == 1
    assert rig.safe[0]


def test_a_server_that_is_lost_brings_the_safe_state(tmp_path: Path) -> None:
    rig = Rig()
    with Outbox(tmp_path / "box") as box:
        with pytest.raises(ConnectionError):
            run(rig, Script(assignment(), trial(0), GONE), outbox=box)
        assert len(box.pending()) == 1
    assert rig.safe == ["no answer"]


def test_a_safe_state_that_fails_hides_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stuck(Rig):
        def safe_state(self, _: str) -> None:
            raise OSError("the valve is stuck")

    with pytest.raises(ConnectionError, match="no answer"):
        run(Stuck(), Script(assignment(), GONE))
    assert "the valve is stuck" in caplog.text


# --- rewards -------------------------------------------------------------------


def test_what_a_trial_allows_and_what_was_given_go_through() -> None:
    class Rewarding(Rig):
        def present(self, trial: Trial) -> Answer:
            super().present(trial)
            assert trial.grant
            return Answer(
                value=1.0, reward=Reward(microlitre=trial.grant.max_microlitre)
            )

    grant = Grant(max_microlitre=4.0, valid_s=10.0)
    granted = trial(0, 0.5).model_copy(update={"grant": grant})
    script = Script(assignment(), granted, ack(0, last=True))
    run(Rewarding(), script)
    assert script.heard[-1][1]["reward"] == {"microlitre": 4.0, "how": "earned"}


def offering(*uids: str) -> Alive:
    """A heartbeat's reply with free rewards."""
    rewards = [FreeReward(uid=uid, microlitre=2.5) for uid in uids]
    return Alive(lease_s=40.0, rewards=rewards)


class Thirsty(Rig):
    """Stays in its trial for some heartbeats."""

    def __init__(self, script: Script, beats: int = 4) -> None:
        super().__init__()
        self._script, self._wait_for = script, beats

    def present(self, trial: Trial) -> Answer:
        for _ in range(self._wait_for):
            assert self._script.beats.acquire(timeout=10)
        return super().present(trial)


def fast(*replies: Reply | Exception, **options: Any) -> Script:
    """A session of one trial whose heart beats fast."""
    return Script(assignment(heartbeat_s=0.05), trial(0), *replies, **options)


def test_a_free_reward_is_given_once_and_told() -> None:
    # Offered twice more, as if the server had not heard of it.
    beats = (offering("f1"), offering("f1", "f2"), offering("f2"), Alive(lease_s=40.0))
    script = fast(ack(0, last=True), beats=beats)
    rig = Thirsty(script)
    run(rig, script)
    assert rig.given == [2.5, 2.5]
    told = [message for kind, message in script.heard if kind == "rewarded"]
    assert [message["uid"] for message in told] == ["f1", "f2"]
    reward = {"microlitre": 2.5, "how": "free"}
    assert told[0] == {"session": SESSION, "uid": "f1", "reward": reward}


def test_a_free_reward_is_given_once_over_restarts(tmp_path: Path) -> None:
    """The server is away as the first run tells of it, and asks the second again."""
    with Outbox(tmp_path / "box") as box:
        script = fast(GONE, beats=(offering("f1"),), noted=GONE)
        rig = Thirsty(script, beats=2)
        with pytest.raises(ConnectionError):
            run(rig, script, outbox=box)
        assert rig.given == [2.5]
    last = ack(0, last=True)
    with Outbox(tmp_path / "box") as box:
        left = [entry.kind for entry in box.pending()]
        assert left == ["rewarded", "respond"]
        begun = assignment(heartbeat_s=0.05), trial(0)
        fresh = Script(last, *begun, last, beats=(offering("f1"),))
        rig = Thirsty(fresh)
        run(rig, fresh, outbox=box)
        assert rig.given == []
        assert not box.pending()
    assert fresh.kinds == ["rewarded", "respond", "hello", "next", "respond"]


def test_a_reward_that_the_server_refuses_ends_nothing() -> None:
    refusal = Refusal(status=409, error="cap", detail="enough for today")
    script = fast(ack(0, last=True), beats=(offering("f1"),), noted=refusal)
    rig = Thirsty(script, beats=6)
    assert run(rig, script).reason == "session finished"
    assert rig.given == [2.5]


def test_a_valve_that_fails_ends_the_session_and_counts_as_open() -> None:
    class Leaking(Thirsty):
        def give_reward(self, microlitre: float) -> None:
            super().give_reward(microlitre)
            raise OSError("no current")

    script = fast(ack(0), Done(study=True, reason="over"), beats=(offering("f1"),))
    rig = Leaking(script, beats=1)
    subject = Subject("mouse-1", rig, script)
    with pytest.raises(OSError, match="no current"):
        rig_run(subject, rig)
    assert rig.safe == ["no current"]
    subject.run_session()
    assert script.kinds[-2:] == ["rewarded", "hello"]


def rig_run(subject: Subject, rig: Rig) -> Done:
    """A session whose trial lasts until the rig is safe."""
    present = rig.present

    def held(trial: Trial) -> Answer:
        assert rig.is_safe.wait(10)
        return present(trial)

    rig.present = held  # type: ignore[method-assign]
    return subject.run_session()


def test_a_client_without_a_valve_leaves_free_rewards() -> None:
    script = fast(ack(0, last=True), beats=(offering("f1"),))

    class Slow(Watcher):
        def present(self, trial: Trial) -> Answer:
            for _ in range(3):
                assert script.beats.acquire(timeout=10)
            return super().present(trial)

    run(Slow(), script)
    assert script.kinds == ["hello", "next", "respond"]


# --- with an outbox ------------------------------------------------------------


def test_what_an_earlier_run_left_is_sent_first(tmp_path: Path) -> None:
    with Outbox(tmp_path / "box") as box, pytest.raises(ConnectionError):
        run(Watcher(), Script(*whole_session()[:3], GONE), outbox=box, token="t")
    script = Script(ack(1, last=True), Done(study=True, reason="over"))
    with Outbox(tmp_path / "box") as box:
        run(Watcher(), script, outbox=box, token="sesame")
        assert not box.pending()
    assert script.kinds == ["respond", "hello"]
    assert script.heard[0][1]["uid"] == f"{SESSION}/1"
    assert script.heard[0][1]["token"] == "sesame"


def test_what_is_refused_for_good_stands_in_nobodys_way(tmp_path: Path) -> None:
    with Outbox(tmp_path / "box") as box:
        for index in range(3):
            box.put("respond", {"session": SESSION, "uid": f"{SESSION}/{index}"})
        conflict = Refusal(status=409, error="conflict", detail="another answer")
        over = Done(study=True, reason="over")
        assert run(Watcher(), Script(conflict, ack(1), OVER, over), outbox=box) == over
        assert not box.pending()
    aside = (tmp_path / "box.refused.jsonl").read_text().splitlines()
    assert len(aside) == 2
    assert "another answer" in aside[0]


@pytest.mark.parametrize(
    ("status", "error"), [(401, "unauthorised"), (404, "unknown_study")]
)
def test_what_is_refused_for_now_waits(tmp_path: Path, status: int, error: str) -> None:
    wrong = Refusal(status=status, error=error, detail="not so")
    with Outbox(tmp_path / "box") as box:
        box.put("abandon", {"session": SESSION, "reason": "asleep"})
        with pytest.raises(Refused, match="not so"):
            run(Watcher(), Script(wrong), outbox=box)
        assert len(box.pending()) == 1


def test_the_rig_is_named() -> None:
    script = Script(Done(study=True, reason="over"))
    run(Watcher(), script, rig="box-3")
    assert script.heard[0][1]["rig"] == "box-3"


def test_every_answer_arrives_once_however_often_a_client_starts(
    journal: Journal, tmp_path: Path
) -> None:
    """Each run has a process's memory: an outbox on disk is all that is left."""
    desk, presented, chance = open_desk(journal), [], random.Random(3)

    def flaky(kind: str, payload: Any) -> Reply:
        """Fails before the message is heard, or after."""
        if chance.random() < 0.2:
            raise ConnectionError("before")
        reply = desk.handle(kind, payload)
        if chance.random() < 0.2:
            raise ConnectionError("after")
        return reply

    class Counting(Watcher):
        def present(self, trial: Trial) -> Answer:
            presented.append(trial.index)
            return Answer(value=trial.index / 100)

    runs = 0
    while not facts(journal, SessionEnded):
        runs += 1
        with Outbox(tmp_path / "box") as box, contextlib.suppress(ConnectionError):
            wire = InMemory(flaky)
            Subject("mouse-1", Counting(), wire, outbox=box).run_session()
    assert runs > 5
    answered = [
        (index, value)
        for fact in facts(journal, Responded)
        for index, value in zip(fact.trials, fact.values, strict=True)
    ]
    assert answered == [(index, index / 100) for index in range(12)]
    assert presented == list(range(12))
