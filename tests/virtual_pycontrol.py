"""A box of pyControl in memory: runs a task file in a time of its own.

Written from what pyControl's documentation says of task files; none of its code is
here. :class:`Wire` stands for the serial line: it loses and delays what it is told to.
"""

import random
import sys
import types
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASK = Path(__file__).parents[1] / "examples" / "pycontrol" / "penchant_two_port.py"

State = namedtuple("State", "name time")  # noqa: PYI024 - as pyControl has them
Event = namedtuple("Event", "name time")  # noqa: PYI024
Print = namedtuple("Print", "data time")  # noqa: PYI024
Var = namedtuple("Var", "name value time")  # noqa: PYI024

Mouse = Callable[["Box"], list[tuple[int, str]]]
"""Somebody in the box: as the LED comes on, pokes in ms from then."""


class Output:
    """A LED or a valve."""

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self._changed, self.state = changed, False

    def on(self) -> None:
        """High."""
        self._set(True)

    def off(self) -> None:
        """Low."""
        self._set(False)

    def _set(self, state: bool) -> None:
        if state != self.state:
            self.state = state
            self._changed(state)


class Box:
    """Board and ports. ``valves`` is the truth: side, begin and end in ms."""

    def __init__(self, mouse: Mouse = lambda _: []) -> None:
        self.now_ms, self.running = 0, False
        self.valves: list[tuple[str, int, int]] = []
        self._mouse, self._opened = mouse, dict[str, int]()
        self._timers: list[tuple[int, str, str]] = []
        self._queue: list[str] = []
        self.said: list[tuple[str, Any]] = []
        self._moving = False
        self.v = types.SimpleNamespace()
        self.task = self._load()

    def _load(self) -> types.ModuleType:
        hw = types.ModuleType("hardware_definition")
        for side in ("left", "right"):
            ports = types.SimpleNamespace(
                LED=Output(self._lit if side == "left" else lambda _: None),
                SOL=Output(lambda on, side=side: self._valve(side, on)),  # type: ignore[misc]
            )
            setattr(hw, f"{side}_poke", ports)
        utility = types.ModuleType("pyControl.utility")
        for name in _WORDS:
            setattr(utility, name, getattr(self, f"_{name}", getattr(self, name, None)))
        utility.__dict__["v"] = self.v
        modules = {
            "hardware_definition": hw,
            "pyControl": types.ModuleType("pyControl"),
            "pyControl.utility": utility,
        }
        before = {name: sys.modules.get(name) for name in modules}
        sys.modules.update(modules)
        task = types.ModuleType("task_file")
        try:
            exec(compile(TASK.read_text(), str(TASK), "exec"), task.__dict__)  # noqa: S102
        finally:
            for name, module in before.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module
        return task

    def start(self) -> None:
        """Begin a run."""
        self.running = True
        self.task.run_start()
        self._enter(self.task.initial_state)

    def advance(self, ms: int) -> None:
        """Let time pass."""
        for _ in range(ms if self.running else 0):
            self.now_ms += 1
            due = sorted(timer for timer in self._timers if timer[0] <= self.now_ms)
            for timer in due:
                if timer in self._timers and self.running:
                    self._timers.remove(timer)
                    _, kind, name = timer
                    if kind == "state":
                        self._goto_state(name)
                    else:
                        self.event(name)

    def event(self, name: str) -> None:
        """An event happens."""
        if not self.running:
            return
        self.said.append(("events", Event(name, self.now_ms)))
        self._process(name)

    def stop(self) -> None:
        """The run ends, as it does when somebody presses Stop."""
        if self.running:
            self.running = False
            self.task.run_end()

    def _process(self, name: str) -> None:
        if not self.task.all_states(name):
            getattr(self.task, self.state)(name)

    def _enter(self, state: str) -> None:
        self.state = state
        self.said.append(("states", State(state, self.now_ms)))
        self._process("entry")

    def _lit(self, on: bool) -> None:
        if on:
            for after_ms, side in self._mouse(self):
                self._set_timer(f"{side}_poke", after_ms)

    def _valve(self, side: str, on: bool) -> None:
        if on:
            self._opened[side] = self.now_ms
        else:
            self.valves.append((side, self._opened.pop(side), self.now_ms))

    # --- the words of a task file -------------------------------------------------

    def _goto_state(self, state: str) -> None:
        assert state in self.task.states
        assert not self._moving, "goto_state within entry or exit"
        self._moving = True
        self._process("exit")
        self._timers = [timer for timer in self._timers if timer[1] != "state"]
        self._enter(state)
        self._moving = False

    def _timed_goto_state(self, state: str, ms: int) -> None:
        self._timers.append((self.now_ms + int(ms), "state", state))

    def _set_timer(self, event: str, ms: int, output: bool = True) -> None:
        del output
        assert event in self.task.events
        self._timers.append((self.now_ms + int(ms), "event", event))

    def _disarm_timer(self, event: str) -> None:
        self._timers = [
            timer for timer in self._timers if timer[1:] != ("event", event)
        ]

    def _reset_timer(self, event: str, ms: int, output: bool = True) -> None:
        self._disarm_timer(event)
        self._set_timer(event, ms, output)

    def _print(self, text: str) -> None:
        self.said.append(("prints", Print(text, self.now_ms)))

    def _get_current_time(self) -> int:
        return self.now_ms

    def _stop_framework(self) -> None:
        self.stop()


_WORDS = (
    "goto_state",
    "timed_goto_state",
    "set_timer",
    "disarm_timer",
    "reset_timer",
    "print",
    "get_current_time",
    "stop_framework",
)


class Wire:
    """Commands to a box and what it says: some get lost, all take a while."""

    def __init__(self, box: Box, lost: float = 0.0, delay_ms: int = 0) -> None:
        self.box, self.lost, self._delay_ms = box, lost, delay_ms
        self._chance = random.Random(1)
        self._under_way: list[tuple[int, Callable[[], None]]] = []
        self.commands: list[tuple[str, Any]] = []
        self.dropped = 0
        self.sm_info = types.SimpleNamespace(
            variables=dict(vars(box.v)),
            events=dict.fromkeys(box.task.events),
        )
        self.data_logger = types.SimpleNamespace(subject_ID="mouse-1")

    def send(self, what: tuple[str, Any]) -> None:
        """A command of the host."""
        assert len(repr(what)) < 500
        self.commands.append(what)
        if self._chance.random() < self.lost:
            self.dropped += 1  # a bad checksum: nothing happens, nothing is said
        else:
            at_ms = self.box.now_ms + self._delay_ms
            self._under_way.append((at_ms, lambda: self._obey(*what)))

    def _obey(self, name: str, value: Any) -> None:
        if value is None:
            self.box.event(name)
        else:
            setattr(self.box.v, name, value)
            self.box.said.append(("vars", Var(name, value, self.box.now_ms)))

    def tick(self, ms: int = 10) -> dict[str, list[Any]]:
        """Time passes; returns what the host hears."""
        due = [do for at_ms, do in self._under_way if at_ms <= self.box.now_ms]
        self._under_way = [o for o in self._under_way if o[0] > self.box.now_ms]
        for do in due:
            do()
        self.box.advance(ms)
        said, self.box.said = self.box.said, []
        kinds = ("states", "events", "prints", "vars", "analog")
        return {kind: [what for k, what in said if k == kind] for kind in kinds}


class Api:
    """What pyControl's class of that name offers, and no more."""

    board: Wire

    def interface(self, board: Wire, print_to_log: Callable[[str], None]) -> None:
        """The task is uploaded."""
        self.board = board
        self.print_to_log = print_to_log

    def set_variable(self, v_name: str, v_value: Any) -> None:
        """Send a value."""
        self.board.send((v_name, v_value))

    def trigger_event(self, event: str) -> None:
        """Send an event."""
        self.board.send((event, None))
