"""What stops a Bpod, what it gives beside trials, and what is told where it fails."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from bpod_rig import LEFT, RIGHT, SLOW_VALVE, bpod, poke, trial
from rigs import soon
from virtual_bpod import Pokes, VirtualBpod

from subject_clients.rig.adapter import HasFreeReward, RigFault
from subject_clients.rig.bpod import Bpod, BpodRig
from subject_clients.rig.config import RigFile
from subject_clients.rig.valve import Calibration
from subject_clients.tasks.trial import Happened

# --- what stops it ----------------------------------------------------------------


@pytest.mark.parametrize("when", ["before the poke", "valve open"])
def test_a_killed_host_leaves_one_reward_within_its_limit(when: str) -> None:
    """Bpod goes on by itself: the mouse pokes again and again."""

    def mouse(outputs: dict[str, int]) -> Pokes:
        if outputs.get("SoftCode") != 1:
            return []
        return [x for at in (0.5, 0.7, 1.2, 1.6) for x in poke(RIGHT, at)]

    here = Path(__file__).with_name("bpod_host.py")
    with VirtualBpod(mouse, speed=1) as box:
        host = subprocess.Popen(
            [sys.executable, str(here), box.port],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(here.parent.parent)},
        )
        assert host.stdout is not None
        assert host.stdout.readline() == b"runs\n"
        reached = box.running if when == "before the poke" else box.valve_open
        assert reached.wait(20)
        host.kill()
        assert host.wait(20) < 0
        host.stdout.close()
        if when == "before the poke":
            assert not box.rewards
        assert box.over.wait(20)
        limit_ms = Calibration.of(SLOW_VALVE).open_s(3.0) * 1000
        ((port, ms),) = box.rewards
        assert port == RIGHT
        assert ms == pytest.approx(limit_ms, abs=0.11)


class Away:
    """Runs a trial in a thread of its own, as the session loop does."""

    def __init__(self, rig: BpodRig) -> None:
        self.fault: Exception | None = None
        self.happened: Happened | None = None
        self._rig = rig
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.happened = self._rig.what_happened()
        except RigFault as fault:
            self.fault = fault

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(20)
        assert not self._thread.is_alive()


stuck, go_on = threading.Event(), threading.Event()


def dawdle(_: int) -> None:
    """A lab's handler of soft codes that takes its time."""
    stuck.set()
    go_on.wait(20)


@pytest.mark.parametrize("busy", [False, True])
def test_an_emergency_closes_the_valve_at_once(busy: bool) -> None:
    """Also where the thread of the trial is stuck in code of the lab."""
    stuck.clear()
    go_on.clear()
    options: dict[str, Any] = {"left_valve": SLOW_VALVE, "right_valve": SLOW_VALVE}
    if busy:
        options |= {
            "on_soft_code": "test_bpod_safety:dawdle",
            "onset_outputs": {"BNC1": 1},
            "over_outputs": {"SoftCode": 1},
        }

    def mouse(outputs: dict[str, int]) -> Pokes:
        return poke(RIGHT, 0.05) if outputs.keys() & {"BNC1", "SoftCode"} else []

    with VirtualBpod(mouse, speed=1) as box:
        rig = bpod(box.port, **options).open()
        rig.next_trial(trial(6.0, 6.0))
        away = Away(rig)
        assert box.valve_open.wait(20)
        if busy:
            assert stuck.wait(20)
        rig.safe_state("emergency")
        assert box.over.wait(20)
        go_on.set()
        away.join()
        assert "made safe" in str(away.fault)
        ((_, ms),) = box.rewards
        assert ms < 500  # of 600
        shut = {("Valve1", 0), ("Valve3", 0)}
        assert soon(lambda: shut <= set(box.overrides))  # the second comes after
        with pytest.raises(RigFault, match="safe state"):
            rig.give_reward(2.0)
        rig.next_trial(trial(0.0, 0.0))  # it is not spoilt for good
        assert rig.what_happened().side == "right"
        rig.close()


def test_a_trial_laid_out_before_an_emergency_does_not_run() -> None:
    with VirtualBpod() as box:
        rig = bpod(box.port).open()
        rig.next_trial(trial())
        rig.safe_state("emergency")
        with pytest.raises(RigFault, match="made safe before"):
            rig.what_happened()
        rig.close()
        rig.close()
        assert not box.runs


def test_a_bpod_that_is_pulled_out_is_a_fault() -> None:
    with VirtualBpod(speed=1) as box:
        rig = bpod(box.port).open()
        rig.next_trial(trial())
        away = Away(rig)
        assert box.running.wait(20)
    away.join()
    assert "connection to Bpod failed" in str(away.fault)
    rig.close()


# --- free rewards -----------------------------------------------------------------


def test_free_rewards_wait_for_their_turn() -> None:
    def mouse(outputs: dict[str, int]) -> Pokes:
        return poke(RIGHT, 0.1) if outputs.get("SoftCode") == 1 else []

    valves = {"left_valve": SLOW_VALVE, "right_valve": SLOW_VALVE}
    with VirtualBpod(mouse, speed=1) as box:
        rig = bpod(box.port, free_port="left", **valves).open()
        assert isinstance(rig, HasFreeReward)
        rig.give_reward(1.0)
        ((port, ms),) = box.rewards
        assert port == LEFT
        assert ms == pytest.approx(100, abs=0.11)
        rig.next_trial(trial(1.0, 2.0))
        away = Away(rig)
        assert box.running.wait(20)
        rig.give_reward(1.0)
        rig.give_reward(1.5)
        away.join()
        assert away.happened is not None
        assert away.happened.delivered_microlitre == 2.0
        given = box.valves[1:]
        assert [port for port, *_ in given] == [RIGHT, LEFT, LEFT]
        ends = [end for _, _, end in given]
        begins = [begin for _, begin, _ in given]
        assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))
        with pytest.raises(RigFault, match="calibrated from 1 to 6"):
            rig.give_reward(0.5)
        rig.close()
        with pytest.raises(RigFault, match="safe state"):
            rig.give_reward(1.0)


# --- what is written of it ---------------------------------------------------------

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["bpod", "pycontrol"])
def test_the_example_is_a_rig(name: str) -> None:
    file = RigFile(ROOT / "examples" / "rigs" / f"{name}.toml")
    assert file.rig.hardware == name
    file.hardware()


def test_every_option_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "rigs-bpod-pycontrol.md").read_text()
    assert not [name for name in Bpod.model_fields if f"`{name}`" not in text]


# --- what is not there ------------------------------------------------------------


def test_a_missing_bpod_is_told_with_its_port() -> None:
    with pytest.raises(RigFault, match=r"no Bpod answers at /dev/no-bpod.*dialout"):
        bpod("/dev/no-bpod").open()


def test_a_missing_package_is_told_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pybpodapi", None)
    with pytest.raises(RigFault, match=r"pip install 'penchant\[bpod\]'"):
        bpod().open()


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"left_port": 7}, "Port7In, Valve7"),
        ({"onset_outputs": {"Wire1": 1}}, "Wire1"),
    ],
)
def test_ports_that_this_bpod_lacks_are_told(
    options: dict[str, Any], missing: str
) -> None:
    with VirtualBpod() as box, pytest.raises(RigFault, match=f"has no {missing};"):
        bpod(box.port, **options).open()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"right_port": 1}, "three different ports"),
        ({"centre_port": 3}, "three different ports"),
        ({"over_outputs": {"Valve2": 1}}, "opened by rewards only"),
        ({"onset_outputs": {"PWM1": 256}}, "less than or equal to 255"),
        ({"serial_messages": [[1, 2]]}, "serial_messages"),
        ({"stimulus": "no function"}, "pattern"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bpod(**options)


def test_its_output_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with VirtualBpod() as box:
        rig = bpod(box.port).open()
        rig.next_trial(trial())
        rig.what_happened()
        rig.close()
    assert sys.stdout is before
    assert not capsys.readouterr().out
