"""A server that says what it is told to, and a subject that watches."""

import threading
from typing import Any

from server.protocol import (
    Ack,
    Alive,
    Assignment,
    Control,
    Noted,
    Reply,
    Trial,
)
from subject_clients.adapter import Answer, GiveUp
from subject_clients.transport import Heard

SESSION = "c0-g0-i0-a0"


def trial(index: int, label: float | None = None) -> Trial:
    """A trial of a session with two; training has a label."""
    return Trial(
        uid=f"{SESSION}/{index}",
        index=index,
        phase="test" if label is None else "training",
        x=[0.5],
        stimulus={"angle_deg": 45.0},
        feedback=None if label is None else {"label": label},
    )


def assignment(**changes: Any) -> Assignment:
    """A session of two trials."""
    plain: dict[str, Any] = {
        "protocol": 1,
        "study": "small",
        "session": SESSION,
        "response": "graded",
        "training_trials": 1,
        "test_trials": 1,
        "next_trial": 0,
        "lease_s": 40.0,
        "heartbeat_s": 10.0,
    }
    return Assignment(**plain | changes)


def ack(index: int, last: bool = False) -> Ack:
    """The acknowledgement of a trial, with the next one unless it is the last."""
    following = None if last else trial(index + 1)
    return Ack(uid=f"{SESSION}/{index}", next=following, done=last)


def whole_session() -> list[Reply]:
    """What a server says in a session of two trials."""
    return [assignment(), trial(0, 0.5), ack(0), ack(1, last=True)]


class Script:
    """A transport that says what it is told to, and remembers what it heard.

    ``beats`` are its replies to heartbeats, of which the last is repeated, and
    ``noted`` that to rewards. An exception it raises.
    """

    def __init__(
        self,
        *replies: Reply | Exception,
        beats: tuple[Reply, ...] = (),
        noted: Reply | Exception | None = None,
    ) -> None:
        self._replies = list(replies)
        self._beats = list(beats) or [Alive(lease_s=40.0)]
        self._noted = noted or Noted(detail="noted")
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.beats = threading.Semaphore(0)
        self._push: Heard | None = None

    @property
    def kinds(self) -> list[str]:
        """The kinds of the messages that it heard, without heartbeats."""
        return [kind for kind, _ in self.heard]

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        """The next reply."""
        if kind == "heartbeat":
            self.beats.release()
            return self._beats.pop(0) if len(self._beats) > 1 else self._beats[0]
        self.heard.append((kind, message))
        reply = self._noted if kind == "rewarded" else self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def push(self, what: Any, session: str = SESSION) -> None:
        """As a server pushes over Socket.IO."""
        assert self._push
        self._push(Control(session=session, what=what))

    def listen(self, heard: Heard | None) -> None:
        """Remember whom to push to."""
        self._push = heard

    def close(self) -> None:
        """Nothing to hang up."""


class Watcher:
    """Answers 0.25 to every trial, and gives up where it is told to."""

    simulated = False

    def __init__(self, give_up_at: int | None = None, reason: str = "thirsty") -> None:
        self.shown: list[Trial] = []
        self._give_up_at, self._reason = give_up_at, reason

    def begin(self, assignment: Assignment) -> None:
        """Any session but another's."""
        assert assignment.session == SESSION

    def present(self, trial: Trial) -> Answer:
        """Watch."""
        if trial.index == self._give_up_at:
            raise GiveUp(self._reason)
        self.shown.append(trial)
        return Answer(value=0.25, reaction_time_s=0.5)


class Rig(Watcher):
    """A watcher with a valve and a safe state."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[float] = []
        self.safe: list[str] = []
        self.is_safe = threading.Event()
        self.was_given = threading.Event()

    def give_reward(self, microlitre: float) -> None:
        """Open the valve."""
        self.given.append(microlitre)
        self.was_given.set()

    def safe_state(self, reason: str) -> None:
        """Close it."""
        self.safe.append(reason)
        self.is_safe.set()
