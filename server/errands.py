"""Work that nobody waits for: done in a thread that is there while there is any."""

import logging
import threading
from collections.abc import Callable, Hashable

Job = Callable[[], object]

_LOG = logging.getLogger(__name__)


class Errands:
    """Does one thing after another, each once however often it is asked for.

    Its thread ends with the last of them, and Python waits for it when it exits: one
    that is cut off inside a compiler would abort the process.
    """

    def __init__(self) -> None:
        """Nothing is to be done."""
        self._lock = threading.Lock()
        self._jobs: dict[Hashable, Job] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, name: Hashable, job: Job) -> None:
        """Do something later, unless it already waits under this name."""
        with self._lock:
            if self._closed:
                return
            self._jobs.setdefault(name, job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=False)
                self._thread.start()

    def close(self) -> None:
        """Begin nothing more; what is under way is finished."""
        with self._lock:
            self._closed = True
            self._jobs.clear()

    def _run(self) -> None:
        while job := self._next():
            try:
                job()
            except Exception:  # whoever waits for it asks again
                _LOG.exception("what a dashboard asked for could not be worked out")

    def _next(self) -> Job | None:
        """The job that has waited longest; with none this thread ends."""
        with self._lock:
            name = next(iter(self._jobs), None)
            if name is None:
                self._thread = None
                return None
            return self._jobs.pop(name)
