"""Journals whose process dies, or whose disk is full for a while."""

import threading
from typing import Any

from server.journal import Journal, JournalError


class PowerCut(JournalError):
    """The server is gone, before or after something was stored."""


class Fragile:
    """A journal whose process dies at its n-th transaction."""

    def __init__(self, journal: Journal, cut_at: int, stored: bool) -> None:
        self._journal, self._cut_at, self._stored = journal, cut_at, stored

    def __getattr__(self, name: str) -> Any:
        """All but storing is the journal's own."""
        return getattr(self._journal, name)

    def append(self, *batch: Any) -> Any:
        self._cut_at -= 1
        if self._cut_at == 0 and not self._stored:
            raise PowerCut
        events = self._journal.append(*batch)
        if self._cut_at == 0:
            raise PowerCut
        return events


class FullDisk:
    """A journal that stores nothing while its disk is full."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self.full = journal, False
        self.refused = threading.Event()

    def __getattr__(self, name: str) -> Any:
        """All but storing is the journal's own."""
        return getattr(self._journal, name)

    def append(self, *batch: Any) -> Any:
        """Store, or refuse."""
        if self.full:
            self.refused.set()
            raise JournalError("database or disk is full")
        return self._journal.append(*batch)
