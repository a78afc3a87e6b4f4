"""Take a subject out of a study, and leave what the search has learnt from it.

Trials, errors and candidates stay as they are, so that the study replays to the same
search; the pseudonym becomes a random one, and whatever else may say who it was goes.
"""

import json
import re
import secrets
import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Executable, bindparam, delete, insert, or_, update
from sqlalchemy.engine import Engine

from server import schema
from server.database import JournalError, existing, failures
from server.events import (
    DroppedOut,
    Event,
    Fact,
    Halted,
    Quarantined,
    Responded,
    RewardAsked,
    SessionEnded,
    SessionOpened,
    StudyOpened,
    to_row,
)
from server.journal import Journal
from server.projections import refill

_BATCH = 256


def scrub(
    source: str | Path, study: str, subject: str, target: str | Path | None
) -> int:
    """Write a study without one of its subjects to a new database; changed events.

    Without ``target`` the study is changed where it is, in one transaction, and the
    database is then rewritten so that nothing is left in its free space; no other
    process may be writing the study. Other studies are not copied, and not changed.
    The text of the study file stays, since its hash is that of the study: a warning
    says if it names the subject.

    Raises :class:`JournalError`, and ``ValueError`` for a subject that is not there.
    """
    journal = Journal(existing(source), study)
    try:
        changed = _Scrubber(study, subject, journal.read())
        if target is None:
            return _in_place(journal, changed)
        return _copied(journal, changed, target)
    finally:
        journal.close()


class _Scrubber:
    """What becomes of each event, for one subject."""

    def __init__(self, study: str, subject: str, events: Iterable[Event]) -> None:
        self.study, self.subject = study, subject
        self.name = f"scrubbed-{secrets.token_hex(6)}"
        # As a word of its own: m1 is no part of m12.
        self._word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(subject)}(?![A-Za-z0-9])")
        self._written = json.dumps(subject)[1:-1]
        self._sessions: set[str] = set()
        known: set[str] = set()
        for event in events:
            of = getattr(event.fact, "subject", "")
            known.add(of)
            if of == subject and isinstance(event.fact, SessionOpened):
                self._sessions.add(event.fact.session)
        if subject not in known:
            named = ", ".join(sorted(known - {""})) or "none"
            raise ValueError(
                f"study {study!r} has no subject {subject!r}; it has {named}"
            )

    def event(self, event: Event) -> Event:
        """The event as it is to be; the same object if nothing is of the subject."""
        fact = self._renamed(self._emptied(event.fact))
        return event if fact == event.fact else replace(event, fact=fact)

    def _emptied(self, fact: Fact) -> Fact:
        """Without what a client, or a person about this subject, was free to say."""
        ours = getattr(fact, "session", None) in self._sessions
        match fact:
            case SessionOpened() if ours:
                return replace(fact, client={}, caller="")
            case Responded() if ours:
                return replace(fact, clocks=[None] * len(fact.clocks))
            case Quarantined() if ours:
                return replace(fact, message={}, reason="")
            case SessionEnded() | Halted() | RewardAsked() if ours:
                return replace(fact, reason="")
            case DroppedOut() if fact.subject == self.subject:
                return replace(fact, reason="")
        return fact

    def _renamed(self, fact: Fact) -> Fact:
        """With the new pseudonym wherever the old one stands."""
        if isinstance(fact, StudyOpened):
            if self._word.search(fact.text):
                warnings.warn(
                    f"the study file itself says {self.subject!r}; it was left as it "
                    "is, since its hash tells which study this is",
                    stacklevel=2,
                )
            return fact
        if self._written not in json.dumps(vars(fact)):  # fast; most do not
            return fact
        return replace(fact, **{n: self._in(value) for n, value in vars(fact).items()})

    def _in(self, value: Any) -> Any:
        match value:
            case str():
                return self._word.sub(self.name, value)
            case dict():
                return {self._in(key): self._in(item) for key, item in value.items()}
            case list():
                return [self._in(item) for item in value]
        return value


def _copied(journal: Journal, scrubber: _Scrubber, target: str | Path) -> int:
    if "://" not in str(target) and Path(target).exists():
        raise JournalError(f"{target} exists already: name a new file")
    copy, changed = Journal(target, scrubber.study), 0
    try:
        copy.claim()
        if any(True for _ in copy.read()):
            raise JournalError(f"{copy.where} holds the study already")
        with failures("write", copy.where), copy.engine.begin() as connection:
            events = journal.read()
            while batch := [*islice(events, _BATCH)]:
                new = [scrubber.event(event) for event in batch]
                rows = [_row(copy.study, event) for event in new]
                connection.execute(insert(schema.events), rows)
                changed += sum(a is not b for a, b in zip(batch, new, strict=True))
            refill(connection, copy.study, map(scrubber.event, journal.read()))
    finally:
        copy.close()
    return changed


def _in_place(journal: Journal, scrubber: _Scrubber) -> int:
    journal.claim()
    pairs = ((event, scrubber.event(event)) for event in journal.read())
    new = [event for old, event in pairs if event is not old]
    with failures("write", journal.where), journal.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        for event in new:
            connection.execute(_REWRITE, _row(journal.study, event, "new_"))
        for statement in _let_go(journal.study, scrubber.subject):
            connection.execute(statement)
        refill(connection, journal.study, map(scrubber.event, journal.read()))
    with failures("write", journal.where):
        _wipe(journal.engine)
    return len(new)


_REWRITE = (
    update(schema.events)
    .where(schema.events.c.study == bindparam("new_study"))
    .where(schema.events.c.seq == bindparam("new_seq"))
    .values(payload=bindparam("new_payload"))
)


def _row(study: str, event: Event, prefix: str = "") -> dict[str, Any]:
    kind, payload = to_row(event.fact)
    row = {"study": study, "seq": event.seq, "at": event.at}
    return {
        prefix + n: v for n, v in (row | {"kind": kind, "payload": payload}).items()
    }


def _let_go(study: str, subject: str) -> list[Executable]:
    """What lets the subject in, and what it holds, in this study."""
    tokens, holds = schema.tokens.c, schema.holds.c
    here = or_(tokens.study == study, tokens.study.is_(None))
    return [
        delete(schema.tokens).where(tokens.subject == subject, here),
        delete(schema.holds).where(holds.study == study, holds.name == subject),
    ]


def _wipe(engine: Engine) -> None:
    """Leave nothing of what was overwritten in the files of the database."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name != "sqlite":
            for table in schema.metadata.tables:
                connection.exec_driver_sql(f"VACUUM FULL {table}")
            return
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
        connection.exec_driver_sql("VACUUM")
        emptied = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        if emptied[0]:
            warnings.warn(
                "another program has the database open, and its log (-wal) still holds "
                "what was overwritten: close that program, then open the database once",
                stacklevel=2,
            )
