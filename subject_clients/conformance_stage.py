"""A small, strict server for one client: plays scenarios, and remembers all."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from server.protocol import (
    PROTOCOL,
    REQUESTS,
    Abandon,
    Ack,
    Alive,
    Assignment,
    Control,
    Done,
    FreeReward,
    Grant,
    Heartbeat,
    Hello,
    Next,
    Noted,
    ProtocolError,
    Refusal,
    Reply,
    Request,
    Respond,
    Rewarded,
    Trial,
    Wait,
    parse_request,
)

MAX_STARTS = 5
"""How often a client may say hello in one scenario before that is given up."""

TRIALS = 6
"""Trials of a session, the first half training."""


@dataclass(frozen=True)
class Pace:
    """How long things take: seconds."""

    heartbeat_s: float = 1.0
    wait_s: float = 2.0
    """What a waiting subject is told to wait."""
    limited_s: float = 1.0
    """How long not to ask again after status 429."""

    @property
    def lease_s(self) -> float:
        """A client may be late, but not by much."""
        return 8 * self.heartbeat_s


class Heard(NamedTuple):
    """A message, when it came, and its reply; None if the connection was cut."""

    at: float
    until: float
    kind: str
    message: dict[str, Any]
    reply: Reply | None
    fault: str = ""
    """What was wrong with its form, if anything."""


class Cut(NamedTuple):
    """The connection is cut, after the message was taken or before."""

    taken: bool


class Late(NamedTuple):
    """The reply comes late."""

    by_s: float


Turn = Reply | Cut | Late | None
"""What a plot makes of a message; None for what is usual."""


@dataclass
class Sitting:
    """A session of a scenario: what a real server would know of it."""

    name: str
    pace: Pace
    response: Literal["graded", "choice"] = "choice"
    first: int = 0
    grants: dict[int, float] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    answers: dict[str, Respond] = field(default_factory=dict)
    wishes: list[FreeReward] = field(default_factory=list)
    given: dict[str, Rewarded] = field(default_factory=dict)
    over: Done | None = None
    resumes_at: float | None = None
    """Until when it is paused."""
    pushes: list[Control] = field(default_factory=list)
    """What is to be pushed with the next reply."""
    notes: dict[str, int] = field(default_factory=dict)
    """What a plot remembers."""

    @property
    def session(self) -> str:
        """Its name for the client."""
        return f"conformance-{self.name}"

    @property
    def due(self) -> int:
        """The trial that is due."""
        return self.first + len(self.answers)

    def uid(self, index: int) -> str:
        """The name of a trial."""
        return f"{self.session}/{index}"

    def of(self, kind: str) -> list[Heard]:
        """All messages of a kind."""
        return [one for one in self.heard if one.kind == kind]

    def first_times(self, what: str, times: int = 1) -> bool:
        """Whether this is asked for no more than so many times."""
        self.notes[what] = self.notes.get(what, 0) + 1
        return self.notes[what] <= times

    def pause(self, now: float, beats: float) -> None:
        """No next trial for so many heartbeats."""
        self.resumes_at = now + beats * self.pace.heartbeat_s
        self.push("pause")

    def push(self, what: Literal["pause", "stop", "emergency", "reward"]) -> None:
        """Over Socket.IO, with the next reply."""
        self.pushes.append(Control(session=self.session, what=what))

    def answer(self, request: Request, now: float) -> Reply:
        """What a server says that has nothing in mind; raises ``ProtocolError``."""
        if self.resumes_at is not None and now >= self.resumes_at:
            self.resumes_at = None
        match request:
            case Hello():
                return self._assignment()
            case Next():
                return self.over or self._wait(now) or self._trial(self.due)
            case Respond():
                return self._respond(request)
            case Heartbeat():
                paused = self.resumes_at is not None
                lease_s = self.pace.lease_s
                alive = Alive(lease_s=lease_s, paused=paused, rewards=self.wishes)
                return self.over or alive
            case Abandon():
                reason = f"session abandoned: {request.reason}"
                self.over = self.over or Done(study=False, reason=reason)
                return Done(study=False, reason="session abandoned")
            case Rewarded():
                self.given.setdefault(request.uid, request)
                self.wishes = [w for w in self.wishes if w.uid != request.uid]
                return Noted(detail=f"{request.reward.microlitre:g} microlitre counted")
            case _:
                raise ProtocolError(403, "forbidden", "a rig sends no orders")

    def _assignment(self) -> Assignment:
        return Assignment(
            protocol=PROTOCOL,
            study="conformance",
            session=self.session,
            response=self.response,
            training_trials=TRIALS // 2,
            test_trials=TRIALS // 2,
            next_trial=self.due,
            lease_s=self.pace.lease_s,
            heartbeat_s=self.pace.heartbeat_s,
        )

    def _wait(self, now: float) -> Wait | None:
        if self.resumes_at is None:
            return None
        left_s = max(self.resumes_at - now, 0.001)
        return Wait(retry_after_s=left_s, reason="the session is paused")

    def _trial(self, index: int) -> Trial:
        training = index < TRIALS // 2
        angle = 30.0 * index
        graded, choice = {"label": angle / 90 - 0.5}, {"rewarded": "right"}
        grant = self.grants.get(index)
        return Trial(
            uid=self.uid(index),
            index=index,
            phase="training" if training else "test",
            x=[angle / 90],
            stimulus={"angle_deg": angle},
            feedback=(graded if self.response == "graded" else choice)
            if training
            else None,
            grant=None if grant is None else Grant(max_microlitre=grant, valid_s=60.0),
        )

    def _respond(self, request: Respond) -> Ack:
        uids = [self.uid(index) for index in range(TRIALS)]
        if request.uid not in uids:
            raise ProtocolError(404, "unknown_trial", f"no trial {request.uid!r}")
        before = self.answers.get(request.uid)
        plain = request.model_copy(update={"token": None})
        if before is None:
            if request.uid != self.uid(self.due):
                status = (410, "session_over") if self.over else (409, "out_of_order")
                raise ProtocolError(*status, f"{self.uid(self.due)} is due")
            self._check_value(request)
            self.answers[request.uid] = plain
        elif before != plain:
            raise ProtocolError(409, "conflict", "it was answered differently before")
        index = uids.index(request.uid)
        if index == TRIALS - 1:
            self.over = self.over or Done(study=False, reason="session finished")
        held = self.over or self.resumes_at is not None
        following = None if held else self._trial(index + 1)
        done = self.over is not None
        return Ack(uid=request.uid, next=following, done=done)

    def _check_value(self, request: Respond) -> None:
        test = request.uid in [self.uid(i) for i in range(TRIALS // 2, TRIALS)]
        if request.value is None:
            if test and request.outcome == "responded":
                raise ProtocolError(422, "value_missing", "this trial needs a value")
        elif self.response == "choice" and request.value not in (-1.0, 1.0):
            raise ProtocolError(422, "not_a_choice", "expected -1 or 1")


class Scenario(NamedTuple):
    """One session: what is special about it, and what the server makes of messages."""

    plot: Callable[[Sitting, Request, float], Turn]
    first: int = 0
    grants: tuple[float | None, ...] = ()


class Said(NamedTuple):
    """A reply, or None to cut the connection, and what to push before it."""

    reply: Reply | None
    pushes: list[Control]


class Stage:
    """Plays one scenario after the other, a session each."""

    def __init__(
        self,
        scenarios: dict[str, Scenario],
        pace: Pace,
        response: Literal["graded", "choice"] = "choice",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """``response`` is the kind of study that is played."""
        self.sittings = {
            name: Sitting(
                name,
                pace,
                response,
                scenario.first,
                {i: g for i, g in enumerate(scenario.grants) if g is not None},
            )
            for name, scenario in scenarios.items()
        }
        self._scenarios, self._clock, self._sleep = scenarios, clock, sleep
        self._to_come = list(scenarios)
        self._lock = threading.Lock()
        self._now: str | None = None
        self.finished = threading.Event()
        self.last_heard = clock()
        self.lost: list[Heard] = []
        """Messages that belong to no session."""

    @property
    def playing(self) -> str | None:
        """The name of the scenario that is played."""
        return self._now

    def handle(self, kind: str, payload: Any) -> Said:
        """The reply to a message; every fault of it becomes a refusal."""
        with self._lock:
            at = self.last_heard = self._clock()
            sitting, fault, late_s = None, "", 0.0
            message = payload if isinstance(payload, dict) else {"": payload}
            reply: Reply | None
            try:
                fault = fault_of(kind, payload)
                request = parse_request(kind, payload)
                sitting = self._sitting(request)
                reply, late_s = self._reply(sitting, request, at)
            except ProtocolError as error:
                reply = error.refusal
                sitting = sitting or self.sittings.get(self._now or "")
            known = {k: v for k, v in message.items() if k != "token"}
            one = Heard(at, at + late_s, kind, known, reply, fault)
            (sitting.heard if sitting else self.lost).append(one)
            pushes = list(sitting.pushes) if sitting else []
            if sitting:
                sitting.pushes.clear()
        if late_s:
            self._sleep(late_s)
        return Said(reply, pushes)

    def unreadable(self, kind: str) -> Said:
        """The reply to a body that is no JSON."""
        refusal = Refusal(status=400, error="not_json", detail="expected JSON")
        with self._lock:
            at = self._clock()
            fault = f"value: {kind:.40}: no JSON"
            self.lost.append(Heard(at, at, kind, {}, refusal, fault))
        return Said(refusal, [])

    def _sitting(self, request: Request) -> Sitting | None:
        """The session of a message; None once all scenarios were played."""
        if isinstance(request, Hello):
            sitting = self.sittings.get(self._now or "")
            starts = [h for h in sitting.of("hello") if _began(h)] if sitting else []
            if sitting is None or sitting.over or len(starts) >= MAX_STARTS:
                self._now = self._to_come.pop(0) if self._to_come else None
            return self.sittings[self._now] if self._now else None
        name = getattr(request, "session", None)
        for sitting in self.sittings.values():
            if sitting.session == name:
                return sitting
        raise ProtocolError(404, "unknown_session", f"{name!r} is no session of ours")

    def _reply(
        self, sitting: Sitting | None, request: Request, now: float
    ) -> tuple[Reply | None, float]:
        if sitting is None:
            self.finished.set()
            return Done(study=True, reason="all scenarios were played"), 0.0
        turn = self._scenarios[sitting.name].plot(sitting, request, now)
        if isinstance(turn, Cut):
            if turn.taken:
                sitting.answer(request, now)
            return None, 0.0
        if isinstance(turn, Late):
            return sitting.answer(request, now), turn.by_s
        return turn or sitting.answer(request, now), 0.0


def fault_of(kind: str, payload: Any) -> str:
    """What is wrong with the form of a message: ``field: ...`` or ``value: ...``."""
    if kind not in REQUESTS:
        return f"value: there is no message {kind!r:.40}"
    try:
        REQUESTS[kind].model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = "field" if first["type"] == "extra_forbidden" else "value"
        where = ".".join(str(at)[:64] for at in first["loc"])
        return f"{what}: {kind}.{where}: {first['msg']}"
    return ""


def _began(heard: Heard) -> bool:
    return isinstance(heard.reply, Assignment)
