"""The dashboard over the real wire: who is told what, how often, and who is not."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import socketio
from live_server import serving
from small_study import (
    hello,
    open_desk,
    renamed,
    run_one,
    send,
    small_study,
)

from server import dashboard_pages
from server.access import Access
from server.database import open_database
from server.desk import Desk
from server.errands import Errands
from server.gallery import Gallery
from server.journal import Journal
from server.stimulus_files import Content

PAGES = ("overview", "generations", "raster", "labelling", "spectrum")


class Watcher:
    """A connection that keeps what it is pushed."""

    def __init__(self, url: str, token: str = "") -> None:
        """Connect, or raise ``socketio.exceptions.ConnectionError``."""
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self.at: list[float] = []
        self.client = socketio.Client(reconnection=False)
        self.client.on("dashboard", self._hear)
        auth = {"watch": True, "token": token}
        self.client.connect(url, transports=["websocket"], auth=auth)

    def _hear(self, news: dict[str, Any]) -> None:
        self.at.append(time.monotonic())
        self.heard.put(news)

    def until(self, done: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first push that is as wanted."""
        while True:
            news = self.heard.get(timeout=30.0)
            if done(news):
                return news


@contextlib.contextmanager
def watching(url: str, token: str = "") -> Iterator[Watcher]:
    """A watcher, until the end of the block."""
    watcher = Watcher(url, token)
    try:
        yield watcher
    finally:
        watcher.client.disconnect()


@pytest.fixture
def access() -> Iterator[Access]:
    """Tokens of the server."""
    access = Access(open_database("sqlite://"))
    yield access
    access.engine.dispose()


def get(url: str, page: str, token: str = "", **query: Any) -> requests.Response:
    """A part of the dashboard's numbers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"{url}/api/v1/dashboard/{page}"
    return requests.get(address, params=query, headers=headers, timeout=60)


def answer(desk: Desk, session: str, index: int) -> None:
    """A response to a trial."""
    send(desk, "respond", session=session, uid=f"{session}/{index}", value=0.5)


def test_trials_are_told_together_and_in_order(desk: Desk) -> None:
    with serving(desk) as url, watching(url) as watcher:
        session = hello(desk, "mouse-1").session
        watcher.until(lambda news: news.get("subjects"))
        begun = time.monotonic()
        for index in range(11):
            answer(desk, session, index)
        trials: list[int] = []
        pushes = []
        while len(trials) < 11:
            pushes.append(watcher.until(lambda news: "trials" in news))
            trials += pushes[-1]["trials"][session]["index"]
        assert trials == list(range(11))
        taken_s = time.monotonic() - begun
        assert len(pushes) <= 2 + taken_s / 0.25  # not one for each trial
        numbers = [news["revision"] for news in pushes]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        whole = get(url, "overview").json()
        assert whole["trials"] == 11
        assert whole["epoch"] == pushes[0]["epoch"]
        assert whole["subjects"][0]["trial"] == 11
        drawn = get(url, "raster", session=session).json()
        assert drawn["index"] == trials
        assert drawn["label"] == [
            label for news in pushes for label in news["trials"][session]["label"]
        ]
        answer(desk, session, 11)
        watcher.until(lambda news: "generations" in news)
    assert desk.board.revision >= len(pushes)


def test_no_reply_waits_for_what_is_slow(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        run_one(desk.handle, f"sim-{number}")
    compiled, draw = threading.Event(), Gallery.draw

    def slowly(*asked: Any) -> None:
        compiled.wait(60.0)
        draw(*asked)

    monkeypatch.setattr(Gallery, "draw", slowly)
    with serving(desk) as url, watching(url) as watcher:
        for page in ("labelling", "spectrum", "labelling"):
            reply = get(url, page).json()
            assert reply["pending"]
            assert "view" not in reply
        session = hello(desk, "mouse-1").session
        answer(desk, session, 0)  # nor does a trial
        assert get(url, "overview").json()["trials"] == 49
        compiled.set()
        watcher.until(lambda news: news.get("labelling"))
        told = ask_until(url, "labelling", "view")
        assert told["view"] == "sphere"
        assert "pending" not in told
        assert ask_until(url, "spectrum", "orders")["sessions"] == 4


def ask_until(url: str, page: str, field: str) -> Any:
    """A part, once it has been worked out."""
    for _ in range(300):
        reply = get(url, page).json()
        if field in reply:
            return reply
        time.sleep(0.1)
    raise AssertionError(f"{page} was never worked out")


def test_a_fault_is_a_gap_and_not_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(desk) as url, watching(url) as watcher:
        before = watcher.until(bool)["revision"]
        given, faults = desk.present, iter([OSError("gone")])

        def present(elsewhere: Any) -> Any:
            for fault in faults:
                raise fault
            return given(elsewhere)

        monkeypatch.setattr(desk, "present", present)
        hello(desk, "mouse-1")
        after = watcher.until(bool)["revision"]
        assert after > before + 1
        assert "could not be told" in caplog.text


def test_errands_are_done_once_each_one_after_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errands, begin, over = Errands(), threading.Event(), threading.Event()
    done: list[str] = []

    def fail() -> None:
        raise ValueError("a bad errand")

    errands.put("first", lambda: begin.wait(10.0))
    errands.put("bad", fail)
    for name in ("a", "b", "a", "a"):
        errands.put(name, lambda name=name: done.append(name))  # type: ignore[misc]
    errands.put("last", over.set)
    begin.set()
    assert over.wait(10.0)
    assert done == ["a", "b"]
    assert "a bad errand" in caplog.text
    errands.close()
    errands.put("late", lambda: done.append("late"))
    assert done == ["a", "b"]


def test_nothing_is_kept_or_pushed_where_nobody_watches(desk: Desk) -> None:
    with serving(desk) as url:
        with watching(url) as watcher:
            watcher.until(bool)
            assert desk.board.watched
        run_one(desk.handle, "sim-0")
        for _ in range(200):
            if not desk.board.watched:
                break
            time.sleep(0.05)
        assert not desk.board.watched
        run_one(desk.handle, "sim-1")
        assert not desk.board.take_changes().responded
        with watching(url) as watcher:
            news = watcher.until(bool)
            assert "trials" not in news


def test_a_token_of_one_study_sees_no_other(
    open_journal: Callable[..., Journal], access: Access
) -> None:
    desks = {
        study.name: open_desk(open_journal(study=study.name), study=study)
        for study in (small_study(), renamed("other"))
    }
    secret = access.issue("viewer", study="small")[1]
    every = access.issue("viewer")[1]
    with serving(desks["small"], access, desks["other"]) as url:
        with (
            watching(url, secret) as one,
            watching(f"{url}?study=other", every) as another,
        ):
            hello(desks["other"], "mouse-1")
            hello(desks["small"], "mouse-2")
            done = one.until(lambda news: news.get("subjects"))
            assert done["subjects"][0]["subject"] == "mouse-2"
            done = another.until(lambda news: news.get("subjects"))
            assert done["subjects"][0]["subject"] == "mouse-1"
            assert {news["study"] for news in one.heard.queue} <= {"small"}
            assert {news["study"] for news in another.heard.queue} <= {"other"}
        with pytest.raises(socketio.exceptions.ConnectionError):
            Watcher(f"{url}?study=other", secret)
        for page in PAGES:
            assert get(url, page, secret, study="other").status_code == 403
        assert get(url, "overview", secret).json()["study"] == "small"
        assert get(url, "overview", every).status_code == 404


def test_whose_token_is_withdrawn_hears_nothing_more(
    desk: Desk, access: Access
) -> None:
    id_, secret = access.issue("viewer")
    boss = access.issue("operator")[1]
    with serving(desk, access) as url:
        with watching(url, secret) as watcher:
            watcher.until(bool)
            access.revoke(id_)
            for _ in range(100):
                if not watcher.client.connected:
                    break
                time.sleep(0.1)
            assert not watcher.client.connected
        assert get(url, "overview", secret).status_code == 401
        assert get(url, "overview", boss).status_code == 200


def test_roles_see_and_do_what_they_may(desk: Desk, access: Access) -> None:
    secrets = {role: access.issue(role)[1] for role in ("viewer", "operator", "rig")}
    with serving(desk, access) as url:
        assert get(url, "overview").status_code == 401
        for page in PAGES:
            assert get(url, page, secrets["rig"]).status_code == 403
        viewer = get(url, "overview", secrets["viewer"])
        assert viewer.json()["may"] == []
        assert viewer.headers["Cache-Control"] == "no-store"
        boss = get(url, "overview", secrets["operator"]).json()
        assert boss["role"] == "operator"
        assert "abandon" in boss["may"]
        with pytest.raises(socketio.exceptions.ConnectionError):
            Watcher(url, secrets["rig"])
        with watching(url, secrets["viewer"]) as watcher:
            order: Any = {"reason": "the water is out", "emergency": True}
            for role, status in (("viewer", 403), ("operator", 200)):
                headers = {"Authorization": f"Bearer {secrets[role]}"}
                reply = requests.post(
                    f"{url}/api/v1/stop", json=order, headers=headers, timeout=60
                )
                assert reply.status_code == status
            news = watcher.until(lambda n: n.get("overview", {}).get("halted"))
            assert news["overview"]["halted"] == "emergency"
            assert news["overview"]["halted_reason"] == "the water is out"
            assert news["ledger"][0]["what"] == "emergency"


def test_the_page_holds_nothing_and_lets_nothing_in(desk: Desk) -> None:
    with serving(desk) as url:
        for path, root in (("dashboard", "."), ("dashboard/small", "..")):
            page = requests.get(f"{url}/{path}", timeout=60)
            assert page.status_code == 200
            policy = page.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert page.headers["Cache-Control"] == "no-cache"
            assert f'data-root="{root}"' in page.text
            assert "<script>" not in page.text
            asset = page.text.partition('<script src="')[2].partition('"')[0]
            folder = "dashboard/" if root == ".." else ""
            script = requests.get(f"{url}/{folder}{asset}", timeout=60)
            assert script.status_code == 200
            assert "max-age=31536000" in script.headers["Cache-Control"]
            assert script.headers["ETag"]
        slash = requests.get(f"{url}/dashboard/", timeout=60)
        assert slash.url == f"{url}/dashboard"
        odd = requests.get(f"{url}/dashboard/<b>x", timeout=60)
        assert "<b>" not in odd.text
        for name in ("page.html", "%2e%2e/dashboard_pages.py", "nothing.js"):
            other = requests.get(f"{url}/dashboard/static/0/{name}", timeout=60)
            assert other.status_code == 404
        assert get(url, "generations", after="-1").status_code == 422
        assert get(url, "labelling").json()["error"] == "no_labelling"
        assert get(url, "raster", session="nobody").status_code == 404


def test_pictures_are_for_viewers(
    desk: Desk, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, rig = (access.issue(role)[1] for role in ("viewer", "rig"))
    with serving(desk, access) as url:
        assert get(url, "stimuli/0.png", viewer).status_code == 404
        drawn = Content(b"pixels", "image/png")
        monkeypatch.setattr(dashboard_pages, "content", lambda *_: drawn)
        picture = get(url, "stimuli/0.png", viewer)
        assert (picture.content, picture.headers["Content-Type"]) == drawn
        assert "sandbox" in picture.headers["Content-Security-Policy"]
        assert get(url, "stimuli/0.png", rig).status_code == 403
        assert get(url, "stimuli/0.png").status_code == 401
