"""A real Chromium before a real server: hands, eyes, and a server to kill."""

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_server import door_of
from small_study import small_study
from werkzeug.serving import BaseWSGIServer, make_server

from server.access import Access
from server.app import create_app
from server.database import open_database
from server.desk import Desk
from server.events import Fact
from server.journal import Journal

DAY_S = 86_400.0
PATIENCE_MS = 15_000
"""How long the page may take for anything, on a busy computer."""

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
"""How a page is opened as on a phone."""


def missing() -> str:
    """Why no browser can be had here; empty if one can."""
    if CHROMIUM is None:
        return "no browser: apt-get install chromium"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "no playwright: pip install playwright (its own browsers are not needed)"
    return ""


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "it is there")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's, without a window."""
    if reason := missing():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


class Live:
    """A live study on a server that can be killed and started again."""

    def __init__(self, folder: Path, text: str) -> None:
        """Serve the study file ``text``; journal and links are in ``folder``."""
        self.study = small_study(text)
        self._path = folder / "live.db"
        self.access = Access(open_database(folder / "links.db"))
        self._port = 0
        self._server: BaseWSGIServer | None = None
        self.start()

    def start(self) -> None:
        """Serve, on the same port as before."""
        self.journal = Journal(self._path, self.study.name)
        self.desk = Desk(self.study, self.journal, "live")
        app, _ = create_app(door_of(self.desk, self.access))
        self._server = make_server("127.0.0.1", self._port, app, threaded=True)
        self._port = self._server.server_port
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        self._thread = thread

    def stop(self) -> None:
        """Nothing answers any more, and nothing but the journal is left."""
        if self._server is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.journal.close()
        self._server = None

    def link(self, subject: str, query: str = "", group: str | None = None) -> str:
        """Where a participant is to go."""
        secret = self.access.link(self.study.name, subject, DAY_S, group)
        return f"http://127.0.0.1:{self._port}/participate/{secret}{query}"

    def order(self, kind: str, **said: Any) -> Any:
        """What an operator says."""
        return self.desk.handle(kind, {"reason": "a test", **said})

    def facts(self, *kinds: type[Fact]) -> list[Any]:
        """Facts of some kinds in the journal."""
        every = [event.fact for event in self.journal.read()]
        return [fact for fact in every if isinstance(fact, kinds)]


@contextlib.contextmanager
def live(folder: Path, text: str) -> Iterator[Live]:
    """A study that is served until the test is over."""
    served = Live(folder, text)
    try:
        yield served
    finally:
        served.stop()


class Visit:
    """A page, and a participant who reads and answers it."""

    def __init__(self, page: Any) -> None:
        """``page`` is Playwright's."""
        self.page = page
        page.set_default_timeout(PATIENCE_MS)
        self.faults: list[str] = []
        self._answers = 0
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def see(self, screen: str, state: str | None = None) -> None:
        """Wait until a screen is there; ``state`` is that of a trial."""
        of = "" if state is None else f"[data-state={state}]"
        self.page.wait_for_selector(f"#view[data-screen={screen}]{of}")

    def end(self) -> str:
        """Wait for the last page; returns its kind."""
        self.see("end")
        return str(self.page.get_attribute("#view", "data-end"))

    def words(self) -> str:
        """What stands on the page."""
        return str(self.page.inner_text("#view"))

    def press(self, key: str) -> None:
        """A key, down for some frames."""
        self.page.keyboard.press(key, delay=20)

    def click(self, choice: str) -> None:
        """One of a page's buttons."""
        self.page.click(f"button[data-id={choice}]")

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that the page does not show."""
        for _ in range(PATIENCE_MS // 20):
            if true():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"{true} did not come true; the page says {self.words()}")

    def enter(self, consent: bool = False) -> None:
        """Through all that is read before practice, without full screen."""
        if consent:
            self.see("consent")
            self.press("y")
        self.see("screen")
        self.press("w")
        self.see("card")
        self.press("s")
        self.see("instructions")
        self.press("Space")

    def begin(self) -> None:
        """From instructions to the first trial, where there is no practice."""
        self.enter()
        self.see("ready")
        self.press("Space")

    def come_back(self) -> None:
        """After a reload."""
        self.see("back")
        self.press("w")

    def stimulus(self) -> None:
        """Wait for a stimulus to answer to."""
        self.see("trial", "stimulus")
        self._answers = int(self.page.get_attribute("#view", "data-answers") or 0)

    def answered(self) -> None:
        """Wait until the answer to that stimulus has been taken."""
        self.page.wait_for_selector(f"#view[data-answers='{self._answers + 1}']")

    def point(self, value: float) -> None:
        """A click on the scale."""
        box = self.page.locator("#scale").bounding_box()
        x = box["x"] + box["width"] * (1 + value) / 2
        self.page.mouse.click(x, box["y"] + box["height"] / 2)

    def waiting(self) -> list[dict[str, Any]]:
        """Messages that the browser keeps for the server."""
        return list(json.loads(self.page.evaluate(_PENDING)))


_PENDING = """async () => {
  const found = [];
  for (const { name } of await indexedDB.databases()) {
    const db = await new Promise((resolve) => {
      const request = indexedDB.open(name);
      request.onsuccess = () => resolve(request.result);
    });
    const store = db.transaction("answers").objectStore("answers");
    found.push(...await new Promise((resolve) => {
      const all = store.getAll();
      all.onsuccess = () => resolve(all.result);
    }));
    db.close();
  }
  return JSON.stringify(found);
}"""
