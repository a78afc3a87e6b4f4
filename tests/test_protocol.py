"""Messages: round trips, schemas, the documented conversation, and bad input."""

import contextlib
import json
import math
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_server import door_of
from small_study import CHOICE, facts, hello, open_desk, send, small_study

from server.access import Access
from server.database import open_database
from server.desk import Desk
from server.journal import Journal
from server.protocol import (
    REPLIES,
    REQUESTS,
    Ack,
    Alive,
    Assignment,
    FreeReward,
    Grant,
    ProtocolError,
    Refusal,
    Reply,
    Trial,
    parse_reply,
    parse_request,
)

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
reasons = texts.filter(bool)
maybe_token = st.none() | texts
amounts = st.floats(0, 1e6, exclude_min=True)
rewards = st.fixed_dictionaries(
    {"microlitre": amounts, "how": st.sampled_from(["earned", "automatic", "free"])}
)
of_a_session = {"session": names | st.none(), "token": maybe_token}
REQUEST_STRATEGIES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "hello": st.fixed_dictionaries(
        {"protocol": st.just(1), "subject": names},
        optional={
            "token": maybe_token,
            "simulated": st.booleans(),
            "group": names,
            "rig": names | st.none(),
            "capabilities": st.dictionaries(names, texts | numbers | st.booleans()),
        },
    ),
    "next": st.fixed_dictionaries({"session": names, "token": maybe_token}),
    "respond": st.fixed_dictionaries(
        {"session": names, "uid": texts},
        optional={
            "value": st.floats(-1, 1) | st.none(),
            "reaction_time_s": st.floats(0, 1e7) | st.none(),
            "clocks": st.dictionaries(names, numbers) | st.none(),
            "reward": rewards | st.none(),
        },
    ),
    "heartbeat": st.fixed_dictionaries({"session": names}),
    "abandon": st.fixed_dictionaries({"session": names, "reason": reasons}),
    "rewarded": st.fixed_dictionaries(
        {"session": names, "uid": names, "reward": rewards}
    ),
    "pause": st.fixed_dictionaries({"reason": reasons}, optional=of_a_session),
    "resume": st.fixed_dictionaries({"reason": reasons}, optional=of_a_session),
    "stop": st.fixed_dictionaries(
        {"reason": reasons}, optional=of_a_session | {"emergency": st.booleans()}
    ),
    "give_reward": st.fixed_dictionaries(
        {"session": names, "microlitre": amounts, "reason": reasons}
    ),
    "weigh": st.fixed_dictionaries(
        {"subject": names, "grams": amounts},
        optional={"baseline_grams": amounts | st.none(), "token": maybe_token},
    ),
    "drop_out": st.fixed_dictionaries({"subject": names, "reason": reasons}),
}
trials = st.builds(
    Trial,
    uid=texts,
    index=st.integers(0, 10**6),
    phase=st.sampled_from(["training", "test"]),
    x=st.lists(numbers, max_size=4),
    stimulus=st.dictionaries(texts, numbers | texts),
    feedback=st.none() | st.fixed_dictionaries({"label": numbers}),
    grant=st.none() | st.builds(Grant, max_microlitre=numbers, valid_s=numbers),
)
wishes = st.builds(FreeReward, uid=texts, microlitre=numbers)
REPLY_STRATEGIES = {
    kind: {
        "trial": trials,
        "ack": st.builds(Ack, uid=texts, next=st.none() | trials, done=st.booleans()),
        "alive": st.builds(
            Alive, lease_s=numbers, paused=st.booleans(), rewards=st.lists(wishes)
        ),
    }.get(kind, st.from_type(model))
    for kind, model in REPLIES.items()
}


@pytest.mark.parametrize("kind", REQUESTS)
@given(data=st.data())
def test_requests_come_through_json_unchanged(kind: str, data: st.DataObject) -> None:
    message = data.draw(REQUEST_STRATEGIES[kind])
    request = parse_request(kind, json.loads(json.dumps(message)))
    again = parse_request(kind, json.loads(request.model_dump_json()))
    assert again == request
    assert request.model_dump(include=set(message)) == message


@pytest.mark.parametrize("kind", REPLIES)
@given(data=st.data())
def test_replies_come_through_json_unchanged(kind: str, data: st.DataObject) -> None:
    reply = data.draw(REPLY_STRATEGIES[kind].filter(_is_finite))
    assert parse_reply(json.loads(reply.model_dump_json())) == reply


def _is_finite(reply: Any) -> bool:
    numbers = (v for v in reply.model_dump().values() if isinstance(v, float))
    return all(map(math.isfinite, numbers))


# --- bad input -----------------------------------------------------------------

HELLO: dict[str, Any] = {"protocol": 1, "subject": "mouse-1"}
RESPOND: dict[str, Any] = {"session": "c0-g0-i0-a0", "uid": "c0-g0-i0-a0/0"}
DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]

BAD: dict[str, tuple[str, Any, Any, Any]] = {
    "a list": ("hello", [], "not_an_object", "JSON object"),
    "nothing": ("next", None, "not_an_object", "JSON object"),
    "a number": ("respond", 3, "not_an_object", "JSON object"),
    "bytes": ("hello", b"\x00\xff", "not_an_object", "JSON object"),
    "an unknown message": ("helo", HELLO, "unknown_message", "hello"),
    "an endless name": ("h" * 10**6, HELLO, "unknown_message", "hello"),
    "an old version": ("hello", HELLO | {"protocol": 0}, "unknown_version", "1"),
    "a version to come": ("hello", HELLO | {"protocol": 2}, "unknown_version", "1"),
    "an endless version": ("hello", HELLO | {"protocol": 10**4000}, None, "protocol"),
    "a version in words": ("hello", HELLO | {"protocol": "1"}, None, "integer"),
    "no version": ("hello", {"subject": "mouse-1"}, None, "protocol"),
    "no subject": ("hello", {"protocol": 1}, None, "subject"),
    "an empty subject": ("hello", HELLO | {"subject": ""}, None, "match"),
    "a subject with a newline": ("hello", HELLO | {"subject": "a\n"}, None, "match"),
    "a long subject": ("hello", HELLO | {"subject": "m" * 65}, None, "match"),
    "a subject of half a character": (
        "hello",
        HELLO | {"subject": "\ud800"},
        None,
        "string",
    ),
    "an unknown key": ("hello", HELLO | {"subjekt": "x"}, None, "subjekt"),
    "half a character as key": ("hello", HELLO | {"\ud800": 1}, None, "string"),
    "an endless key": ("hello", HELLO | {"k" * 10**6: 1}, None, "not permitted"),
    "a group where there is none": (
        "hello",
        HELLO | {"group": "control"},
        "wrong_group",
        "none in this study",
    ),
    "a number as truth": ("hello", HELLO | {"simulated": 1}, None, "boolean"),
    "a deep capability": (
        "hello",
        HELLO | {"capabilities": {"rig": DEEP}},
        None,
        "capabilities.rig",
    ),
    "an endless capability": (
        "hello",
        HELLO | {"capabilities": {"rig": "r" * 10**6}},
        None,
        "capabilities.rig",
    ),
    "many capabilities": (
        "hello",
        HELLO | {"capabilities": {f"c{i}": 1 for i in range(1000)}},
        None,
        "64",
    ),
    "a capability that is no number": (
        "hello",
        HELLO | {"capabilities": {"hz": math.nan}},
        None,
        "finite",
    ),
    "an unknown session": ("next", {"session": "c9-g9-i9-a9"}, "unknown_session", None),
    "a session that is a path": ("next", {"session": "../../etc"}, None, "match"),
    "NaN": ("respond", RESPOND | {"value": math.nan}, None, "finite"),
    "infinity": ("respond", RESPOND | {"value": math.inf}, None, "finite"),
    "a value out of range": ("respond", RESPOND | {"value": 1.5}, None, "less than"),
    "a value in words": ("respond", RESPOND | {"value": "0.5"}, None, "number"),
    "a value that is true": ("respond", RESPOND | {"value": True}, None, "number"),
    "an unknown outcome": ("respond", RESPOND | {"outcome": "slept"}, None, "omission"),
    "an omission with a value": (
        "respond",
        RESPOND | {"outcome": "omission", "value": 0.5},
        None,
        "cannot have a value",
    ),
    "a negative reaction time": (
        "respond",
        RESPOND | {"reaction_time_s": -0.1},
        None,
        "greater than",
    ),
    "an infinite clock": (
        "respond",
        RESPOND | {"clocks": {"rig": math.inf}},
        None,
        "finite",
    ),
    "no uid": ("respond", {"session": "c0-g0-i0-a0"}, None, "uid"),
    "a long uid": ("respond", RESPOND | {"uid": "u" * 81}, None, "80"),
    "a strange uid": ("respond", RESPOND | {"uid": "x"}, "unknown_trial", "0 to 11"),
    "a negative trial": (
        "respond",
        RESPOND | {"uid": "c0-g0-i0-a0/-1"},
        "unknown_trial",
        "0 to 11",
    ),
    "a trial in other digits": (
        "respond",
        RESPOND | {"uid": "c0-g0-i0-a0/²"},
        "unknown_trial",
        "0 to 11",
    ),
    "a trial twice as long": (
        "respond",
        RESPOND | {"uid": "c0-g0-i0-a0/00"},
        "unknown_trial",
        "0 to 11",
    ),
    "another session's trial": (
        "respond",
        RESPOND | {"uid": "c0-g0-i1-a0/0"},
        "unknown_trial",
        "0 to 11",
    ),
    "a later trial": (
        "respond",
        RESPOND | {"uid": "c0-g0-i0-a0/5"},
        "out_of_order",
        "c0-g0-i0-a0/0",
    ),
    "no reason": ("abandon", {"session": "c0-g0-i0-a0", "reason": ""}, None, "reason"),
    "an endless reason": (
        "abandon",
        {"session": "c0-g0-i0-a0", "reason": "r" * 1001},
        None,
        "reason",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_changes_nothing(
    desk: Desk, journal: Journal, case: str
) -> None:
    kind, payload, error, expected = BAD[case]
    hello(desk, "mouse-1")
    before = facts(journal)
    reply = desk.handle(kind, payload)
    assert isinstance(reply, Refusal)
    assert reply.error == (error or "invalid_message")
    assert (expected or "") in reply.detail
    assert len(reply.model_dump_json()) < 2000
    assert facts(journal) == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    kind=st.sampled_from([*REQUESTS]) | st.text(),
    payload=json_values
    | st.dictionaries(st.sampled_from(["session", "uid", "protocol"]), json_values),
)
def test_no_input_whatever_is_a_crash(kind: str, payload: Any) -> None:
    with contextlib.suppress(ProtocolError):
        parse_request(kind, payload)


def lodge(desk: Desk) -> tuple[Callable[[str, Any], Reply], str]:
    """The way in to a desk that wants a token, and an operator's."""
    access = Access(open_database("sqlite://"))
    _, secret = access.issue("operator")
    door, addresses = door_of(desk, access), count()  # too many failures are refused

    def handle(kind: str, message: Any) -> Reply:
        return door.handle(kind, message, None, f"address-{next(addresses)}", "")

    return handle, secret


@pytest.mark.parametrize(
    "message",
    [
        {"token": "staple"},
        {"token": "SECRET" + "x" * 300},
        {"token": "SECRET", "subject": 5},
        {"token": "SECRET", "protocol": 9},
        {"token": ["SECRET"], "subject": "mouse-1"},
    ],
)
def test_a_token_is_never_sent_back(desk: Desk, message: dict[str, Any]) -> None:
    handle, secret = lodge(desk)
    message = json.loads(json.dumps(message).replace("SECRET", secret))
    reply = handle("hello", HELLO | message)
    assert isinstance(reply, Refusal)
    for part in (secret, secret.rpartition("_")[2], "staple"):
        assert part not in reply.model_dump_json()


def test_each_message_needs_the_token_of_the_server(
    desk: Desk, journal: Journal
) -> None:
    handle, secret = lodge(desk)
    of_session, because = {"session": "c0-g0-i0-a0"}, {"reason": "asleep"}
    messages: dict[str, dict[str, Any]] = {
        "hello": HELLO,
        "next": of_session,
        "respond": RESPOND,
        "heartbeat": of_session,
        "rewarded": of_session | {"uid": "by-hand", "reward": {"microlitre": 1.0}},
        "pause": because,
        "resume": because,
        "give_reward": of_session | because | {"microlitre": 1.0},
        "weigh": {"subject": "mouse-1", "grams": 20.0},
        "stop": of_session | because,
        "abandon": of_session | because,
        "drop_out": {"subject": "mouse-1"} | because,
    }
    assert messages.keys() == REQUESTS.keys()
    for kind, message in messages.items():
        before = facts(journal)
        for token in ({}, {"token": None}, {"token": ""}, {"token": "correct"}):
            assert handle(kind, message | token).error == "unauthorised"  # type: ignore[union-attr]
        assert facts(journal) == before
        reply = handle(kind, message | {"token": secret})
        assert not isinstance(reply, Refusal), kind
    assert secret not in str(facts(journal))


def test_choices_are_one_of_two_and_only_tests_need_them(
    open_journal: Callable[..., Journal],
) -> None:
    desk = open_desk(open_journal(), study=small_study(CHOICE))
    session = hello(desk, "human-1").session
    trial = send(desk, "next", session=session)
    assert trial.feedback in ({"rewarded": "left"}, {"rewarded": "right"})
    refused = send(desk, "respond", session=session, uid=trial.uid, value=0.5)
    assert refused.error == "not_a_choice"
    while trial.phase == "training":
        trial = send(desk, "respond", session=session, uid=trial.uid).next
    assert trial.feedback is None
    refused = send(desk, "respond", session=session, uid=trial.uid)
    assert refused.error == "value_missing"
    assert send(desk, "respond", session=session, uid=trial.uid, value=-1).next


def test_a_live_study_takes_no_simulated_subject(journal: Journal) -> None:
    desk = open_desk(journal, mode="live")
    refused = hello(desk, "sim-1", simulated=True)
    assert (refused.status, refused.error) == (403, "simulated")
    assert isinstance(hello(desk, "mouse-1"), Assignment)
