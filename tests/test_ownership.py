"""Whose session, whose study, whose progress: over the real wire, with tokens."""

import contextlib
import json
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import socketio
import websocket
from live_server import Wire, serving
from small_study import Clock, facts, small_study, study_text

from server.access import FRESH_S, Access
from server.database import open_database
from server.desk import Desk
from server.events import Responded, SessionOpened
from server.journal import Journal
from server.protocol import REQUESTS, Assignment, Refusal, Reply
from server.roles import MAY, Role
from server.running import assemble
from subject_clients.transport import TRANSPORTS

Send = Callable[..., Any]
REASON = {"reason": "asleep"}


class Site(NamedTuple):
    """A served study that wants tokens."""

    url: str
    desk: Desk
    journal: Journal
    access: Access
    clock: Clock

    def token(self, role: Role, **narrowed: Any) -> str:
        """The secret of a new token."""
        if role == "participant":
            narrowed = {"study": "small"} | narrowed
        return self.access.issue(role, **narrowed)[1]

    def get(self, page: str, secret: str = "", **headers: str) -> requests.Response:
        """A page, as whoever has a secret asks for it."""
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        return requests.get(f"{self.url}/{page}", headers=headers, timeout=10)


@pytest.fixture
def site(desk: Desk, journal: Journal) -> Iterator[Site]:
    clock = Clock()
    access = Access(open_database("sqlite://"), clock)
    access.issue("viewer")  # from now on all need one
    with serving(desk, access) as url:
        yield Site(url, desk, journal, access, clock)


@pytest.fixture(params=TRANSPORTS)
def send(site: Site, request: pytest.FixtureRequest) -> Iterator[Send]:
    """Sends a message with a secret, over each transport."""
    wire = TRANSPORTS[request.param](site.url, 20.0)

    def send(secret: str, kind: str, **message: Any) -> Reply:
        return wire.send(kind, message | {"token": secret})

    yield send
    wire.close()


def begin(send: Send, secret: str, subject: str, **more: Any) -> str:
    """A subject begins its session."""
    reply = send(secret, "hello", protocol=1, subject=subject, **more)
    assert isinstance(reply, Assignment), reply
    return reply.session


def of_session(kind: str, session: str) -> dict[str, Any]:
    """A message about a session that would change it."""
    more: dict[str, dict[str, Any]] = {
        "respond": {"uid": f"{session}/0", "value": 0.5},
        "abandon": REASON,
        "rewarded": {"uid": "x", "reward": {"microlitre": 1.0}},
    }
    return {"session": session} | more.get(kind, {})


# --- sessions ------------------------------------------------------------------

OF_SESSION = ("next", "respond", "heartbeat", "abandon")


def test_a_session_of_another_is_as_unknown_as_one_that_never_was(
    site: Site, send: Send
) -> None:
    first, second = (
        site.token("participant", subject=name) for name in ("anna", "ben")
    )
    session = begin(send, first, "anna")
    before = facts(site.journal)
    for kind in OF_SESSION:
        assert kind in MAY["participant"]
        refused = send(second, kind, **of_session(kind, session))
        assert (refused.status, refused.error) == (404, "unknown_session")
        never = send(second, kind, **of_session(kind, "c0-g0-i0-a9"))
        assert refused.detail == never.detail.replace("c0-g0-i0-a9", session)
        assert never.model_copy(update={"detail": refused.detail}) == refused
    assert facts(site.journal) == before
    assert send(first, "respond", **of_session("respond", session)).next


@pytest.mark.parametrize("owner", ["participant", "rig", "operator"])
def test_a_rig_uses_its_own_sessions_alone(site: Site, send: Send, owner: Role) -> None:
    narrowed = {"subject": "anna"} if owner == "participant" else {}
    session = begin(send, site.token(owner, **narrowed), "anna")
    for stranger in (
        site.token("rig"),
        site.token("rig", rig="rig-1"),
        site.token("rig", subject="ben"),
    ):
        for kind in (*OF_SESSION, "rewarded"):
            refused = send(stranger, kind, **of_session(kind, session))
            assert refused.error == "unknown_session", kind
    operator = site.token("operator")  # who may step in anywhere
    for kind in (*OF_SESSION, "rewarded"):
        reply = send(operator, kind, **of_session(kind, session))
        assert not isinstance(reply, Refusal), kind


def test_nobody_says_hello_for_another(site: Site, send: Send) -> None:
    secret = site.token("participant", subject="anna")
    refused = send(secret, "hello", protocol=1, subject="ben")
    assert (refused.status, refused.error) == (403, "not_yours")
    begin(send, site.token("rig"), "carl")
    refused = send(site.token("rig"), "hello", protocol=1, subject="carl")
    assert (refused.status, refused.error) == (409, "subject_busy")
    assert [s.subject for s in facts(site.journal, SessionOpened)] == ["carl"]


def test_a_token_of_a_rig_is_of_that_rig(site: Site, send: Send) -> None:
    secret = site.token("rig", rig="rig-1")
    refused = send(secret, "hello", protocol=1, subject="mouse-1", rig="rig-2")
    assert (refused.status, refused.error) == (403, "not_yours")
    session = begin(send, secret, "mouse-1")
    (opened,) = facts(site.journal, SessionOpened)
    assert opened.rig == "rig-1"
    busy = send(secret, "hello", protocol=1, subject="mouse-2")
    assert busy.error == "rig_busy"
    # Another token of the same rig is as good: it was issued anew.
    renewed = site.token("rig", rig="rig-1")
    assert send(renewed, "next", session=session).type == "trial"


def test_the_journal_says_with_which_token(site: Site, send: Send) -> None:
    id_, secret = site.access.issue("rig")
    begin(send, secret, "mouse-1")
    (opened,) = facts(site.journal, SessionOpened)
    assert opened.caller == id_
    assert secret not in str(facts(site.journal))


# --- progress ------------------------------------------------------------------

PAGES = ("api/v1/status", "api/v1/sessions", "api/v1/studies", "metrics")


def test_progress_is_for_viewers_and_operators(site: Site) -> None:
    participant = site.token("participant", subject="anna")
    for page in PAGES:
        assert site.get(page).status_code == 401
        assert site.get(page, "pen_wrong").status_code == 401
        for secret in (participant, site.token("rig")):
            answer = site.get(page, secret)
            assert answer.status_code == 403
            assert "small" not in answer.text
        for role in ("viewer", "operator"):
            assert site.get(page, site.token(role)).ok
    assert site.get("healthz").ok


@contextlib.contextmanager
def connected(url: str, **options: Any) -> Iterator[socketio.SimpleClient]:
    """A Socket.IO connection, closed in the end."""
    client = socketio.SimpleClient(reconnection=False)
    client.connect(url, transports=["websocket"], wait_timeout=10, **options)
    wire = client.client.eio.ws
    try:
        yield client
    finally:
        wire.abort()  # else python-engineio waits 3 s for a farewell
        client.disconnect()
        wire.shutdown()


def pushed(watcher: Any, kind: str, count: int) -> list[Any]:
    """The next pushes of a kind."""
    told: list[Any] = []
    while len(told) < count:
        name, news = watcher.receive(timeout=10)
        told += [news] if name == kind else []
    return told


def test_progress_is_pushed_to_viewers_alone(site: Site) -> None:
    for secret in ("", site.token("rig"), site.token("participant", subject="anna")):
        with (
            pytest.raises(socketio.exceptions.ConnectionError),
            connected(site.url, auth={"watch": True, "token": secret}),
        ):
            pass
    rig = site.token("rig")
    watch = {"watch": True, "token": site.token("viewer")}
    with (
        connected(site.url, auth=watch) as viewer,
        connected(site.url) as other,
    ):
        heard: queue.Queue[Any] = queue.Queue()
        other.client.on("progress", heard.put)
        hello: Any = {"protocol": 1, "subject": "mouse-1", "token": rig}
        assert other.call("hello", hello)["type"] == "assignment"
        (progress,) = pushed(viewer, "progress", 1)
        assert progress == site.desk.summary()
        assert heard.empty()


def test_a_viewer_whose_token_is_withdrawn_is_pushed_nothing(site: Site) -> None:
    rig = site.token("rig")
    name, secret = site.access.issue("viewer")
    with (
        connected(site.url, auth={"watch": True, "token": secret}) as viewer,
        connected(site.url) as other,
    ):
        site.access.revoke(name)
        hello: Any = {"protocol": 1, "subject": "mouse-1", "token": rig}
        assert other.call("hello", hello)["type"] == "assignment"
        told: list[Any] = []  # where it stood before
        gone = (socketio.exceptions.DisconnectedError, socketio.exceptions.TimeoutError)
        with contextlib.suppress(*gone):
            while True:
                told.append(viewer.receive(timeout=5))
        assert "progress" not in [name for name, _ in told]
        assert "mouse-1" not in json.dumps(told)


def test_a_viewer_sends_nothing(site: Site, send: Send) -> None:
    session = begin(send, site.token("rig"), "mouse-1")
    viewer = site.token("viewer")
    before = facts(site.journal)
    messages: dict[str, dict[str, Any]] = {
        "hello": {"protocol": 1, "subject": "mouse-2"},
        "give_reward": {"session": session, "microlitre": 1.0} | REASON,
        "weigh": {"subject": "mouse-1", "grams": 20.0},
        "drop_out": {"subject": "mouse-1"} | REASON,
    }
    messages |= dict.fromkeys(("pause", "resume", "stop"), REASON)
    for kind in REQUESTS:
        message = messages.get(kind, of_session(kind, session))
        refused = send(viewer, kind, **message)
        assert (refused.status, refused.error) == (403, "forbidden"), kind
    assert facts(site.journal) == before


# --- pages of others, withdrawn tokens -----------------------------------------


def test_the_page_of_another_site_is_refused(site: Site) -> None:
    rig = site.token("rig")
    hello: Any = {"protocol": 1, "subject": "mouse-1", "token": rig}
    address = site.url.replace("http", "ws", 1)
    socket = f"{address}/socket.io/?EIO=4&transport=websocket"
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        posted = requests.post(
            f"{site.url}/api/v1/hello",
            json=hello,
            headers={"Origin": origin},
            timeout=10,
        )
        seen = site.get("api/v1/status", site.token("viewer"), Origin=origin)
        for answer in (posted, seen):
            assert answer.status_code == 403
            assert answer.json()["error"] == "other_site"
        with pytest.raises(websocket.WebSocketBadStatusException):
            websocket.create_connection(socket, origin=origin)
    assert not facts(site.journal, SessionOpened)
    own = {"Origin": site.url}
    assert requests.post(
        f"{site.url}/api/v1/hello", json=hello, headers=own, timeout=10
    ).ok
    websocket.create_connection(socket, origin=site.url).close()


def test_a_strange_name_for_this_computer_is_refused_without_tokens(
    desk: Desk,
) -> None:
    """Else a page could let its own name lead here, and be of the same site."""
    with serving(desk) as url:
        for host, status in (("evil.example", 403), ("localhost", 200)):
            answer = requests.get(
                f"{url}/api/v1/status", headers={"Host": host}, timeout=10
            )
            assert answer.status_code == status


def test_a_withdrawn_token_is_of_no_use_within_a_second(site: Site, send: Send) -> None:
    id_, secret = site.access.issue("rig")
    session = begin(send, secret, "mouse-1")
    elsewhere = Access(site.access.engine, site.clock)  # as `penchant token` has it
    assert elsewhere.revoke(id_)
    site.clock.now += FRESH_S
    for kind in (*OF_SESSION, "rewarded"):
        refused = send(secret, kind, **of_session(kind, session))
        assert (refused.status, refused.error) == (401, "unauthorised")
    assert not facts(site.journal, Responded)


def test_a_participant_whose_links_are_withdrawn_is_out_at_once(
    site: Site, send: Send
) -> None:
    link = site.access.link("small", "anna", 3600.0)
    session = begin(send, link, "anna")
    assert site.access.revoke_links("small", "anna") == 1
    assert send(link, "next", session=session).error == "unauthorised"
    late = site.access.link("small", "ben", 60.0)
    site.clock.now += 61.0
    assert send(late, "hello", protocol=1, subject="ben").error == "unauthorised"


# --- several studies -----------------------------------------------------------


def test_a_token_of_one_study_is_of_no_other(tmp_path: Path) -> None:
    where = tmp_path / "lab.db"
    engine = open_database(where)
    access = Access(engine)
    _, secret = access.issue("operator", study="small")
    _, every = access.issue("viewer")
    two = [small_study(), small_study(study_text().replace('"small"', '"other"'))]
    server = assemble({study.name: study for study in two}, where, exposed=True)
    with contextlib.closing(server):
        client = server.app.test_client()
        bearer = {"Authorization": f"Bearer {secret}"}
        hello = {"protocol": 1, "subject": "mouse-1"}

        def ask(page: str, **more: Any) -> Any:
            headers = {"headers": bearer} | more
            return client.get(f"/api/v1/{page}", **headers).get_json()

        assert ask("studies")["studies"] == ["small"]
        assert ask("status")["study"] == "small"
        for page in ("status", "sessions"):
            assert ask(f"{page}?study=other")["error"] == "not_yours"
        for study, status, error in (
            ("small", 200, None),
            ("other", 403, "not_yours"),
            ("none", 403, "not_yours"),  # it does not learn which there are
        ):
            answer = client.post(
                f"/api/v1/hello?study={study}", json=hello, headers=bearer
            )
            said = answer.get_json()
            assert (answer.status_code, said.get("error")) == (status, error)
        assert said["error"] == "not_yours"
        all_of_them = {"headers": {"Authorization": f"Bearer {every}"}}
        assert ask("studies", **all_of_them)["studies"] == ["small", "other"]
        assert ask("status?study=other", **all_of_them)["study"] == "other"
        assert ask("status", **all_of_them)["error"] == "unknown_study"
    engine.dispose()


def test_an_order_to_all_is_for_every_study_of_the_server(tmp_path: Path) -> None:
    """A fire alarm is no time to look up names; and what fails in one is the last."""
    two = [small_study(), small_study(study_text().replace('"small"', '"other"'))]
    server = assemble({study.name: study for study in two}, tmp_path / "lab.db")
    server.studies.open_all()
    with contextlib.closing(server):
        client = server.app.test_client()

        def post(kind: str, **message: Any) -> Any:
            local = {"Host": "127.0.0.1"}
            address = f"/api/v1/{kind}"
            return client.post(address, json=message, headers=local).get_json()

        desks = server.studies.open_desks()
        assert post("stop", reason="fire", emergency=True)["detail"] == (
            "done in small, other"
        )
        assert [d.state.attendance.halted for d in desks.values()] == ["fire"] * 2
        told = desks["other"].told
        desks["small"]._journal.close()  # its next order is refused
        assert post("resume", reason="out")["error"] == "not_stored"
        assert desks["other"].state.attendance.halted is None
        assert told is not None
        of_one = {"session": "c0-g0-i0-a0", "reason": "asleep"}
        assert post("stop", **of_one)["error"] == "unknown_study"
        weighed = post("weigh", subject="m1", grams=20.0)
        assert "small, other" in weighed["detail"]  # which there are to name


# --- labels --------------------------------------------------------------------


def test_no_reply_and_no_push_has_the_label_of_a_test(site: Site) -> None:
    """Of a whole session with orders, and of pages; a dashboard shows what is over."""
    operator, rig = site.token("operator"), site.token("rig")
    with contextlib.closing(Wire(site.url)) as wire:
        watch = {"watch": True, "token": site.token("viewer")}
        with (
            connected(site.url, auth=watch) as viewer,
            connected(wire.url) as client,
        ):

            def say(kind: str, **message: Any) -> Any:
                return client.call(kind, {"token": rig, **message}, timeout=10)

            session = say("hello", protocol=1, subject="mouse-1")["session"]
            for kind in ("pause", "resume", "give_reward"):
                more = {"microlitre": 1.0} if kind == "give_reward" else {}
                say(kind, session=session, token=operator, **REASON, **more)
            trial = say("next", session=session)
            while trial:
                say("heartbeat", session=session)
                uid = trial["uid"]
                for _ in range(2):  # the acknowledgement twice
                    ack = say("respond", session=session, uid=uid, value=0.5)
                say("respond", session=session, uid=uid, value=-0.5)
                trial = ack["next"]
                for page in PAGES if not trial or trial["index"] == 9 else ():
                    url = f"{wire.url}/{page}"
                    bearer = {"Authorization": f"Bearer {operator}"}
                    assert requests.get(url, headers=bearer, timeout=10).ok
            progress = pushed(viewer, "progress", 4)  # opened, halted twice, ended
        seen = json.dumps(progress, separators=(",", ":"))
        seen += "".join(wire.to_clients)
    (opened,) = facts(site.journal, SessionOpened)
    assert '"what":"pause"' in seen
    assert '"sessions_ended":1' in seen  # what was pushed was seen
    shown, tested = (
        [f"{abs(y):.6f}".rstrip("0") for y in labels]
        for labels in (
            opened.y[: opened.training_stimuli],
            opened.y[opened.training_stimuli :],
        )
    )
    assert all(label in seen for label in shown)
    assert len(set(tested)) == 6
    assert not [label for label in tested if label in seen]
