"""What happened in sessions besides trials: rewards, orders, connections, rules."""

import math
from typing import NamedTuple

from analysis.export_source import Source
from server.events import (
    ClientSeen,
    Fact,
    Halted,
    RewardGiven,
    RuleFired,
    SessionEnded,
    SessionOpened,
)


class Happening(NamedTuple):
    """An event of a session; ``at`` in seconds since 1970, by the server."""

    at: float
    what: str
    detail: str = ""
    microlitre: float = math.nan


def happenings(source: Source) -> dict[str, list[Happening]]:
    """Events by session, in order.

    Who gave an order, and why in free words, is left out. An order to all sessions is
    one of each that was under way.
    """
    found: dict[str, list[Happening]] = {}
    under_way: set[str] = set()
    for event in source.record.events:
        told = _told(event.fact, event.at)
        if told is None:
            continue
        session = getattr(event.fact, "session", "")
        for name in [session] if session else sorted(under_way):
            found.setdefault(name, []).append(told)
        if isinstance(event.fact, SessionOpened):
            under_way.add(session)
        elif isinstance(event.fact, SessionEnded):
            under_way.discard(session)
    return found


def _told(fact: Fact, at: float) -> Happening | None:
    match fact:
        case SessionOpened():
            return Happening(at, "session opened")
        case SessionEnded():
            return Happening(at, "session ended", fact.status)
        case RewardGiven():
            return Happening(at, "reward beside a response", fact.how, fact.microlitre)
        case Halted():
            whole = "of every session" if not fact.session else ""
            return Happening(at, f"order: {fact.what}", whole)
        case ClientSeen():
            return Happening(at, f"client {fact.what}")
        case RuleFired():
            return Happening(at, f"rule: {fact.rule}", f"trial {fact.trial}")
    return None
