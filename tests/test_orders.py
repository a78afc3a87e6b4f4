"""What an operator orders: who may, what clients are told, and what comes back."""

from typing import Any

import pytest
from small_study import Clock, facts, hello, open_desk, send, small_study, snapshot

from server.desk import Desk
from server.events import (
    DroppedOut,
    Halted,
    Responded,
    RewardAsked,
    RewardGiven,
    SessionEnded,
    SessionOpened,
    Weighed,
)
from server.journal import Journal
from server.protocol import (
    REQUESTS,
    Alive,
    Assignment,
    Done,
    Noted,
    Refusal,
    Trial,
    Wait,
)
from server.roles import MAY, ROLES, Caller, Role
from server.study import replay

WHY = "the water is out"


@pytest.fixture
def session(desk: Desk) -> str:
    """The session of the first subject."""
    return str(hello(desk, "mouse-1").session)


def answer(desk: Desk, session: str, index: int | None = None) -> Any:
    """A response to the trial that is due, or to another one."""
    if index is None:
        index = len(desk.state.sessions[session].answers)
    uid = f"{session}/{index}"
    return send(desk, "respond", session=session, uid=uid, value=0.5)


def order(desk: Desk, kind: str, **what: Any) -> None:
    """An order that is carried out."""
    assert isinstance(send(desk, kind, reason=WHY, **what), Noted)


def beat(desk: Desk, session: str) -> Any:
    """The reply to a heartbeat."""
    return send(desk, "heartbeat", session=session)


def check_replay(desk: Desk, journal: Journal) -> None:
    """After each event the state is the one that replay finds, and so in the end."""
    every = facts(journal)
    live = replay(small_study(), [])
    for length, fact in enumerate(every, 1):
        live.apply(fact)
        assert snapshot(replay(small_study(), every[:length])) == snapshot(live)
    assert snapshot(live) == snapshot(desk.state)


# --- pause, resume -------------------------------------------------------------


def test_one_session_pauses_after_its_trial_and_goes_on(
    desk: Desk, session: str, journal: Journal
) -> None:
    other = hello(desk, "mouse-2").session
    order(desk, "pause", session=session)
    assert beat(desk, session).paused
    ack = answer(desk, session)  # the trial under way is finished
    assert (ack.next, ack.done) == (None, False)
    waits = send(desk, "next", session=session)
    assert isinstance(waits, Wait)
    assert "paused" in waits.reason
    assert not beat(desk, other).paused
    assert answer(desk, other).next
    assert isinstance(hello(desk, "mouse-3"), Assignment)
    order(desk, "resume", session=session)
    assert send(desk, "next", session=session).index == 1
    assert not beat(desk, session).paused
    halted = facts(journal, Halted)
    assert [(h.session, h.what, h.reason, h.by) for h in halted] == [
        (session, "pause", WHY, "local"),
        (session, "resume", WHY, "local"),
    ]
    check_replay(desk, journal)


def test_all_sessions_pause_and_none_begins(
    desk: Desk, session: str, journal: Journal
) -> None:
    order(desk, "pause")
    assert desk.summary()["halted"] == WHY
    assert answer(desk, session).next is None
    for reply in (hello(desk, "mouse-2"), send(desk, "next", session=session)):
        assert isinstance(reply, Wait)
        assert reply.reason == WHY
    assert isinstance(hello(desk, "mouse-1"), Assignment)  # its own goes on, paused
    order(desk, "resume")
    assert desk.summary()["halted"] is None
    assert isinstance(hello(desk, "mouse-2"), Assignment)
    assert isinstance(send(desk, "next", session=session), Trial)
    check_replay(desk, journal)


def test_what_was_paused_by_itself_stays_so_when_all_go_on(
    desk: Desk, session: str, journal: Journal
) -> None:
    order(desk, "pause", session=session)
    order(desk, "pause")
    order(desk, "resume")
    assert isinstance(send(desk, "next", session=session), Wait)
    order(desk, "pause")
    order(desk, "resume", session=session)
    assert isinstance(send(desk, "next", session=session), Wait)
    order(desk, "resume")
    assert isinstance(send(desk, "next", session=session), Trial)
    check_replay(desk, journal)


def test_a_pause_outlives_the_server(
    desk: Desk, session: str, journal: Journal
) -> None:
    order(desk, "pause")
    order(desk, "pause", session=session)
    again = open_desk(journal)
    assert beat(again, session).paused
    assert isinstance(hello(again, "mouse-2"), Wait)
    assert snapshot(again.state) == snapshot(desk.state)


def test_a_paused_session_keeps_its_lease_by_heartbeats(journal: Journal) -> None:
    clock = Clock()
    desk = open_desk(journal, clock)
    session = hello(desk, "mouse-1").session
    order(desk, "pause", session=session)
    for _ in range(10):
        clock.now += 29.0
        assert isinstance(beat(desk, session), Alive)
    clock.now += 31.0  # a pause is no leave to die
    hello(desk, "mouse-2")
    assert desk.state.sessions[session].status == "lost"


# --- stop ----------------------------------------------------------------------


def test_one_session_is_stopped_after_its_trial(
    desk: Desk, session: str, journal: Journal
) -> None:
    other = hello(desk, "mouse-2").session
    answer(desk, session)
    order(desk, "stop", session=session)
    ended = facts(journal, SessionEnded)[-1]
    assert (ended.session, ended.status) == (session, "abandoned")
    assert WHY in ended.reason
    assert "local" in ended.reason
    for reply in (beat(desk, session), send(desk, "next", session=session)):
        assert isinstance(reply, Done)
        assert (reply.study, reply.emergency) == (False, False)
        assert WHY in reply.reason
    last = answer(desk, session)  # what the animal was doing is kept
    assert (last.next, last.done) == (None, True)
    assert [fact.trials for fact in facts(journal, Responded)] == [[0], [1]]
    assert answer(desk, session, 11).status == 410
    assert answer(desk, other).next
    assert hello(desk, "mouse-3").session == "c0-g0-i0-a1"
    check_replay(desk, journal)


def test_an_emergency_ends_all_at_once_until_it_is_over(
    desk: Desk, session: str, journal: Journal
) -> None:
    other = hello(desk, "mouse-2").session
    order(desk, "stop", emergency=True)
    for name in (session, other):
        for reply in (beat(desk, name), send(desk, "next", session=name)):
            assert isinstance(reply, Done)
            assert reply.emergency
            assert not reply.study
        assert answer(desk, name).done
    assert isinstance(hello(desk, "mouse-3"), Wait)
    assert desk.summary()["halted"] == WHY
    check_replay(desk, journal)
    order(desk, "resume")
    assert beat(desk, session).emergency  # that one is over for good
    assert isinstance(hello(desk, "mouse-3"), Assignment)
    assert {s.status for s in desk.state.sessions.values()} == {"abandoned", "open"}
    check_replay(desk, journal)


def test_a_subject_that_was_silent_hears_of_the_stop(journal: Journal) -> None:
    clock = Clock()
    desk = open_desk(journal, clock)
    session = hello(desk, "mouse-1").session
    clock.now += 31.0
    beat(desk, "none")
    assert desk.state.sessions[session].status == "lost"
    order(desk, "stop", session=session, emergency=True)
    assert beat(desk, session).emergency
    assert desk.state.sessions[session].status == "abandoned"


@pytest.mark.parametrize("kind", ["pause", "resume", "stop", "give_reward"])
@pytest.mark.parametrize("state", ["unknown", "over"])
def test_there_is_nothing_to_order_of_a_session_not_under_way(
    desk: Desk, session: str, journal: Journal, kind: str, state: str
) -> None:
    send(desk, "abandon", session=session, reason="asleep")
    before = facts(journal)
    more = {"microlitre": 1.0} if kind == "give_reward" else {}
    name = session if state == "over" else "c9-g9-i9-a9"
    refused = send(desk, kind, session=name, reason=WHY, **more)
    assert (refused.status, refused.error) == (404, "unknown_session")
    assert facts(journal) == before


def test_an_emergency_that_is_sent_again_is_the_same(
    desk: Desk, session: str, journal: Journal
) -> None:
    for _ in range(2):  # its first reply was lost
        order(desk, "stop", session=session, emergency=True)
    assert len(facts(journal, Halted)) == len(facts(journal, SessionEnded)) == 1


# --- rewards -------------------------------------------------------------------


def test_a_reward_that_is_ordered_again_by_its_name_is_one(
    desk: Desk, session: str, journal: Journal
) -> None:
    for _ in range(2):
        order(desk, "give_reward", session=session, microlitre=3.0, uid="sip-1")
    (wish,) = beat(desk, session).rewards
    assert wish.uid == "sip-1"
    assert isinstance(given(desk, session, "sip-1", 3.0), Noted)
    order(desk, "give_reward", session=session, microlitre=3.0, uid="sip-1")
    assert not beat(desk, session).rewards  # not after it was given, either
    assert len(facts(journal, RewardAsked)) == 1
    order(desk, "give_reward", session=session, microlitre=3.0)
    order(desk, "give_reward", session=session, microlitre=3.0)
    assert len(beat(desk, session).rewards) == 2  # without a name each is its own


def given(desk: Desk, session: str, uid: str, microlitre: float = 2.0) -> Any:
    """A rig reports a free reward."""
    reward = {"microlitre": microlitre, "how": "free"}
    return send(desk, "rewarded", session=session, uid=uid, reward=reward)


def test_a_free_reward_is_repeated_until_given_and_counts_once(
    desk: Desk, session: str, journal: Journal
) -> None:
    for microlitre in (2.0, 3.0):
        order(desk, "give_reward", session=session, microlitre=microlitre)
    wished = beat(desk, session).rewards
    assert [wish.microlitre for wish in wished] == [2.0, 3.0]
    assert len({wish.uid for wish in wished}) == 2
    assert beat(desk, session).rewards == wished
    first, second = wished
    for _ in range(3):
        assert isinstance(given(desk, session, first.uid), Noted)
        assert beat(desk, session).rewards == [second]
    given(desk, session, second.uid, 3.0)
    assert beat(desk, session).rewards == []
    assert desk.state.sessions[session].microlitre == 5.0
    assert [g.uid for g in facts(journal, RewardGiven)] == [first.uid, second.uid]
    order(desk, "give_reward", session=session, microlitre=1.0)
    (third,) = beat(desk, session).rewards
    assert third.uid not in (first.uid, second.uid)
    assert {a.by for a in facts(journal, RewardAsked)} == {"local"}
    check_replay(desk, journal)


def test_a_wish_outlives_the_server(desk: Desk, session: str, journal: Journal) -> None:
    order(desk, "give_reward", session=session, microlitre=2.0)
    (wish,) = beat(desk, session).rewards
    given(open_desk(journal), session, wish.uid)
    again = open_desk(journal)
    assert beat(again, session).rewards == []
    given(again, session, wish.uid)  # its acknowledgement was lost with the server
    assert len(facts(journal, RewardGiven)) == 1
    assert again.state.sessions[session].microlitre == 2.0


def test_a_reward_by_hand_and_one_that_comes_late_count(
    desk: Desk, session: str, journal: Journal
) -> None:
    order(desk, "give_reward", session=session, microlitre=2.0)
    (wish,) = beat(desk, session).rewards
    given(desk, session, "by-hand", 1.0)
    assert beat(desk, session).rewards == [wish]
    order(desk, "stop", session=session)
    given(desk, session, wish.uid)  # it was under way
    assert desk.state.sessions[session].microlitre == 3.0
    assert len(facts(journal, RewardGiven)) == 2
    check_replay(desk, journal)


def test_a_reward_for_a_response_is_counted_with_it_alone(
    desk: Desk, session: str, journal: Journal
) -> None:
    refused = given(desk, session, f"{session}/0")
    assert (refused.status, refused.error) == (422, "uid_of_a_trial")
    reply = send(
        desk,
        "respond",
        session=session,
        uid=f"{session}/0",
        reward={"microlitre": 1.5},
    )
    assert reply.next
    assert desk.state.sessions[session].microlitre == 1.5
    assert facts(journal, Responded)[0].rewards == [
        {"microlitre": 1.5, "how": "earned"}
    ]
    assert not facts(journal, RewardGiven)
    check_replay(desk, journal)


# --- weights, and leaving ------------------------------------------------------


def test_a_weight_is_kept_with_who_weighed(desk: Desk, journal: Journal) -> None:
    rig = Caller("rig", "token-7", rig="rig-1")
    desk.handle("weigh", {"subject": "mouse-1", "grams": 21.5}, rig)
    send(desk, "weigh", subject="mouse-1", grams=20.5, baseline_grams=25.0)
    assert facts(journal, Weighed) == [
        Weighed("mouse-1", 21.5, None, "token-7"),
        Weighed("mouse-1", 20.5, 25.0, "local"),
    ]


def test_a_subject_that_drops_out_gets_no_other_session(
    desk: Desk, session: str, journal: Journal
) -> None:
    order(desk, "drop_out", subject="mouse-1")
    assert facts(journal, SessionEnded)[-1].status == "abandoned"
    assert isinstance(beat(desk, session), Done)
    reply = hello(desk, "mouse-1")
    assert isinstance(reply, Done)
    assert not reply.study
    assert "left the study" in reply.reason
    order(desk, "drop_out", subject="mouse-1")  # sent again
    order(desk, "drop_out", subject="mouse-9")  # one that never came
    assert isinstance(hello(desk, "mouse-9"), Done)
    left = [fact.subject for fact in facts(journal, DroppedOut)]
    assert left == ["mouse-1", "mouse-9"]
    assert hello(desk, "mouse-2").session == "c0-g0-i0-a1"
    assert len(facts(journal, SessionOpened)) == 2
    check_replay(desk, journal)


# --- who may, and what makes sense ---------------------------------------------

MESSAGES: dict[str, dict[str, Any]] = {
    "hello": {"protocol": 1, "subject": "mouse-1"},
    "next": {"session": "SESSION"},
    "respond": {"session": "SESSION", "uid": "SESSION/0", "value": 0.5},
    "heartbeat": {"session": "SESSION"},
    "rewarded": {"session": "SESSION", "uid": "x", "reward": {"microlitre": 1.0}},
    "pause": {"reason": WHY},
    "resume": {"reason": WHY},
    "give_reward": {"session": "SESSION", "microlitre": 1.0, "reason": WHY},
    "weigh": {"subject": "mouse-1", "grams": 20.0},
    "stop": {"reason": WHY},
    "abandon": {"session": "SESSION", "reason": WHY},
    "drop_out": {"subject": "mouse-1", "reason": WHY},
}


def message(kind: str, session: str) -> dict[str, Any]:
    """A message that makes sense in a session under way."""
    return {
        key: value.replace("SESSION", session) if isinstance(value, str) else value
        for key, value in MESSAGES[kind].items()
    }


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sends_its_messages_and_no_other(
    desk: Desk, journal: Journal, role: Role
) -> None:
    assert MESSAGES.keys() == REQUESTS.keys()
    bound = "mouse-1" if role == "participant" else None
    caller = Caller(role, "token-1", subject=bound)
    opener = caller if caller.may("hello") else Caller("operator", "local")
    opened = desk.handle("hello", MESSAGES["hello"], opener)
    assert isinstance(opened, Assignment)
    for kind in MESSAGES:  # in an order in which all make sense
        before = facts(journal)
        reply = desk.handle(kind, message(kind, opened.session), caller)
        if kind in MAY[role]:
            assert not isinstance(reply, Refusal), kind
        else:
            assert isinstance(reply, Refusal)
            assert (reply.status, reply.error) == (403, "forbidden")
            assert facts(journal) == before


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("pause", {}),
        ("stop", {"reason": ""}),
        ("stop", {"reason": WHY, "emergency": "yes"}),
        ("give_reward", {"session": "SESSION", "microlitre": 0.0, "reason": WHY}),
        ("give_reward", {"microlitre": 1.0, "reason": WHY}),
        ("give_reward", {"session": "SESSION", "microlitre": 1.0}),
        ("rewarded", {"session": "SESSION", "uid": "x", "reward": {}}),
        (
            "rewarded",
            {"session": "SESSION", "uid": "x", "reward": {"microlitre": -1.0}},
        ),
        ("weigh", {"subject": "mouse-1", "grams": 0.0}),
        ("weigh", {"subject": "mouse-1", "grams": 20.0, "baseline_grams": -1.0}),
        ("drop_out", {"subject": "mouse-1"}),
    ],
)
def test_an_order_that_makes_no_sense_changes_nothing(
    desk: Desk, session: str, journal: Journal, kind: str, what: dict[str, Any]
) -> None:
    before = facts(journal)
    if "session" in what:
        what = what | {"session": session}
    refused = desk.handle(kind, what)
    assert isinstance(refused, Refusal)
    assert refused.status == 422
    assert facts(journal) == before
