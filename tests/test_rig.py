"""The rig's client: limits on its own disk, safe state, records, self-check."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from box import Box, Generous, Stuck
from live_server import serving
from rigs import LIMITS, SAFE_STUDY, TASK, Builder, Clock, choice, soon
from scripted import SESSION, Script, ack, assignment
from small_study import facts, open_desk, small_study

from server.events import AlarmRaised, Responded, SessionEnded, SessionOpened
from server.journal import Journal
from server.protocol import Done, Grant, Reply, Reward
from subject_clients.adapter import GiveUp
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.rig.adapter import RigFault
from subject_clients.rig.client import Rig
from subject_clients.rig.config import LimitsSection
from subject_clients.rig.ledger import Ledger
from subject_clients.rig.local import LocalControl
from subject_clients.rig.log import TrialLog
from subject_clients.tasks.trial import Happened, RigTrial
from subject_clients.transport import Socket

# --- limits ----------------------------------------------------------------------


def test_a_trial_is_an_answer_with_its_reward_and_its_times(
    build: Builder,
) -> None:
    box = Box()
    answer = build(box).present(choice(0))
    assert (answer.value, answer.outcome, answer.reaction_time_s) == (
        1.0,
        "responded",
        0.2,
    )
    assert answer.reward is not None
    assert (answer.reward.microlitre, answer.reward.how) == (3.0, "earned")
    assert answer.clocks is not None
    assert answer.clocks["rig_s"] == 12.5
    assert answer.clocks["response_time_s"] == pytest.approx(0.3)
    assert answer.clocks["reward_after_s"] == 0.3
    assert box.valve == [(f"{SESSION}/0", 3.0)]


@pytest.mark.parametrize(
    ("most", "given"), [(5.0, 3.0), (2.0, 2.0), (0.0, 0.0), (None, 3.0)]
)
def test_the_grant_is_a_limit(build: Builder, most: float | None, given: float) -> None:
    box = Box()
    answer = build(box).present(choice(0, most))
    assert sum(microlitre for _, microlitre in box.valve) == given
    assert (answer.reward is None) == (given == 0)


def test_the_rig_has_limits_of_its_own(build: Builder, noon: Clock) -> None:
    """Of trial, session and day, over restarts, whatever a server grants."""
    box = Box()
    tight = LimitsSection(trial_microlitre=2, session_microlitre=5, day_microlitre=8)
    rig = build(box, tight)
    for i in range(4):
        rig.present(choice(i))
    assert [ul for _, ul in box.valve] == [2.0, 2.0, 1.0]  # and then nothing
    rig = build(box, tight)
    rig.begin(assignment(session="another", response="choice"))
    for i in range(4, 8):
        rig.present(choice(i))
    assert [ul for _, ul in box.valve[3:]] == [2.0, 1.0]  # the day's 8 are given
    noon.now += 86_400
    build(box, tight).begin(assignment(session="tomorrow", response="choice"))
    build(box, tight).present(choice(9))
    assert sum(ul for _, ul in box.valve) == 8  # of its first session, which has had 5
    rig = build(box, tight)
    rig.begin(assignment(session="tomorrow", response="choice"))
    rig.present(choice(10))
    assert sum(ul for _, ul in box.valve) == 10


def test_a_free_reward_is_within_the_limits_and_counts(
    build: Builder,
) -> None:
    box = Box()
    limits = LimitsSection(trial_microlitre=4, session_microlitre=6, day_microlitre=9)
    rig = build(box, limits)
    for microlitre in (10, 1, 5, 5):
        if (allowed := rig.allowed(microlitre)) > 0:
            rig.give_reward(allowed)
    assert [ul for _, ul in box.valve] == [4.0, 1.0, 1.0]
    rig.present(choice(0))
    assert len(box.valve) == 3


def test_a_rig_without_a_valve_of_its_own_gives_no_free_reward(
    build: Builder,
) -> None:
    assert hasattr(build(Box()), "give_reward")
    assert not hasattr(build(Stuck.__new__(_NoValve)), "give_reward")


class _NoValve:
    def safe_state(self, reason: str) -> None:
        """Nothing to close."""


def test_a_rig_that_gave_too_much_tells_so_and_then_stops(
    build: Builder,
) -> None:
    rig = build(Generous())
    answer = rig.present(choice(0, most=2.0))
    assert answer.reward is not None
    assert answer.reward.microlitre == 4.0  # what is in the animal is told
    with pytest.raises(RigFault, match=r"gave 4 microlitre .* where 2 were allowed"):
        rig.present(choice(1))


# --- crashes ---------------------------------------------------------------------


def test_a_trial_that_a_crash_cut_off_is_never_rewarded_again(
    build: Builder,
) -> None:
    """Nobody knows what the box gave: all it was allowed counts."""

    class Killed(Box):
        def what_happened(self) -> Happened:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(Killed()).present(choice(0))
    again = Box()
    answer = build(again).present(choice(0))
    assert again.valve == []
    assert (answer.outcome, answer.value) == ("aborted", None)
    assert answer.reward is not None
    assert answer.reward.microlitre == 3.0
    assert answer.clocks == {"reward_assumed": 1.0}


def test_what_was_written_down_before_a_crash_is_the_answer_after_it(
    build: Builder,
) -> None:
    box = Box()
    before = build(box).present(choice(0))  # and then the program dies
    after = build(box).present(choice(0))
    assert after == before
    assert len(box.valve) == 1


def test_a_torn_record_is_no_obstacle(build: Builder, tmp_path: Path) -> None:
    build(Box()).present(choice(0))
    for name in ("ledger.jsonl", "trials.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write(b'{"may": "c0-g0-i0-a0/1", "subj')
    rig = build(Box())
    assert rig.present(choice(1)).reward is not None
    for name in ("ledger.jsonl",):
        lines = (tmp_path / name).read_text().splitlines()
        assert [json.loads(line).get("may") for line in lines] == [
            f"small@0.000000/{SESSION}/0",
            None,
            f"small@0.000000/{SESSION}/1",
            None,
        ]
    whole = build(Box()).present(choice(1))
    assert whole.value == 1.0  # found again after the line that was torn


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"may": "a/0"}\n')
    with pytest.raises(ValueError, match=r"ledger.jsonl, line 1, is damaged"):
        Ledger(path, LIMITS)


def test_two_clients_cannot_run_one_rig(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl", LIMITS)
    with pytest.raises(BlockingIOError, match="another client runs this rig"):
        Ledger(tmp_path / "ledger.jsonl", LIMITS)
    ledger.close()
    Ledger(tmp_path / "ledger.jsonl", LIMITS).close()


def test_trials_of_another_journal_are_other_trials(build: Builder) -> None:
    """A pilot's sessions have the names that those of the study will have."""
    build(Box()).present(choice(0))
    box = Box()
    rig = build(box)
    rig.begin(assignment(response="choice", began_at=1_900_000_000.0))
    assert rig.present(choice(0)).value == 1.0
    assert box.valve == [(f"{SESSION}/0", 3.0)]


def test_hardware_that_fails_is_told_of_then_nothing_goes_on(
    build: Builder,
) -> None:
    box = Stuck()
    rig = build(box)
    threading.Timer(0.05, box.safe_state, ["cable"]).start()
    answer = rig.present(choice(0))
    assert (answer.outcome, answer.reward) == ("aborted", Reward(microlitre=3.0))
    with pytest.raises(RigFault, match=r"trial .*/0: made safe within a trial"):
        rig.present(choice(1))


# --- at the rig ------------------------------------------------------------------


def test_an_emergency_at_the_rig_ends_a_trial_at_once(tmp_path: Path) -> None:
    box, control = Stuck(), LocalControl(lambda _: None)
    ledger = Ledger(tmp_path / "ledger.jsonl", LIMITS)
    log = TrialLog(tmp_path / "trials.jsonl")
    rig = Rig("mouse-1", box, TASK, LIMITS, ledger, log, control)
    script = Script(
        assignment(response="choice"),
        choice(0),
        ack(0),
        Done(study=False, reason="abandoned"),
    )
    done: list[Done] = []
    subject = Subject("mouse-1", rig, script)
    thread = threading.Thread(target=lambda: done.append(subject.run_session()))
    thread.start()
    assert box.running.wait(20)
    control.key("e")
    thread.join(20)
    assert "emergency stop at the rig" in done[0].reason
    assert script.kinds == ["hello", "next", "respond", "abandon"]
    told = script.heard[2][1]
    assert told["outcome"] == "aborted"  # nobody knows whether the valve was open
    assert told["reward"]["microlitre"] == 3.0
    assert box.safe[0] == "emergency stop at the rig"
    for held in (ledger, log):
        held.close()


def test_an_emergency_as_a_trial_begins_is_not_undone_by_it(
    build: Builder,
) -> None:
    """Hardware leaves its safe state with each trial: it is asked for again."""

    class Late(Stuck):
        def next_trial(self, trial: RigTrial) -> None:
            rig.safe_state("fire")
            super().next_trial(trial)
            self._over.clear()

    box = Late()
    rig = build(box)
    assert rig.present(choice(0)).outcome == "aborted"  # it was not run
    assert not box.running.is_set()
    assert box.safe == ["fire", "fire"]
    with pytest.raises(GiveUp, match="fire"):  # until a session begins
        rig.present(choice(1))
    rig.begin(assignment(response="choice"))
    assert build(Box()).present(choice(2)).value == 1.0


def test_pause_and_stop_wait_for_the_trial_under_way() -> None:
    told: list[str] = []
    control = LocalControl(told.append)
    control.key("p")
    waited = threading.Event()
    reasons: list[str | None] = []

    def wait() -> None:
        reasons.append(control.wait())
        waited.set()

    threading.Thread(target=wait).start()
    assert not waited.wait(0.05)
    control.key("p")
    assert waited.wait(20)
    assert reasons == [None]
    control.interrupt()  # Ctrl-C
    assert control.wait() == "stopped at the rig"
    with pytest.raises(GiveUp, match="stopped at the rig"):
        control.sleep(60)
    control.interrupt()  # and again
    assert control.emergency
    assert told == [
        "paused: p goes on",
        "going on",
        "stopping after this trial",
        "emergency stop at the rig",
    ]


# --- the server is silent ----------------------------------------------------------


@pytest.mark.parametrize("in_trial", [False, True])
def test_the_rig_is_safe_when_a_grant_runs_out(
    build: Builder, tmp_path: Path, in_trial: bool
) -> None:
    """Whether the trial lasts too long or the server does not answer."""
    box = Stuck() if in_trial else Box()
    back = threading.Event()

    class Silent(Script):
        def send(self, kind: str, message: dict[str, Any]) -> Reply:
            if kind == "respond":
                assert back.wait(20)
            return super().send(kind, message)

    short = choice(0).model_copy(
        update={"grant": Grant(max_microlitre=5.0, valid_s=0.1)}
    )
    script = Silent(assignment(response="choice"), short, ack(0))
    rig, faults = build(box), list[Exception]()

    def run() -> None:
        with Outbox(tmp_path / "m.outbox") as outbox:
            try:
                Subject("mouse-1", rig, script, outbox=outbox).run_session()
            except Exception as fault:
                faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    assert soon(lambda: bool(box.safe))
    back.set()  # too late: nothing goes on by itself with an animal inside
    thread.join(20)
    (fault,) = faults
    assert "Look at the subject, then start again" in str(fault)
    # And never abandon: the session goes on.
    assert script.kinds == ["hello", "next", "respond"]
    assert script.heard[2][1]["outcome"] == ("aborted" if in_trial else "responded")
    assert len(box.valve) == (0 if in_trial else 1)


# --- a whole session ---------------------------------------------------------------


def test_a_session_in_a_rig_leaves_the_same_record_at_both_ends(
    build: Builder, journal: Journal, tmp_path: Path
) -> None:
    desk = open_desk(journal, study=small_study(SAFE_STUDY), mode="live")
    box = Box()
    with serving(desk) as url, Outbox(tmp_path / "m.outbox", to=url) as outbox:
        wire = Socket(url)
        subject = Subject("mouse-1", build(box), wire, outbox=outbox, rig="box-3")
        assert subject.run_session().reason == "session finished"
        wire.close()
    (ended,) = facts(journal, SessionEnded)
    assert ended.status == "finished"
    (opened,) = facts(journal, SessionOpened)
    # The box always goes right: 3 microlitres where that pays, until the session's
    # 10 are spent, which is less than the rig's own cap.
    pays = opened.right_rewarded
    told = [r["microlitre"] for f in facts(journal, Responded) for r in f.rewards if r]
    assert told == [ul for _, ul in box.valve] == [3.0, 3.0, 3.0, 1.0][: sum(pays)]
    assert not facts(journal, AlarmRaised)
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    happened = [line for line in map(json.loads, lines) if line["what"] == "happened"]
    assert len(happened) == len(facts(journal, Responded)) == 6 + 12
    assert sum(h["happened"]["delivered_microlitre"] for h in happened) == sum(told)
    for fact in facts(journal, Responded):
        (clocks,) = fact.clocks
        assert {"rig_s", "host_monotonic_s", "host_utc_s"} <= clocks.keys()
