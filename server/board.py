"""What there is to tell of a study's past, while others add to it and ask.

Hears every event of its study: those of the journal when the study is opened, then
each one that has been stored.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

from server.chronicle import Changes, Chronicle
from server.events import Event
from server.gallery import Gallery
from server.spectrum_so_far import SpectrumSoFar
from server.study_file import Study

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class Board:
    """The chronicle, spectrum and pictures of a study; for several threads."""

    def __init__(self, study: Study) -> None:
        """Before the first event."""
        self.epoch = uuid4().hex[:12]
        """Changes when the study is opened again, here or elsewhere."""
        self.spectrum, self.gallery = SpectrumSoFar(), Gallery(study)
        self.watched = False
        """Whether anybody is told of changes."""
        self.revision = 0
        """How many times changes have been told."""
        self._chronicle = Chronicle(study)
        self._lock = threading.Lock()
        self._next = 0
        self._early: dict[int, Event] = {}

    def restore(self, event: Event) -> None:
        """Take in an event of the past; in the journal's order, before any other."""
        self._take(event)
        self._next = event.seq + 1
        self._forget()

    def note(self, event: Event) -> None:
        """Take in an event that is stored.

        Threads may tell of two commits the other way round: the later waits.
        """
        with self._lock:
            self._early[event.seq] = event
            while following := self._early.pop(self._next, None):
                self._next += 1
                self._take(following)
            if not self.watched:
                self._forget()

    def read(self, of: Callable[[Chronicle], T]) -> T:
        """What a function makes of the chronicle, which stands still meanwhile."""
        with self._lock:
            return of(self._chronicle)

    def watch(self, watched: bool) -> None:
        """From now on keep changes for whoever watches, or no longer."""
        with self._lock:
            if watched and not self.watched:
                self._chronicle.take_changes()
            self.watched = watched

    def take_changes(self) -> Changes:
        """What is new since this was last asked."""
        with self._lock:
            return self._chronicle.take_changes()

    def generations(self, after: int) -> dict[str, Any]:
        """Rows of the table of generations from number ``after`` on."""
        return self.read(lambda past: past.generations.columns(after))

    def _forget(self) -> None:
        """Nobody is to be told what is new."""
        changes = self._chronicle.changes
        if changes.responded or changes.alarms or changes.ledger:
            self._chronicle.take_changes()

    def _take(self, event: Event) -> None:
        try:
            self._chronicle.note(event)
            self.spectrum.note(event)
        except Exception:  # no trial may fail for what there is to see of it
            _LOG.exception("event %d is missing from the dashboard", event.seq)
