"""The studies of one server process: each a desk of its own, over one database."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from weakref import WeakSet

from server.ahead import Ahead
from server.desk import Desk
from server.events import Fact
from server.journal import Journal, JournalError
from server.protocol import ProtocolError
from server.study import ResumeError
from server.study_file import Study, StudyFileError, load

_LOG = logging.getLogger(__name__)

Told = Callable[[str, Fact], object]
"""Takes the name of a study and a fact that is on disk."""


def load_studies(files: list[Path]) -> dict[str, Study]:
    """The studies of files, by name; raises :class:`StudyFileError`."""
    studies: dict[str, Study] = {}
    for file in files:
        study = load(file)
        study.check_sessions()
        if study.name in studies:
            raise StudyFileError(f"{file}: there is another study {study.name!r}")
        studies[study.name] = study
    return studies


class Studies:
    """Opens a study when it is first asked for, and closes all of them."""

    def __init__(
        self, studies: Mapping[str, Study], where: str | Path, mode: str
    ) -> None:
        """``where`` is the database of all; ``mode`` is live or dry-run."""
        self.names = list(studies)
        self.mode = mode
        self.told: list[Told] = []
        """Called with every fact of every study once it is on disk."""
        self.hurried: list[Told] = []
        """Called with emergency stops at once."""
        self.closing: list[Callable[[], object]] = []
        """Called before the studies are given back."""
        self._studies, self._where = dict(studies), where
        self._open: dict[str, Desk] = {}
        self._ending: WeakSet[Ahead] = WeakSet()
        """What may still work beside studies that were given back."""
        self._opening = {name: threading.Lock() for name in studies}

    def desk(self, name: str | None) -> Desk:
        """The desk of a study; without a name that of the only one.

        Raises :class:`ProtocolError` for one that is not here, or that another
        process serves at present.
        """
        if name is None and len(self.names) == 1:
            name = self.names[0]
        if name not in self._studies:
            raise ProtocolError(
                404,
                "unknown_study",
                "expected ?study=NAME at the end of the address, one of "
                + ", ".join(self.names),
            )
        desk = self._open.get(name)
        if desk is not None and not desk.superseded:
            return desk
        with self._opening[name]:
            desk = self._open.get(name)
            if desk is not None and desk.superseded:
                del self._open[name]
                self._give_back(desk)
            if name not in self._open:
                try:
                    self._open[name] = self._opened(name)
                except (JournalError, ResumeError) as error:
                    detail = "another process serves this study, or its journal fails"
                    _LOG.warning("%s is not opened here: %s", name, error)
                    raise ProtocolError(503, "not_here", detail) from error
            return self._open[name]

    def open_all(self) -> None:
        """Open every study now; raises ``OSError`` or ``ValueError``."""
        for name in self.names:
            self._open[name] = self._opened(name)

    def open_desks(self) -> dict[str, Desk]:
        """The studies that are open in this process."""
        return dict(self._open)

    def close(self) -> None:
        """Give every study back, so that another process may serve it."""
        self.end_listening()
        while self._open:
            _, desk = self._open.popitem()
            self._give_back(desk)

    def join(self, timeout_s: float) -> None:
        """Wait, but no longer, for what works beside studies that were given back."""
        until = time.monotonic() + timeout_s
        for ahead in list(self._ending):
            ahead.join(max(until - time.monotonic(), 0.0))

    def end_listening(self) -> None:
        """Whoever works beside the studies is to end it."""
        while self.closing:
            self.closing.pop()()

    def _opened(self, name: str) -> Desk:
        journal = Journal(self._where, name)
        desk = None
        try:
            desk = Desk(self._studies[name], journal, self.mode, beside=True)
            self.listen_to(name, desk)
            desk.ahead.warm_up()
        except BaseException:  # whatever it was, others must be able to serve it
            if desk:
                self._give_back(desk)
            journal.close()
            raise
        # What is loaded stays: a look at all of it for garbage would hold up every
        # trial for a fifth of a second, again and again.
        if gc.get_freeze_count():
            gc.unfreeze()
            gc.collect()
        gc.freeze()
        return desk

    def _give_back(self, desk: Desk) -> None:
        desk.close()
        self._ending.add(desk.ahead)

    def listen_to(self, name: str, desk: Desk) -> None:
        """Pass on what a desk tells to whoever listens to all studies."""
        desk.told = lambda fact: [told(name, fact) for told in self.told]
        desk.hurry = lambda fact: [told(name, fact) for told in self.hurried]
