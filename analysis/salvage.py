"""What is sound of a journal, and what is not, for those who only read it.

A study that goes on is read by :class:`server.journal.Journal`, which refuses whatever
it cannot read. Here the sound events of a damaged journal are kept, and a
:class:`Problem` says of each other one what was wrong and what follows from that.
"""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from analysis.coherence import coherent
from analysis.journal_rows import Row, Rows, open_rows
from analysis.problem import Problem, spans
from server.database import JournalError
from server.events import KINDS, Event, Fact, StudyOpened

__all__ = ["Problem", "Sound", "problem_table", "salvage", "studies_in"]

_EXTRA = "unexpected_keyword_argument"
_VALIDATE = {
    name: TypeAdapter[Fact](kind).validator.validate_json
    for name, kind in KINDS.items()
}


class Sound(tuple[Event, ...]):  # noqa: SLOT001, which tuples cannot
    """The sound events of a study, in order, with the ``problems`` of the others."""

    problems: tuple[Problem, ...] = ()


def salvage(where: str | Path, study: str) -> Sound:
    """The sound events of a study in a journal: a file, or a database's URL.

    Raises :class:`JournalError` where nothing is.
    """
    with open_rows(where) as rows, _without_collection():
        events, problems = _decoded(rows, study)
        problems += _missing(rows, study)
        sound = Sound(coherent(events, rows.name, problems))
    if not sound:
        reasons = "; ".join(dict.fromkeys(problem.reason for problem in problems))
        raise JournalError(
            f"nothing of study {study!r} in {rows.name} can be read"
            + (f": {reasons}" if reasons else "")
        )
    if not isinstance(sound[0].fact, StudyOpened):
        raise JournalError(
            f"study {study!r} in {rows.name} has lost its first event, which held the "
            "study file: without that no other event can be understood. Take a backup "
            "(`penchant db backup` makes one)"
        )
    sound.problems = tuple(problems)
    return sound


def studies_in(where: str | Path) -> list[str]:
    """Names of the studies in a journal, however damaged, oldest first.

    Raises :class:`JournalError` for what is no journal.
    """
    with open_rows(where) as rows:
        names = rows.studies()
        if not names and rows.problems:
            reason = rows.problems[0].reason
            raise JournalError(f"no event in {rows.name} can be read: {reason}")
        return names


def problem_table(problems: Iterable[Problem]) -> pd.DataFrame:
    """Problems as a table: where, row, reason, consequence; row is <NA> without one."""
    table = pd.DataFrame(list(problems), columns=list(Problem._fields))
    return table.astype({"row": "Int64"} | dict.fromkeys(_TEXTS, "str"))


_TEXTS = ("where", "reason", "consequence")


def _decoded(rows: Rows, study: str) -> tuple[list[Event], list[Problem]]:
    events: list[Event] = []
    problems: list[Problem] = []
    for row in rows.of(study):
        fact = _fact(row, rows.name, problems)
        if fact is not None:
            events.append(Event(row.seq, row.at, fact))
    events.sort(key=attrgetter("seq"))
    return events, [*rows.problems, *problems]


def _fact(row: Row, name: str, problems: list[Problem]) -> Fact | None:
    """The fact of a row, as far as it is one that this version knows."""
    validate = _VALIDATE.get(row.kind)
    if validate is None:
        reason = f"an event of unknown kind {row.kind!r}, of a newer Penchant perhaps"
        problems.append(Problem(name, row.seq, reason, "it is left out"))
        return None
    try:
        fact: Fact = validate(row.payload, strict=True, extra="forbid")
        return fact
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
    unknown = [str(fault["loc"][0]) for fault in faults if fault["type"] == _EXTRA]
    if len(unknown) == len(faults):
        fact = validate(row.payload, strict=True, extra="ignore")
        fields = ", ".join(map(repr, unknown))
        reason = f"{row.kind} says {fields}, which this version does not know"
        problems.append(Problem(name, row.seq, reason, "the rest of it is used"))
        return fact
    reason = f"{row.kind} is damaged: {_in_words(faults)}"
    problems.append(Problem(name, row.seq, reason, "it is left out"))
    return None


def _in_words(faults: Sequence[Any]) -> str:
    first = faults[0]
    place = ".".join(map(str, first["loc"]))
    more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
    return f"{f'{place}: ' if place else ''}{first['msg']}{more}"


def _missing(rows: Rows, study: str) -> Iterator[Problem]:
    """Numbers of events that are not there at all."""
    last = rows.last(study)
    there = rows.numbers
    if not there:
        return
    end = max(*there, -1 if last is None else last)
    for first, to in spans(set(range(end + 1)) - there):
        if to > first:
            reason, they = f"events {first} to {to} are missing", "they"
        else:
            reason, they = f"event {first} is missing", "it"
        yield Problem(rows.name, first, reason, f"what {they} said is not known")


@contextmanager
def _without_collection() -> Iterator[None]:
    # Millions of new objects, none of them garbage: to look through them again and
    # again takes as long as to read them.
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
