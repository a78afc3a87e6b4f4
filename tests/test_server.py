"""The server over the real wire: the loop, what crosses it, and bad input."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import socketio
import websocket
from live_server import Wire, serving
from small_study import (
    CHOICE,
    be_born,
    facts,
    open_desk,
    run_all,
    small_study,
    snapshot,
    study_text,
)

from server.access import Access
from server.database import open_database
from server.desk import Desk
from server.events import (
    Halted,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyFinished,
)
from server.journal import Journal
from server.protocol import Assignment, Done, Refusal, Reply, parse_reply
from server.study import replay
from subject_clients.loop import Refused, Subject
from subject_clients.simulated import run_subjects
from subject_clients.transport import TRANSPORTS, Http

HELLO: dict[str, Any] = {"protocol": 1, "subject": "mouse-1"}


def run_over_both_transports(desk: Desk, url: str, token: str | None = None) -> None:
    """Two subjects over Socket.IO and two over HTTP at a time, to the end."""

    def join(name: str) -> None:
        run_subjects(
            name,
            2,
            lambda group: be_born(desk.state.study, group),
            lambda: TRANSPORTS[name](url, 20.0),
            token,
            desk.state.study.groups,
        )

    threads = [threading.Thread(target=join, args=(name,)) for name in TRANSPORTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.state.finished


@pytest.mark.parametrize("text", [study_text(), CHOICE], ids=["graded", "choice"])
def test_the_loop_runs_over_both_transports_at_once(
    open_journal: Callable[..., Journal], text: str
) -> None:
    study = small_study(text)
    journal, alone = open_journal(), open_journal("alone.db")
    desk = open_desk(journal, study=study)
    with serving(desk) as url:
        run_over_both_transports(desk, url)
    run_all(open_desk(alone, study=study))
    for kind, names in (
        (SessionOpened, "session x y trials right_rewarded"),
        (Responded, "session trials outcomes values"),
        (SessionEnded, "session status error used"),
    ):
        ours, theirs = (
            sorted(
                str([getattr(fact, name) for name in names.split()])
                for fact in facts(stored, kind)
            )
            for stored in (journal, alone)
        )
        assert ours == theirs


@pytest.mark.parametrize("text", [study_text(), CHOICE], ids=["graded", "choice"])
def test_no_test_label_ever_crosses_the_wire(journal: Journal, text: str) -> None:
    desk = open_desk(journal, study=small_study(text))
    with serving(desk) as url, contextlib.closing(Wire(url)) as wire:
        run_over_both_transports(desk, wire.url)
        for page in ("api/v1/status", "api/v1/schema", "healthz"):
            assert requests.get(f"{wire.url}/{page}", timeout=10).ok
        seen = "\n".join(wire.to_clients)
    numbers = {abs(float(n)) for n in re.findall(r"\d+\.\d+(?:e-?\d+)?", seen)}
    tested, taught = set(), set()
    for session in facts(journal, SessionOpened):
        training = session.training_stimuli
        tested |= {abs(y) for y in session.y[training:]}
        taught |= {abs(y) for y in session.y[:training]}
        assert {abs(value) for x in session.x for value in x} <= numbers
    assert len(tested) == 6 * 8
    assert not tested & numbers
    # Were labels sent they would be found: those of training are.
    assert taught <= numbers or text == CHOICE
    trials = list(trials_in(seen))
    assert {trial["phase"] for trial in trials} == {"training", "test"}
    for trial in trials:
        assert (trial["feedback"] is None) == (trial["phase"] == "test")


def trials_in(text: str) -> Iterator[dict[str, Any]]:
    """Every trial among all that crossed a wire."""
    for match in re.finditer(r'\{"type": ?"trial"', text):
        yield json.JSONDecoder().raw_decode(text, match.start())[0]


def test_the_wire_test_would_find_a_label(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as good as its eyes: a server that tells all must be caught."""
    monkeypatch.setattr(
        "server.session._feedback", lambda opened, _: {"label": opened.y[-1]}
    )
    desk = open_desk(journal)
    with serving(desk) as url, contextlib.closing(Wire(url)) as wire:
        http = Http(wire.url)
        session = parsed(http.send("hello", HELLO), Assignment).session
        http.send("next", {"session": session})
        http.close()
        (opened,) = facts(journal, SessionOpened)
        assert str(opened.y[-1]) in "".join(wire.to_clients)


def parsed(reply: Reply, kind: type[Any]) -> Any:
    """A reply that has to be of some kind."""
    assert isinstance(reply, kind)
    return reply


# --- bad input -----------------------------------------------------------------


@pytest.fixture
def server(desk: Desk) -> Iterator[str]:
    """A server of the small study."""
    with serving(desk) as url:
        yield url


MIB = 1 << 20
BAD_BODIES = {
    "nothing": (b"", "not_json"),
    "half an object": (b'{"protocol": 1, ', "not_json"),
    "binary": (bytes(range(256)), "not_json"),
    "NaN": (b'{"protocol": NaN, "subject": "m"}', "not_json"),
    "depth": (b"[" * 500_000, "not_json"),
    "half a character": (b'"\xe2\x82"', "not_json"),
    "an endless number": (b"1" * 10_000, "not_json"),
    "a list": (b"[1, 2]", "not_an_object"),
    "a text": (b'"hello"', "not_an_object"),
    "null": (b"null", "not_an_object"),
    "more than 1 MiB": (b'"' + b"x" * MIB + b'"', "request_entity_too_large"),
    "much more": (b"x" * (8 * MIB), "request_entity_too_large"),
    "another version": (b'{"protocol": 7, "subject": "m"}', "unknown_version"),
    "an unknown key": (b'{"protocol": 1, "subject": "m", "a": 1}', "invalid_message"),
}


def test_bad_bodies_are_refused_over_http_and_the_study_goes_on(
    server: str, desk: Desk, journal: Journal
) -> None:
    before = facts(journal)
    for case, (body, error) in BAD_BODIES.items():
        answer = requests.post(f"{server}/api/v1/hello", data=body, timeout=10)
        refusal = parsed(parse_reply(answer.json()), Refusal)
        assert (refusal.error, refusal.status) == (error, answer.status_code), case
        assert refusal.detail
    assert facts(journal) == before
    run_over_both_transports(desk, server)


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("POST", "api/v1/helo", "unknown_message"),
        ("POST", "api/v1/" + "h" * 5000, "unknown_message"),
        ("POST", "api/v2/hello", "not_found"),
        ("GET", "api/v1/hello", "method_not_allowed"),
        ("DELETE", "api/v1/status", "method_not_allowed"),
        ("GET", "../../etc/passwd", "not_found"),
    ],
)
def test_wrong_doors_are_refused_over_http(
    server: str, method: str, path: str, error: str
) -> None:
    answer = requests.request(method, f"{server}/{path}", json=HELLO, timeout=10)
    refusal = parsed(parse_reply(answer.json()), Refusal)
    assert (refusal.error, refusal.status) == (error, answer.status_code)


BAD_EVENTS = {
    "nothing": ("hello", None, "not_an_object"),
    "a text": ("hello", "hello", "not_an_object"),
    "binary": ("hello", b"\x00\xff", "invalid_message"),
    "an object with binary": ("hello", {"subject": b"\x00"}, "invalid_message"),
    "a list": ("hello", [1, 2], "not_an_object"),
    "two objects": ("hello", (HELLO, HELLO), "not_an_object"),
    "NaN": ("hello", HELLO | {"protocol": float("nan")}, "not_json"),
    "more than 1 MiB": (
        "hello",
        HELLO | {"token": "x" * MIB},
        "request_entity_too_large",
    ),
    "another version": ("hello", HELLO | {"protocol": 7}, "unknown_version"),
    "an unknown event": ("helo", HELLO, "unknown_message"),
    "the library's word for any event": ("*", "x" * 9, "unknown_message"),
    "an unknown session": ("next", {"session": "c0-g0-i0-a0"}, "unknown_session"),
}


@pytest.fixture
def client(server: str) -> Iterator["socketio.SimpleClient"]:
    """A Socket.IO client that sends what it is told to."""
    client = socketio.SimpleClient(reconnection=False)
    client.connect(server, transports=["websocket"])
    wire = client.client.eio.ws
    yield client
    wire.abort()
    client.disconnect()
    wire.shutdown()


def test_bad_events_are_refused_over_socket_io_and_the_study_goes_on(
    server: str, desk: Desk, journal: Journal, client: "socketio.SimpleClient"
) -> None:
    before = facts(journal)
    for case, (kind, payload, error) in BAD_EVENTS.items():
        reply = client.call(kind, payload, timeout=10)
        refusal = parsed(parse_reply(reply), Refusal)
        assert refusal.error == error, case
        assert refusal.detail
    assert facts(journal) == before
    # The connection still serves.
    assert client.call("hello", HELLO, timeout=10)["type"] == "assignment"
    client.call("abandon", {"session": "c0-g0-i0-a0", "reason": "test"}, timeout=10)
    run_over_both_transports(desk, server)


def test_a_client_that_sends_the_librarys_own_events_is_who_it_was(
    desk: Desk, client: "socketio.SimpleClient"
) -> None:
    """What it says of its connection is not believed, and it is still served."""
    forged = {"REMOTE_ADDR": "10.0.0.1", "QUERY_STRING": "study=other"}
    for said in (forged, (forged, {"watch": True}), None):
        client.call("connect", said, timeout=10)
        client.call("disconnect", said, timeout=10)
        reply = client.call("hello", HELLO, timeout=10)
        assert (reply["type"], reply["study"]) == ("assignment", "small")
    assert [s.opened.subject for s in desk.state.sessions.values()] == ["mouse-1"]


def test_events_whose_name_is_no_text_are_refused(server: str, desk: Desk) -> None:
    address = server.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    wire = websocket.create_connection(address, timeout=10)
    wire.send("40")
    for said in ('[["hello"]]', "[5]", "[null]", '[{"a":1},{}]', "{}", "[]"):
        wire.send("427" + said)
        while not (packet := str(wire.recv())).startswith("437"):
            pass
        (reply,) = json.loads(packet[3:])
        assert parsed(parse_reply(reply), Refusal).error == "unknown_message", said
    wire.close()
    assert not desk.state.sessions


def test_an_emergency_stop_reaches_everyone_and_is_kept(
    server: str, desk: Desk, journal: Journal, client: "socketio.SimpleClient"
) -> None:
    """Those who wait for a push, those who ask, and the server after a restart."""
    session = client.call("hello", HELLO, timeout=10)["session"]
    asked = HELLO | {"subject": "mouse-2"}
    other = requests.post(f"{server}/api/v1/hello", json=asked, timeout=10).json()
    stop: dict[str, Any] = {"emergency": True, "reason": "the valve is stuck"}
    reply = requests.post(f"{server}/api/v1/stop", json=stop, timeout=10).json()
    assert reply["type"] == "noted"
    assert client.receive(timeout=10)[1]["what"] == "emergency"
    heartbeat = client.call("heartbeat", {"session": session}, timeout=10)
    assert (heartbeat["type"], heartbeat["emergency"]) == ("done", True)
    beat = {"session": other["session"]}
    reply = requests.post(f"{server}/api/v1/heartbeat", json=beat, timeout=10).json()
    assert (reply["type"], reply["emergency"]) == ("done", True)
    assert facts(journal, Halted)[0].what == "emergency"
    again = replay(small_study(), facts(journal))
    assert snapshot(again) == snapshot(desk.state)
    assert again.attendance.halted == "the valve is stuck"


PACKETS = ["4", "42", "42[", "9", '42["hello"', "4" + "x" * 99, "\0", "420[" * 9]


def test_clients_that_speak_no_socket_io_harm_nobody(server: str, desk: Desk) -> None:
    address = server.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    for packet in (*PACKETS, '42["hello","' + "x" * (8 * MIB) + '"]'):
        stranger = websocket.create_connection(address, timeout=10)
        with contextlib.suppress(OSError):  # hung up on, the last one while it sends
            stranger.send("40")
            stranger.send(packet)
        stranger.shutdown()  # type: ignore[no-untyped-call]
    run_over_both_transports(desk, server)


def test_a_page_of_another_site_cannot_connect(server: str) -> None:
    """Any page in the operator's browser may try to reach this computer."""
    door = f"{server}/socket.io/?EIO=4&transport=polling"
    here = requests.get(door, headers={"Origin": server}, timeout=10)
    there = requests.get(door, headers={"Origin": "http://evil.example"}, timeout=10)
    assert (here.status_code, there.status_code) == (200, 400)


def test_messages_out_of_order_are_refused_and_the_session_goes_on(
    server: str, desk: Desk
) -> None:
    for name, transport in TRANSPORTS.items():
        wire = transport(server, 20.0)
        session = parsed(
            wire.send("hello", HELLO | {"subject": f"mouse-{name}"}), Assignment
        ).session
        for index, error in ((5, "out_of_order"), (99, "unknown_trial")):
            message = {"session": session, "uid": f"{session}/{index}", "value": 0.1}
            assert parsed(wire.send("respond", message), Refusal).error == error
        for index in range(12):
            message = {"session": session, "uid": f"{session}/{index}", "value": 0.1}
            for _ in range(2):  # each one twice
                wire.send("respond", message)
        assert desk.state.sessions[session].status == "finished"
        wire.close()
    run_over_both_transports(desk, server)


# --- who may come --------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_server_with_a_token_wants_it(journal: Journal, name: str) -> None:
    desk, access = open_desk(journal), Access(open_database("sqlite://"))
    _, secret = access.issue("operator")
    with serving(desk, access) as url:
        wire = TRANSPORTS[name](url, 20.0)
        for token in (None, "wrong"):
            subject = Subject("sim-1", be_born(small_study()), wire, token)
            with pytest.raises(Refused, match="valid token is required"):
                subject.run_session()
        assert not facts(journal, SessionOpened)
        Subject("sim-1", be_born(small_study()), wire, secret).run_session()
        wire.close()
    assert len(facts(journal, SessionEnded)) == 1


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_simulated_subject_cannot_join_a_live_study(
    journal: Journal, name: str
) -> None:
    with serving(open_desk(journal, mode="live")) as url:
        wire = TRANSPORTS[name](url, 20.0)
        with pytest.raises(Refused, match="simulated subjects cannot join"):
            Subject("sim-1", be_born(small_study()), wire).run_session()
        wire.close()


def test_status_tells_progress_and_no_labels(server: str, desk: Desk) -> None:
    run_over_both_transports(desk, server)
    status = requests.get(f"{server}/api/v1/status", timeout=10).json()
    assert status == {
        "study": "small",
        "mode": "dry-run",
        "component": 1,
        "generation": 0,
        "generations_done": 2,
        "sessions_ended": 8,
        "sessions_given_up": 0,
        "sessions_planned": 8,
        "open_sessions": 0,
        "verifying": False,
        "halted": None,
        "best_error": desk.state.best_error,
        "finished": True,
    }


def test_subjects_that_come_after_the_end_are_sent_home(
    server: str, desk: Desk, journal: Journal
) -> None:
    run_over_both_transports(desk, server)
    assert facts(journal, StudyFinished)
    wire = Http(server)
    assert parsed(wire.send("hello", HELLO), Done).study
    wire.close()
