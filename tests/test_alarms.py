"""Alarms: told once, told for certain, and missed by someone when the server dies."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import watch
from server.alarms import (
    ALARMS,
    Alarm,
    Breach,
    Raised,
    SessionNow,
    Snapshot,
    SubjectNow,
    alarms,
    new,
)
from server.safety_section import SafetySection
from server.watch import Watch, Webhook, checked_url

LIMITS = SafetySection(trial_microlitre=5, session_microlitre=900, day_microlitre=1500)
HOUR = 3600.0
NOW = 1_800_000_000.0

RUNNING = SessionNow("c0-g0-1", "m1", False, False, NOW - 60, "box-3")
WELL = SubjectNow("m1", NOW - 400 * HOUR, NOW - HOUR, 200)
FINE = Snapshot("orders", (RUNNING,), (WELL,))
STALLED = replace(FINE, sessions=(replace(RUNNING, last_trial_at=NOW - 700),))


# What is wrong.


@pytest.mark.parametrize(
    ("snapshot", "name", "detail"),
    [
        (STALLED, "stall", "session c0-g0-1 in box-3 is open without a trial for 12"),
        (
            replace(
                FINE,
                sessions=(replace(RUNNING, last_trial_at=NOW - 600, paused=True),),
            ),
            "stall",
            "is paused without a trial for 10 min",
        ),
        (
            replace(FINE, sessions=(replace(RUNNING, lost=True, rig=""),)),
            "lost",
            "no sign of life from session c0-g0-1, last trial 1 min ago",
        ),
        (
            replace(FINE, subjects=(replace(WELL, last_reward_at=NOW - 22 * HOUR),)),
            "no_water",
            "no reward recorded for 22 h",
        ),
        (
            replace(
                FINE,
                subjects=(
                    replace(WELL, known_since=NOW - 23 * HOUR, last_reward_at=None),
                ),
            ),
            "no_water",
            "for 23 h",
        ),
        (
            replace(FINE, subjects=(replace(WELL, given_day=1500),)),
            "cap_reached",
            "1500 of 1500 microlitre today",
        ),
        (
            replace(FINE, sessions=(replace(RUNNING, microlitre=900),)),
            "cap_reached",
            "900 of 900 microlitre in session c0-g0-1 in box-3",
        ),
        (replace(FINE, breaches=(Breach("m1", "9 of 5"),)), "breach", "9 of 5"),
    ],
)
def test_what_is_wrong_is_named(snapshot: Snapshot, name: str, detail: str) -> None:
    (alarm,) = alarms(snapshot, LIMITS, NOW)
    assert (alarm.name, alarm.subject) == (name, "m1")
    assert detail in alarm.detail


def test_nothing_is_wrong_just_below_the_limits() -> None:
    session = replace(RUNNING, last_trial_at=NOW - 599)
    subject = replace(WELL, last_reward_at=NOW - 21.9 * HOUR, given_day=1499)
    assert alarms(Snapshot("orders", (session,), (subject,)), LIMITS, NOW) == []


def test_an_animal_in_a_lost_session_is_not_called_stalled_too() -> None:
    silent = replace(RUNNING, lost=True, last_trial_at=NOW - 9 * HOUR)
    names = [a.name for a in alarms(replace(FINE, sessions=(silent,)), LIMITS, NOW)]
    assert names == ["lost"]


# Told once.

some = st.builds(
    Alarm, st.sampled_from([*ALARMS]), st.sampled_from("ab"), st.sampled_from("12")
)


@given(st.lists(st.lists(some, max_size=6), max_size=8))
def test_an_alarm_is_told_once_until_it_clears(looks: list[list[Alarm]]) -> None:
    raised, before = Raised(), set[Any]()
    for current in looks:
        untold, raised = new(raised, current)
        now = {alarm.key for alarm in current}
        assert {alarm.key for alarm in untold} == now - before
        assert len(untold) == len(now - before)
        before = now


def test_two_breaches_of_one_subject_are_two_alarms() -> None:
    first, second = Breach("m1", "trial 3: 9 of 5"), Breach("m1", "trial 4: 9 of 5")
    untold, raised = new(
        Raised(), alarms(replace(FINE, breaches=(first,)), LIMITS, NOW)
    )
    assert len(untold) == 1
    both = alarms(replace(FINE, breaches=(first, second)), LIMITS, NOW + 5)
    assert [a.detail for a in new(raised, both)[0]] == [second.detail]


# A server that takes webhooks and pings, and does as it is told.


class Outside(ThreadingHTTPServer):
    """Answers with the next status of ``statuses``, then 200; keeps what came."""

    daemon_threads = False  # so that closing it waits for them

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.statuses: list[int] = []
        self.posted: list[dict[str, Any]] = []
        self.pings: list[str] = []

    def url(self, path: str = "/hook/geheim-7?key=geheim-8") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class _Answering(BaseHTTPRequestHandler):
    server: Outside

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(json.loads(body))

    def do_GET(self) -> None:
        self.server.pings.append(self.path)
        self._answer()

    def _answer(self, message: dict[str, Any] | None = None) -> None:
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if message and status == 200:
            self.server.posted.append(message)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Waits:
    """Waits no time at all, and remembers for how long it was to."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.waited.append(seconds)
        return False


@pytest.fixture
def hook(outside: Outside) -> Iterator[Callable[..., Webhook]]:
    """Opens webhooks to the outside that wait no time between tries."""
    opened: list[Webhook] = []

    def open_one(url: str | None = None, **options: Any) -> Webhook:
        options = {"wait": Waits()} | options
        opened.append(Webhook(url or outside.url(), **options))
        return opened[-1]

    yield open_one
    for webhook in opened:
        webhook.close()


class Lab:
    """What a watch looks at, and what it does; every part can fail."""

    def __init__(self) -> None:
        self.snapshots = [FINE]
        self.now = NOW
        self.well = True
        self.blind = self.full = False
        self.stored: list[tuple[str, Alarm]] = []

    def look(self) -> list[tuple[Snapshot, SafetySection]]:
        if self.blind:
            raise OSError("disk gone")
        return [(snapshot, LIMITS) for snapshot in self.snapshots]

    def store(self, study: str, alarm: Alarm) -> None:
        if self.full:
            raise OSError("disk full")
        self.stored.append((study, alarm))

    def watch(self, **options: Any) -> Watch:
        return Watch(
            self.look,
            self.store,
            lambda: self.well,
            wall=lambda: self.now,
            monotonic=lambda: self.now,
            **options,
        )


# The webhook.


def test_an_alarm_is_stored_and_posted_once(
    outside: Outside, hook: Callable[..., Webhook]
) -> None:
    lab, webhook = Lab(), hook()
    lab.snapshots = [STALLED, replace(STALLED, study="second")]
    looking = lab.watch(webhook=webhook)
    looking.tick()
    lab.now += 60
    looking.tick()
    webhook.flush()
    assert [study for study, _ in lab.stored] == ["orders", "second"]
    message, _ = outside.posted
    detail = lab.stored[0][1].detail
    assert message == {
        "name": "stall",
        "study": "orders",
        "subject": "m1",
        "detail": detail,
        "at": NOW,
        "text": f"orders: stall of m1: {detail}",
    }
    lab.snapshots = [FINE]
    lab.now = NOW
    looking.tick()
    lab.snapshots = [STALLED]
    looking.tick()
    webhook.flush()
    assert len(outside.posted) == len(lab.stored) == 3


def test_an_alarm_is_posted_again_until_it_arrives(
    outside: Outside, hook: Callable[..., Webhook]
) -> None:
    waits = Waits()
    webhook = hook(wait=waits)
    outside.statuses = [500, 503, 429, 502, 500, 500, 500, 500]
    webhook.put({"text": "a"})
    webhook.put({"text": "b"})
    webhook.flush()
    assert outside.posted == [{"text": "a"}, {"text": "b"}]
    assert waits.waited == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("status", [302, 400, 404, 410])
def test_what_is_refused_for_good_is_given_up_and_logged(
    outside: Outside,
    hook: Callable[..., Webhook],
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    webhook = hook()
    outside.statuses = [status]
    webhook.put({"text": "a"})
    webhook.put({"text": "b"})
    webhook.flush()
    assert outside.posted == [{"text": "b"}]
    assert f"alarm not delivered (status {status}): a" in caplog.text


def test_no_secret_is_logged_and_no_alarm_lost_without_a_word(
    outside: Outside, hook: Callable[..., Webhook], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook = hook("http://127.0.0.1:9/geheim-1", tries=3)
    lab = Lab()
    lab.snapshots = [STALLED]
    looking = lab.watch(webhook=webhook, ping="http://127.0.0.1:9/geheim-2")
    looking.tick()
    webhook.flush()
    answered = hook()
    outside.statuses = [500]
    answered.put({"text": "a"})
    answered.flush()
    assert "alarm not delivered (ConnectionError): orders: stall of m1" in caplog.text
    assert "dead-man's ping did not arrive: ConnectionError" in caplog.text
    assert "geheim" not in caplog.text


def test_what_does_not_fit_the_queue_is_logged(
    outside: Outside,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watch, "MOST_WAITING", 2)
    tried, go_on = threading.Event(), threading.Event()

    def wait(_: float) -> bool:
        tried.set()
        return not go_on.wait(60)

    webhook = Webhook(outside.url(), wait=wait)
    outside.statuses = [500]
    webhook.put({"text": "a"})  # is being tried: not in the queue any more
    assert tried.wait(60)
    for text in "bcd":
        webhook.put({"text": text})
    assert "alarm not delivered (2 wait already): d" in caplog.text
    go_on.set()
    webhook.flush()
    webhook.close()
    assert [message["text"] for message in outside.posted] == ["a", "b", "c"]


def test_what_is_left_at_the_end_is_logged(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    tried, go_on = threading.Event(), threading.Event()

    def wait(_: float) -> bool:
        tried.set()
        return go_on.wait(60)

    webhook = Webhook(outside.url(), wait=wait)
    outside.statuses = [500]
    webhook.put({"text": "a"})
    assert tried.wait(60)
    webhook.put({"text": "b"})
    webhook.close(timeout_s=0)
    assert "alarm not delivered (the server is closing): b" in caplog.text
    go_on.set()
    webhook.close()
    assert "alarm not delivered (status 500): a" in caplog.text
    assert outside.posted == []


def test_closing_gives_up_a_wait_at_once(outside: Outside) -> None:
    outside.statuses = [500] * 3
    webhook = Webhook(outside.url())  # with the true wait, of a second
    webhook.put({"text": "a"})
    webhook.close(timeout_s=60)
    assert len(outside.statuses) == 2


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example.org/geheim", "ftp://x/geheim", "http:///geheim", "http://["],
)
def test_a_bad_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match="--ping: expected") as refused:
        checked_url(url, "--ping")
    assert "geheim" not in str(refused.value)
    with pytest.raises(ValueError, match="--webhook"):
        Webhook(url)


# The watch in trouble.


def test_what_cannot_be_stored_is_told_all_the_same_and_stored_later(
    outside: Outside, hook: Callable[..., Webhook]
) -> None:
    lab, webhook = Lab(), hook()
    lab.snapshots, lab.full = [STALLED], True
    looking = lab.watch(webhook=webhook, ping=outside.url("/ping"))
    looking.tick()
    looking.tick()
    webhook.flush()
    assert len(outside.posted) == 1
    assert lab.stored == []
    assert outside.pings == []
    lab.full = False
    looking.tick()
    assert [alarm.name for _, alarm in lab.stored] == ["stall"]
    assert len(outside.pings) == 1


def test_pings_come_while_the_server_can_store_and_not_otherwise(
    outside: Outside,
) -> None:
    lab = Lab()
    looking = lab.watch(ping=outside.url("/ping/geheim"), ping_s=60)

    def pings_after(seconds: float) -> int:
        lab.now += seconds
        looking.tick()
        return len(outside.pings)

    assert pings_after(0) == 1
    assert pings_after(59) == 1
    assert pings_after(1) == 2
    lab.well = False
    assert pings_after(600) == 2
    lab.well, lab.blind = True, True
    assert pings_after(600) == 2
    lab.blind = False
    outside.statuses = [503]
    assert pings_after(5) == 3  # did not get through, so
    assert pings_after(5) == 4  # again at the next look
    assert pings_after(5) == 4
    assert set(outside.pings) == {"/ping/geheim"}


def test_health_that_cannot_be_asked_is_no_health(outside: Outside) -> None:
    def ask() -> bool:
        raise OSError("database is locked")

    Watch(Lab().look, Lab().store, ask, ping=outside.url("/ping")).tick()
    assert outside.pings == []


def test_a_started_watch_looks_until_it_is_closed(
    monkeypatch: pytest.MonkeyPatch, hook: Callable[..., Webhook]
) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 0.001)
    lab, looked = Lab(), threading.Event()
    lab.snapshots = [STALLED]

    def store(study: str, alarm: Alarm) -> None:
        lab.store(study, alarm)
        looked.set()

    looking = Watch(lab.look, store, lambda: True, webhook=hook(), wall=lambda: lab.now)
    looking.start()
    assert looked.wait(60)
    looking.close()
    assert len(lab.stored) == 1


def test_the_watch_outlives_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 0.001)
    twice, times = threading.Event(), []

    def tick(_: Watch) -> None:
        times.append(1)
        if len(times) > 1:
            twice.set()
        raise RuntimeError("https://geheim")

    monkeypatch.setattr(Watch, "tick", tick)
    looking = Lab().watch()
    looking.start()
    assert twice.wait(60)
    looking.close()
    assert "the watch failed: RuntimeError" in caplog.text
    assert "geheim" not in caplog.text
