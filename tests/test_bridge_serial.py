"""A serial board: the example sketch as it is, compiled, behind a pseudo-terminal."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board import (
    AVERSIVE,
    EMERGENCY,
    LEFT_VALVE,
    LEVEL,
    RIGHT_SENSOR,
    RIGHT_VALVE,
    STIMULUS,
    Board,
    compiled,
    soon,
)

from subject_clients.rig import bridge
from subject_clients.rig.adapter import CanPlay, HasFreeReward, RigFault
from subject_clients.rig.bridge import BridgeRig
from subject_clients.rig.self_check import SelfCheck
from subject_clients.rig.serial_board import SerialBoard, framed, unframed
from subject_clients.tasks.go_no_go import GoNoGo
from subject_clients.tasks.trial import NOTHING, Poke, Reinforcer, RigTrial
from subject_clients.tasks.two_port import TwoPort

MS_PER_MICROLITRE = 8.0
GRAIN_MS = 0.3
"""How well the log of the pins knows an opening."""
WATCHDOG_S = 1.5

Boards = Callable[[float], Board]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sketch, compiled once."""
    return compiled(tmp_path_factory.mktemp("sketch"))


@pytest.fixture
def switch_on(program: Path, tmp_path: Path) -> Iterator[Boards]:
    """Switches on a board whose clock has a speed."""
    with contextlib.ExitStack() as stack:
        yield lambda speed: stack.enter_context(Board(program, tmp_path, speed))


def opened(board: Board, **options: Any) -> BridgeRig:
    return SerialBoard(port=board.port, boot_s=0.1, **options).open()


def trial(
    left: float = 0.0, right: float = 3.0, uid: str = "s/0", **fields: Any
) -> RigTrial:
    fields = {"limit_microlitre": max(left, right), "valid_s": 20.0, **fields}
    return RigTrial(uid, 0, True, {}, Reinforcer(left), Reinforcer(right), **fields)


# --- what scripted subjects are given ------------------------------------------------


@pytest.mark.parametrize(
    "task",
    [
        TwoPort(reward_microlitre=3, test_microlitre=1, time_out_s=0.1),
        pytest.param(GoNoGo(window_s=0.5, puff_s=0.1), marks=pytest.mark.slow),
        pytest.param(
            GoNoGo(window_s=0.5, pavlovian=True, reinforce="size"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_behaviour_earns_what_its_task_says(switch_on: Boards, task: Any) -> None:
    """By the pins of the valves, trial by trial; the board's clock is 5 times ours."""
    board = switch_on(5)
    rig = opened(board, response_s=0.5, alive_s=0.05)
    expected: list[float] = []

    class Counted(type(task)):  # type: ignore[misc]
        def earns(self, trial: RigTrial, pokes: Any) -> Reinforcer:
            earned: Reinforcer = super().earns(trial, pokes)
            expected.append(earned.microlitre)
            return earned

    findings = list(SelfCheck(rig, Counted(**task.model_dump()), 4.0).run())
    assert [finding.faults for finding in findings] == [()] * 6
    rig.close()
    wanted_ms = [int(ul * MS_PER_MICROLITRE + 0.01) for ul in expected if ul]
    assert len(wanted_ms) > 5
    assert [one.ms for one in board.openings] == pytest.approx(wanted_ms, abs=GRAIN_MS)
    puffs = getattr(task, "puff_s", 0) or getattr(task, "time_out_s", 0)
    assert board.was_high(AVERSIVE) == bool(puffs)


def test_a_trial_by_hand_is_told_with_its_times(switch_on: Boards) -> None:
    """Real sensors, through the debouncing; a bounce is no poke."""
    board = switch_on(1)
    rig = opened(board)
    assert isinstance(rig, CanPlay)
    assert isinstance(rig, HasFreeReward)
    shown = trial(right=2.0)
    shown = RigTrial(**{**vars(shown), "stimulus": {"orientation_deg": 90.0}})
    rig.next_trial(shown)
    assert soon(lambda: board.was_high(STIMULUS))
    onset = next(c for c in board.changes if c.pin == STIMULUS)
    for _ in range(3):  # shorter than the debouncing
        board.sense(RIGHT_SENSOR)
        board.sense(RIGHT_SENSOR, False)
    time.sleep(0.1)
    assert not board.openings
    board.poke(RIGHT_SENSOR)
    happened = rig.what_happened()
    rig.close()
    (opening,) = board.openings
    assert (happened.outcome, happened.side) == ("responded", "right")
    assert happened.delivered_microlitre == 2.0
    assert opening.pin == RIGHT_VALVE
    assert opening.ms == pytest.approx(16, abs=GRAIN_MS)
    assert happened.response_time_s is not None
    assert happened.response_time_s == pytest.approx(
        opening.opened_s - onset.at_s - 0.005, abs=0.05
    )
    assert happened.rig_clock_s == pytest.approx(onset.board_s, abs=0.002)
    assert happened.delivered_after_s is not None
    assert happened.delivered_after_s >= happened.response_time_s + 0.19
    assert happened.counts["pokes"] == 1
    assert max(c.level for c in board.changes if c.pin == LEVEL) == 128  # 90 of 180


# --- the computer dies ------------------------------------------------------------


@contextlib.contextmanager
def host(board: Board, **fields: Any) -> "Iterator[subprocess.Popen[bytes]]":
    """A computer that runs one trial on a board."""
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, str(here / "serial_host.py"), board.port, json.dumps(fields)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(here.parent)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"runs\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_frozen_computer_leaves_one_reward(
    switch_on: Boards, how: signal.Signals
) -> None:
    """The mouse goes on poking; the valve is open in between, and closes in time."""
    board = switch_on(0.75)  # so that an opening of 48 ms can be hit
    fields = {"right": [6.0], "left": [6.0], "limit_microlitre": 6.0}
    with host(board, **fields) as process:
        assert soon(lambda: board.was_high(STIMULUS))
        board.sense(RIGHT_SENSOR)
        assert soon(lambda: board.is_open)
        process.send_signal(how)
        begun = time.monotonic()
        for _ in range(8):
            board.poke(RIGHT_SENSOR)
        until = begun + WATCHDOG_S / 0.75 + 0.5
        assert soon(lambda: time.monotonic() > until)
        (opening,) = board.openings
        assert opening.ms == pytest.approx(48, abs=GRAIN_MS)
        assert opening.closed_s - begun < WATCHDOG_S / 0.75


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_watchdog_ends_a_trial_before_its_reward(
    switch_on: Boards, how: signal.Signals
) -> None:
    """The reward would come by itself after 2 s; the board waits for 1.5."""
    board = switch_on(1)
    fields = {
        "automatic": [4.0],
        "limit_microlitre": 4.0,
        "extra": {"window_s": 2.0},
    }
    with host(board, **fields) as process:
        assert soon(lambda: board.was_high(STIMULUS))
        process.send_signal(how)
        stopped = time.monotonic()

        def dark() -> bool:
            last = [c for c in board.changes if c.pin == STIMULUS][-1]
            return not last.level

        assert soon(dark, 5)
        dark_at = [c for c in board.changes if c.pin == STIMULUS][-1].at_s
        assert WATCHDOG_S - 0.3 < dark_at - stopped < WATCHDOG_S + 0.3
        assert soon(lambda: time.monotonic() > stopped + 2.4)
        assert not board.openings
        if how == signal.SIGSTOP:  # it comes back, and is told the truth
            process.send_signal(signal.SIGCONT)
            assert process.stdout is not None
            assert b"outcome='aborted'" in process.stdout.readline()


# --- at once ------------------------------------------------------------------------


class Away:
    """Waits for the end of a trial in a thread of its own."""

    def __init__(self, rig: BridgeRig) -> None:
        self.fault = ""
        self._thread = threading.Thread(target=self._run, args=(rig,))
        self._thread.start()

    def _run(self, rig: BridgeRig) -> None:
        try:
            rig.what_happened()
        except RigFault as fault:
            self.fault = str(fault)

    def join(self) -> str:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.fault


@pytest.mark.parametrize("who", ["computer", "button"])
def test_an_emergency_closes_the_valve_at_once(switch_on: Boards, who: str) -> None:
    board = switch_on(0.1)  # an opening of 48 ms lasts 0.48 s
    rig = opened(board, answer_s=5.0)
    rig.next_trial(trial(right=6.0))
    away = Away(rig)
    assert soon(lambda: board.was_high(STIMULUS))
    board.sense(RIGHT_SENSOR)
    assert soon(lambda: board.is_open)
    if who == "computer":
        rig.safe_state("emergency")
    else:
        board.sense(EMERGENCY)
    assert soon(lambda: board.openings)
    (opening,) = board.openings
    assert opening.ms < 30
    fault = away.join()
    if who == "computer":
        assert fault == "made safe within the trial: emergency"
        with pytest.raises(RigFault, match="in its safe state"):
            rig.give_reward(1.0)
    else:
        # What became of the trial follows the fault at once, and may be heard with it.
        assert not fault or "the emergency input is active" in fault
        board.sense(EMERGENCY, False)  # nothing goes on by itself
        with pytest.raises(RigFault, match="emergency input is active"):
            rig.next_trial(trial(uid="s/1"))
    rig.close()
    assert len(board.openings) == 1


def test_free_rewards_come_one_at_a_time(switch_on: Boards) -> None:
    """Also where a trial wants to open a valve at the same moment."""
    board = switch_on(0.5)
    rig = opened(board)
    rig.give_reward(2.0)
    rig.next_trial(trial(right=2.0))
    assert soon(lambda: board.was_high(STIMULUS))
    free = threading.Thread(target=rig.give_reward, args=(6.0,))
    free.start()
    assert soon(lambda: board.is_open)
    board.sense(RIGHT_SENSOR)
    assert rig.what_happened().delivered_microlitre == 2.0
    free.join()
    rig.close()
    pins = [one.pin for one in board.openings]
    assert pins == [LEFT_VALVE, LEFT_VALVE, RIGHT_VALVE]
    openings_ms = [one.ms for one in board.openings]
    assert openings_ms == pytest.approx([16, 48, 16], abs=GRAIN_MS)


# --- a board that is not as it should be ----------------------------------------


def test_a_board_that_falls_silent_is_a_fault(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Board(program, tmp_path) as board:
        rig = opened(board, answer_s=0.3)
        monkeypatch.setattr(bridge, "SILENT_S", 0.8)
        rig.next_trial(trial())
        board.switch_off()
        with pytest.raises(RigFault, match=r"silent for 0.8 s"):
            rig.what_happened()
        with pytest.raises(RigFault, match=r"did not confirm .* look at it now"):
            rig.safe_state("emergency")
        rig.close()


def test_the_computer_asks_first_what_the_board_can(switch_on: Boards) -> None:
    board = switch_on(1)
    rig = opened(board)
    with pytest.raises(RigFault, match=r"gives 6 microlitre at most, and 8 are wanted"):
        rig.next_trial(trial(right=8.0))
    wordy = RigTrial("s/1", 0, True, {"a" * 50: 1.0, "b" * 250: 2.0})
    with pytest.raises(RigFault, match=r"takes 360: give its stimulus fewer"):
        rig.next_trial(wordy)
    long = trial(uid="a-very-long-name-of-a-session-of-a-subject/1234567", right=0.0)
    rig.play([Poke(0.05, "right")])
    rig.next_trial(long)
    assert rig.what_happened().side == "right"
    rig.close()
    with pytest.raises(RigFault, match=r"cannot open .*dialout"):
        SerialBoard(port="/dev/no-board").open()


def test_no_answer_and_another_version_are_told() -> None:
    owner, slave = os.openpty()
    port = os.ttyname(slave)
    with pytest.raises(RigFault, match=r"no rig said hello within 0.3 s"):
        SerialBoard(port=port, boot_s=0, open_s=0.3).open()
    more_owner, more_slave = os.openpty()
    port = os.ttyname(more_slave)
    answered = threading.Thread(target=_says_version_2, args=(more_owner,))
    answered.start()
    with pytest.raises(RigFault, match=r"old box speaks version 2"):
        SerialBoard(port=port, boot_s=0, open_s=5).open()
    answered.join()
    for fd in (owner, slave, more_owner, more_slave):
        os.close(fd)


def _says_version_2(owner: int) -> None:
    line = b""
    while (content := unframed(line.strip())) is None:
        line = line * (not line.endswith(b"\n")) + os.read(owner, 1)
    hello = {**json.loads(content), "version": 2, "name": "old box"}
    hello |= dict.fromkeys(("trial_microlitre", "session_microlitre", "watchdog_s"), 1)
    os.write(owner, framed(json.dumps(hello).encode()))


def test_a_missing_package_is_told_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(RigFault, match=r"pip install 'penchant\[rig\]'"):
        SerialBoard(port="x").open()
    assert NOTHING.microlitre == 0
