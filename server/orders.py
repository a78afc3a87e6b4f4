"""What an operator orders: pure decisions, returned as facts."""

from server.events import (
    DroppedOut,
    Fact,
    Halted,
    RewardAsked,
    SessionEnded,
    Weighed,
)
from server.protocol import (
    DropOut,
    GiveReward,
    Order,
    Pause,
    ProtocolError,
    Resume,
    Stop,
    Weigh,
)
from server.session import Session
from server.study import StudyState


def carried_out(state: StudyState, order: Order, by: str, uid: str) -> list[Fact]:
    """The facts of an order; raises :class:`ProtocolError` where it makes no sense.

    Nothing for one that was carried out before and is sent again. ``uid`` is a name
    that no other order of any study has.
    """
    match order:
        case Pause() | Resume():
            what = "pause" if isinstance(order, Pause) else "resume"
            if order.session:
                _running(state, order.session)
            return [Halted(order.session or "", what, order.reason, by)]
        case Stop():
            return _stop(state, order, by)
        case GiveReward():
            uid = order.uid or uid
            if uid in _running(state, order.session).asked:
                return []
            return [RewardAsked(order.session, uid, order.microlitre, order.reason, by)]
        case Weigh():
            return [Weighed(order.subject, order.grams, order.baseline_grams, by)]
        case DropOut():
            return _drop(state, order, by)


def _stop(state: StudyState, order: Stop, by: str) -> list[Fact]:
    what = "emergency" if order.emergency else "stop"
    named_before = state.sessions.get(order.session or "")
    if order.emergency and named_before and named_before.emergency:
        return []
    if order.session:
        named = [_running(state, order.session)]
    else:
        named = [s for s in state.sessions.values() if not s.over]
    ended = [
        SessionEnded(s.opened.session, "abandoned", f"{what} by {by}: {order.reason}")
        for s in named
    ]
    return [Halted(order.session or "", what, order.reason, by), *ended]


def _drop(state: StudyState, order: DropOut, by: str) -> list[Fact]:
    if order.subject in state.attendance.dropped:
        return []
    held = state.sessions.get(state.attendance.holding.get(order.subject, ""))
    ended: list[Fact] = []
    if held and not held.over:
        reason = f"dropped out: {order.reason}"
        ended.append(SessionEnded(held.opened.session, "abandoned", reason))
    return [*ended, DroppedOut(order.subject, order.reason, by)]


def _running(state: StudyState, name: str) -> Session:
    session = state.sessions.get(name)
    if session is None or session.over:
        raise ProtocolError(404, "unknown_session", f"{name!r} is not under way")
    return session
