"""The rig's self-check by scripted subjects, and its file."""

from pathlib import Path
from typing import Any

import pytest
from box import Blind, Box, Eager, Generous, Swapped, TwoRewards
from rigs import RIG_FILE, TASK

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.config import RigFile
from subject_clients.rig.self_check import BEHAVIOURS, SelfCheck, has_passed, record
from subject_clients.tasks.go_no_go import GoNoGo
from subject_clients.tasks.two_port import TwoPort

# --- self-check --------------------------------------------------------------------


@pytest.mark.parametrize(
    "task", [TASK, TwoPort(test_microlitre=1, time_out_s=1), GoNoGo(low_hz=0)]
)
def test_a_sound_rig_passes_its_check(task: Any) -> None:
    box = Box()
    findings = list(SelfCheck(box, task, 4.0).run())
    assert [finding.behaviour for finding in findings] == list(BEHAVIOURS)
    assert [finding.faults for finding in findings] == [()] * 6
    by_name = {finding.behaviour: finding for finding in findings}
    assert by_name["never"].rewards == by_name["premature"].rewards == 0
    assert by_name["double"].rewards == by_name["perfect"].rewards > 0
    assert box.safe == ["the self-check is over"]


@pytest.mark.parametrize(
    ("box", "caught_by"),
    [
        (TwoRewards, {"double"}),
        (Eager, {"premature"}),
        (Generous, {"left", "right", "double", "perfect"}),
        (Swapped, {"left", "right", "double", "perfect"}),
        (Blind, {"never"}),
    ],
)
def test_a_rig_that_is_not_as_it_should_be_does_not_pass(
    box: type[Box], caught_by: set[str]
) -> None:
    findings = SelfCheck(box(), TASK, 4.0).run()
    assert {one.behaviour for one in findings if not one.passed} == caught_by


def test_who_cannot_play_is_checked_by_hand() -> None:
    box = Box()
    asked: list[str] = []

    class ByHand:
        """Somebody at the rig does what is asked, by the box's own script."""

        next_trial = box.next_trial
        what_happened = box.what_happened
        safe_state = box.safe_state
        close = box.close

    def ask(what: str) -> None:
        asked.append(what)
        box.play([])

    finding = SelfCheck(ByHand(), TASK, 4.0, ask=ask).check("never")
    assert finding.passed
    assert asked == ["Do nothing in this trial. Enter when ready"] * 7
    with pytest.raises(ValueError, match="by hand"):
        SelfCheck(ByHand(), TASK, 4.0).check("left")


def test_a_check_holds_for_the_file_that_passed_it(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG_FILE.format(url="http://127.0.0.1:5000"))
    file = RigFile(path)
    assert not has_passed(file)
    record(file, list(SelfCheck(Box(), TASK, 4.0).run()))
    assert has_passed(file)
    path.write_text(path.read_text() + "\n")
    assert not has_passed(RigFile(path))
    record(file, list(SelfCheck(Eager(), TASK, 4.0).run()))
    assert not has_passed(file)


# --- the file ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ('"callable"', '"lever"', "hardware is 'lever', expected one of bpod"),
        ('"two_port"', '"maze"', "task is 'maze', expected one of fly_group"),
        ("day_microlitre = 30", "day_microlitre = 3", "trial_microlitre <="),
        ("reward_microlitre = 3", "reward = 3", "task.reward: Extra inputs"),
        ("[limits]", "[limit]", "limits: Field required"),
        ("[limits]", "[limits", "cannot read the rig's file"),
    ],
)
def test_a_faulty_file_says_what_is_wrong(
    tmp_path: Path, was: str, now: str, expected: str
) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG_FILE.format(url="u").replace(was, now))
    with pytest.raises(ValueError, match=r"rig\.toml") as fault:
        RigFile(path)
    assert expected in str(fault.value)


def test_functions_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    for now, expected in (
        ("box:no", "hardware.run_trial is box:no"),
        ("nowhere:run", "No module named"),
        ("box:LIMIT", "has no attribute"),
    ):
        path.write_text(RIG_FILE.format(url="u").replace("box:run_trial", now))
        with pytest.raises(RigFault, match=expected):
            RigFile(path).hardware().open()
    path.write_text(RIG_FILE.format(url="u").replace("box:run_trial", "box"))
    with pytest.raises(ValueError, match=r"hardware.run_trial: String should match"):
        RigFile(path).hardware()
