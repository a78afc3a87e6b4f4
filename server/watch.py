"""Who is told when something is wrong, by a webhook, and when the server is dead.

The URLs hold secrets: nothing here logs them, nor the errors that quote them.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

from server.alarms import Alarm, Raised, Snapshot, alarms, new
from server.safety_section import SafetySection

_LOG = logging.getLogger(__name__)

EVERY_S = 5.0
"""How often the watch looks."""

PING_S = 60.0
"""How often the dead-man's switch is told that all is well."""

TIMEOUT_S = 5.0
"""How long a request to the outside may take."""

MOST_WAITING = 1000
"""Alarms that wait for a webhook that cannot be reached."""

TRIES = 100
"""How often an alarm is posted; with :data:`LONGEST_WAIT_S` some 100 minutes."""

LONGEST_WAIT_S = 60.0
"""The longest wait between two tries; they begin at 1 s and double."""

TRY_AGAIN = (408, 425, 429)
"""Answers beside 5xx after which an alarm is posted again."""


def checked_url(url: str, option: str) -> str:
    """The URL of an option; raises ``ValueError``, which does not quote it."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            f"{option}: expected the whole address of a server, such as "
            "https://example.org/..."
        )
    return url


class Webhook:
    """Posts alarms as JSON, in a thread of its own, until each has arrived.

    ``wait`` sleeps so many seconds and returns whether to give up, by default when
    the webhook is closed; tests give their own.
    """

    def __init__(
        self, url: str, wait: Callable[[float], bool] | None = None, tries: int = TRIES
    ) -> None:
        """Start the thread; raises ``ValueError`` for what is no URL."""
        _hush()
        self._url = checked_url(url, "--webhook")
        self._closing = threading.Event()
        self._wait = wait or self._closing.wait
        self._tries = tries
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._post_for_ever, daemon=True)
        self._thread.start()

    def put(self, message: dict[str, Any]) -> None:
        """Post a message soon; one that finds no place is in the log at least."""
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put(message)
        else:
            _lament(message, f"{MOST_WAITING} wait already")

    def flush(self) -> None:
        """Wait until every message has arrived or has been given up."""
        self._waiting.join()

    def close(self, timeout_s: float = TIMEOUT_S) -> None:
        """End the thread, for good; what has not arrived by then is logged."""
        self._closing.set()
        self._waiting.put(None)
        self._thread.join(timeout_s)
        with contextlib.suppress(queue.Empty):
            while message := self._waiting.get_nowait():
                _lament(message, "the server is closing")
        self._waiting.put(None)  # for a thread that is still at its last message

    def _post_for_ever(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                self._deliver(message)
            except Exception as error:  # the next alarm must still go out
                _lament(message, type(error).__name__)
            finally:
                self._waiting.task_done()
        self._waiting.task_done()

    def _deliver(self, message: dict[str, Any]) -> None:
        wait_s = 1.0
        for last in range(self._tries - 1, -1, -1):
            trouble, again = self._post(message)
            if not trouble:
                return
            if not again or not last or self._wait(wait_s):
                _lament(message, trouble)
                return
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _post(self, message: dict[str, Any]) -> tuple[str, bool]:
        """What went wrong, if anything, and whether it may go better later."""
        try:
            # A redirected POST becomes a GET, and the alarm would be gone.
            with requests.post(
                self._url,
                json=message,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                stream=True,  # its body is of no interest, and may never end
            ) as reply:
                status = reply.status_code
        except requests.RequestException as error:
            return type(error).__name__, True
        if 200 <= status < 300:
            return "", False
        return f"status {status}", status >= 500 or status in TRY_AGAIN


class Watch:
    """Looks every few seconds at what is wrong; stores it, tells it, or is silent.

    ``look`` gives where each study stands and its limits; ``store`` keeps an alarm of
    a study; ``healthy`` says whether the server can store what it hears. Only then,
    and only after a look that went well, ``ping`` is called (GET): whoever waits there
    raises the alarm that a dead server cannot. ``wall`` dates alarms, ``monotonic``
    measures intervals.
    """

    def __init__(
        self,
        look: Callable[[], Sequence[tuple[Snapshot, SafetySection]]],
        store: Callable[[str, Alarm], None],
        healthy: Callable[[], bool],
        webhook: Webhook | None = None,
        ping: str | None = None,
        ping_s: float = PING_S,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing runs before :meth:`start`; raises ``ValueError`` for a bad URL."""
        _hush()
        self._look, self._store, self._healthy = look, store, healthy
        self._webhook = webhook
        self._ping_url = ping and checked_url(ping, "--ping")
        self._ping_s = ping_s
        self._wall, self._monotonic = wall, monotonic
        self._raised: dict[str, Raised] = {}
        self._unstored: list[tuple[str, Alarm]] = []
        self._pinged: float | None = None
        self._ping_fails = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Look every few seconds, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Look no more, and send what is to be sent if that can be done soon."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2 * TIMEOUT_S)
        if self._webhook:
            self._webhook.close()

    def tick(self) -> None:
        """Look once, tell what is new, and ping if that is due and all is well."""
        well = self._look_and_tell()
        if not self._keep() or not well or not self._ping_url:
            return
        now = self._monotonic()
        due = self._pinged is None or now - self._pinged >= self._ping_s
        if due and self._is_healthy() and self._ping(self._ping_url):
            self._pinged = now

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            try:
                self.tick()
            except Exception as error:  # must go on; a traceback may hold a URL
                _LOG.error("the watch failed: %s", type(error).__name__)

    def _look_and_tell(self) -> bool:
        try:
            now, seen = self._wall(), self._look()
        except Exception:  # nothing is known, which the dead-man's switch will tell
            _LOG.exception("the watch cannot see where the studies stand")
            return False
        for snapshot, limits in seen:
            study = snapshot.study
            untold, self._raised[study] = new(
                self._raised.get(study, Raised()), alarms(snapshot, limits, now)
            )
            for alarm in untold:
                self._tell(study, alarm, now)
        return True

    def _tell(self, study: str, alarm: Alarm, at: float) -> None:
        # Told before it is stored: a full disk must not keep it from anyone.
        text = f"{study}: {alarm.name} of {alarm.subject}: {alarm.detail}"
        _LOG.warning("alarm: %s", text)
        if self._webhook:
            self._webhook.put(
                {
                    "name": alarm.name,
                    "study": study,
                    "subject": alarm.subject,
                    "detail": alarm.detail,
                    "at": at,
                    "text": text,
                }
            )
        self._unstored.append((study, alarm))

    def _keep(self) -> bool:
        """Store what is not stored yet; whether all of it is."""
        while self._unstored:
            try:
                self._store(*self._unstored[0])
            except Exception:  # tried again at the next look
                _LOG.exception("an alarm could not be stored")
                return False
            del self._unstored[0]
        return True

    def _is_healthy(self) -> bool:
        try:
            return self._healthy()
        except Exception:
            _LOG.exception("the server's health is not known")
            return False

    def _ping(self, url: str) -> bool:
        try:
            with requests.get(url, timeout=TIMEOUT_S, stream=True) as reply:
                trouble = "" if reply.ok else f"status {reply.status_code}"
        except requests.RequestException as error:
            trouble = type(error).__name__
        if trouble and not self._ping_fails:  # once, not every few seconds
            _LOG.warning("the dead-man's ping did not arrive: %s", trouble)
        self._ping_fails = bool(trouble)
        return not trouble


def _lament(message: dict[str, Any], trouble: str) -> None:
    _LOG.error("alarm not delivered (%s): %s", trouble, message["text"])


def _hush() -> None:
    """Keep the library below from logging paths of URLs, which are secrets."""
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
