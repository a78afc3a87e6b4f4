"""Tells watchers what is new, a few times a second and all at once."""

import logging
import threading
from collections.abc import Callable, Collection
from typing import Any

from server.dashboard_data import DashboardData, Dashboards

EVERY_S = 0.25
"""How often watchers are told: what happens meanwhile goes together."""

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
        self._pause = threading.Event()
        self._kept: dict[str, DashboardData] = {}

    def wake(self) -> None:
        """Somebody watches now."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._goes_on():
            try:
                self.tick()
            except Exception:  # whoever watches sees that nothing moves
                _LOG.exception("watchers could not be told what is new")
            self._pause.wait(self._every_s)

    def _goes_on(self) -> bool:
        """Whether anybody watches; else this was the last round."""
        with self._lock:
            if self._watched():
                return True
            self._thread = None
        self._keep({})
        return False

    def tick(self) -> None:
        """Tell the watchers of each study what is new in it."""
        watched = self._watched()
        opened = {name: self._dashboards.open(name) for name in watched}
        self._keep({name: data for name, data in opened.items() if data})
        for name, data in self._kept.items():
            if news := data.push():
                self._tell(name, news)

    def _keep(self, kept: dict[str, DashboardData]) -> None:
        """What is new is kept for those that are watched, and for no others."""
        for name, data in self._kept.items():
            if kept.get(name) is not data:
                data.watch(False)
        for data in kept.values():
            data.watch(True)
        self._kept = kept
