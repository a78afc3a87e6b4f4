"""A Bpod that exists behind a pseudo-terminal: machine type 3, firmware 22.

It runs the state matrix that the real client library sends. ``valves`` is the truth
about what it gave: port, and Bpod's time at which the valve opened and closed.
"""

import os
import select
import struct
import threading
import time
import tty
from collections.abc import Callable, Sequence
from typing import Self

INPUTS, OUTPUTS = "UUUUUXBBPPPP", "UUUUUXBBPPPPVVVV"
SERIAL_EVENTS, TIMERS, COUNTERS, CONDITIONS, STATES = 90, 16, 8, 16, 256
HZ = 10_000
TUP = SERIAL_EVENTS + 2 * 6 + 2 * TIMERS + COUNTERS + CONDITIONS
TIMER_END = SERIAL_EVENTS + 2 * 6 + TIMERS

Pokes = Sequence[tuple[float, int, int]]
"""Seconds from now, port, and level (1 in, 0 out)."""

Mouse = Callable[[dict[str, int]], Pokes]
"""Somebody in the box: gets the outputs of each state that is entered."""


def nobody(_: dict[str, int]) -> Pokes:
    """An empty box."""
    return ()


def event_of(port: int, level: int) -> int:
    """The number of a poke in or out of a port."""
    return SERIAL_EVENTS + 4 + 2 * (port - 1) + (1 - level)


def name_of(output: int) -> str:
    """The name of an output, numbered from 1 among its kind."""
    kind = OUTPUTS[output]
    names = {"U": "Serial", "X": "SoftCode", "B": "BNC", "P": "PWM", "V": "Valve"}
    number = OUTPUTS[: output + 1].count(kind)
    return names[kind] + ("" if kind == "X" else str(number))


class Matrix:
    """A compressed state matrix, taken apart."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0
        self.states, timers, counters, conditions = self._bytes(4)
        self.after = self._bytes(self.states)
        self.on = self._pairs()
        self.outputs = self._pairs()
        self.timer_start, self.timer_end = self._pairs(), self._pairs()
        assert not any(self._pairs() + self._pairs()), "counters and conditions"
        self._bytes(5 * timers + counters + 2 * conditions + self.states)
        self.triggers = self._numbers("H", self.states)
        self._numbers("H", self.states + timers)
        self.timers_s = [n / HZ for n in self._numbers("I", self.states)]
        self.global_s = [n / HZ for n in self._numbers("I", timers)]
        self._numbers("I", 2 * timers + counters)
        assert self._at == len(body), "the matrix is longer than it should be"

    def _bytes(self, count: int) -> list[int]:
        self._at += count
        return list(self._body[self._at - count : self._at])

    def _numbers(self, kind: str, count: int) -> list[int]:
        size = struct.calcsize(f"<{count}{kind}")
        return list(struct.unpack(f"<{count}{kind}", bytes(self._bytes(size))))

    def _pairs(self) -> list[dict[int, int]]:
        found = []
        for _ in range(self.states):
            (count,) = self._bytes(1)
            pairs = self._bytes(2 * count)
            found.append(dict(zip(pairs[::2], pairs[1::2], strict=True)))
        return found


class Run:
    """One run of a matrix, in Bpod's own time."""

    def __init__(self, matrix: Matrix, mouse: Mouse, begun_s: float) -> None:
        self.matrix, self.mouse = matrix, mouse
        self.begun_s = self.now_s = begun_s
        self.state, self.entered_s = 0, begun_s
        self.pokes: list[tuple[float, int, int]] = []
        self.global_end_s: float | None = None
        self.held: set[int] = set()
        self.softcodes: list[int] = []
        self._enter()

    def _enter(self) -> None:
        matrix, self.entered_s = self.matrix, self.now_s
        outputs = {name_of(n): v for n, v in matrix.outputs[self.state].items()}
        if "SoftCode" in outputs:
            self.softcodes.append(outputs["SoftCode"])
        if matrix.triggers[self.state]:
            self.global_end_s = self.now_s + matrix.global_s[0]
        pokes = [
            (self.now_s + s, port, level) for s, port, level in self.mouse(outputs)
        ]
        self.pokes = sorted(self.pokes + pokes)

    @property
    def over(self) -> bool:
        """Whether it has come to its exit."""
        return self.state == self.matrix.states

    @property
    def open_valves(self) -> set[int]:
        """Ports of valves that are open."""
        outputs = {} if self.over else self.matrix.outputs[self.state]
        names = [name_of(n) for n, v in outputs.items() if v]
        return {int(name[5:]) for name in names if name.startswith("Valve")}

    def due_s(self) -> float:
        """When something happens next, if nobody interferes."""
        due = [self.pokes[0][0]] if self.pokes else []
        if self.global_end_s is not None:
            due.append(self.global_end_s)
        if self.matrix.after[self.state] != self.state:
            due.append(self.entered_s + self.matrix.timers_s[self.state])
        return min(due, default=float("inf"))

    def step(self, to_s: float) -> list[int]:
        """Go on to a time at which something is due; returns events."""
        self.now_s = max(self.now_s, to_s)
        if self.pokes and self.pokes[0][0] <= to_s:
            _, port, level = self.pokes.pop(0)
            return self.poke(port, level)
        if self.global_end_s is not None and self.global_end_s <= to_s:
            self.global_end_s = None
            self._go(self.matrix.timer_end[self.state].get(0))
            return [TIMER_END]
        self._go(self.matrix.after[self.state])
        return [TUP]

    def poke(self, port: int, level: int) -> list[int]:
        """An input that changes; returns events."""
        if (port in self.held) == bool(level):
            return []
        self.held ^= {port}
        event = event_of(port, level)
        self._go(self.matrix.on[self.state].get(event))
        return [event]

    def _go(self, state: int | None) -> None:
        if state is not None and state != self.state:
            self.state = state
            if not self.over:
                self._enter()


class VirtualBpod:
    """As a context: the device at ``port``, until the end of the context.

    ``speed`` is how much faster than the world its clock goes; infinite for as fast as
    can be, where nothing of a trial may depend on the computer.
    """

    def __init__(self, mouse: Mouse = nobody, speed: float = float("inf")) -> None:
        self.mouse, self.speed = mouse, speed
        self.valves: list[tuple[int, float, float]] = []
        self.overrides: list[tuple[str, int]] = []
        self.runs: list[Matrix] = []
        self.running = threading.Event()
        self.valve_open = threading.Event()
        self.over = threading.Event()
        self.now_s = 0.0
        self._fresh, self._loaded = False, Matrix(bytes(4))
        self._opened: dict[int, float] = {}
        self._closing = False
        self._fd, self._device = os.openpty()
        tty.setraw(self._device)
        self.port = os.ttyname(self._device)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        """Be there."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Be pulled out."""
        self._closing = True
        self._thread.join(5)
        os.close(self._fd)
        os.close(self._device)

    @property
    def rewards(self) -> list[tuple[int, float]]:
        """Port and opening time in ms of each opening of a valve."""
        return [(port, (end - begin) * 1000) for port, begin, end in self.valves]

    def _serve(self) -> None:
        while not self._closing:
            if select.select([self._fd], [], [], 0.02)[0]:
                self._obey(self._read(1))

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count and not self._closing:
            if select.select([self._fd], [], [], 0.02)[0]:
                content += os.read(self._fd, count - len(content))
        return content

    def _send(self, layout: str, *values: int) -> None:
        os.write(self._fd, struct.pack("<" + layout, *values))

    def _obey(self, order: bytes, run: Run | None = None) -> bool:
        """One order; returns whether it ends the run."""
        if order in _REPLIES:
            rest, reply = _REPLIES[order]
            self._read(rest)
            os.write(self._fd, reply)
        elif order == b"C":
            *_, size = struct.unpack("<BBH", self._read(4))
            self._loaded, self._fresh = Matrix(self._read(size)), True
        elif order == b"R":
            self._run(Run(self._loaded, self.mouse, self.now_s))
        elif order == b"L":
            self._read(self._read(4)[3])
            self._send("B", 1)
        elif order == b"O":
            output, value = self._read(2)
            self.overrides.append((name_of(output), value))
        elif order == b"V":
            channel, level = self._read(2)
            port = INPUTS[: channel + 1].count("P")
            if run is not None:
                self._tell(run.poke(port, level), run)
        return order == b"X"

    def _run(self, run: Run) -> None:
        self.runs.append(run.matrix)
        if self._fresh:
            self._send("B", 1)
            self._fresh = False
        self._send("Q", round(run.begun_s * 1e6))
        self.over.clear()
        self.running.set()
        started = time.monotonic()
        stopped = False
        self._tell([], run)
        while not run.over and not stopped and not self._closing:
            due_s = run.due_s()
            wait_s = (due_s - run.begun_s) / self.speed + started - time.monotonic()
            if select.select([self._fd], [], [], min(max(wait_s, 0), 0.02))[0]:
                passed_s = (time.monotonic() - started) * self.speed
                if self.speed < float("inf"):
                    run.now_s = max(run.now_s, min(run.begun_s + passed_s, due_s))
                stopped = self._obey(self._read(1), run)
            elif wait_s <= 0.02:  # it was waited for
                self._tell(run.step(due_s), run)
        self._finish(run, started)

    def _finish(self, run: Run, started: float) -> None:
        if not run.over and self.speed < float("inf"):
            run.now_s = run.begun_s + (time.monotonic() - started) * self.speed
        run.state = run.matrix.states
        self._watch(run)
        self.now_s = run.now_s
        self.running.clear()
        self.over.set()
        cycles = round((run.now_s - run.begun_s) * HZ)
        self._send("BBBI", 1, 1, 255, cycles)
        self._send("IQ", cycles, round(run.now_s * 1e6))

    def _tell(self, events: list[int], run: Run) -> None:
        self._watch(run)
        if events:
            at = round((run.now_s - run.begun_s) * HZ)
            self._send(f"BB{len(events)}BI", 1, len(events), *events, at)
        while run.softcodes:
            self._send("BB", 2, run.softcodes.pop(0))

    def _watch(self, run: Run) -> None:
        for port in run.open_valves - self._opened.keys():
            self._opened[port] = run.now_s
            self.valve_open.set()
        for port in self._opened.keys() - run.open_valves:
            self.valves.append((port, self._opened.pop(port), run.now_s))
            self.valve_open.clear()


_HARDWARE = (
    struct.pack(
        "<HHBBBBB", STATES, 100, SERIAL_EVENTS, TIMERS, COUNTERS, CONDITIONS, 12
    )
    + INPUTS.encode()
    + bytes([len(OUTPUTS)])
    + OUTPUTS.encode()
)
_REPLIES = {
    b"6": (0, b"5"),
    b"F": (0, struct.pack("<HH", 22, 3)),
    b"H": (0, _HARDWARE),
    b"G": (0, b"\x01"),
    b"E": (len(INPUTS), b"\x01"),
    b"K": (2, b"\x01"),
    b"M": (0, bytes(5)),
    b"%": (6, b"\x01"),
    b"Z": (0, b"1"),
    b"*": (0, b"\x01"),
    b">": (0, b"\x01"),
}
