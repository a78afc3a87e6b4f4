"""Tells watchers what is new, a few times a second and all at once."""

import logging
import threading
from collections.abc import Callable, Collection
from typing import Any

from server.dashboard_data import DashboardData, Dashboards

EVERY_S = 0.25
"""How often watchers are told: what happens meanwhile goes together."""

LAST_S = 5.0
"""How long a server that ends waits for the round under way."""

_LOG = logging.getLogger(__name__)


class Pusher:
    """A thread that lives while anybody watches."""

    def __init__(
        self,
        dashboards: Dashboards,
        watched: Callable[[], Collection[str]],
        tell: Callable[[str, dict[str, Any]], object],
        every_s: float = EVERY_S,
    ) -> None:
        """``watched`` names the studies that somebody watches; ``tell`` pushes."""
        self._dashboards, self._watched, self._tell = dashboards, watched, tell
        self._every_s = every_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._kept: dict[str, DashboardData] = {}

    def wake(self) -> None:
        """Somebody watches now."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Tell nobody anything more."""
        self._closing.set()
        with self._lock:
            thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join(LAST_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                watched = self._watched()
                if not watched and self._ends():
                    return
                self.tick(watched)
            except Exception:  # of the tokens' database too: the next round goes on
                _LOG.exception("watchers could not be told what is new")
            self._closing.wait(self._every_s)

    def _ends(self) -> bool:
        """Whether still nobody watches: then this was the last round."""
        with self._lock:
            if self._watched():
                return False
            self._keep({})
            self._thread = None
            return True

    def tick(self, watched: Collection[str]) -> None:
        """Tell the watchers of each study what is new in it."""
        opened = {name: self._dashboards.open(name) for name in watched}
        self._keep({name: data for name, data in opened.items() if data})
        for name, data in self._kept.items():
            try:
                if news := data.push():
                    self._tell(name, news)
            except Exception:  # those who watch the others must still be told
                _LOG.exception("watchers of %s could not be told what is new", name)

    def _keep(self, kept: dict[str, DashboardData]) -> None:
        """What is new is kept for those that are watched, and for no others."""
        for name, data in self._kept.items():
            if kept.get(name) is not data:
                data.watch(False)
        for data in kept.values():
            data.watch(True)
        self._kept = kept
