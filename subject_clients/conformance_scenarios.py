"""What a client may meet: a session for each situation, as plots of a stage."""

from server.protocol import (
    Done,
    FreeReward,
    Heartbeat,
    Hello,
    Next,
    Refusal,
    Request,
    Respond,
    Rewarded,
    Wait,
)
from subject_clients.conformance_stage import Cut, Late, Scenario, Sitting, Turn

PAUSE_BEATS, EMERGENCY_BEATS, LATE_BEATS = 12.0, 4.0, 3.0
"""How long things last, in heartbeats; the pause is longer than a lease."""


def _usual(_: Sitting, __: Request, ___: float) -> Turn:
    return None


def _no_candidate(sitting: Sitting, request: Request, _: float) -> Turn:
    if isinstance(request, Hello) and sitting.first_times("wait"):
        return Wait(retry_after_s=sitting.pace.wait_s, reason="no candidate is free")
    return None


def _lost(sitting: Sitting, request: Request, _: float) -> Turn:
    if _answers(sitting, request, 1) and sitting.first_times("lost"):
        return Cut(taken=True)
    return None


def _cut(sitting: Sitting, request: Request, _: float) -> Turn:
    for what, cut in (
        ("next", isinstance(request, Next)),
        ("respond", _answers(sitting, request, 2)),
    ):
        if cut and sitting.first_times(what):
            return Cut(taken=False)
    return None


def _busy(sitting: Sitting, request: Request, _: float) -> Turn:
    if _answers(sitting, request, 1) and sitting.first_times("busy", 2):
        return Refusal(status=503, error="not_stored", detail="send it again")
    return None


def _limited(sitting: Sitting, request: Request, _: float) -> Turn:
    if _answers(sitting, request, 1) and sitting.first_times("limited"):
        detail = "try again later"
        return Refusal(status=429, error="too_many_messages", detail=detail)
    return None


def _paused(sitting: Sitting, request: Request, now: float) -> Turn:
    if _answers(sitting, request, 0) and sitting.first_times("pause"):
        sitting.pause(now, PAUSE_BEATS)
    return None


def _slow(sitting: Sitting, request: Request, _: float) -> Turn:
    if _answers(sitting, request, 1) and sitting.first_times("slow"):
        return Late(LATE_BEATS * sitting.pace.heartbeat_s)
    return None


def _stopped(sitting: Sitting, _: Request, __: float) -> Turn:
    if sitting.uid(1) in sitting.answers and sitting.over is None:
        sitting.over = Done(study=False, reason="stopped by the operator")
        sitting.push("stop")
    return None


def _emergency(sitting: Sitting, request: Request, now: float) -> Turn:
    if _answers(sitting, request, 1) and sitting.first_times("emergency"):
        sitting.pause(now, EMERGENCY_BEATS)
        sitting.push("emergency")
    elif "emergency" in sitting.notes and sitting.over is None:
        waited = sitting.resumes_at is None or now >= sitting.resumes_at
        if isinstance(request, Heartbeat) or waited:
            sitting.over = Done(study=False, reason="smoke", emergency=True)
    return None


def _free(sitting: Sitting, request: Request, now: float) -> Turn:
    if _answers(sitting, request, 0) and sitting.first_times("wish"):
        sitting.pause(now, PAUSE_BEATS)
        uid = f"{sitting.session}/free-0"
        sitting.wishes = [FreeReward(uid=uid, microlitre=2.0)]
        sitting.push("reward")
    if isinstance(request, Rewarded) and sitting.first_times("rewarded"):
        return Cut(taken=False)
    return None


def _answers(sitting: Sitting, request: Request, index: int) -> bool:
    return isinstance(request, Respond) and request.uid == sitting.uid(index)


SCENARIOS = {
    "plain": Scenario(_usual),
    "wait": Scenario(_no_candidate),
    "lost": Scenario(_lost),
    "cut": Scenario(_cut),
    "busy": Scenario(_busy),
    "limited": Scenario(_limited),
    "paused": Scenario(_paused),
    "slow": Scenario(_slow),
    "resumed": Scenario(_usual, first=3),
    "stopped": Scenario(_stopped),
    "emergency": Scenario(_emergency),
    "grants": Scenario(_usual, grants=(4.0, 0.0, None, 2.0, 0.5, None)),
    "free": Scenario(_free),
}
"""What a client may meet, in the order in which it is played."""
