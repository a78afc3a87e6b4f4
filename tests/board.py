"""The example sketch on a computer: compiled as it is, at the end of a pseudo-terminal.

``Board.openings`` is the truth about its valves: it comes from the pins, not from what
the sketch says.
"""

import contextlib
import os
import shutil
import subprocess
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import pytest

HERE = Path(__file__).parent
SKETCH = HERE.parent / "examples" / "arduino" / "penchant_two_port"
LEFT_VALVE, RIGHT_VALVE, STIMULUS, LEVEL, AVERSIVE = 8, 9, 12, 5, 7
LEFT_SENSOR, RIGHT_SENSOR, EMERGENCY = 2, 3, 4


def compiled(folder: Path) -> Path:
    """The sketch as a program; skips where there is no compiler."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++ to compile the sketch with")
    program = folder / "board"
    sources = [SKETCH / "penchant_two_port.ino", HERE / "arduino" / "main.cpp"]
    flags = ["-std=c++11", "-O1", "-Wall", "-Wextra", "-Werror", "-x", "c++"]
    command = [
        "g++",
        *flags,
        f"-I{HERE / 'arduino'}",
        "-o",
        *map(str, [program, *sources]),
    ]
    subprocess.run(command, check=True)
    return program


class Change(NamedTuple):
    """Of an output: board's and computer's time in seconds."""

    board_s: float
    at_s: float
    pin: int
    level: int


class Opening(NamedTuple):
    """Of a valve; ``closed_s`` is the computer's time (monotonic)."""

    pin: int
    ms: float
    opened_s: float
    closed_s: float


class Board:
    """A board that runs the sketch while the context lasts."""

    def __init__(self, program: Path, folder: Path, speed: float = 1.0) -> None:
        """``speed`` is that of its clock."""
        self._log, self._pipe = folder / "pins", folder / "inputs"
        self._log.unlink(missing_ok=True)
        self._log.touch()
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe)
        self._program, self._speed = program, speed

    def __enter__(self) -> Self:
        """Switch it on."""
        self._owner, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._process = subprocess.Popen(
            [self._program, self._log, self._pipe, str(self._speed)],
            env={"SERIAL_FD": str(self._owner)},
            pass_fds=[self._owner],
        )
        self._inputs = os.open(self._pipe, os.O_WRONLY)
        return self

    def __exit__(self, *_: object) -> None:
        """Switch it off."""
        self.switch_off()
        for fd in (self._owner, self._slave, self._inputs):
            os.close(fd)

    def switch_off(self) -> None:
        """As when it is unplugged, but for the port."""
        self._process.kill()
        self._process.wait()

    def sense(self, pin: int, there: bool = True) -> None:
        """What a sensor, or the emergency button, sees."""
        os.write(self._inputs, b"%d %d\n" % (pin, not there))

    def poke(self, pin: int) -> None:
        """In, and out 30 ms later."""
        self.sense(pin)
        time.sleep(0.03)
        self.sense(pin, False)

    @property
    def changes(self) -> list[Change]:
        """Of all outputs."""
        rows = [line.split() for line in self._log.read_text().splitlines(True)]
        return [
            Change(int(us) / 1e6, float(at), int(pin), int(level))
            for us, at, pin, level in (row for row in rows if len(row) == 4)
        ]

    @property
    def openings(self) -> list[Opening]:
        """Of valves, those that are over."""
        opened: dict[int, Change] = {}
        found = []
        for change in self.changes:
            if change.pin not in (LEFT_VALVE, RIGHT_VALVE):
                continue
            if change.level:
                opened[change.pin] = change
            else:
                start = opened.pop(change.pin)
                ms = (change.board_s - start.board_s) * 1000
                found.append(Opening(change.pin, ms, start.at_s, change.at_s))
        return found

    @property
    def is_open(self) -> bool:
        """Whether a valve is."""
        last = {change.pin: change.level for change in self.changes}
        return bool(last.get(LEFT_VALVE) or last.get(RIGHT_VALVE))

    def was_high(self, pin: int) -> bool:
        """Whether an output ever was."""
        return any(change.pin == pin and change.level for change in self.changes)


def soon(holds: Callable[[], object], seconds: float = 20) -> bool:
    """Whether something comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(ValueError):  # half a line of the log
            if holds():
                return True
        time.sleep(0.005)
    return False
