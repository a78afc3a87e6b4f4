"""Between the thread of a session and that of pyControl's GUI, which never waits.

The board drops a command whose checksum is wrong, and says nothing: so each variable
is sent until the board echoes it, and each event until the board shows its effect.
The board evaluates what it gets: so names come from the task file, and values are
numbers.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from subject_clients.rig.adapter import RigFault
from subject_clients.tasks.trial import Poke

ECHO_S = 0.25
"""How long an echo may take; then the command is sent again."""

TRIES = 12
"""How often a command is sent before the board counts as lost."""

ALIVE_S = 1.0
"""Between two signs of life; the watchdog of the task file allows three times that."""

MOST_CHARACTERS = 400
"""Of commands under way at once: the board's buffer overflows above about 547."""

WORD = "penchant"
"""First on each line that the task file prints for us."""

MADE_SAFE = "made safe within a trial"


class Board(Protocol):
    """What pyControl's API class offers; for the thread of its GUI alone."""

    def variables(self) -> Collection[str]:
        """Names of the task's variables."""
        ...

    def events(self) -> Collection[str]:
        """Names of the task's events."""
        ...

    def set_variable(self, v_name: str, v_value: float) -> None:
        """Send a value, which may get lost."""
        ...

    def trigger_event(self, event: str) -> None:
        """Send an event, which may get lost."""
        ...


class Result(NamedTuple):
    """A line of the task file on a trial; times in ms of the board."""

    number: int
    outcome: str
    side: str
    onset_ms: int
    response_ms: int
    valve_ms: int
    valve_at_ms: int


class Sent(NamedTuple):
    """When, and how often."""

    at_s: float = -math.inf
    tries: int = 0


class Switchboard:
    """Commands of a session, carried out as often as :meth:`poll` is called."""

    def __init__(
        self, board: Board, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``board`` is used by :meth:`poll` only, from now on."""
        self._board, self._clock = board, clock
        self._names = frozenset(board.variables())
        self.events = frozenset(board.events())
        self._changed = threading.Condition()
        self._wanted: dict[str, float] = {}
        self._event: str | None = None
        self._sent: dict[str, Sent] = {}
        self._script: Sequence[Poke] = ()
        self._delay_s = 0.0
        self._pokes: list[tuple[float, str]] = []
        self._alive_s = -math.inf
        self._stop, self._finish = False, False
        self._fault: str | None = None
        self._results: dict[int, Result] = {}
        self.state = ""
        self.lines: list[str] = []
        """What somebody at the rig should read; for the thread of the GUI."""

    # --- the session's thread, which may wait --------------------------------------

    def set(self, values: Mapping[str, float]) -> None:
        """Have variables set; returns when the board has echoed all of them.

        Raises :class:`RigFault`, and ``ValueError`` for what is no plain number.
        """
        for name, value in values.items():
            _check(name, value)
        with self._changed:
            if unknown := sorted(values.keys() - self._names):
                raise RigFault(f"the task file has no variables {', '.join(unknown)}")
            self._wanted = dict(values)
            self._sent = {}
            self._wait(lambda: not self._wanted)

    def begin(self, number: int, script: Sequence[Poke], delay_s: float) -> None:
        """Have trial ``number`` begin; returns when the board shows that it has."""
        with self._changed:
            self._results.pop(number, None)
            self._script, self._delay_s, self._pokes = script, delay_s, []
            self._event, self._sent = "begin", {}
            self._wait(lambda: self._event is None)

    def result(self, number: int, within_s: float) -> Result:
        """Wait for what came of a trial; asks again for a line that got lost."""
        with self._changed:
            if not self._wait(lambda: number in self._results, within_s):
                self._event, self._sent = "report", {}
                self._wait(lambda: number in self._results)
            self._event = None
            return self._results.pop(number)

    def stop(self) -> None:
        """Safe state, from any thread; what waits raises :class:`RigFault`."""
        with self._changed:
            self._stop, self._sent = True, {}
            self._fault = self._fault or MADE_SAFE
            self._changed.notify_all()

    def make_ready(self) -> None:
        """Let trials begin again after a :meth:`stop`."""
        with self._changed:
            if self._fault == MADE_SAFE:
                self._fault, self._stop = None, False

    def lose(self, why: str) -> None:
        """The board is gone: whatever waits or will wait raises."""
        with self._changed:
            self._fault = why
            self._changed.notify_all()

    def finish(self) -> None:
        """Let the task file end its run."""
        with self._changed:
            self._finish, self._sent = True, {}

    def _wait(self, done: Callable[[], bool], within_s: float | None = None) -> bool:
        """Raises what went wrong meanwhile; returns whether it is done."""
        over = self._changed.wait_for(lambda: done() or bool(self._fault), within_s)
        if self._fault:
            raise RigFault(self._fault)
        return over

    # --- the GUI's thread, which never waits ----------------------------------------

    def poll(self) -> None:
        """Send what is due."""
        with self._changed:
            now_s = self._clock()
            if now_s - self._alive_s >= ALIVE_S:
                self._alive_s = now_s
                self._board.trigger_event("alive")
            if self._stop and self.state != "safe":
                self._again("stop", now_s, lambda: self._board.trigger_event("stop"))
            elif self._finish:
                self._again(
                    "finish", now_s, lambda: self._board.trigger_event("finish")
                )
            elif self._fault is None:
                self._commands(now_s)

    def heard_variable(self, name: str, value: object) -> None:
        """An echo; an old one of another value changes nothing."""
        with self._changed:
            wanted = self._wanted.get(name)
            if wanted is None or not isinstance(value, int | float):
                return
            if math.isclose(value, wanted, rel_tol=1e-5, abs_tol=1e-6):
                del self._wanted[name]
                self._changed.notify_all()

    def heard_state(self, state: str) -> None:
        """The board has entered a state."""
        with self._changed:
            self.state = state
            if state in ("delay", "stimulus"):
                self._begun()
                self._plan(early=state == "delay")
            elif state == "safe" and not self._stop:
                self.lines.append("the board's watchdog has made the rig safe")
            self._changed.notify_all()

    def heard_print(self, line: str) -> None:
        """A line that the task file printed."""
        word, *fields = line.strip().split(",")
        if word != WORD or len(fields) != len(Result._fields):
            return
        number, outcome, side, *times = fields
        with self._changed, contextlib.suppress(ValueError):
            result = Result(int(number), outcome, side, *map(int, times))
            self._results[result.number] = result
            self._begun()
            self._changed.notify_all()

    def _begun(self) -> None:
        if self._event == "begin":
            self._event = None

    def _commands(self, now_s: float) -> None:
        board, under_way = self._board, 0
        for name, value in list(self._wanted.items()):
            under_way += len(repr((name, value)))
            if under_way > MOST_CHARACTERS:
                return
            self._again(name, now_s, lambda n=name, v=value: board.set_variable(n, v))  # type: ignore[misc]
        if self._event is not None and not self._wanted:
            self._event_again(self._event, now_s)
        while self._pokes and self._pokes[0][0] <= now_s:
            board.trigger_event(self._pokes.pop(0)[1])

    def _event_again(self, event: str, now_s: float) -> None:
        self._again(f"event {event}", now_s, lambda: self._board.trigger_event(event))

    def _again(self, what: str, now_s: float, send: Callable[[], None]) -> None:
        sent = self._sent.get(what, Sent())
        if now_s - sent.at_s < ECHO_S:
            return
        if sent.tries >= TRIES:
            self._fault = (
                f"the board did not answer to {what!r} within {TRIES * ECHO_S:g} s: "
                "look at its cable, and whether the task still runs"
            )
            self._changed.notify_all()
            return
        self._sent[what] = Sent(now_s, sent.tries + 1)
        send()

    def _plan(self, early: bool) -> None:
        now_s = self._clock()
        for poke in sorted(self._script):
            if (poke.after_s < 0) == early:
                after_s = poke.after_s + (self._delay_s if early else 0.0)
                self._pokes.append((now_s + max(0.0, after_s), f"{poke.side}_poke"))


def _check(name: str, value: object) -> None:
    """Raises ``ValueError`` for what a board must not evaluate."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r:.40}: the board takes numbers only")
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}: the board takes finite numbers only")
