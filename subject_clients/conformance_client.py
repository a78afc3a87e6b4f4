"""Checks of a client in any language: a session for each situation that it may meet.

What a client does at its rig no server sees; these are checks of what it says.
"""

from collections.abc import Iterator
from itertools import pairwise

from server.protocol import (
    Ack,
    Done,
    Refusal,
    Trial,
    Wait,
)
from subject_clients.conformance import Catalogue, Failed, Skipped, Verdict, expect
from subject_clients.conformance_stage import (
    TRIALS,
    Heard,
    Sitting,
    Stage,
)

CHECKS: Catalogue[Stage] = Catalogue()

EARLY = 0.95
"""A client may come back this share of a wait too soon: its clock is another."""


def judge(stage: Stage) -> list[Verdict]:
    """The verdicts of all checks on what was played."""
    return [check.verdict(stage) for check in CHECKS.values()]


# --- checks of whatever was played ---------------------------------------------


@CHECKS.add("through", "A client has to come through all of this, and to the end.")
def _through(stage: Stage) -> None:
    for name, sitting in stage.sittings.items():
        expect(bool(sitting.heard), f"the client never came for scenario {name!r}")
        expect(
            sitting.over is not None,
            f"in scenario {name!r} the client fell silent after "
            f"{len(sitting.answers)} answers",
        )
        for one in sitting.of("abandon") if name != "resumed" else ():
            raise Failed(f"in {name!r} it gave up: {one.message.get('reason')!r:.120}")
    plain = stage.sittings.get("plain")
    answers = len(plain.answers) if plain else TRIALS
    expect(answers == TRIALS, f"in a plain session it answered {answers} of {TRIALS}")


@CHECKS.add("version", "Server and client must know what the other one means.")
def _version(stage: Stage) -> None:
    for one in _all(stage):
        if isinstance(one.reply, Refusal) and one.reply.error == "unknown_version":
            raise Failed(f"hello with protocol {one.message.get('protocol')!r:.40}")


@CHECKS.add("fields", "A field that no server knows is refused, answer and all.")
def _fields(stage: Stage) -> None:
    _no_fault(stage, "field")


@CHECKS.add("values", "A number out of range is a fault of the rig, not an answer.")
def _values(stage: Stage) -> None:
    _no_fault(stage, "value")
    for one in _all(stage):
        bad = {"value_missing", "not_a_choice"}
        if isinstance(one.reply, Refusal) and one.reply.error in bad:
            raise Failed(f"value {one.message.get('value')!r:.40}: {one.reply.detail}")


@CHECKS.add("order", "An answer to a trial that was not shown is no answer.")
def _order(stage: Stage) -> None:
    for name, sitting in stage.sittings.items():
        shown: set[str] = set()
        for one in sitting.heard:
            uid = one.message.get("uid")
            if one.kind == "respond" and one.fault == "":
                expect(uid in shown, f"in {name!r} it answered {uid!r} before its time")
            trial = one.reply.next if isinstance(one.reply, Ack) else one.reply
            if isinstance(trial, Trial):
                shown.add(trial.uid)


@CHECKS.add("same answer", "What is sent again must be what was sent before.")
def _same_answer(stage: Stage) -> None:
    for one in _all(stage):
        if isinstance(one.reply, Refusal) and one.reply.error == "conflict":
            raise Failed(f"two different answers to {one.message.get('uid')}")
    for name, sitting in stage.sittings.items():
        sent: dict[object, object] = {}
        for one in sitting.of("respond"):
            if isinstance(one.reply, Refusal) and one.reply.status not in (429, 503):
                continue  # it was not this answer that had to be sent again
            uid, message = one.message.get("uid"), one.message
            same = sent.setdefault(uid, message) == message
            expect(same, f"in {name!r} two different answers to {uid}")


# --- checks of a scenario ------------------------------------------------------


@CHECKS.add("wait", "Too soon is a flood, never is a subject that waits in vain.")
def _wait(stage: Stage) -> None:
    sitting = _played(stage, "wait")
    _comes_back(sitting.of("hello"), "hello")


@CHECKS.add("lost acknowledgement", "An answer that nobody acknowledged may be lost.")
def _lost_acknowledgement(stage: Stage) -> None:
    _sent(_played(stage, "lost"), 1, 2, "its acknowledgement got lost")


@CHECKS.add("cut off", "A cable that is pulled must not cost an answer or a session.")
def _cut_off(stage: Stage) -> None:
    sitting = _played(stage, "cut")
    expect(len(sitting.of("next")) > 1, "next was cut off, and never sent again")
    _sent(sitting, 2, 2, "the connection was cut")


@CHECKS.add("503", "The disk of a server may be full for a while.")
def _unavailable(stage: Stage) -> None:
    _sent(_played(stage, "busy"), 1, 3, "it was refused with 503")


@CHECKS.add("429", "Who is told that it asks too often must not ask more.")
def _too_often(stage: Stage) -> None:
    sitting = _played(stage, "limited")
    tried = _sent(sitting, 1, 2, "it was refused with 429")
    gap_s, least_s = tried[1].at - tried[0].at, sitting.pace.limited_s
    soon = f"it came back after {gap_s:.3g} s, expected {least_s:g} s or more"
    expect(gap_s >= EARLY * least_s, soon)


@CHECKS.add("heartbeat", "Without a sign of life the session goes to another subject.")
def _heartbeat(stage: Stage) -> None:
    sitting = _played(stage, "paused")
    lease_s = sitting.pace.lease_s
    for before, after in pairwise(sitting.heard):
        silent_s = after.at - before.at
        expect(
            silent_s <= lease_s,
            f"silent for {silent_s:.3g} s; a lease is {lease_s:g} s, a heartbeat due "
            f"every {sitting.pace.heartbeat_s:g} s",
        )


@CHECKS.add("pause", "Somebody may have the hand in the box.")
def _pause(stage: Stage) -> None:
    sitting = _played(stage, "paused")
    asked = [one for one in sitting.heard if one.kind in ("next", "respond")]
    _comes_back(asked, "next")
    expect(any(isinstance(one.reply, Wait) for one in asked), "it never asked next")


@CHECKS.add("slow", "A reply may take a while; nothing may happen before it is there.")
def _slow_reply(stage: Stage) -> None:
    sitting = _played(stage, "slow")
    late = [one for one in sitting.of("respond") if one.until > one.at]
    expect(bool(late), "it never got as far")
    for one in sitting.heard:
        within = late[0].at < one.at < late[0].until
        other = one.kind == "next" or one.message.get("uid") != late[0].message["uid"]
        if within and one.kind in ("next", "respond") and other:
            raise Failed(f"it sent {one.kind} before it knew of the answer before")


@CHECKS.add("resume", "A session that was begun goes on where it stopped.")
def _resume(stage: Stage) -> None:
    sitting = _played(stage, "resumed")
    if sitting.of("abandon"):
        raise Skipped("the client abandons sessions that it did not begin")
    first = [one.message.get("uid") for one in sitting.of("respond")][:1]
    due = sitting.uid(sitting.first)
    expect(first == [due], f"its first answer was to {first}, {due} was due")


@CHECKS.add("stop", "An operator ends a session, and the subject goes home.")
def _stop(stage: Stage) -> None:
    _ends(_played(stage, "stopped"))


@CHECKS.add("emergency", "Safe state at once, and nothing more.")
def _emergency_stop(stage: Stage) -> None:
    sitting = _played(stage, "emergency")
    done = [one.reply for one in sitting.heard if isinstance(one.reply, Done)]
    expect(any(one.emergency for one in done), "it never heard of the emergency")
    _ends(sitting)


@CHECKS.add("grant", "The cap on what an animal drinks.")
def _grant(stage: Stage) -> None:
    sitting = _played(stage, "grants")
    rewards = [r for r in sitting.answers.items() if r[1].reward]
    if not rewards:
        raise Skipped("the client gives no rewards for responses")
    for uid, answer in rewards:
        assert answer.reward
        given, granted = answer.reward.microlitre, sitting.grants.get(_index(uid), 0.0)
        expect(given <= granted, f"{uid}: {given:g} µl given, {granted:g} µl granted")
        after_s = (answer.clocks or {}).get("reward_after_s", 0.0)
        expect(after_s <= 60.0, f"{uid}: given {after_s:g} s after a grant of 60 s")


@CHECKS.add("one reward", "One grant, one reward: else the cap on a trial is none.")
def _one_reward(stage: Stage) -> None:
    sitting = _played(stage, "grants")
    on_grant = [uid for uid, answer in sitting.answers.items() if answer.reward]
    answered: list[object] = []
    for one in sitting.heard:
        if one.kind == "respond":
            answered.append(one.message.get("uid"))
        given = sitting.given.get(str(one.message.get("uid")))
        if one.kind == "rewarded" and given and given.reward.how != "free":
            # Under the grant of the trial that was due, or of the one just answered.
            near = {sitting.uid(len(set(answered))), *answered[-1:]}
            twice = [uid for uid in on_grant if uid in near]
            expect(not twice, f"under the grant of {twice} a reward was given twice")


@CHECKS.add("free reward", "Ordered once, given once, and told until it is known.")
def _free_reward(stage: Stage) -> None:
    sitting = _played(stage, "free")
    told = sitting.of("rewarded")
    if not told:
        raise Skipped("the client gives no free rewards")
    wish = f"{sitting.session}/free-0"
    uids = [one.message.get("uid") for one in told]
    expect(set(uids) == {wish}, f"one was ordered, {wish}; given were {set(uids)}")
    for one in told:
        reward = one.message.get("reward")
        amount = reward.get("microlitre") if isinstance(reward, dict) else None
        expect(amount == 2.0, f"2 µl were ordered, {amount!r} given")
    expect(wish in sitting.given, "it was told once, got lost, and was not told again")


# --- helpers -------------------------------------------------------------------


def _all(stage: Stage) -> Iterator[Heard]:
    for sitting in stage.sittings.values():
        yield from sitting.heard
    yield from stage.lost


def _no_fault(stage: Stage, what: str) -> None:
    for one in _all(stage):
        if one.fault.startswith(f"{what}: "):
            raise Failed(one.fault.removeprefix(f"{what}: "))


def _played(stage: Stage, name: str) -> Sitting:
    sitting = stage.sittings.get(name)
    if sitting is None or not sitting.heard:
        raise Skipped(f"scenario {name!r} was not played")
    return sitting


def _sent(sitting: Sitting, index: int, times: int, why: str) -> list[Heard]:
    """An answer came so often at least."""
    uid = sitting.uid(index)
    sent = [one for one in sitting.of("respond") if one.message.get("uid") == uid]
    expect(bool(sent), f"it never answered {uid}")
    expect(
        len(sent) >= times,
        f"the answer to {uid} came {len(sent)} times, then never again, though {why}",
    )
    return sent


def _comes_back(asked: list[Heard], kind: str) -> None:
    """After each wait the client asks again, and not too soon."""
    for one, then in zip(asked, [*asked[1:], None], strict=True):
        if isinstance(one.reply, Wait):
            if then is None:
                raise Failed(f"told to wait, it never said {kind} again")
            gap_s, least_s = then.at - one.at, one.reply.retry_after_s
            soon = f"told to wait for {least_s:.3g} s it came back after {gap_s:.3g} s"
            expect(gap_s >= EARLY * least_s, soon)


def _ends(sitting: Sitting) -> None:
    """Once it was told that the session is over it says hardly anything."""
    heard = sitting.heard
    over = [i for i, one in enumerate(heard) if _is_over(one)]
    expect(bool(over), "it never got as far")
    known = {one.message.get("uid") for one in heard[: over[0] + 1]}
    after = heard[over[0] + 1 :]
    for one in after:
        uid = one.message.get("uid")
        told = f"told that the session is over it answered {uid!r}"
        expect(one.kind != "respond" or uid in known, told)
    again = sum(one.kind == "next" for one in after)
    expect(
        again <= 2, f"told that the session is over it asked for {again} more trials"
    )


def _is_over(heard: Heard) -> bool:
    reply = heard.reply
    return isinstance(reply, Done) or (isinstance(reply, Ack) and reply.done)


def _index(uid: str) -> int:
    return int(uid.rpartition("/")[2])
