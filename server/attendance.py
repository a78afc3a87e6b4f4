"""Who is here: subjects, their sessions, and what operators ordered."""

from dataclasses import replace
from typing import Any

from server.events import (
    ClientSeen,
    DroppedOut,
    Halted,
    Responded,
    RewardAsked,
    RewardGiven,
    RuleFired,
    SessionEnded,
    SessionOpened,
)
from server.protocol import FreeReward
from server.session import Session, apply_responded, apply_reward

KEPT_SESSIONS = 1000
"""Sessions just over that are kept, so that a message sent again gets its reply."""


class Attendance:
    """Sessions and subjects of a study; a part of its state."""

    def __init__(self) -> None:
        """Nobody has come yet."""
        self.sessions: dict[str, Session] = {}
        """Sessions that are not over, and those that ended last, by name."""
        self.exposures: dict[str, int] = {}
        """Sessions begun by each subject."""
        self.holding: dict[str, str] = {}
        """Session that each subject is in."""
        self.group_of: dict[str, str] = {}
        """Group of each subject that has begun a session."""
        self.dropped: dict[str, str] = {}
        """Subjects that left the study, and why."""
        self.halted: str | None = None
        """Why no session may begin or go on, if so."""

    def copy(self) -> "Attendance":
        """As it stands, for work beside the server; not to be changed."""
        other = Attendance()
        vars(other).update(vars(self), sessions=dict(self.sessions))
        return other

    def begin(self, fact: SessionOpened) -> None:
        """A subject took an assignment."""
        self.sessions[fact.session] = Session(fact)
        self.exposures[fact.subject] = fact.exposure + 1
        self.group_of[fact.subject] = fact.group
        self.holding[fact.subject] = fact.session

    def end(self, fact: SessionEnded) -> Session:
        """A session is over; a lost one may come back."""
        # Taken out and put in again: those over stand in the order they ended.
        before = self.sessions.pop(fact.session)
        session = replace(
            before, status=fact.status, reason=fact.reason, under_way=before.due
        )
        self.sessions[fact.session] = session
        if fact.status != "lost":
            self.holding.pop(session.opened.subject, None)
        return session

    def forget(self) -> None:
        """Let go of sessions that ended long ago; a lost one may still come back."""
        over = [name for name, s in self.sessions.items() if s.over]
        for name in over[:-KEPT_SESSIONS]:
            del self.sessions[name]

    def respond(self, fact: Responded) -> None:
        """Trials were answered."""
        session = self.sessions[fact.session]
        self.sessions[fact.session] = apply_responded(session, fact)

    def see(self, fact: ClientSeen) -> None:
        """A client came back: its lost session is open again."""
        if fact.what == "returned":
            session = self.sessions[fact.session]
            self.sessions[fact.session] = replace(session, status="open")

    def halt(self, fact: Halted) -> None:
        """An order to one session, or to all."""
        halts, stops_at_once = fact.what != "resume", fact.what == "emergency"
        named = [fact.session] if fact.session else list(self.sessions)
        if not fact.session:
            self.halted = fact.reason if halts else None
        for name in named:
            session = self.sessions.get(name)
            if session and not session.over:
                paused = halts if fact.session else session.paused
                self.sessions[name] = replace(
                    session, paused=paused, emergency=stops_at_once
                )

    def wish(self, fact: RewardAsked) -> None:
        """A free reward is to be given."""
        session = self.sessions[fact.session]
        wished = (*session.wished, FreeReward(uid=fact.uid, microlitre=fact.microlitre))
        asked = session.asked | {fact.uid}
        self.sessions[fact.session] = replace(session, wished=wished, asked=asked)

    def reward(self, fact: RewardGiven) -> None:
        """A reward beside a response."""
        session = self.sessions[fact.session]
        self.sessions[fact.session] = apply_reward(session, fact)

    def fire(self, fact: RuleFired) -> None:
        """A rule of safety fired, which it does once in a session."""
        session = self.sessions[fact.session]
        fired = session.fired | {fact.rule}
        self.sessions[fact.session] = replace(session, fired=fired)

    def drop(self, fact: DroppedOut) -> None:
        """A subject left the study."""
        self.dropped[fact.subject] = fact.reason

    def stopped(self, session: Session) -> str | None:
        """Why a session waits between two trials, if it does."""
        if self.halted is not None:
            return self.halted
        return "the session is paused" if session.paused else None

    def under_way(self) -> list[dict[str, Any]]:
        """Who is in a session, and how far, without labels."""
        return [
            {
                "session": name,
                "subject": session.opened.subject,
                "group": session.opened.group,
                "rig": session.opened.rig,
                "status": session.status,
                "paused": self.stopped(session) is not None,
                "trials_done": len(session.answers),
                "trials": session.trials,
                "microlitre": session.microlitre,
            }
            for name, session in self.sessions.items()
            if not session.over
        ]
