"""A pyboard by CPython: runs pyControl's own board framework, unmodified.

``virtual_pyboard.py TREE TASK``: commands come by standard input, data goes to standard
output, and each change of a valve to standard error, as ``valve side on ms``.
"""

import builtins
import collections
import contextlib
import json
import os
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

START_S = time.monotonic()
POKE_MS = 200
"""From the LED to the poke on the right; there are more of them after it."""


def _millis() -> int:
    return round((time.monotonic() - START_S) * 1000)


class Pin:
    """A pin; outputs tell of changes, inputs call whoever listens."""

    IN = OUT = PULL_NONE = PULL_UP = PULL_DOWN = 0

    def __init__(self, name: str, *_: Any, **__: Any) -> None:
        self.name, self.level = name, False
        self.heard: Callable[[Any], None] | None = None

    def value(self, level: bool | None = None) -> bool:
        """Read it, or set it."""
        if level is not None and level != self.level:
            self.level = bool(level)
            if self.heard is not None:
                self.heard(self)
            if self.name.endswith("SOL"):
                told = f"valve {self.name} {int(self.level)} {_millis()}\n"
                os.write(2, told.encode())
            elif self.name == "left LED" and self.level:
                threading.Thread(target=_mouse, daemon=True).start()
        return self.level


def _mouse() -> None:
    """Pokes right again and again."""
    for _ in range(6):
        time.sleep(POKE_MS / 1000)
        for level in (True, False):
            pins["right"].value(level)
            time.sleep(0.02)


pins: dict[str, Any] = {}


class Usb:
    """The serial line; when the host dies it just says nothing."""

    def __init__(self) -> None:
        self._heard = bytearray()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while content := os.read(0, 4096):
            self._heard += content

    def any(self) -> int:
        """How much has come."""
        return len(self._heard)

    def read(self, count: int) -> bytes:
        """Some of it."""
        return self.recv(count)

    def recv(self, count: int, timeout: int = 0) -> bytes:
        """All of it."""
        del timeout
        deadline_s = time.monotonic() + 1
        while len(self._heard) < count and time.monotonic() < deadline_s:
            time.sleep(0.0002)
        content = bytes(self._heard[:count])
        del self._heard[:count]
        return content

    def send(self, content: bytes) -> None:
        """Data; nobody may listen."""
        with contextlib.suppress(BrokenPipeError):
            os.write(1, content)

    write = send

    def setinterrupt(self, _: int) -> None:
        """Nothing."""


class Timer:
    """Calls back each millisecond."""

    def __init__(self, _: int) -> None:
        self._on = False

    def init(self, freq: int) -> None:
        """Start."""
        self._pause_s, self._on = 1 / freq, True

    def callback(self, tick: Callable[[Any], None]) -> None:
        """Whom to call."""

        def run() -> None:
            while self._on:
                time.sleep(self._pause_s)
                tick(self)

        threading.Thread(target=run, daemon=True).start()

    def deinit(self) -> None:
        """Stop."""
        self._on = False


class ExtInt:
    """An interrupt by a pin."""

    IRQ_RISING = IRQ_FALLING = IRQ_RISING_FALLING = 0

    def __init__(self, pin: Pin, *_: Any) -> None:
        pin.heard = _[-1]


def _shims() -> None:
    pyb: Any = types.ModuleType("pyb")
    pyb.Pin, pyb.USB_VCP, pyb.Timer, pyb.ExtInt = Pin, Usb, Timer, ExtInt
    pyb.millis, pyb.rng = _millis, lambda: 0
    pyb.elapsed_millis = lambda since: _millis() - since
    micropython: Any = types.ModuleType("micropython")
    micropython.native = lambda function: function
    sys.modules |= {"pyb": pyb, "ujson": json, "ucollections": collections}
    sys.modules["micropython"] = micropython
    builtins.const = lambda value: value  # type: ignore[attr-defined]
    builtins.micropython = micropython  # type: ignore[attr-defined]


def _hardware() -> None:
    from pyControl.hardware import (  # type: ignore[import-not-found]
        Digital_input,
        Digital_output,
    )

    definition: Any = types.ModuleType("hardware_definition")
    for side in ("left", "right"):
        port = types.SimpleNamespace(
            input=Digital_input(side, rising_event=f"{side}_poke"),
            LED=Digital_output(f"{side} LED"),
            SOL=Digital_output(f"{side} SOL"),
        )
        pins[side] = port.input.pin
        setattr(definition, f"{side}_poke", port)
    sys.modules["hardware_definition"] = definition


def main(tree: str, task: str) -> None:
    """Load framework and task, tell names and numbers in one line, then run."""
    _shims()
    sys.path.insert(0, str(Path(tree) / "source"))
    import pyControl.framework as fw  # type: ignore[import-not-found]
    import pyControl.state_machine as sm  # type: ignore[import-not-found]

    _hardware()
    task_file = types.ModuleType("task_file")
    exec(compile(Path(task).read_text(), task, "exec"), task_file.__dict__)  # noqa: S102
    sm.setup_state_machine(task_file)
    about = {"states": sm.states, "events": sm.events, "variables": vars(sm.variables)}
    os.write(1, json.dumps(about).encode() + b"\n")
    fw.run()
    os.write(1, b"\x04")


if __name__ == "__main__":
    main(*sys.argv[1:])
