"""The task file on pyControl's own board framework, where there is a checkout of it.

``PYCONTROL_TREE`` names a folder with ``source/pyControl``; pyControl is GPL-3, so that
none of it is here.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from virtual_pycontrol import TASK

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.pycontrol import PyControl, PyControlRig
from subject_clients.rig.pycontrol_board import Switchboard
from subject_clients.tasks.trial import Reinforcer, RigTrial

TREE = os.environ.get("PYCONTROL_TREE", "")
pytestmark = pytest.mark.skipif(
    not (Path(TREE) / "source" / "pyControl" / "framework.py").is_file(),
    reason="PYCONTROL_TREE names no checkout of pyControl",
)
_BOARD = Path(__file__).with_name("virtual_pyboard.py")
SECTION = PyControl(
    left_valve=[[1.0, 10.0], [6.0, 60.0]],
    right_valve=[[1.0, 10.0], [6.0, 60.0]],
    window_s=2.0,
)
TRIAL = RigTrial(
    "s/0",
    0,
    True,
    {"orientation_deg": 22.5},
    Reinforcer(),
    Reinforcer(3.0),
    limit_microlitre=3.0,
    valid_s=8.0,
)


class Message(NamedTuple):
    """What the board says."""

    kind: str
    content: str


class Pyboard:
    """The host's end of the line, and pyControl's GUI thread: polls every 10 ms."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_BOARD), TREE, str(TASK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            line += self._process.stdout.read(1)
        self._about = json.loads(line)
        both = self._about["states"] | self._about["events"]
        self._names = {number: name for name, number in both.items()}
        self.corrupt, self.said = 0, list[Message]()
        self.switchboard = Switchboard(self)
        self.silent = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def variables(self) -> list[str]:
        """Of the task file."""
        return list(self._about["variables"])

    def events(self) -> list[str]:
        """Of the task file."""
        return list(self._about["events"])

    def set_variable(self, v_name: str, v_value: float) -> None:
        """As pyControl frames it."""
        self._send("V", "a" + repr((v_name, v_value)))

    def trigger_event(self, event: str) -> None:
        """As pyControl frames it."""
        self._send("E", "a" + str(self._about["events"][event]))

    def _send(self, command: str, data: str) -> None:
        encoded = data.encode()
        checksum = sum(encoded)
        if self.corrupt > 0:
            self.corrupt, checksum = self.corrupt - 1, checksum ^ 1
        assert self._process.stdin is not None
        self._process.stdin.write(
            command.encode()
            + len(encoded).to_bytes(2, "little")
            + encoded
            + (checksum & 0xFFFF).to_bytes(2, "little")
        )

    def _poll(self) -> None:
        while not self.silent.wait(0.01):
            for message in self._messages():
                self._hear(message)
            self.switchboard.poll()

    def _messages(self) -> Iterator[Message]:
        stdout: Any = self._process.stdout
        while select.select([stdout], [], [], 0)[0] and stdout.read(1) == b"\x07":
            head = stdout.read(2) + stdout.read(2)
            content = b""
            while len(content) < int.from_bytes(head[2:], "little"):
                content += stdout.read(int.from_bytes(head[2:], "little"))
            assert sum(content) & 0xFFFF == int.from_bytes(head[:2], "little")
            yield Message(content[4:5].decode(), content[6:].decode())

    def _hear(self, message: Message) -> None:
        self.said.append(message)
        if message.kind == "S":
            self.switchboard.heard_state(self._names[int(message.content)])
        elif message.kind == "P":
            self.switchboard.heard_print(message.content)
        elif message.kind == "V":
            for name, value in json.loads(message.content).items():
                self.switchboard.heard_variable(name, value)

    def die(self) -> None:
        """Fall silent for good: the board goes on."""
        self.silent.set()
        self._thread.join(20)

    def close(self) -> list[tuple[str, int, int]]:
        """End it; returns side, level and ms of each change of a valve."""
        self.die()
        self._process.kill()
        _, told = self._process.communicate()
        lines = [line.split() for line in told.decode().splitlines()]
        changes = [one for one in lines if one[:1] == ["valve"]]
        return [(side, int(level), int(ms)) for _, side, _, level, ms in changes]


@pytest.fixture
def board() -> Iterator[Pyboard]:
    """A board that runs the task."""
    pyboard = Pyboard()
    yield pyboard
    pyboard.close()


def test_trials_on_the_framework_itself(board: Pyboard) -> None:
    """With commands that arrive damaged, which the framework drops in silence."""
    rig = PyControlRig(SECTION, board.switchboard, 0)
    for damaged in (0, 3, 0):
        board.corrupt = damaged
        rig.next_trial(TRIAL)
        happened = rig.what_happened()
        assert board.corrupt == 0
        assert happened.side == "right"
        assert happened.delivered_microlitre == pytest.approx(3.0, abs=0.5)
        assert happened.response_time_s == pytest.approx(0.2, abs=0.1)
        time.sleep(1.5)  # until the mouse's last poke is over
    changes = board.close()
    assert [level for _, level, _ in changes] == [1, 0] * 3
    opened = [off - on for (*_, on), (*_, off) in zip(changes[::2], changes[1::2])]  # noqa: B905
    print("valve ms", opened)
    assert all(ms == pytest.approx(30, abs=15) for ms in opened)


def test_a_host_that_dies_leaves_one_reward(board: Pyboard) -> None:
    rig = PyControlRig(SECTION, board.switchboard, 0)
    rig.next_trial(TRIAL)
    board.die()
    time.sleep(4)  # the mouse pokes on, the watchdog bites
    changes = board.close()
    assert len(changes) in (0, 2)
    assert [level for _, level, _ in changes] in ([], [1, 0])


def test_an_emergency_on_the_framework_itself(board: Pyboard) -> None:
    rig = PyControlRig(SECTION, board.switchboard, 0)
    rig.next_trial(TRIAL)
    begun_s = time.monotonic()
    rig.safe_state("emergency")
    with pytest.raises(RigFault, match="made safe"):
        rig.what_happened()
    while board.switchboard.state != "safe":
        assert time.monotonic() < begun_s + 5
        time.sleep(0.001)
    print("safe after ms", round((time.monotonic() - begun_s) * 1000, 1))
    time.sleep(1)
    assert not board.close()
