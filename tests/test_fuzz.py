"""Malformed, hostile and untimely messages at a real server, over both wires.

`make test` sends some thousands; `make validate` 120,000. Whatever comes: an answer of
the protocol, no traceback, nothing changed for others, no label of a test trial.
"""

import http.client
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import websocket
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from live_server import serving
from small_study import facts, hello, open_desk, send

from server.access import Access
from server.database import open_database
from server.events import Fact, Quarantined, SessionOpened
from server.journal import Journal
from server.protocol import REQUESTS, Alive, Refusal, parse_reply
from server.roles import Caller

MESSAGES = 1500
"""In `make test`, for each wire."""

MANY = 60_000
"""In `make validate`, for each wire."""

F = TypeVar("F", bound=Callable[..., Any])

OWN, OTHER = "c0-g0-i0-a0", "c0-g0-i1-a0"
RESERVED = ("connect", "disconnect")
NUMBER = re.compile(r"-?\d+\.\d{3,}")

# --- what comes ------------------------------------------------------------------

texts = st.text(max_size=30) | st.sampled_from(
    ["", "\0", "\ud800", "' or 1=1 --", "../../etc/passwd", "{{7*7}}", "%s%n", "é" * 99]
)
numbers = st.one_of(
    st.integers(), st.floats(), st.just(10**90), st.just(-0.0), st.just(1e308)
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=10,
)
sessions = st.sampled_from([OWN, OTHER, "c0-g0-i2-a0", "c9-g9-i9-a9"])
uids = st.builds(
    "{}/{}".format,
    sessions,
    st.integers(-1, 14) | st.sampled_from(["00", "1e0", "", "٣", "9" * 30]),
)
KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "protocol": st.just(1) | numbers,
    "subject": st.sampled_from(["m-other", "m-own", "m-new"]) | texts,
    "session": sessions | texts,
    "uid": uids | texts,
    "value": st.floats(-1, 1) | numbers,
    "outcome": st.sampled_from(["responded", "omission", "premature"]) | texts,
    "reason": texts,
    "grams": numbers,
    "microlitre": numbers,
    "reward": st.fixed_dictionaries({"microlitre": numbers}) | anything,
    "rig": texts,
    "group": texts,
    "simulated": st.booleans() | anything,
    "capabilities": anything,
    "clocks": anything,
    "reaction_time_s": numbers,
    "emergency": st.booleans(),
    "baseline_grams": numbers,
}


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, Any, str]:
    """A kind of message, its payload, and who sends it."""
    kind = draw(st.sampled_from([*REQUESTS]) | st.just("*") | texts)
    who = draw(st.sampled_from(["participant", "rig", "viewer", "nobody", "stranger"]))
    if kind not in REQUESTS or draw(st.integers(0, 9)) == 0:
        return kind, draw(anything), who
    fields = [*REQUESTS[kind].model_fields]
    payload = {
        name: draw(KNOWN.get(name, anything))
        for name in fields
        if name != "token" and draw(st.integers(0, 9))
    }
    if draw(st.integers(0, 9)) == 0:
        payload[draw(texts)] = draw(anything)
    return kind, payload, who


# --- a server under siege -------------------------------------------------------


class Siege:
    """A study with two sessions under way, and what must not change."""

    def __init__(self, journal: Journal, access: Access) -> None:
        self.journal = journal
        self.desk = open_desk(journal)
        rig = access.issue("rig", rig="box-9")
        self.tokens: dict[str, Any] = {
            "participant": access.link("small", "m-own", 3600.0),
            "rig": rig[1],
            "viewer": access.issue("viewer")[1],
            "nobody": None,
            "stranger": "pen_0123456789ab_" + "x" * 43,
        }
        for subject, answers in (("m-own", 2), ("m-other", 8)):
            session = hello(self.desk, subject).session
            for index in range(answers):
                uid = f"{session}/{index}"
                send(self.desk, "respond", session=session, uid=uid, value=0.5)
        self.before = facts(journal)
        self.other = self.desk.state.sessions[OTHER]
        self.labels = {
            f"{abs(y):.6g}"
            for opened in facts(journal, SessionOpened)
            for y in opened.y[opened.training_stimuli :]
        }
        self.sent, self.url = 0, ""

    def payload(self, payload: Any, who: str) -> Any:
        """With the token of whoever sends it."""
        token = self.tokens[who]
        if token is not None and isinstance(payload, dict):
            return payload | {"token": token}
        return payload

    def check_reply(self, text: str) -> None:
        """An answer of the protocol, without a label or a look inside."""
        self.sent += 1
        reply = parse_reply(json.loads(text))
        assert "Traceback" not in text
        assert 'File "' not in text
        if isinstance(reply, Refusal):
            assert 400 <= reply.status < 500, text
        said = {f"{abs(float(n)):.6g}" for n in NUMBER.findall(text)}
        assert not said & self.labels, text

    def check_state(self) -> None:
        """Nothing has happened but to the participant's own session, or a rig's own."""
        new = facts(self.journal)[len(self.before) :]
        for fact in new:
            assert self.is_own(fact), fact
        assert self.desk.state.sessions[OTHER] == self.other
        assert facts(self.journal)[: len(self.before)] == self.before

    def is_own(self, fact: Fact) -> bool:
        session = getattr(fact, "session", None)
        if isinstance(fact, SessionOpened):
            return fact.rig == "box-9" or fact.subject == "m-own"
        if isinstance(fact, Quarantined):
            return session != OTHER
        opened = self.desk.state.sessions[session].opened if session else None
        if opened is None:
            return type(fact).__name__ == "Weighed"  # which a rig may tell
        return opened.rig == "box-9" or opened.subject == "m-own"


@pytest.fixture
def siege(journal: Journal) -> Iterator[Siege]:
    engine = open_database("sqlite://")
    access = Access(engine)
    under = Siege(journal, access)
    logging.disable(logging.CRITICAL)
    with serving(under.desk, access) as url:
        under.url = url
        yield under
    logging.disable(logging.NOTSET)
    engine.dispose()


def endured(number: int) -> Callable[[F], F]:
    """As many different messages as that, never shrunk: each takes its time."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )


def over_http(siege: Siege, number: int) -> None:
    host = siege.url.removeprefix("http://")
    wire = http.client.HTTPConnection(host, timeout=10)

    @endured(number)
    @given(message=messages(), raw=st.none() | st.binary(max_size=60))
    def send_it(message: tuple[str, Any, str], raw: bytes | None) -> None:
        kind, payload, who = message
        body = raw
        if raw is None:
            text = json.dumps(siege.payload(payload, who))
            body = text.encode("utf-8", "surrogatepass")
        name = re.sub(r"[^\w.-]", "_", kind, flags=re.ASCII) or "x"
        wire.request("POST", f"/api/v1/{name}", body)
        siege.check_reply(wire.getresponse().read().decode())

    send_it()
    wire.close()


def over_socket_io(siege: Siege, number: int) -> None:
    address = siege.url.replace("http", "ws")
    address += "/socket.io/?EIO=4&transport=websocket"
    wire = opened(address)

    @endured(number)
    @given(message=messages())
    def send_it(message: tuple[str, Any, str]) -> None:
        kind, payload, who = message
        said = json.dumps([kind, siege.payload(payload, who)])
        wire.send("427" + said)
        while not (packet := str(wire.recv())).startswith("437"):
            if packet == "2":
                wire.send("3")
        reply = json.loads(packet[3:])
        if kind in RESERVED:  # Socket.IO's own, as a client's event: tells nothing
            assert reply in ([], [True], [False])
        else:
            siege.check_reply(json.dumps(reply[0]))

    send_it()
    wire.shutdown()  # type: ignore[no-untyped-call]


def opened(address: str) -> websocket.WebSocket:
    wire = websocket.create_connection(address, timeout=10)
    wire.recv()
    wire.send("40")
    wire.recv()
    return wire


WIRES = {"http": over_http, "socket.io": over_socket_io}


@pytest.mark.parametrize("wire", WIRES)
def test_hostile_messages_change_nothing_of_others(siege: Siege, wire: str) -> None:
    WIRES[wire](siege, MESSAGES)
    siege.check_state()
    assert siege.sent > MESSAGES // 2


@pytest.mark.slow
@pytest.mark.parametrize("wire", WIRES)
def test_very_many_hostile_messages(siege: Siege, wire: str) -> None:
    WIRES[wire](siege, MANY)
    siege.check_state()
    print(f"{wire}: {siege.sent} messages")
    assert siege.sent >= MANY


def test_the_siege_would_notice(siege: Siege) -> None:
    """It is as good as its eyes: a label, a fault inside, a session of another."""
    ack = Alive(lease_s=float(next(iter(siege.labels))))
    with pytest.raises(AssertionError):
        siege.check_reply(ack.model_dump_json())
    with pytest.raises(AssertionError):
        siege.check_reply(
            Refusal(status=500, error="x", detail="Traceback").model_dump_json()
        )
    operator = Caller("operator", "someone")
    uid = f"{OTHER}/8"
    message = {"session": OTHER, "uid": uid, "value": 0.5}
    siege.desk.handle("respond", message, operator)
    with pytest.raises(AssertionError):
        siege.check_state()
