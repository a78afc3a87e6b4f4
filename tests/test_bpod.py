"""A Bpod: its states, what it gives, what stops it; on a virtual one."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from bpod_rig import CENTRE, LEFT, RIGHT, VALVE, bpod, poke, trial
from hypothesis import given
from hypothesis import strategies as st
from virtual_bpod import Pokes, VirtualBpod

from subject_clients.rig.adapter import CanPlay, RigFault
from subject_clients.rig.bpod_link import without_nan
from subject_clients.rig.bpod_states import (
    is_reward,
    longest_s,
    most_rewards,
    states,
)
from subject_clients.rig.self_check import (
    BEHAVIOURS,
    SelfCheck,
    _trials,
    script,
)
from subject_clients.rig.valve import Calibration, opening_s
from subject_clients.tasks.go_no_go import GoNoGo
from subject_clients.tasks.task import limited
from subject_clients.tasks.trial import (
    NOTHING,
    Happened,
    Poke,
    Reinforcer,
    RigTrial,
)
from subject_clients.tasks.two_port import TwoPort

PORTS = {"left": LEFT, "right": RIGHT}
TASKS: dict[str, TwoPort | GoNoGo] = {
    "two_port": TwoPort(reward_microlitre=3, time_out_s=2, test_microlitre=1.5),
    "operant": GoNoGo(reward_microlitre=3, window_s=1.0, puff_s=0.1),
    "pavlovian": GoNoGo(reward_microlitre=3, window_s=1.0, pavlovian=True),
}


class Scripted:
    """Pokes as a script has it, and the centre first where there is one."""

    def __init__(self, delay_s: float, centre: bool) -> None:
        self.pokes: list[Poke] = []
        self._in = self._began = False
        self._delay_s, self._centre = delay_s, centre

    def __call__(self, outputs: dict[str, int]) -> Pokes:
        shown = outputs.get("SoftCode") == 1
        if self._centre and not outputs and not self._in:
            self._in = True
            return [(0.0, CENTRE, 1)]
        if shown:
            late = [p for p in self.pokes if p.after_s >= 0]
            leaves = [(0.01, CENTRE, 0)] if self._centre else []
            return leaves + [x for p in late for x in poke(PORTS[p.side], p.after_s)]
        if not outputs and not self._began:  # the delay
            self._began = True
            early = [p for p in self.pokes if p.after_s < 0]
            at_s = [(p, self._delay_s + p.after_s) for p in early]
            return [x for p, at in at_s for x in poke(PORTS[p.side], at)]
        return []

    def begin(self, pokes: list[Poke]) -> None:
        """A trial begins."""
        self.pokes, self._in, self._began = pokes, False, False


# --- valves --------------------------------------------------------------------


@given(st.floats(1, 6), st.floats(1, 6))
def test_more_liquid_takes_longer(one: float, other: float) -> None:
    valve = Calibration.of(VALVE)
    assert (one < other) <= (valve.open_s(one) <= valve.open_s(other))
    assert valve.microlitre(valve.open_s(one)) == pytest.approx(one)


def test_between_measurements_is_a_straight_line() -> None:
    valve = Calibration.of(VALVE)
    assert valve.open_s(3.0) == pytest.approx(0.026)
    assert valve.open_s(2.0) == pytest.approx(0.018)
    assert valve.microlitre(0.005) == pytest.approx(0.5)  # cut short
    assert valve.microlitre(0) == 0


@pytest.mark.parametrize("microlitre", [0.99, 6.01, math.nan])
def test_what_was_not_measured_is_refused(microlitre: float) -> None:
    with pytest.raises(ValueError, match="calibrated from 1 to 6 microlitre"):
        Calibration.of(VALVE).open_s(microlitre)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 10.0]], "two rows"),
        ([[1.0, 10.0], [2.0]], "two rows"),
        ([[1.0, 10.0], [2.0, 10.0]], "both grow"),
        ([[2.0, 10.0], [1.0, 20.0]], "both grow"),
        ([[0.0, 10.0], [1.0, 20.0]], "above 0"),
        ([[1.0, 10.0], [2.0, math.nan]], "both grow"),
        ([[1.0, 10.0], [2.0, math.inf]], "above 0"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(
    rows: list[list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bpod(left_valve=rows)


def test_what_a_spent_limit_leaves_over_is_not_given() -> None:
    valve = Calibration.of(VALVE)
    spent = limited(trial(), 0.4, 20.0)
    assert opening_s(valve, spent.left.microlitre, spent) == 0
    with pytest.raises(ValueError, match="calibrated"):
        opening_s(valve, 0.4, trial())


# --- states --------------------------------------------------------------------

volumes = st.one_of(st.just(0.0), st.floats(1, 6))
aversive = st.floats(0, 30)


@given(
    brings=st.tuples(*[st.builds(Reinforcer, volumes, aversive)] * 2),
    automatic=st.builds(Reinforcer, volumes),
    window=st.none() | st.floats(0.01, 5),
    options=st.fixed_dictionaries(
        {
            "centre_port": st.none() | st.just(CENTRE),
            "initiation_s": st.floats(0, 40),
            "delay_s": st.floats(0, 3),
            "window_s": st.floats(0, 40),
            "pause_s": st.floats(0, 3),
        }
    ),
    left_s=st.floats(0.1, 60),
)
def test_no_way_through_gives_two_rewards_or_takes_too_long(
    brings: tuple[Reinforcer, Reinforcer],
    automatic: Reinforcer,
    window: float | None,
    options: dict[str, Any],
    left_s: float,
) -> None:
    extra = {} if window is None else {"window_s": window}
    laid_out = RigTrial(
        "s/0",
        0,
        True,
        {},
        *brings,
        automatic=NOTHING if window is None else automatic,
        limit_microlitre=6.0,
        extra=extra,
    )
    layout = bpod(**options).layout()
    try:
        machine = states(laid_out, layout, {}, left_s)
    except ValueError as error:
        assert "too short" in str(error)  # noqa: PT017 - most trials have none
        return
    assert most_rewards(machine) <= 1
    assert longest_s(machine) <= left_s + 1e-6
    for state in machine:
        opens = any(name.startswith("Valve") for name in state.outputs)
        assert opens == is_reward(state)
        assert not opens or state.timer_s <= 0.050


def test_a_trial_that_cannot_be_done_in_time_is_a_fault() -> None:
    with pytest.raises(ValueError, match="too short"):
        states(trial(), bpod(delay_s=1.0).layout(), {}, 1.1)
    both = RigTrial("s", 0, True, {}, automatic=Reinforcer(2.0), limit_microlitre=3)
    with pytest.raises(ValueError, match="window of licks"):
        states(both, bpod().layout(), {}, 20.0)


# --- behaviours, and what the valve says ------------------------------------------


@pytest.mark.parametrize("centre", [None, CENTRE])
@pytest.mark.parametrize("name", TASKS)
def test_every_behaviour_is_given_what_the_task_says(
    name: str, centre: int | None
) -> None:
    task, delay_s = TASKS[name], 0.3
    mouse = Scripted(delay_s, centre is not None)
    rewards = 0
    with VirtualBpod(mouse) as box:
        rig = bpod(box.port, centre_port=centre, delay_s=delay_s).open()
        for behaviour in BEHAVIOURS:
            for one in _trials(task, behaviour):
                laid_out = limited(task.lay_out(one), 5.0, 20.0)
                pokes = script(behaviour, laid_out)
                mouse.begin(pokes)
                before = len(box.rewards)
                rig.next_trial(laid_out)
                happened = rig.what_happened()
                expected = task.earns(laid_out, pokes).microlitre
                given = box.rewards[before:]
                rewards += len(given)
                _compare(pokes, happened, expected, given)
        rig.close()
    assert rewards >= 6


def _compare(
    pokes: list[Poke],
    happened: Happened,
    expected: float,
    given: list[tuple[int, float]],
) -> None:
    ordered = [Calibration.of(VALVE).open_s(expected) * 1000] if expected else []
    assert [ms for _, ms in given] == pytest.approx(ordered, abs=0.11)
    assert happened.delivered_microlitre == expected
    early = any(poke.after_s < 0 for poke in pokes)
    assert (happened.outcome == "premature") == early
    counts = bool(happened.counts)  # licks, on the right
    assert not (counts and happened.side)
    heard = [p.after_s for p in pokes if not counts or p.side == "right"]
    if happened.outcome == "responded" and heard:
        assert happened.response_time_s == pytest.approx(min(heard), abs=0.001)
    assert happened.counts.get("licks", len(heard)) == len(heard)


def test_times_and_sides_are_those_of_the_clock_of_bpod() -> None:
    def mouse(outputs: dict[str, int]) -> Pokes:
        if outputs.get("SoftCode") == 1:
            return [(0.15, CENTRE, 0), *poke(RIGHT, 0.4)]
        return [(0.5, CENTRE, 1)] if not outputs else []

    with VirtualBpod(mouse) as box:
        rig = bpod(box.port, centre_port=CENTRE, delay_s=0.25).open()
        for begun_s in (0.0, 1.176):  # the second when the first is over
            rig.next_trial(trial(right=3.0))
            happened = rig.what_happened()
            assert happened.side == "right"
            assert happened.reaction_time_s == pytest.approx(0.15)
            assert happened.response_time_s == pytest.approx(0.4)
            assert happened.delivered_after_s == pytest.approx(1.15)
            assert happened.rig_clock_s == pytest.approx(begun_s + 0.75)
        rig.close()


def test_a_scripted_subject_pokes_through_virtual_events() -> None:
    """In real time, since the script is played by this computer."""
    task = TwoPort(reward_microlitre=3)
    with VirtualBpod(speed=1) as box:
        rig = bpod(box.port, window_s=0.8, centre_port=CENTRE).open()
        assert isinstance(rig, CanPlay)
        for behaviour in ("double", "premature"):
            trials = [limited(task.lay_out(t), 5, 5) for t in _trials(task, behaviour)]
            for laid_out in trials[:2]:
                rig.play(pokes := script(behaviour, laid_out))
                rig.next_trial(laid_out)
                happened = rig.what_happened()
                expected = task.earns(laid_out, pokes).microlitre
                assert happened.delivered_microlitre == expected
                assert (happened.outcome == "premature") == (behaviour == "premature")
        assert len(box.rewards) == 2
        rig.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_the_self_check_passes(name: str) -> None:
    with VirtualBpod(speed=1) as box:
        rig = bpod(box.port, window_s=0.8, centre_port=CENTRE).open()
        task = TASKS[name].model_copy(update={"time_out_s": 0.3})
        findings = list(SelfCheck(rig, task, 5.0).run())
        assert not [fault for finding in findings for fault in finding.faults]
        assert sum(finding.rewards for finding in findings) == len(box.rewards)
        rig.close()


# --- what it is shown -------------------------------------------------------------

shown: list[Any] = []
"""What the lab's functions below were called with."""


def show(stimulus: dict[str, Any]) -> dict[str, int]:
    """A lab's stimulus: an LED as bright as its angle."""
    shown.append(stimulus)
    return {"PWM2": round(stimulus["angle_deg"])}


def open_a_valve(_: dict[str, Any]) -> dict[str, int]:
    """What no stimulus may do."""
    return {"Valve1": 1}


def nonsense(_: dict[str, Any]) -> dict[str, int]:
    """An output that no Bpod has."""
    return {"Laser9": 1}


def test_stimuli_come_with_outputs_and_soft_codes(tmp_path: Path) -> None:
    lit: list[int] = []
    raw = tmp_path / "raw.jsonl"

    def mouse(outputs: dict[str, int]) -> Pokes:
        lit.append(outputs.get("PWM2", 0))
        return poke(RIGHT, 0.2) if outputs.get("BNC1") else []

    shown.clear()
    with VirtualBpod(mouse) as box:
        section = bpod(
            box.port,
            stimulus="test_bpod:show",
            on_soft_code="test_bpod:nobody_here",
            onset_outputs={"BNC1": 1, "SoftCode": 7},
            over_outputs={"SoftCode": 9},
            serial_messages=[[1, 5, 65, 66]],
            raw=str(raw),
        )
        with pytest.raises(RigFault, match="on_soft_code"):
            section.open()
        rig = section.model_copy(update={"on_soft_code": "test_bpod:hear"}).open()
        laid_out = trial()
        laid_out.stimulus["angle_deg"] = 45.0
        rig.next_trial(laid_out)
        assert rig.what_happened().side == "right"
        rig.close()
    assert shown == [{"angle_deg": 45.0}, 7, 9]
    assert lit == [0, 45, 0]
    account = json.loads(raw.read_text())
    assert account["uid"] == "s/0"
    assert account["States timestamps"]["omission"] == [[None, None]]


def hear(code: int) -> None:
    """A lab's handler of soft codes."""
    shown.append(code)


@pytest.mark.parametrize("name", ["open_a_valve", "nonsense"])
def test_a_stimulus_cannot_give_water(name: str) -> None:
    with VirtualBpod() as box:
        rig = bpod(box.port, stimulus=f"test_bpod:{name}").open()
        with pytest.raises(RigFault, match="stimulus"):
            rig.next_trial(trial())
        with pytest.raises(RigFault, match="no trial"):
            rig.what_happened()
        rig.close()
        assert not box.runs


def test_what_is_no_json_becomes_none() -> None:
    assert without_nan({"a": (math.nan, 1.0), "b": [{"c": math.nan}]}) == {
        "a": [None, 1.0],
        "b": [{"c": None}],
    }
