"""What memory has and the disk has not yet: stored in commits that messages share."""

import threading
from collections.abc import Callable

from sqlalchemy.exc import DataError

from server.database import SupersededError
from server.events import Event, Fact
from server.leases import Leases


class Backlog:
    """Facts on their way to the disk, in order."""

    def __init__(
        self,
        append: Callable[[list[Fact], float], list[Event]],
        stored: Callable[[list[Event]], None],
        lock: threading.Lock,
        leases: Leases,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """``append`` stores facts or raises; ``stored`` is called with what is stored.

        ``lock`` is that of the state; ``leases`` do not run out while clients wait.
        """
        self._append, self._told, self._lock = append, stored, lock
        self._leases, self._wall, self._monotonic = leases, wall, monotonic
        self._gate, self._storing = threading.Lock(), False
        self._waiting: list[tuple[int, threading.Lock]] = []
        self._unstored: list[Fact] = []
        self.recorded = self._stored = 0
        """How many facts there have been."""
        self.failing = False
        """Whether the last attempt to store failed."""
        self.superseded = False
        """Whether it can never be stored, or not by this process."""
        self.busy_since: float | None = None
        """When storing began that is not done yet; clients wait for it."""

    def add(self, fact: Fact) -> None:
        """Leave a fact to be stored; the lock is held."""
        self._unstored.append(fact)
        self.recorded += 1

    def settle(self, recorded: int | None = None) -> None:
        """Wait until so many facts, or all so far, are on disk; no lock is held.

        Whoever comes first stores what all others wait for. Raises
        :class:`JournalError`; then they stay to be stored.
        """
        if recorded is None:
            recorded = self.recorded
        while self._stored < recorded:
            with self._gate:
                if self._stored >= recorded:
                    return
                if leads := not self._storing:
                    self._storing = True
                else:  # a lock of its own: woken in no one's turn but its own
                    woken = threading.Lock()
                    woken.acquire()
                    self._waiting.append((recorded, woken))
            if not leads:
                woken.acquire()
                continue
            events: list[Event] = []
            try:
                events = self._store()
            finally:
                self._wake()
            self._told(events)

    def _wake(self) -> None:
        """Let go whose facts are stored, and one of the others, to store the next."""
        with self._gate:
            self._storing = False
            waiting, self._waiting = self._waiting, []
            led = False
            for recorded, woken in waiting:
                if recorded <= self._stored or not led:
                    led = led or recorded > self._stored
                    woken.release()
                else:
                    self._waiting.append((recorded, woken))

    def _store(self) -> list[Event]:
        with self._lock:
            batch = list(self._unstored)
        if self.busy_since is None:
            self.busy_since = self._monotonic()
        try:
            events = self._append(batch, self._wall())
        except Exception as error:
            self.failing = True
            unstorable = isinstance(error.__cause__, DataError)
            self.superseded = isinstance(error, SupersededError) or unstorable
            raise
        self.failing = False
        with self._lock:
            now = self._monotonic()
            self._leases.forgive(now - self.busy_since, now)
            self.busy_since = None
            del self._unstored[: len(batch)]
            self._stored += len(batch)
        return events
