"""What must be true of a journal, whatever was done to server, clients and network.

Each check returns what is wrong, in words; nothing where all is well.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from chaos_client import ACKNOWLEDGED, FAULT, OUTBOX, TROUBLES, nearest

from server.events import (
    ClientSeen,
    ComponentFrozen,
    ElitesChosen,
    Event,
    Fact,
    GenerationAsked,
    GenerationTold,
    Quarantined,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyFinished,
)
from server.session import finish
from server.steps import advance, assign, would_be_used
from server.study import StudyState
from server.study_file import Study
from subject_clients.outbox import Outbox

Faults = list[str]
Said = tuple[str, float | None, float | None]
"""Outcome, value and reaction time of a response."""

Candidate = tuple[int, int, int]
"""Component, the generation that it was asked in, and its number."""

STEPS = (
    GenerationAsked,
    ElitesChosen,
    GenerationTold,
    ComponentFrozen,
    StudyFinished,
)
"""Facts that follow from the state alone."""

EXPECTED = {
    (410, "session_over"),  # it was given up, or finished, before this came
    (409, "subject_busy"),
}
"""Refusals that mishaps explain."""

_Fact = TypeVar("_Fact")


class Acknowledged(NamedTuple):
    """A response that a client was told is on disk."""

    uid: str
    said: Said


def only(events: Iterable[Event], kind: type[_Fact]) -> list[_Fact]:
    """The facts of one kind."""
    return [event.fact for event in events if isinstance(event.fact, kind)]


def trials(events: Iterable[Event]) -> list[tuple[str, Said]]:
    """Every response, with its uid, in order."""
    return [
        (f"{fact.session}/{trial}", (outcome, value, reaction_s))
        for fact in only(events, Responded)
        for trial, outcome, value, reaction_s in zip(
            fact.trials, fact.outcomes, fact.values, fact.reaction_times_s, strict=True
        )
    ]


def of_journal(
    study: Study, events: Sequence[Event], acknowledged: Sequence[Acknowledged]
) -> dict[str, Faults]:
    """What each check finds wrong in a journal."""
    return {
        "missing": missing(events, acknowledged),
        "double": double(events),
        "gaps": gaps(events),
        "not as undisturbed": unlike(study, events),
        "miscounted": miscounted(events),
        "wrong answers": unanswered(events),
    }


def missing(events: Sequence[Event], acknowledged: Sequence[Acknowledged]) -> Faults:
    """Acknowledged responses that are not there, or are other ones."""
    stored = dict(trials(events))
    return [
        f"{uid} was acknowledged as {said}, the journal has {stored.get(uid)}"
        for uid, said in acknowledged
        if stored.get(uid) != said
    ]


def double(events: Sequence[Event]) -> Faults:
    """Trials that are there twice, or not in order."""
    faults, answered = [], Counter[str]()
    for uid, _ in trials(events):
        session, _, index = uid.rpartition("/")
        if int(index) != answered[session]:
            faults.append(f"{uid} came where {answered[session]} was due")
        answered[session] += 1
    faults += [
        f"{fact.session}: quarantined, {fact.reason}"
        for fact in only(events, Quarantined)
    ]
    return faults


def gaps(events: Sequence[Event]) -> Faults:
    """Sequence numbers other than 0, 1, 2, ..."""
    return [
        f"event {event.seq} stands at {place}"
        for place, event in enumerate(events)
        if event.seq != place
    ]


def unlike(study: Study, events: Sequence[Event]) -> Faults:
    """What does not follow from the state that it was decided in, by replay."""
    state, faults = StudyState(study), Faults()
    for event in events:
        fact, found = event.fact, Faults()
        try:
            if isinstance(fact, STEPS):
                found = wrong_step(state, fact)
            elif isinstance(fact, SessionOpened):
                found = wrong_session(state, fact)
            elif isinstance(fact, SessionEnded):
                found = wrong_end(state, fact)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of candidates: a fault already
                state.apply(fact)
        except (ArithmeticError, LookupError, ValueError) as error:
            return [*faults, f"event {event.seq} cannot be applied: {error!r}"]
        faults += [f"event {event.seq}: {one}" for one in found]
    if (more := advance(state)) is not None:
        faults.append(f"the journal ends, and {type(more).__name__} is due")
    return faults


def wrong_step(state: StudyState, fact: Fact) -> Faults:
    """A step of the search that is not the one undisturbed."""
    expected = advance(state)
    if expected == fact:
        return []
    return [f"the undisturbed search has {_differing(expected, fact)}"]


def wrong_session(state: StudyState, fact: SessionOpened) -> Faults:
    """A session that does not show what its slot says."""
    if fact.candidate not in state.free(fact.group):
        return [f"{fact.session} was opened, and its candidate needs no session"]
    expected = assign(
        state,
        fact.candidate,
        fact.subject,
        fact.client,
        fact.group,
        fact.rig,
        fact.caller,
    )
    if expected == fact:
        return []
    return [f"{fact.session}: the slot says {_differing(expected, fact)}"]


def wrong_end(state: StudyState, fact: SessionEnded) -> Faults:
    """An error other than the session's trials give, or used where it must not be."""
    session, study = state.sessions[fact.session], state.study
    if session.over:
        return [f"{fact.session} had ended before, {session.status}"]
    if fact.status in ("lost", "abandoned"):
        return []
    if session.due is not None:
        return [f"{fact.session} ended, and trial {session.due} was due"]
    used = would_be_used(state, session)
    choice = study.design.response == "choice"
    expected = finish(session, used, choice, study.psychometric)
    if expected == fact:
        return []
    return [f"{fact.session}: its trials give {_differing(expected, fact)}"]


def miscounted(events: Sequence[Event]) -> Faults:
    """Sessions without an end, and candidates scored too often or told otherwise."""
    since, faults = dict[int, int](), Faults()
    elites, scored = set[Candidate](), Counter[Candidate]()
    of, open_ = dict[str, Candidate](), set[str]()
    for event in events:
        fact = event.fact
        if isinstance(fact, GenerationAsked):  # which takes over some candidates
            asked = dict.fromkeys(range(len(fact.theta)), fact.generation)
            since = asked | {c: since[c] for c in fact.carried}
        elif isinstance(fact, ElitesChosen):
            elites |= {(fact.component, fact.generation, c) for c in fact.candidates}
        elif isinstance(fact, SessionOpened):
            of[fact.session] = fact.component, since[fact.candidate], fact.candidate
            open_.add(fact.session)
        elif isinstance(fact, SessionEnded):
            if fact.status != "lost":
                open_.discard(fact.session)
            if fact.status == "finished" and fact.used:
                scored[of[fact.session]] += 1
        elif isinstance(fact, GenerationTold):
            told = [(fact.component, since[c], c) for c in range(len(fact.losses))]
            faults += [
                f"candidate {candidate} has a loss of {loss}, and {scored[candidate]} "
                f"sessions when generation {fact.generation} was told"
                for candidate, loss in zip(told, fact.losses, strict=True)
                if (loss is None) == bool(scored[candidate])
            ]
    faults += [f"{name} was opened and never ended" for name in sorted(open_)]
    return faults + [
        f"candidate {candidate} was scored {times} times"
        for candidate, times in scored.items()
        if times > 1 + (candidate in elites)
    ]


def unanswered(events: Sequence[Event]) -> Faults:
    """Answers other than the subject gives to the stimulus shown."""
    opened = {fact.session: fact for fact in only(events, SessionOpened)}
    faults = []
    for uid, (outcome, value, _) in trials(events):
        name, _, index = uid.rpartition("/")
        session, trial = opened[name], int(index)
        expected = None
        if trial >= session.training_trials:
            shown = session.trials[: session.training_trials]
            learnt = [(session.x[stimulus], session.y[stimulus]) for stimulus in shown]
            expected = nearest(learnt, session.x[session.trials[trial]])
        if (outcome, value) != ("responded", expected):
            faults.append(f"{uid} is {outcome} {value}, the subject answers {expected}")
    return faults


def undelivered(folder: Path, study: str) -> Faults:
    """What clients still have to say, or had refused for no stated reason."""
    faults = []
    for path in sorted(folder.glob(f"*/{OUTBOX}")):
        with Outbox(path, study) as outbox:
            faults += [f"{path.parent.name}: {e} is left" for e in outbox.pending()]
        refused = path.with_name(f"{OUTBOX}.refused.jsonl")
        for line in _lines(refused):
            why = line["refused"]
            if (why["status"], why["error"]) not in EXPECTED:
                faults.append(f"{path.parent.name}: {line['message']} refused: {why}")
    return faults


def unexpected(folder: Path) -> Faults:
    """Faults that clients met, and refusals that no mishap explains."""
    faults = [f"{p.parent}: {p.read_text()}" for p in folder.glob(f"*/{FAULT}")]
    for path in sorted(folder.glob(f"*/{TROUBLES}")):
        faults += [
            f"{path.parent.name}: {line}"
            for line in _lines(path)
            if line["status"] and (line["status"], line["error"]) not in EXPECTED
        ]
    return faults


def acknowledged(folder: Path) -> list[Acknowledged]:
    """What clients were told is on disk; raises ``ValueError`` for another's reply."""
    found = []
    for path in sorted(folder.glob(f"*/{ACKNOWLEDGED}")):
        for line in _lines(path):
            if line["uid"] != line["asked"]:
                raise ValueError(f"{path}: {line['asked']} got the reply to another")
            said = line["outcome"], line["value"], line["reaction_time_s"]
            found.append(Acknowledged(line["uid"], said))
    return found


def summary(events: Sequence[Event]) -> dict[str, int]:
    """How much happened."""
    ends = {end.session: end.status for end in only(events, SessionEnded)}
    lost = sum(end.status == "lost" for end in only(events, SessionEnded))
    finished = [e for e in only(events, SessionEnded) if e.status == "finished"]
    return {
        "events": len(events),
        "sessions": len(only(events, SessionOpened)),
        **{f"sessions {how}": n for how, n in Counter(ends.values()).items()},
        "sessions late, not used": sum(not end.used for end in finished),
        "leases run out": lost,
        "returned": sum(s.what == "returned" for s in only(events, ClientSeen)),
        "trials": len(trials(events)),
        "generations": len(only(events, GenerationTold)),
        "carried candidates": sum(
            len(a.carried) for a in only(events, GenerationAsked)
        ),
    }


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


def _differing(expected: Any, fact: Any) -> str:
    """Of two facts what differs, not whole generations of numbers."""
    if type(expected) is not type(fact) or not is_dataclass(fact):
        return f"{type(expected).__name__} where the journal has {type(fact).__name__}"
    differing = (
        (field.name, getattr(expected, field.name), getattr(fact, field.name))
        for field in fields(fact)
    )
    return ", ".join(
        f"{name} {of_state!r:.60}, the journal {of_fact!r:.60}"
        for name, of_state, of_fact in differing
        if of_state != of_fact
    )
