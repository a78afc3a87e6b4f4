"""The conformance kit on clients: what is right passes, each bad habit is caught."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from live_server import serving
from plain_client import Plain
from scripted import Rig
from small_study import Clock

import subject_clients.conformance_server
import subject_clients.transport
from server.desk import Desk
from server.protocol import (
    Assignment,
    Reward,
    Trial,
)
from server.serve_cli import free_port
from subject_clients.adapter import Answer
from subject_clients.conformance import Verdict
from subject_clients.conformance_cli import conformance
from subject_clients.conformance_client import judge
from subject_clients.conformance_port import serving as playing
from subject_clients.conformance_scenarios import SCENARIOS
from subject_clients.conformance_stage import Pace, Stage
from subject_clients.loop import Subject
from subject_clients.transport import TRANSPORTS

Handle = Callable[[str, Any], Any]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hundreds of requests need no line each."""
    log = logging.getLogger("werkzeug")
    before, log.disabled = log.disabled, True
    yield
    log.disabled = before


def failed(verdicts: list[Verdict]) -> set[str]:
    return {one.check for one in verdicts if one.outcome == "failed"}


def skipped(verdicts: list[Verdict]) -> set[str]:
    return {one.check for one in verdicts if one.outcome == "skipped"}


# --- clients -------------------------------------------------------------------

FAST = Pace(heartbeat_s=0.05, wait_s=0.05, limited_s=0.02)


class Feeder(Rig):
    """A rig that gives what it may."""

    def begin(self, assignment: Assignment) -> None:
        """Any session."""

    def present(self, trial: Trial) -> Answer:
        """To the right, and rewarded if there is a grant."""
        most = trial.grant.max_microlitre if trial.grant else 0.0
        return Answer(1.0, reward=Reward(microlitre=most) if most else None)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that notices soon what it cannot know at once."""
    monkeypatch.setattr(subject_clients.transport, "RECONNECT_S", 0.005)
    monkeypatch.setattr(subject_clients.transport, "PAUSES_S", {429: 0.03, 503: 0.005})


def go_through(url: str, transport: str, rig: Feeder) -> None:
    """A client that is started again and again, until the study is over."""
    while True:
        wire = TRANSPORTS[transport](url, 10.0)
        try:
            if Subject("mouse-1", rig, wire).run_session().study:
                return
        finally:
            wire.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("transport", "socket_io"), [("http", True), ("http", False), ("socket", True)]
)
def test_our_client_passes(transport: str, socket_io: bool) -> None:
    stage, rig = Stage(SCENARIOS, FAST), Feeder()
    with playing(stage, socket_io=socket_io) as url:
        go_through(url, transport, rig)
    verdicts = judge(stage)
    assert {one.outcome for one in verdicts} == {"passed"}, verdicts
    assert rig.given == [2.0]
    assert len(rig.safe) == 1
    assert stage.finished.is_set()


def played(*habits: str, response: Any = "choice") -> list[Verdict]:
    """All scenarios with a plain client of some bad habits, in no time."""
    clock = Clock()
    clients: list[Plain] = []

    def sleep(seconds: float) -> None:
        clients[0].while_late(seconds)

    stage = Stage(SCENARIOS, Pace(), response, clock, sleep)
    clients.append(Plain(stage, clock, habits))
    clients[0].go_through()
    return judge(stage)


@pytest.mark.parametrize("response", ["choice", "graded"])
def test_a_plain_client_passes(response: str) -> None:
    verdicts = played(response=response)
    assert {one.outcome for one in verdicts} == {"passed"}, verdicts


HABITS: dict[str, set[str]] = {
    "never resends": {"lost acknowledgement", "free reward"},
    "resends with a new payload": {"same answer"},
    "gives up at 503": {"503", "through"},
    "asks at once after 429": {"429"},
    "has no heartbeat": {"heartbeat"},
    "does not wait": {"wait", "pause"},
    "never comes back": {"wait", "through"},
    "invents the next trial": {"order"},
    "begins at 0": {"order", "resume"},
    "goes on when it is over": {"stop", "emergency"},
    "sends what nobody knows": {"fields"},
    "sends a time below 0": {"values"},
    "says nothing in tests": {"values"},
    "gives more than granted": {"grant"},
    "gives without a grant": {"grant"},
    "gives twice on one grant": {"one reward"},
    "gives a free reward twice": {"free reward"},
    "gives more than ordered": {"free reward"},
    "speaks of tomorrow": {"version", "through"},
    "is early": {"slow"},
    "goes home at once": {"through"},
}
"""Bad habits of clients, and the checks that they must fail, and no other."""


@pytest.mark.parametrize("habit", HABITS)
def test_a_broken_client_is_caught(habit: str) -> None:
    verdicts = played(habit)
    assert failed(verdicts) == HABITS[habit], verdicts
    assert all(one.seen for one in verdicts if one.outcome != "passed")


def test_what_a_client_cannot_do_is_left_out() -> None:
    verdicts = played("gives nothing", "abandons what it did not begin")
    assert not failed(verdicts), verdicts
    assert skipped(verdicts) == {"grant", "free reward", "resume"}


@pytest.mark.parametrize("body", [b"", b"{", b'{"protocol": NaN}', b"\xff"])
def test_what_is_no_json_is_told(body: bytes) -> None:
    import requests

    stage = Stage(SCENARIOS, FAST)
    with playing(stage, socket_io=False) as url:
        answer = requests.post(f"{url}/api/v1/hello", data=body, timeout=10)
        assert answer.status_code == 400
        assert requests.get(f"{url}/api/v1/hello", timeout=10).status_code == 404
    assert "values" in failed(judge(stage))


# --- the command ---------------------------------------------------------------


def desk_uid(desk: Desk, session: str) -> str:
    """The trial that is due, whatever was answered."""
    return f"{session}/{desk.state.sessions[session].due}"


def test_the_command_tells_of_a_server(desk: Desk, tmp_path: Path) -> None:
    verdicts = tmp_path / "verdicts.json"
    only = ["--only", "repeat", "--only", "pause"]
    with serving(desk) as url:
        call = ["server", url, *only, "--json", str(verdicts)]
        right = CliRunner().invoke(conformance, call)
        assert right.exit_code == 0, right.output
        assert "2 passed, 0 failed, 0 skipped" in right.output
        handle = desk.handle

        def forgetful(kind: str, message: Any, *_: Any) -> Any:
            if kind == "respond":
                message = message | {"uid": desk_uid(desk, message["session"])}
            return handle(kind, message)

        desk.handle = forgetful  # type: ignore[method-assign,assignment]
        wrong = CliRunner().invoke(conformance, call)
    assert wrong.exit_code == 1
    assert "1 passed, 1 failed, 0 skipped" in wrong.output
    written = {one["check"]: one for one in json.loads(verdicts.read_text())}
    assert written["repeat"]["outcome"] == "failed"
    assert "then" in written["repeat"]["seen"]


def test_the_command_says_what_it_cannot_check() -> None:
    nowhere = CliRunner().invoke(conformance, ["server", "http://127.0.0.1:9"])
    assert nowhere.exit_code == 1
    assert nowhere.output.startswith("Error: ")
    for command in (["server", "http://127.0.0.1:9"], ["client"]):
        unknown = CliRunner().invoke(conformance, [*command, "--only", "luck"])
        assert unknown.exit_code == 2
        assert "'luck'" in unknown.output


@pytest.mark.usefixtures("impatient")
def test_the_command_waits_for_a_client() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    client = threading.Thread(target=go_through, args=(url, "http", Feeder()))
    client.start()
    call = ["client", "--port", str(port), "--only", "lost", "--heartbeat", "0.05"]
    ended = CliRunner().invoke(conformance, call)
    client.join()
    # What was not played is left out.
    assert ended.exit_code == 0, ended.output
    assert "lost acknowledgement" in ended.output
    assert " 0 failed" in ended.output


def test_the_command_gives_up_a_silent_client() -> None:
    call = ["client", "--port", "0", "--patience", "0.05"]
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(conformance, call)
    assert ended.exit_code == 1
    assert "never came" in ended.output


def test_it_loads_nothing_heavy() -> None:
    names = ("cli", "client", "port", "scenarios", "server")
    modules = ", ".join(f"subject_clients.conformance_{name}" for name in names)
    script = f"import sys, {modules}; print(*sys.modules)"
    run = [sys.executable, "-c", script]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"flask", "jax", "numpy", "sqlalchemy", "werkzeug"}
