"""Checks of a server in any language: plays a client, and is strict.

Every check has a session of its own and abandons it, so that one fault is found by
one check. The server has to serve a rehearsal, since nobody real is there.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from server.protocol import (
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    Ack,
    Alive,
    Assignment,
    Done,
    Noted,
    Refusal,
    Trial,
    Wait,
)
from subject_clients.conformance import Catalogue, Failed, Skipped, Verdict, expect
from subject_clients.conformance_probe import Probe, answer_to, is_refusal, words

CHECKS: Catalogue[Probe] = Catalogue()

LONGEST_LEASE_S = 10.0
"""Leases longer than this are not waited for."""

BAD_VALUES: dict[str, dict[str, Any]] = {
    "a value out of range": {"value": 1.5},
    "a value in words": {"value": "0.5"},
    "a value that is true": {"value": True},
    "a negative reaction time": {"reaction_time_s": -0.1},
    "an unknown outcome": {"outcome": "slept"},
    "an omission with a value": {"outcome": "omission", "value": 1.0},
    "a reward of nothing": {"reward": {"microlitre": 0.0}},
}


def check_server(
    url: str,
    token: str | None = None,
    group: str | None = None,
    only: tuple[str, ...] = (),
    sleep: Callable[[float], object] = time.sleep,
) -> list[Verdict]:
    """The verdicts of all checks of the server at ``url``, or of those named.

    Raises ``OSError`` without a server, ``ValueError`` if it is none to try things
    out on.
    """
    probe = Probe(url, token, group, sleep)
    try:
        probe.check_rehearsal()
        verdicts = []
        for name, check in CHECKS.items():
            if not only or name in only:
                verdicts.append(check.verdict(probe))
                probe.tidy_up()
        return verdicts
    finally:
        probe.hang_up()


@CHECKS.add("version", "A client of another release must learn it before it begins.")
def _version(server: Probe) -> None:
    hello = {"subject": server.subject(), "simulated": True}
    for version in (0, PROTOCOL + 1):
        server.refused(426, "unknown_version", "hello", protocol=version, **hello)


@CHECKS.add("assignment", "A client plans its session by it.")
def _assignment(server: Probe) -> None:
    session = server.begin()
    expect(session.protocol == PROTOCOL, f"it is of protocol {session.protocol}")
    expect(session.next_trial == 0, f"it begins at trial {session.next_trial}, not 0")
    expect(session.training_trials + session.test_trials > 0, "it has no trials")
    expect(
        0 < 2 * session.heartbeat_s <= session.lease_s,
        f"a heartbeat every {session.heartbeat_s:g} s in a lease of "
        f"{session.lease_s:g} s: expected two in a lease at least",
    )


@CHECKS.add("order", "Trials in another order, or another number, are another study.")
def _order(server: Probe) -> None:
    session, trials, last = _whole(server)
    expected = session.training_trials + session.test_trials
    found = [(trial.index, trial.phase) for trial in trials]
    phases = ["training"] * session.training_trials + ["test"] * session.test_trials
    expect(len(trials) == expected, f"{len(trials)} trials, {expected} were said")
    expect(found == list(enumerate(phases)), f"places and phases were {found}")
    expect(len({t.uid for t in trials}) == expected, "two trials have the same uid")
    expect(last.done, "the last acknowledgement does not say done")
    server.want(Done, "next", session=session.session)


@CHECKS.add("labels", "Who knows the label of a test trial makes it worthless.")
def _labels(server: Probe) -> None:
    for trial in _whole(server)[1]:
        if trial.phase == "test":
            said = trial.feedback, {"label", "rewarded", "y"} & trial.stimulus.keys()
            expect(said == (None, set()), f"test trial {trial.index} says {said}")
        else:
            expect(bool(trial.feedback), f"training trial {trial.index} has none")


@CHECKS.add("next twice", "A client that restarts must find the same trial.")
def _next_twice(server: Probe) -> None:
    session = server.begin().session
    first, second = server.next(session), server.next(session)
    expect(first == second, f"first {words(first)}, then {words(second)}")


@CHECKS.add("repeat", "An answer sent again, since its acknowledgement got lost.")
def _repeat(server: Probe) -> None:
    session = server.begin().session
    trial = server.next(session)
    first, again = server.answer(session, trial), server.answer(session, trial)
    expect(first == again, f"first {words(first)}, then {words(again)}")
    due = server.next(session)
    expect(due.index == 1, f"answered once, trial {due.index} is due")


@CHECKS.add(
    "conflict", "Two answers to a trial: none may replace the other in silence."
)
def _conflict(server: Probe) -> None:
    session = server.begin().session
    trial = server.next(session)
    first = server.answer(session, trial)
    other = answer_to(session, trial, value=-1.0)
    server.refused(409, "conflict", "respond", **other)
    again = server.answer(session, trial)
    expect(first == again, f"after a conflict the first is answered {words(again)}")


@CHECKS.add("out of order", "An answer to a trial that was not shown is no answer.")
def _out_of_order(server: Probe) -> None:
    session = server.begin().session
    due = server.next(session)
    later = due.uid[: -len("0")] + "2"
    if not due.uid.endswith("0"):
        raise Skipped(f"uids do not end with the place of the trial: {due.uid}")
    message = {"session": session, "uid": later, "value": 1.0}
    server.refused(409, "out_of_order", "respond", **message)
    expect(server.next(session) == due, "afterwards another trial is due")


@CHECKS.add("unknown fields", "A misspelt field would be lost without a word.")
def _unknown_fields(server: Probe) -> None:
    session = server.begin().session
    trial = server.next(session)
    message = answer_to(session, trial, reaction_time_ms=310.0)
    server.refused(422, "invalid_message", "respond", **message)
    expect(server.next(session) == trial, "the answer was taken")


@CHECKS.add("values", "A number out of range is a fault of the rig, not an answer.")
def _values(server: Probe) -> None:
    session = server.begin().session
    trial = server.next(session)
    for what, bad in BAD_VALUES.items():
        reply = server.say("respond", **answer_to(session, trial, **bad))
        is_refusal(reply, 422, "invalid_message", what)
    expect(server.next(session) == trial, "an answer was taken")


@CHECKS.add("NaN", "It is not JSON, and it would spread through every mean.")
def _nan(server: Probe) -> None:
    session = server.begin().session
    trial = server.next(session)
    for value in (float("nan"), float("inf")):
        message = server.signed(answer_to(session, trial, value=value))
        reply = server.post("respond", json.dumps(message).encode())
        is_refusal(reply, 400, "not_json", f"the value {value}")
    expect(server.next(session) == trial, "an answer was taken")


@CHECKS.add("not JSON", "A broken message must be refused, not guessed at.")
def _not_json(server: Probe) -> None:
    for body in (b"", b"{", b"subject=mouse", b'{"subject": "\xff"}'):
        is_refusal(server.post("hello", body), 400, "not_json", repr(body))
    if server.token is None:
        is_refusal(server.post("hello", b"[]"), 400, "not_an_object", "a list")


@CHECKS.add("too large", "One client must not fill the memory of the server.")
def _too_large(server: Probe) -> None:
    message = server.signed({"subject": "m" * MAX_MESSAGE_BYTES})
    reply = server.post("hello", json.dumps(message).encode())
    is_refusal(reply, 413, "request_entity_too_large", "more than 1 MiB")


@CHECKS.add("unknown", "A client must learn that it speaks of what is not there.")
def _unknown(server: Probe) -> None:
    session = server.begin().session
    server.refused(404, "unknown_message", "helo", subject=server.subject())
    nowhere = {"session": "no-such-session"}
    for kind in ("next", "heartbeat"):
        server.refused(404, "unknown_session", kind, **nowhere)
    strange = {"session": session, "uid": "no-such-trial", "value": 1.0}
    server.refused(404, "unknown_trial", "respond", **strange)
    if server.query:
        reply = server.post("hello", b"{}", "study=no-such-study")
        known = isinstance(reply, Refusal) and reply.status in (401, 403, 404)
        expect(known, f"a study that is not there was answered with {words(reply)}")


@CHECKS.add("token", "Whoever has no token, or a wrong one, is nobody.")
def _token(server: Probe) -> None:
    if not server.token:
        raise Skipped("no --token was given")
    for wrong in ("", "wrong", server.token[:-1], server.token + "x"):
        server.refused(401, "unauthorised", "next", session="any", token=wrong)


@CHECKS.add("again", "A client that restarts has to get its own session back.")
def _again(server: Probe) -> None:
    subject = server.subject()
    session = server.begin(subject)
    server.answer(session.session, server.next(session.session))
    back = server.begin(subject)
    expect(
        (back.session, back.next_trial) == (session.session, 1),
        f"{session.session} with trial 1 due came back as {words(back)}",
    )


@CHECKS.add("one place", "No subject can be at two rigs.")
def _one_place(server: Probe) -> None:
    subject = server.subject()
    server.begin(subject, rig=f"{subject}-box-1")
    reply = server.hello(subject, rig=f"{subject}-box-2")
    if isinstance(reply, Refusal) and reply.error == "not_yours":
        raise Skipped("this token is of one rig")
    is_refusal(reply, 409, "subject_busy", "the subject at another rig")


@CHECKS.add("heartbeat", "A subject that takes its time must not lose its session.")
def _heartbeat(server: Probe) -> None:
    assignment = server.begin()
    alive = server.want(Alive, "heartbeat", session=assignment.session)
    expect(alive.lease_s == assignment.lease_s, f"the lease is {alive.lease_s:g} s now")
    expect(not alive.paused and not alive.rewards, f"at first: {words(alive)}")
    _can_wait(assignment)
    for _ in range(2):
        server.sleep(0.6 * assignment.lease_s)
        server.want(Alive, "heartbeat", session=assignment.session)
    expect(_status(server, assignment) != "lost", "it was lost, though heartbeats came")


@CHECKS.add("lost", "A client that was away goes on; its answers are not lost.")
def _lost(server: Probe) -> None:
    subject = server.subject()
    assignment = server.begin(subject)
    session = assignment.session
    first = server.next(session)
    ack = server.answer(session, first)
    _can_wait(assignment)
    server.sleep(1.2 * assignment.lease_s)
    status = _status(server, assignment)
    expect(status in ("lost", None), f"silent for longer than a lease it is {status}")
    expect(server.answer(session, first) == ack, "its answer is not known any more")
    expect(server.next(session) == ack.next, "another trial is due after it was lost")
    back = server.begin(subject)
    expect(back.next_trial == 1, f"hello says that trial {back.next_trial} is due")


@CHECKS.add("abandon", "A subject that gave up must not keep others waiting.")
def _abandon(server: Probe) -> None:
    session = server.begin().session
    trial = server.next(session)
    ack = server.answer(session, trial)
    server.want(Done, "abandon", session=session, reason="conformance")
    for kind in ("next", "heartbeat"):
        server.want(Done, kind, session=session)
    expect(server.answer(session, trial).uid == ack.uid, "its answer is not known")
    expect(server.begin().session != session, "the next subject got the same session")


@CHECKS.add(
    "transports", "A client may change between HTTP and Socket.IO at any moment."
)
def _transports(server: Probe) -> None:
    subject = server.subject()
    session = server.begin(subject).session
    hello = {"protocol": PROTOCOL, "subject": subject, "simulated": True}
    back = server.say_over_socket("hello", **hello, **server.group)
    same = isinstance(back, Assignment) and back.session == session
    expect(same, f"over Socket.IO the session is {words(back)}")
    first = server.next(session)
    message = answer_to(session, first)
    pushed = server.say_over_socket("respond", **message)
    posted = server.say("respond", **message)
    expect(
        pushed == posted, f"one answer, two replies: {words(pushed)} {words(posted)}"
    )
    due = server.say_over_socket("next", session=session)
    expect(
        due == server.next(session), "the trial that is due depends on the transport"
    )
    refusal = server.say_over_socket("next", session="no-such-session")
    is_refusal(refusal, 404, "unknown_session", "next over Socket.IO")


@CHECKS.add("pause", "An operator must be able to open the door of the box.")
def _pause(server: Probe) -> None:
    session = server.begin().session
    trial = server.next(session)
    server.order("pause", session=session)
    ack = server.answer(session, trial)
    held = ack.next is None and not ack.done
    expect(held, f"the trial under way was answered with {words(ack)}")
    wait = server.want(Wait, "next", session=session)
    expect(wait.retry_after_s > 0, "the client is told to ask again at once")
    alive = server.want(Alive, "heartbeat", session=session)
    expect(alive.paused, "the heartbeat does not say that it is paused")
    server.order("resume", session=session)
    due = server.next(session)
    expect(due.index == 1, f"after the pause trial {due.index} is due")


@CHECKS.add("emergency", "Safe state at once, whatever the subject is doing.")
def _emergency(server: Probe) -> None:
    session = server.begin().session
    server.next(session)
    server.order("stop", session=session, emergency=True)
    for kind in ("heartbeat", "next"):
        done = server.want(Done, kind, session=session)
        expect(done.emergency, f"{kind} does not tell of it: {words(done)}")
        expect(not done.study, "the end of one session became that of the study")


@CHECKS.add("free reward", "Ordered once, given once, counted once.")
def _free_reward(server: Probe) -> None:
    session = server.begin().session
    of_session = {"session": session}
    server.order("give_reward", **of_session, microlitre=0.5)
    for _ in range(2):
        alive = server.want(Alive, "heartbeat", **of_session)
        amounts = [wish.microlitre for wish in alive.rewards]
        expect(
            amounts == [0.5], f"0.5 was ordered and is not reported, told: {amounts}"
        )
    given = {"uid": alive.rewards[0].uid, "reward": {"microlitre": 0.5, "how": "free"}}
    for _ in range(2):
        server.want(Noted, "rewarded", **of_session, **given)
    alive = server.want(Alive, "heartbeat", **of_session)
    expect(not alive.rewards, f"it was given, and is asked for again: {words(alive)}")


@CHECKS.add("drop out", "Who withdraws consent is left in peace.")
def _drop_out(server: Probe) -> None:
    subject = server.subject()
    session = server.begin(subject).session
    server.order("drop_out", subject=subject)
    server.want(Done, "next", session=session)
    reply = server.hello(subject)
    expect(isinstance(reply, Done), f"its next hello was answered with {words(reply)}")


def _whole(server: Probe) -> tuple[Assignment, list[Trial], Ack]:
    """A session from the first trial to the last, however often it is asked for."""
    if server.whole is None:
        session = server.begin()
        trials = [server.next(session.session)]
        ack = server.answer(session.session, trials[0])
        most = session.training_trials + session.test_trials
        while ack.next and len(trials) <= most:
            trials.append(ack.next)
            ack = server.answer(session.session, ack.next)
        server.whole = session, trials, ack
    return server.whole


def _can_wait(assignment: Assignment) -> None:
    if assignment.lease_s > LONGEST_LEASE_S:
        raise Skipped(
            f"its lease is {assignment.lease_s:g} s: to have this checked, serve a "
            "study with lease_s = 2"
        )


def _status(server: Probe, assignment: Assignment) -> str | None:
    """Of a session, as the page of those under way has it, if we may see that."""
    server.say("next", session="no-such-session")  # the server looks at its clock
    page = server.page("api/v1/sessions")
    if page is None:
        return None
    try:
        status = {one["session"]: one["status"] for one in page["sessions"]}
    except (KeyError, TypeError) as error:
        raise Failed(f"no page of sessions: {page!r:.120}") from error
    return status.get(assignment.session)
