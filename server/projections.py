"""What follows from events for the tables looked up beside them: rewards, weights.

Each row has the key of its event, so that stating it again changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Executable, Table, delete, insert, tuple_
from sqlalchemy.engine import Connection

from server import schema
from server.database import failures, in_memory
from server.events import (
    Event,
    Responded,
    RewardAsked,
    RewardGiven,
    SessionOpened,
    StudyOpened,
    Weighed,
)
from server.journal import Journal
from server.session import Session

Whose = Callable[[str], tuple[str, str]]
"""The subject and the rig of a session."""

Asked = Callable[[str, str], bool]
"""Whether a free reward of a session, by its ``uid``, was asked for by an operator."""

_ROWS = 500
"""At most so many in a statement: databases limit its parameters."""

_Row = dict[str, Any]


def statements(
    events: Iterable[Event], study: str, whose: Whose, asked: Asked
) -> list[Executable]:
    """What brings ``rewards`` and ``weights`` up to date with events of a live study.

    A reward is ``granted`` if it was given for a response, or an operator asked for
    it; else it was given by hand. ``whose`` must know the sessions of these events.
    """
    rewards: list[_Row] = []
    weights: list[_Row] = []
    for event in events:
        match event.fact:
            case Responded() | RewardGiven() as fact:
                subject, rig = whose(fact.session)
                place = {"study": study, "at": event.at, "session": fact.session}
                of = {**place, "subject": subject, "rig": rig}
                rewards += [of | reward for reward in _rewards(fact, asked)]
            case Weighed(subject, grams, baseline_grams):
                row = {"study": study, "seq": event.seq, "at": event.at}
                row |= {"subject": subject, "grams": grams}
                weights.append(row | {"baseline_grams": baseline_grams})
    return [
        *_put(schema.rewards, ("session", "uid"), rewards, study),
        *_put(schema.weights, ("seq",), weights, study),
    ]


def of_sessions(
    events: Iterable[Event], study: str, sessions: Mapping[str, Session]
) -> list[Executable]:
    """The statements of events whose sessions are known to the state."""

    def whose(name: str) -> tuple[str, str]:
        return sessions[name].opened.subject, sessions[name].opened.rig

    def asked(name: str, uid: str) -> bool:
        return uid in sessions[name].asked

    return statements(events, study, whose, asked)


def rebuild(journal: Journal) -> None:
    """Work the rows of a study out again from its events, in one transaction.

    Only a live study has any: simulated subjects drink nothing. Raises
    :class:`JournalError`, also if another process writes the study.
    """
    journal.claim()
    # In memory there is one connection, which cannot read within a transaction.
    events = list(journal.read()) if in_memory(journal.engine) else journal.read()
    with failures("write", journal.where), journal.engine.begin() as connection:
        refill(connection, journal.study, events)


def refill(connection: Connection, study: str, events: Iterable[Event]) -> None:
    """The same within a transaction, for all events of a study from the first on."""
    for table in (schema.rewards, schema.weights):
        connection.execute(delete(table).where(table.c.study == study))
    for statement in _of_whole(events, study):
        connection.execute(statement)


def _of_whole(events: Iterable[Event], study: str) -> Iterator[Executable]:
    sittings: dict[str, tuple[str, str]] = {}
    wishes: set[tuple[str, str]] = set()
    batch: list[Event] = []

    def put() -> list[Executable]:
        return statements(
            batch, study, sittings.__getitem__, lambda *wish: wish in wishes
        )

    for event in events:
        match event.fact:
            case StudyOpened(mode=mode) if mode != "live":
                return
            case SessionOpened() as opened:
                sittings[opened.session] = (opened.subject, opened.rig)
            case RewardAsked(session, uid):
                wishes.add((session, uid))
            case Responded() | RewardGiven() | Weighed():
                batch.append(event)
        if len(batch) == _ROWS:
            yield from put()
            batch.clear()
    yield from put()


def _rewards(fact: Responded | RewardGiven, asked: Asked) -> Iterator[_Row]:
    if isinstance(fact, RewardGiven):
        yield {
            "uid": fact.uid,
            "microlitre": fact.microlitre,
            "how": fact.how,
            "granted": asked(fact.session, fact.uid),
        }
        return
    # A study without rewards leaves the column out.
    for trial, reward in zip(fact.trials, fact.rewards, strict=False):
        if reward is not None:
            uid = f"{fact.session}/{trial}"
            yield {"uid": uid, "granted": True} | reward


def _put(
    table: Table, key: Sequence[str], rows: Sequence[_Row], study: str
) -> Iterator[Executable]:
    """Delete and insert: the databases have no common word for a replacement."""
    columns = tuple_(*(table.c[name] for name in key))
    for begin in range(0, len(rows), _ROWS):
        some = {tuple(row[n] for n in key): row for row in rows[begin : begin + _ROWS]}
        yield delete(table).where(table.c.study == study, columns.in_([*some]))
        new = [*some.values()]
        yield insert(table).values(new if len(new) > 1 else new[0])
