"""The conformance kit on servers: what is right passes, each defect is caught."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from live_server import serving
from small_study import CHOICE, Clock, open_desk, small_study

import subject_clients.conformance_probe
import subject_clients.conformance_server
import subject_clients.transport
from server.access import Access
from server.database import open_database
from server.desk import Desk
from server.journal import Journal
from server.protocol import (
    Ack,
    Alive,
    Assignment,
    Done,
    Noted,
    Refusal,
    Reply,
    Trial,
)
from server.roles import LOCAL
from subject_clients.conformance import Verdict
from subject_clients.conformance_server import CHECKS, check_server

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


# --- servers -------------------------------------------------------------------


def checked(
    desk: Desk, clock: Clock, access: Access | None = None, token: str | None = None
) -> list[Verdict]:
    """All checks of a server, on a clock that moves when the kit waits."""

    def sleep(seconds: float) -> None:
        clock.now += seconds

    with serving(desk, access) as url:
        return check_server(f"{url}?study=small", token, sleep=sleep)


@pytest.fixture(autouse=True)
def any_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting costs nothing here, but each message does."""
    monkeypatch.setattr(subject_clients.conformance_probe, "PATIENCE_S", 35.0)
    monkeypatch.setattr(subject_clients.conformance_server, "LONGEST_LEASE_S", 100.0)


@pytest.mark.parametrize("text", [None, CHOICE], ids=["graded", "choice"])
def test_our_server_passes(journal: Journal, text: str | None) -> None:
    clock = Clock()
    study = small_study(text) if text else small_study()
    verdicts = checked(open_desk(journal, clock, study=study), clock)
    assert not failed(verdicts), verdicts
    assert skipped(verdicts) == {"token"}
    assert [one.check for one in verdicts] == list(CHECKS)
    assert all(one.why for one in verdicts)


@pytest.mark.parametrize(
    ("role", "left_out"),
    [
        ("operator", set()),
        ("rig", {"pause", "emergency", "free reward", "drop out"}),
    ],
)
def test_our_server_passes_with_a_token(
    journal: Journal, role: Any, left_out: set[str]
) -> None:
    access, clock = Access(open_database("sqlite://")), Clock()
    _, secret = access.issue(role)
    verdicts = checked(open_desk(journal, clock), clock, access, secret)
    assert not failed(verdicts), verdicts
    assert skipped(verdicts) == left_out


def test_nothing_is_tried_out_on_a_live_study(journal: Journal) -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="live"):
        checked(open_desk(journal, clock, mode="live"), clock)


def test_a_lease_too_long_to_wait_for_is_left_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_clients.conformance_server, "LONGEST_LEASE_S", 10.0)
    assert skipped(checked(desk, Clock())) == {"token", "heartbeat", "lost"}


def counts_twice(handle: Handle, desk: Desk, kind: str, message: Any) -> Any:
    if kind == "respond" and message["session"] in desk.state.sessions:
        session = desk.state.sessions[message["session"]]
        _, _, index = message["uid"].rpartition("/")
        if not session.over and index.isdecimal() and int(index) < len(session.answers):
            uid = f"{message['session']}/{len(session.answers)}"
            return handle(kind, message | {"uid": uid})
    return handle(kind, message)


def leaks(where: str) -> Callable[..., Any]:
    def told(trial: Trial | None) -> Trial | None:
        if trial is None or trial.phase == "training":
            return trial
        label = {"label": 0.5}
        if where == "feedback":
            return trial.model_copy(update={"feedback": label})
        return trial.model_copy(update={"stimulus": trial.stimulus | label})

    def server(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
        reply = handle(kind, message)
        if isinstance(reply, Ack):
            return reply.model_copy(update={"next": told(reply.next)})
        return told(reply) if isinstance(reply, Trial) else reply

    return server


def mended(error: str, **by: Any) -> Callable[..., Any]:
    """A server that makes good what it should refuse."""

    def server(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
        reply = handle(kind, message)
        if isinstance(reply, Refusal) and reply.error == error:
            known = {k: v for k, v in message.items() if k != "reaction_time_ms"}
            return handle(kind, known | by)
        return reply

    return server


def clamps(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
    reply = handle(kind, message)
    bad = isinstance(reply, Refusal) and reply.error == "invalid_message"
    if bad and kind == "respond" and "reaction_time_ms" not in message:
        kept = {key: message[key] for key in ("session", "uid")}
        return handle(kind, kept | {"value": 1.0})
    return reply


def takes_any_order(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
    reply = handle(kind, message)
    if isinstance(reply, Refusal) and reply.error == "out_of_order":
        return Ack(uid=message["uid"], next=None, done=False)
    return reply


def ends_early(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
    reply = handle(kind, message)
    if isinstance(reply, Ack) and reply.next and reply.next.index == 8:
        return reply.model_copy(update={"next": None, "done": True})
    return reply


def does_not(order: str) -> Callable[..., Any]:
    def server(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
        return Noted(detail="done") if kind == order else handle(kind, message)

    return server


def changes(model: type[Reply], **fields: Any) -> Callable[..., Any]:
    """A server whose replies of a kind always say something else."""

    def server(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
        reply = handle(kind, message)
        return reply.model_copy(update=fields) if isinstance(reply, model) else reply

    return server


def forgets_lost(handle: Handle, desk: Desk, kind: str, message: Any) -> Any:
    desk.tick()
    session = desk.state.sessions.get(str(message.get("session")))
    if session and session.status == "lost":
        return Refusal(status=404, error="unknown_session", detail="lost")
    return handle(kind, message)


def hears_no_heartbeat(handle: Handle, desk: Desk, kind: str, message: Any) -> Any:
    session = desk.state.sessions.get(str(message.get("session")))
    if kind == "heartbeat" and session and not session.over and not session.wished:
        stopped = desk.state.attendance.stopped(session) is not None
        return Alive(lease_s=30.0, paused=stopped)
    return handle(kind, message)


def knows_no_rigs(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
    return handle(kind, {k: v for k, v in message.items() if k != "rig"})


def keeps_abandoned(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
    if kind == "abandon":
        return Done(study=False, reason="session abandoned")
    return handle(kind, message)


def polite(handle: Handle, _: Desk, kind: str, message: Any) -> Any:
    reply = handle(kind, message)
    if isinstance(reply, Refusal) and reply.error == "unknown_session":
        return Done(study=False, reason="it is over, I suppose")
    return reply


AGAIN = {"repeat", "conflict"}
DEFECTS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "counts an answer twice": (counts_twice, AGAIN | {"lost", "transports"}),
    "leaks a label": (leaks("feedback"), {"labels"}),
    "leaks a label in the stimulus": (leaks("stimulus"), {"labels"}),
    "forgets on conflict": (mended("conflict", value=1.0), {"conflict"}),
    "drops unknown fields": (mended("invalid_message"), {"unknown fields"}),
    "speaks any version": (mended("unknown_version", protocol=1), {"version"}),
    "mends values": (clamps, {"values"}),
    "takes any order": (takes_any_order, {"out of order"}),
    "ends early": (ends_early, {"order"}),
    "does not pause": (does_not("pause"), {"pause"}),
    "does not drop out": (does_not("drop_out"), {"drop out"}),
    "does not reward": (does_not("give_reward"), {"free reward"}),
    "rewards for ever": (does_not("rewarded"), {"free reward"}),
    "hides an emergency": (changes(Done, emergency=False), {"emergency"}),
    "begins anew": (changes(Assignment, next_trial=0), {"again", "lost"}),
    "gives no time": (changes(Assignment, heartbeat_s=29.0), {"assignment"}),
    "forgets who was lost": (forgets_lost, {"lost"}),
    "hears no heartbeat": (hears_no_heartbeat, {"heartbeat"}),
    "knows no rigs": (knows_no_rigs, {"one place"}),
    "keeps the abandoned": (keeps_abandoned, {"abandon"}),
    "knows every session": (polite, {"unknown", "transports"}),
}
"""Broken servers, and the checks that each of them must fail, and no other."""


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_broken_server_is_caught(defect: str) -> None:
    server, expected = DEFECTS[defect]
    clock, journal = Clock(), Journal("sqlite://", "small")
    desk = open_desk(journal, clock)
    handle = desk.handle

    def broken(kind: str, message: Any, *_: Any) -> Any:
        if isinstance(message, dict):
            return server(handle, desk, kind, message)
        return handle(kind, message)

    desk.handle = broken  # type: ignore[method-assign,assignment]
    verdicts = checked(desk, clock)
    journal.close()
    assert failed(verdicts) == expected, [v for v in verdicts if v.outcome == "failed"]
    assert all(one.seen for one in verdicts if one.outcome != "passed")


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [("_no_constant", float, "NaN"), ("MAX_MESSAGE_BYTES", 1 << 30, "too large")],
)
def test_a_server_that_takes_any_body_is_caught(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, check: str
) -> None:
    monkeypatch.setattr(f"server.app.{name}", value)
    clock = Clock()
    assert failed(checked(open_desk(journal, clock), clock)) == {check}


def test_a_server_that_lets_everybody_in_is_caught(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Access, "caller", lambda *_: LOCAL)
    access, clock = Access(open_database("sqlite://")), Clock()
    access.issue("operator")
    verdicts = checked(open_desk(journal, clock), clock, access, "pen_any")
    assert failed(verdicts) == {"token"}
