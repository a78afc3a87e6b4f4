"""The operator's page in a real Chromium, and subjects that keep it busy."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from live_server import door_of
from small_study import be_born, small_study, study_text
from werkzeug.serving import BaseWSGIServer, make_server

from server.access import Access
from server.app import create_app
from server.database import open_database
from server.desk import Desk
from server.events import Fact
from server.journal import Journal
from subject_clients.loop import Subject
from subject_clients.transport import Http

PATIENCE_MS = 15_000
"""How long the page may take for anything, on a busy computer."""

STUDY = study_text(responses="omission = 0.1")


class Served:
    """A study that is served, can be killed and is served again on the same port."""

    def __init__(self, folder: Path, text: str = STUDY, mode: str = "dry-run") -> None:
        """Journal and tokens are in ``folder``; without a token nobody needs one."""
        self.study = small_study(text)
        self._path, self._mode = folder / "small.db", mode
        self.access = Access(open_database(folder / "tokens.db"))
        self._port = 0
        self._server: BaseWSGIServer | None = None
        self.start()

    def start(self) -> None:
        """Serve the journal as it is."""
        self.journal = Journal(self._path, self.study.name)
        self.desk = Desk(self.study, self.journal, self._mode)
        self._door = door_of(self.desk, self.access)
        app, _ = create_app(self._door)
        self._server = make_server("127.0.0.1", self._port, app, threaded=True)
        self._port = self._server.server_port
        self._connections: list[socket.socket] = []
        self._remember(self._server)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _remember(self, server: BaseWSGIServer) -> None:
        """Know the connections, to cut them as a death would."""
        begin = server.process_request

        def process(request: Any, client_address: Any) -> None:
            self._connections.append(request)
            begin(request, client_address)

        vars(server)["process_request"] = process

    def stop(self) -> None:
        """Nothing answers any more."""
        if self._server is None:
            return
        self._door.studies.end_listening()
        self._server.shutdown()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.server_close()
        self.journal.close()
        self._server = None

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self._port}"

    def facts(self, *kinds: type[Fact]) -> list[Any]:
        """Facts of some kinds in the journal."""
        every = [event.fact for event in self.journal.read()]
        return [fact for fact in every if isinstance(fact, kinds)]

    def hello(self, subject: str) -> Any:
        """A subject begins a session and then just sits there."""
        return self.desk.handle("hello", {"protocol": 1, "subject": subject})

    def answer(self, session: str, number: int) -> None:
        """It answers so many trials."""
        for _ in range(number):
            trial: Any = self.desk.handle("next", {"session": session})
            said = {"session": session, "uid": trial.uid, "value": 0.5}
            self.desk.handle("respond", said | {"reaction_time_s": 0.4})

    def run_session(self, subject: str) -> None:
        """A simulated subject runs a whole session, over HTTP."""
        wire = Http(self.url)
        try:
            Subject(subject, be_born(self.study), wire).run_session()
        finally:
            wire.close()


@contextlib.contextmanager
def served(folder: Path, text: str = STUDY, mode: str = "dry-run") -> Iterator[Served]:
    """A study that is served until the test is over."""
    one = Served(folder, text, mode)
    try:
        yield one
    finally:
        one.stop()


class Operator:
    """Whoever sits before the page."""

    def __init__(self, page: Any, url: str) -> None:
        """Opens the dashboard of a server; ``page`` is Playwright's."""
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._console)
        page.goto(f"{url}/dashboard")

    def _console(self, message: Any) -> None:
        # What the browser says of a server that is away is no fault of the page.
        away = "Failed to load resource" in message.text or "ERR_" in message.text
        if message.type == "error" and not away:
            self.faults.append(message.text)

    def sees(self, selector: str, words: str) -> None:
        """Wait until an element says something."""
        self.page.locator(selector, has_text=words).first.wait_for(state="attached")

    def row(self, subject: str) -> str:
        """The selector of a subject's row."""
        return f"tr[data-subject='{subject}']"

    def order(self, subject: str, kind: str, reason: str = "a test") -> None:
        """Order something of one subject, and wait until it is done."""
        self.page.click(f"{self.row(subject)} .orders")
        self.page.click(f"dialog [data-order={kind}]")
        self.confirm(reason)

    def confirm(self, reason: str = "a test") -> None:
        """Give the reason and send the order."""
        self.page.fill("dialog input[name=reason]", reason)
        self.page.click("dialog [type=submit]")
        self.page.wait_for_selector("dialog", state="hidden")

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that the page does not show."""
        for _ in range(PATIENCE_MS // 20):
            if true():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("it did not come true")
