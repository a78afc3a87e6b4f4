"""The checks after a storm find what they are there to find."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import chaos_checks as checks
import pytest
from chaos_client import (
    ACKNOWLEDGED,
    FAULT,
    MEMORY,
    OUTBOX,
    TROUBLES,
    Log,
    Nearest,
    Witness,
)
from small_study import study_text

from server.desk import Desk
from server.events import (
    ElitesChosen,
    Event,
    Fact,
    GenerationAsked,
    GenerationTold,
    Quarantined,
    Responded,
    SessionEnded,
    SessionOpened,
)
from server.journal import Journal
from server.protocol import Refusal
from server.study_file import Study
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.transport import InMemory

STUDY = study_text().replace("generations = 2", "generations = 2\nre_evaluate = 1")

Events = list[Event]


class Calm(NamedTuple):
    """A study that nothing happened to."""

    study: Study
    events: Events
    acknowledged: list[checks.Acknowledged]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calm]:
    """Subjects came one after the other, without any wire."""
    folder = tmp_path_factory.mktemp("calm")
    (folder / "subject").mkdir()
    study = Study(STUDY)
    journal = Journal(folder / "calm.db", study.name)
    handle = Desk(study, journal, "dry-run").handle
    said, troubles = (Log(folder / "subject" / n) for n in (ACKNOWLEDGED, TROUBLES))
    wire = Witness(InMemory(handle), said, troubles)
    for number in count():
        adapter = Nearest(folder / MEMORY, random.Random(number), lambda _: None)
        if Subject(f"calm-{number}", adapter, wire).run_session().study:
            break
    yield Calm(study, list(journal.read()), checks.acknowledged(folder))
    journal.close()


def wrong(calm: Calm, events: Events) -> set[str]:
    """Names of the checks that find something."""
    found = checks.of_journal(calm.study, events, calm.acknowledged)
    return {name for name, faults in found.items() if faults}


def place(events: Events, kind: type[Fact], number: int = -1) -> int:
    """Where a fact of a kind stands, by default the last."""
    return [i for i, event in enumerate(events) if isinstance(event.fact, kind)][number]


def changed(events: Events, at: int, **fields: Any) -> Events:
    """The same, but for some fields of one fact."""
    fact: Any = replace(events[at].fact, **fields)
    return with_facts([*events[:at], replace(events[at], fact=fact), *events[at + 1 :]])


def with_facts(events: Events) -> Events:
    """Events numbered as they stand."""
    return [replace(event, seq=seq) for seq, event in enumerate(events)]


def added(events: Events, at: int, fact: Fact) -> Events:
    """One fact more."""
    return with_facts([*events[:at], replace(events[at], fact=fact), *events[at:]])


def without(events: Events, at: int) -> Events:
    """One fact less, and the rest closed up."""
    return with_facts([*events[:at], *events[at + 1 :]])


def a_row_is_gone(events: Events) -> Events:
    at = place(events, Responded)
    return [*events[:at], *events[at + 1 :]]


def a_response_is_gone(events: Events) -> Events:
    return without(events, place(events, Responded))


def a_response_is_double(events: Events) -> Events:
    at = place(events, Responded)
    return added(events, at + 1, events[at].fact)


def a_value_is_another(events: Events) -> Events:
    return changed(events, place(events, Responded), values=[0.123])


def a_reaction_time_is_another(events: Events) -> Events:
    return changed(events, place(events, Responded, 0), reaction_times_s=[9.0])


def an_answer_is_contradicted(events: Events) -> Events:
    return added(events, len(events) - 1, Quarantined("c0-g0-i0-a0", {}, "conflict"))


def a_loss_is_another(events: Events) -> Events:
    at = place(events, GenerationTold)
    fact: Any = events[at].fact
    return changed(events, at, losses=[fact.losses[0] + 1e-9, *fact.losses[1:]])


def a_candidate_is_another(events: Events) -> Events:
    at = place(events, GenerationAsked)
    fact: Any = events[at].fact
    theta = [[g + 1e-3 for g in fact.theta[0]], *fact.theta[1:]]
    return changed(events, at, theta=theta)


def an_elite_is_another(events: Events) -> Events:
    at = place(events, ElitesChosen)
    fact: Any = events[at].fact
    return changed(events, at, candidates=[(fact.candidates[0] + 1) % 4])


def a_session_shows_another_label(events: Events) -> Events:
    at = place(events, SessionOpened)
    fact: Any = events[at].fact
    return changed(events, at, y=[*fact.y[:-1], fact.y[-1] + 1e-6])


def an_error_is_another(events: Events) -> Events:
    at = place(events, SessionEnded)
    fact: Any = events[at].fact
    return changed(events, at, error=fact.error + 1e-9)


def a_session_has_no_end(events: Events) -> Events:
    return without(events, place(events, SessionEnded))


def a_session_stays_lost(events: Events) -> Events:
    return changed(events, place(events, SessionEnded), status="lost")


def a_candidate_is_scored_twice(events: Events) -> Events:
    at = place(events, SessionOpened, 0)
    fact: Any = events[at].fact
    return changed(events, at, candidate=(fact.candidate + 1) % 4)


def the_end_is_gone(events: Events) -> Events:
    return events[:-1]


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (a_row_is_gone, {"missing", "gaps"}),
        (a_response_is_gone, {"missing", "not as undisturbed"}),
        (a_response_is_double, {"double"}),
        (a_value_is_another, {"missing", "not as undisturbed", "wrong answers"}),
        (a_reaction_time_is_another, {"missing"}),
        (an_answer_is_contradicted, {"double"}),
        (a_loss_is_another, {"not as undisturbed"}),
        (a_candidate_is_another, {"not as undisturbed"}),
        (an_elite_is_another, {"not as undisturbed"}),
        (a_session_shows_another_label, {"not as undisturbed"}),
        (an_error_is_another, {"not as undisturbed"}),
        (a_session_has_no_end, {"miscounted"}),
        (a_session_stays_lost, {"miscounted"}),
        (a_candidate_is_scored_twice, {"miscounted", "not as undisturbed"}),
        (the_end_is_gone, {"not as undisturbed"}),
    ],
)
def test_a_planted_fault_is_found(
    calm: Calm, plant: Callable[[Events], Events], found: set[str]
) -> None:
    assert wrong(calm, calm.events) == set()
    assert found <= wrong(calm, plant(calm.events))


def test_what_clients_could_not_say_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "subject-0"
    folder.mkdir()
    with Outbox(folder / OUTBOX, "small") as outbox:
        for status, error in ((410, "session_over"), (422, "invalid_message")):
            entry = outbox.put("respond", {"uid": error})
            outbox.refused(entry, Refusal(status=status, error=error, detail=""))
        outbox.put("respond", {"uid": "left"})
    refused, left = sorted(checks.undelivered(tmp_path, "small"), key=len, reverse=True)
    assert "invalid_message" in refused
    assert "left" in left


def test_faults_of_clients_and_of_the_server_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "subject-0"
    folder.mkdir()
    troubles = Log(folder / TROUBLES)
    for status, error in ((410, "session_over"), (500, "internal_server_error")):
        troubles.add({"status": status, "error": error})
    (folder / FAULT).write_text("Traceback")
    faults = checks.unexpected(tmp_path)
    assert len(faults) == 2
    assert "Traceback" in faults[0]
    assert "internal_server_error" in faults[1]


def test_the_reply_to_another_message_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "subject-0"
    folder.mkdir()
    line = {"uid": "a/1", "asked": "a/0", "outcome": "responded", "value": None}
    (folder / ACKNOWLEDGED).write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match="the reply to another"):
        checks.acknowledged(tmp_path)
