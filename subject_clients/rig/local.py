"""Pause, stop and emergency stop at the rig itself, whatever the server does."""

import contextlib
import logging
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

from subject_clients.adapter import GiveUp

_LOG = logging.getLogger(__name__)

HELP = "p pause or go on, s stop after this trial, e emergency stop"


class LocalControl:
    """What somebody at the rig has asked for."""

    def __init__(self, tell: Callable[[str], object] = print) -> None:
        """``tell`` shows a line at the rig."""
        self._tell = tell
        self._go_on = threading.Event()
        self._go_on.set()
        self._stopped = self._ended = False
        self._over = threading.Event()
        self.emergency = ""
        """Why everything was to stop at once; empty if it was not."""
        self.at_once: Callable[[str], object] | None = None
        """Called in an emergency, from whichever thread notices it."""

    def pause(self) -> None:
        """No next trial until it is asked again; the one under way is finished."""
        if self._go_on.is_set():
            self._go_on.clear()
            self._tell("paused: p goes on")
        else:
            self._go_on.set()
            self._tell("going on")

    def stop(self) -> None:
        """End the session after the trial under way."""
        self._stopped = True
        self._over.set()
        self._go_on.set()
        self._tell("stopping after this trial")

    def stop_at_once(self, reason: str = "emergency stop at the rig") -> None:
        """Safe state now, and the session is over."""
        self.emergency = reason
        self._make_safe(reason)

    def end(self) -> None:
        """The computer shuts down, or its terminal is gone: nobody has given up."""
        self._ended = True
        self._make_safe("the client was told to end")

    def _make_safe(self, reason: str) -> None:
        self._over.set()
        self._go_on.set()
        self._tell(reason)
        if self.at_once is not None:
            self.at_once(reason)

    def interrupt(self) -> None:
        """As Ctrl-C: stop, and the second time an emergency."""
        if self._stopped:
            self.stop_at_once()
        else:
            self.stop()

    def key(self, key: str) -> None:
        """A key that was pressed."""
        calls = {"p": self.pause, "s": self.stop, "e": self.stop_at_once}
        if key in calls:
            calls[key]()

    def sleep(self, seconds: float) -> None:
        """Wait for a server; raises ``GiveUp`` once somebody asks to stop."""
        if self._over.wait(seconds):
            raise GiveUp(self.wait() or "stopped at the rig")

    def hold(self) -> bool:
        """Wait while paused; returns whether it was."""
        paused = not self._go_on.is_set()
        self._go_on.wait()
        return paused

    def wait(self) -> str | None:
        """Wait while paused; returns why the session is to end, or None.

        Raises ``ConnectionError`` where it is not to end, but this program is.
        """
        self._go_on.wait()
        if self._ended:
            raise ConnectionError("told to end; started again, the session goes on")
        if self.emergency:
            return self.emergency
        return "stopped at the rig" if self._stopped else None


@contextlib.contextmanager
def listening(control: LocalControl) -> Iterator[None]:
    """Keys of the terminal, if it is one, and signals go to ``control``."""
    # A handler runs between any two steps of the main thread, which may hold a lock
    # that an order needs: another thread carries it out.
    heard: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def interrupted(number: int, _frame: FrameType | None) -> None:
        heard.put(control.interrupt if number == signal.SIGINT else control.end)

    def obey() -> None:
        while order := heard.get():
            try:
                order()
            except Exception:  # a valve that cannot be reached: the next may be
                _LOG.exception("an order at the rig could not be carried out")

    threads = [threading.Thread(target=obey, daemon=True)]
    if sys.stdin.isatty():
        keys = threading.Thread(target=_read, args=(control, heard), daemon=True)
        threads.append(keys)
    hang_up = [signal.SIGHUP] if sys.platform != "win32" else []
    signals = [signal.SIGINT, signal.SIGTERM, *hang_up]
    before = [(one, signal.signal(one, interrupted)) for one in signals]
    try:
        with _key_by_key():
            for thread in threads:
                thread.start()
            yield
    finally:
        heard.put(None)
        for one, handler in before:
            signal.signal(one, handler)


def _read(control: LocalControl, heard: "queue.SimpleQueue[Any]") -> None:
    while key := _getwch():
        heard.put(partial(control.key, key))


def _getwch() -> str:
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.getwch()
    return sys.stdin.read(1)


@contextlib.contextmanager
def _key_by_key() -> Iterator[None]:
    """Keys come without Enter; output and Ctrl-C stay as they are."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before: list[Any] = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
