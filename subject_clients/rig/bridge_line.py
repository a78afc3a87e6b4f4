"""A conversation with a rig: asks until it is answered, and says that it lives."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bridge_words import Again, Alive, FromRig, ToRig

TURN_S = 0.02
"""How long what is to be said may wait for what is being heard."""

RESEND_S = 0.25
LEAST_RESEND_S = 0.05
"""When the rig says that a message came damaged."""


class Wire(Protocol):
    """Carries messages, and may lose some. All but ``encode`` from one thread."""

    uid_most: int
    """Characters of the longest uid that the rig can keep."""

    def encode(self, word: ToRig) -> bytes:
        """The message as it goes; raises :class:`RigFault` if it cannot."""
        ...

    def send(self, content: bytes, urgent: bool) -> None:
        """Let it go; an urgent one before all others. ``OSError`` ends it all."""
        ...

    def receive(self, timeout_s: float) -> FromRig | None:
        """The next message, if one comes in time.

        Raises :class:`RigFault` for one that is not understood; another ``OSError``
        is the end of the connection.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Ask:
    """Something that the rig has to answer."""

    def __init__(
        self,
        say: Callable[[], ToRig],
        answers: Callable[[FromRig], bool],
        within_s: float,
        urgent: bool,
    ) -> None:
        """``say`` makes the message anew each time it is sent."""
        self.say, self.answers, self.urgent = say, answers, urgent
        self.until = time.monotonic() + within_s
        self.due, self.sent = 0.0, 0.0
        self.reply: FromRig | None = None
        self.fault: RigFault | None = None
        self._over = threading.Event()

    def end(self, reply: FromRig | None, fault: RigFault | None = None) -> None:
        """It is answered, or never will be."""
        self.reply, self.fault = reply, fault
        self._over.set()

    def wait(self) -> FromRig | None:
        """The answer; None where it did not come in time. Raises its fault."""
        self._over.wait()
        if self.fault is not None:
            raise self.fault
        return self.reply


class Line:
    """Talks over a wire in a thread of its own, since wires want one thread."""

    def __init__(
        self,
        wire: Wire,
        heard: Callable[[FromRig], None],
        failed: Callable[[RigFault], None],
    ) -> None:
        """Both functions are called from its thread."""
        self._wire, self._heard, self._failed = wire, heard, failed
        self.alive: Callable[[], Alive | None] = lambda: None
        """What to say every ``alive_s``; None: keep silent."""
        self.alive_s = 0.25
        self._alive_due = 0.0
        self._lock = threading.Lock()
        self._asks: list[Ask] = []
        self._lost: RigFault | None = None
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(
        self,
        say: Callable[[], ToRig],
        answers: Callable[[FromRig], bool],
        within_s: float,
        urgent: bool = False,
    ) -> Ask:
        """Ask again and again, until it is answered or the time is over."""
        ask = Ask(say, answers, within_s, urgent)
        with self._lock:
            if self._lost is not None:
                ask.end(None, self._lost)
            else:
                self._asks.insert(0 if urgent else len(self._asks), ask)
        return ask

    def cancel(self, fault: RigFault) -> None:
        """Nothing of what is not urgent is asked any more."""
        with self._lock:
            for ask in [ask for ask in self._asks if not ask.urgent]:
                self._asks.remove(ask)
                ask.end(None, fault)

    def close(self) -> None:
        """Say no more, and let go of the wire."""
        self._over = True
        self._thread.join()
        self._wire.close()

    def _run(self) -> None:
        try:
            while not self._over:
                self._turn()
        except Exception as error:  # nobody may wait for a thread that is dead
            self._lose(RigFault(f"the connection to the rig is lost: {error}"))
        else:
            self._lose(RigFault("the connection to the rig is closed"))

    def _lose(self, fault: RigFault) -> None:
        with self._lock:
            self._lost = fault
            asks, self._asks = self._asks, []
        for ask in asks:
            ask.end(None, fault)
        if not self._over:
            self._failed(fault)

    def _turn(self) -> None:
        """Say what is due, then listen for a moment."""
        try:
            self._say()
            word = self._wire.receive(TURN_S)
            if word is not None:
                self._hear(word)
        except RigFault as fault:  # what it said is not understood
            self._failed(fault)

    def _say(self) -> None:
        now = time.monotonic()
        for ask in self._due(now):
            self._wire.send(self._wire.encode(ask.say()), ask.urgent)
        if now >= self._alive_due:
            self._alive_due = now + self.alive_s
            if (alive := self.alive()) is not None:
                self._wire.send(self._wire.encode(alive), False)

    def _due(self, now: float) -> list[Ask]:
        """What is to be said now; ends what nobody has answered."""
        with self._lock:
            for ask in [ask for ask in self._asks if now >= ask.until]:
                self._asks.remove(ask)
                ask.end(None)
            due = [ask for ask in self._asks if now >= ask.due]
            for ask in due:
                ask.sent, ask.due = now, now + RESEND_S
        return due

    def _hear(self, word: FromRig) -> None:
        if isinstance(word, Again):
            with self._lock:
                for ask in self._asks:
                    ask.due = min(ask.due, ask.sent + LEAST_RESEND_S)
            self._alive_due = min(self._alive_due, time.monotonic() + LEAST_RESEND_S)
            return
        self._heard(word)
        with self._lock:
            for ask in [ask for ask in self._asks if ask.answers(word)]:
                self._asks.remove(ask)
                ask.end(word)
