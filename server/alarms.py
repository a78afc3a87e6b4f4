"""What is wrong now, as a pure function of where the studies stand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from server.safety import nothing_left
from server.safety_section import SafetySection

Key = tuple[str, str, str]
"""What makes two alarms the same: see :attr:`Alarm.key`."""


@dataclass(frozen=True)
class Alarm:
    """Someone is to be told: ``name`` of what is wrong, with whom, and how."""

    name: str
    subject: str
    detail: str

    @property
    def key(self) -> Key:
        """The same while it stands: details count minutes, those of breaches do not."""
        return self.name, self.subject, self.detail if self.name == "breach" else ""


@dataclass(frozen=True)
class SessionNow:
    """A session that is open or lost, with an animal inside.

    ``last_trial_at`` is when its last trial was answered, or when it was opened.
    """

    session: str
    subject: str
    lost: bool
    paused: bool
    last_trial_at: float
    rig: str = ""
    microlitre: float = 0.0


@dataclass(frozen=True)
class SubjectNow:
    """A subject that has not dropped out.

    ``known_since`` is when it was first weighed or began its first session, whichever
    was first; ``given_day`` microlitres of today, on any rig.
    """

    subject: str
    known_since: float
    last_reward_at: float | None
    given_day: float


@dataclass(frozen=True)
class Breach:
    """A reward of today that was outside a limit; ``detail`` tells it from others."""

    subject: str
    detail: str


@dataclass(frozen=True)
class Snapshot:
    """Where the animals of a study stand."""

    study: str
    sessions: tuple[SessionNow, ...] = ()
    subjects: tuple[SubjectNow, ...] = ()
    breaches: tuple[Breach, ...] = ()


def alarms(snapshot: Snapshot, limits: SafetySection, now: float) -> list[Alarm]:
    """Everything that is wrong now, told before or not."""
    return [one for look in ALARMS.values() for one in look(snapshot, limits, now)]


def stall(snapshot: Snapshot, limits: SafetySection, now: float) -> Iterator[Alarm]:
    """No trial was answered for too long: dead, jammed, or paused and forgotten."""
    for session in snapshot.sessions:
        silent_s = now - session.last_trial_at
        if not session.lost and silent_s >= limits.stall_minutes * 60:
            state = "paused" if session.paused else "open"
            yield Alarm(
                "stall",
                session.subject,
                f"{_named(session)} is {state} without a trial for "
                f"{silent_s / 60:.0f} min",
            )


def lost(snapshot: Snapshot, limits: SafetySection, now: float) -> Iterator[Alarm]:
    """The client of a session is silent, and its animal is inside."""
    del limits
    for session in snapshot.sessions:
        if session.lost:
            yield Alarm(
                "lost",
                session.subject,
                f"no sign of life from {_named(session)}, last trial "
                f"{(now - session.last_trial_at) / 60:.0f} min ago: look at the rig",
            )


def no_water(snapshot: Snapshot, limits: SafetySection, now: float) -> Iterator[Alarm]:
    """A subject has had no reward for too long."""
    for one in snapshot.subjects:
        since = one.known_since if one.last_reward_at is None else one.last_reward_at
        if now - since >= limits.no_water_h * 3600:
            yield Alarm(
                "no_water",
                one.subject,
                f"no reward recorded for {(now - since) / 3600:.0f} h: give water",
            )


def cap_reached(
    snapshot: Snapshot, limits: SafetySection, now: float
) -> Iterator[Alarm]:
    """A subject gets no more reward today, or in its session."""
    del now
    for session in snapshot.sessions:
        if nothing_left(limits, session.microlitre, 0.0):
            yield Alarm(
                "cap_reached",
                session.subject,
                f"{session.microlitre:g} of {limits.session_microlitre:g} microlitre "
                f"in {_named(session)}: it works for nothing, end its session",
            )
    for one in snapshot.subjects:
        if nothing_left(limits, 0.0, one.given_day):
            yield Alarm(
                "cap_reached",
                one.subject,
                f"{one.given_day:g} of {limits.day_microlitre:g} microlitre today: "
                "it works for nothing, end its session",
            )


def breach(snapshot: Snapshot, limits: SafetySection, now: float) -> Iterator[Alarm]:
    """A reward was given outside a limit."""
    del limits, now
    for one in snapshot.breaches:
        yield Alarm("breach", one.subject, one.detail)


ALARMS: dict[str, Callable[[Snapshot, SafetySection, float], Iterator[Alarm]]] = {
    "stall": stall,
    "lost": lost,
    "no_water": no_water,
    "cap_reached": cap_reached,
    "breach": breach,
}
"""What can be wrong, by the name of the alarm."""


@dataclass(frozen=True)
class Raised:
    """The alarms that stand and have been told."""

    standing: frozenset[Key] = frozenset()


def new(raised: Raised, current: Sequence[Alarm]) -> tuple[list[Alarm], Raised]:
    """Alarms not told yet, and those that stand now.

    One that clears and comes again is told again.
    """
    now = {alarm.key: alarm for alarm in current}
    untold = [alarm for key, alarm in now.items() if key not in raised.standing]
    return untold, Raised(frozenset(now))


def _named(session: SessionNow) -> str:
    return f"session {session.session}" + (f" in {session.rig}" if session.rig else "")
