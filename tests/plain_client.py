"""A small client without threads, and the bad habits that it may have."""

from typing import Any

from small_study import Clock

from server.protocol import Ack, Alive, Assignment, Done, Refusal, Reply, Trial, Wait
from subject_clients.conformance_stage import Stage


class Gone(Exception):
    """The client gave up its session."""


class Plain:
    """Speaks to a stage in memory; time passes only when it waits."""

    def __init__(self, stage: Stage, clock: Clock, habits: tuple[str, ...]) -> None:
        self._stage, self._clock, self._habits = stage, clock, habits
        self._session, self._beat_s, self._given = "", 1.0, set[str]()
        self._over = False
        self._following: str | None = None

    def go_through(self) -> None:
        """One session after the other, until the study is over."""
        for _ in range(40):
            try:
                if self._run():
                    return
            except Gone:
                if self._has("never comes back"):
                    return
            if self._has("goes home at once"):
                return

    def while_late(self, seconds: float) -> None:
        """A reply is late."""
        self._clock.now += seconds / 2
        if self._has("is early") and self._following:
            answer = {"uid": self._following, "value": 1.0, "reaction_time_s": 0.5}
            self._send("respond", session=self._session, **answer)
        self._clock.now += seconds / 2

    def _has(self, habit: str) -> bool:
        return habit in self._habits

    def _run(self) -> bool:
        """One session; returns whether the study is over."""
        version = 2 if self._has("speaks of tomorrow") else 1
        while isinstance(reply := self._hello(version), Wait):
            if self._has("never comes back"):
                raise Gone
            self._clock.now += self._patience(reply.retry_after_s)
        if not isinstance(reply, Assignment):
            return isinstance(reply, Done) and reply.study
        self._session, self._beat_s = reply.session, reply.heartbeat_s
        self._over = False
        if reply.next_trial and self._has("abandons what it did not begin"):
            self._deliver("abandon", reason="not mine")
        elif reply.next_trial and self._has("begins at 0"):
            self._respond(f"{self._session}/0", "training", None)
        self._trials()
        return False

    def _hello(self, version: int) -> Reply:
        sent = self._send("hello", protocol=version, subject="mouse-1")
        if isinstance(sent, Refusal):
            raise Gone
        assert sent
        return sent

    def _trials(self) -> None:
        due = self._deliver("next")
        while not isinstance(due, Done) and not self._over:
            if isinstance(due, Wait):
                self._wait(due.retry_after_s)
                due = self._deliver("next")
                continue
            if not isinstance(due, Trial):  # an answer that was refused
                due = self._deliver("next")
                continue
            ack = self._show(due)
            if isinstance(ack, Ack) and ack.done:
                break
            unknown = isinstance(ack, Ack) and not ack.next
            if unknown and self._has("invents the next trial"):
                self._respond(f"{self._session}/{due.index + 1}", "training", None)
            due = (isinstance(ack, Ack) and ack.next) or self._deliver("next")
        if self._has("goes on when it is over"):
            for _ in range(3):
                self._deliver("next")

    def _show(self, trial: Trial) -> Reply | None:
        most = trial.grant.max_microlitre if trial.grant else 0.0
        if self._has("gives nothing"):
            most = 0.0
        elif trial.grant and self._has("gives more than granted"):
            most += 1.0
        elif self._session.endswith("grants") and self._has("gives without a grant"):
            most = most or 1.0
        reward = {"microlitre": most, "how": "earned"} if most else None
        ack = self._respond(trial.uid, trial.phase, reward)
        if reward and self._has("gives twice on one grant"):
            self._rewarded(f"{trial.uid}-more", most, "automatic")
        return ack

    def _respond(self, uid: str, phase: str, reward: Any) -> Reply | None:
        name, _, index = uid.rpartition("/")
        self._following = f"{name}/{int(index) + 1}"
        message: dict[str, Any] = {"uid": uid, "value": 1.0, "reaction_time_s": 0.5}
        if reward:
            message["reward"] = reward
        if self._session.endswith("plain"):
            self._misbehave(message, phase)
        return self._deliver("respond", **message)

    def _misbehave(self, message: dict[str, Any], phase: str) -> None:
        """In one session, and the right thing after it."""
        if self._has("sends what nobody knows"):
            self._send("respond", session=self._session, **message, mood="good")
        if self._has("sends a time below 0"):
            wrong = message | {"reaction_time_s": -0.5}
            self._send("respond", session=self._session, **wrong)
        if self._has("says nothing in tests") and phase == "test":
            self._send("respond", session=self._session, **message | {"value": None})

    def _deliver(self, kind: str, **message: Any) -> Reply | None:
        """Again and again, until it is taken."""
        while True:
            reply = self._send(kind, session=self._session, **message)
            if reply is None:
                if self._has("never resends") and kind != "next":
                    return None
                if self._has("resends with a new payload") and kind == "respond":
                    message["reaction_time_s"] = 0.6
            elif isinstance(reply, Refusal) and reply.status in (429, 503):
                if reply.status == 503 and self._has("gives up at 503"):
                    self._send("abandon", session=self._session, reason="it is broken")
                    raise Gone
                at_once = reply.status == 429 and self._has("asks at once after 429")
                self._clock.now += 0.0 if at_once else 1.0
            else:
                return reply

    def _send(self, kind: str, **message: Any) -> Reply | None:
        return self._stage.handle(kind, message).reply

    def _patience(self, seconds: float) -> float:
        return seconds / 2 if self._has("does not wait") else seconds

    def _wait(self, seconds: float) -> None:
        left_s = self._patience(seconds)
        while left_s > 0:
            step_s = min(left_s, self._beat_s)
            self._clock.now += step_s
            left_s -= step_s
            if not self._has("has no heartbeat"):
                self._heartbeat()

    def _heartbeat(self) -> None:
        alive = self._deliver("heartbeat")
        if isinstance(alive, Done):
            self._over = True
        if isinstance(alive, Alive) and not self._has("gives nothing"):
            for wish in alive.rewards:
                if wish.uid not in self._given:
                    self._given.add(wish.uid)
                    more = 1.0 if self._has("gives more than ordered") else 0.0
                    self._rewarded(wish.uid, wish.microlitre + more, "free")
                    if self._has("gives a free reward twice"):
                        self._rewarded("by-hand", wish.microlitre, "free")

    def _rewarded(self, uid: str, microlitre: float, how: str) -> None:
        reward = {"microlitre": microlitre, "how": how}
        self._deliver("rewarded", uid=uid, reward=reward)
