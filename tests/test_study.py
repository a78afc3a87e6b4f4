"""A study as a fold of its journal: killed anywhere, it goes on unchanged."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fragile import Fragile, PowerCut
from small_study import (
    CHOICE,
    Clock,
    be_born,
    facts,
    hello,
    open_desk,
    run_all,
    run_one,
    send,
    small_study,
    snapshot,
    study_text,
)

from meta_learner.shrinkage import shrunk
from server.desk import Desk
from server.dry_run import dry_run
from server.events import (
    ClientSeen,
    ComponentFrozen,
    Fact,
    GenerationAsked,
    GenerationTold,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyFinished,
    StudyOpened,
)
from server.journal import Journal
from server.protocol import Ack, Alive, Assignment, Done
from server.study import ResumeError, replay
from server.study_file import StudyFileError
from subject_clients.loop import Subject
from subject_clients.transport import InMemory

OpenJournal = Callable[..., Journal]
LEASE_S = 30.0
CARRY_OVER = study_text('exposure = "carry_over"', "shared_stimuli = false")


def without_visits(journal: Journal) -> list[Fact]:
    """All facts, but for connections that came and went."""
    return [fact for fact in facts(journal) if not isinstance(fact, ClientSeen)]


# --- replay --------------------------------------------------------------------


@pytest.mark.parametrize("text", [study_text(), CHOICE], ids=["graded", "choice"])
def test_a_run_in_process_may_be_killed_at_any_transaction(text: str) -> None:
    study = small_study(text)
    calm = Journal(":memory:", "small")
    dry_run(study, calm)
    expected = facts(calm)
    cuts = 0
    for stored in (False, True):
        for cut_at in itertools.count(1):
            journal = Journal(":memory:", "small")
            fragile: Any = Fragile(journal, cut_at, stored)
            try:
                dry_run(study, fragile)
            except PowerCut:
                cuts += 1
                dry_run(study, journal)
                assert facts(journal) == expected
                journal.close()
            else:  # it came to its end before the cut
                journal.close()
                break
    assert cuts == 2 * 4  # to open, to ask, and for each of two generations
    calm.close()


class Dying:
    """A desk that dies at each transaction, first before storing it, then after.

    Each time it is opened anew from the journal, and the message sent again.
    """

    def __init__(self, journal: Journal) -> None:
        self.deaths = 0
        self._journal = journal

    def handle(self, kind: str, message: Any) -> Any:
        for stored in (False, True):
            fragile: Any = Fragile(self._journal, 1, stored)
            desk = open_desk(self._journal)
            desk._journal = fragile
            reply = desk.handle(kind, message)
            if getattr(reply, "error", None) != "not_stored":
                return reply
            self.deaths += 1
        return open_desk(self._journal).handle(kind, message)


def test_a_server_may_be_killed_at_any_transaction(open_journal: OpenJournal) -> None:
    calm, mortal = open_journal("calm.db"), open_journal("mortal.db")
    run_all(open_desk(calm))
    dying = Dying(mortal)
    number = 0
    while not run_one(dying.handle, f"sim-{number}").study:
        number += 1
    assert dying.deaths > 200
    assert without_visits(mortal) == without_visits(calm)


def test_each_prefix_of_a_journal_is_a_state_that_can_go_on(
    journal: Journal,
) -> None:
    """The live state after each event is the state that replay finds there."""
    study = small_study()
    desk = open_desk(journal)
    run_all(desk)
    every = facts(journal)
    live = replay(study, [])
    for length, fact in enumerate(every, 1):
        live.apply(fact)
        if length % 20 == 0 or not isinstance(fact, Responded):
            assert snapshot(replay(study, every[:length])) == snapshot(live)
            if live.theta is not None:
                held = [s for s in live.sessions.values() if s.status == "open"]
                assert live.free() or held or live.scores.scored.all()
    assert snapshot(live) == snapshot(desk.state)


def test_the_journal_says_with_what_it_was_made(journal: Journal) -> None:
    open_desk(journal)
    opened = facts(journal, StudyOpened)[0]
    assert opened.text == study_text()
    assert opened.mode == "dry-run"
    assert {"penchant", "jax", "evosax", "numpy", "python"} <= set(opened.versions)


def test_a_changed_study_file_is_another_study(journal: Journal) -> None:
    open_desk(journal)
    changed = small_study(study_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(ResumeError, match="immutable"):
        open_desk(journal, study=changed)


@pytest.mark.parametrize("modes", [("live", "dry-run"), ("dry-run", "live")])
def test_real_and_simulated_subjects_never_share_a_journal(
    journal: Journal, modes: tuple[str, str]
) -> None:
    open_desk(journal, mode=modes[0])
    with pytest.raises(ResumeError, match=f"{modes[0]} study, asked for {modes[1]}"):
        open_desk(journal, mode=modes[1])


def test_a_study_and_its_null_never_share_a_stream(journal: Journal) -> None:
    open_desk(journal)
    with pytest.raises(ResumeError, match="null"):
        open_desk(journal, study=small_study(null=True))


def test_the_null_needs_no_subject(open_journal: OpenJournal) -> None:
    null = small_study(null=True)
    journal = open_journal(study=null.name)
    desk = open_desk(journal, study=null)
    assert desk.state.finished
    assert isinstance(hello(desk, "mouse-1"), Done)
    assert len(facts(journal, ComponentFrozen)) == 1
    assert not facts(journal, SessionOpened)
    again = open_journal("again.db", null.name)
    open_desk(again, study=null)
    assert facts(again) == facts(journal)


def test_other_numbers_than_those_recorded_are_told_and_not_used(
    journal: Journal,
) -> None:
    """As after an update of JAX: what subjects were shown is what counts."""
    open_desk(journal)
    opened, asked = facts(journal)
    moved = GenerationAsked(
        0, 0, [[gene + 0.5 for gene in row] for row in asked.theta], asked.penalties
    )
    with pytest.warns(UserWarning, match="recorded candidates are used"):
        state = replay(small_study(), [opened, moved])
    np.testing.assert_allclose(state.theta, moved.theta)


# --- scores --------------------------------------------------------------------


def answer(desk: Desk, session: str, value: float = 0.5, omit: int = 0) -> Any:
    """All trials of a session that are left; the last ``omit`` are not answered."""
    trials = desk.state.sessions[session].trials
    reply: Any = None
    for index in range(len(desk.state.sessions[session].answers), trials):
        omitted = index >= trials - omit
        what: dict[str, Any] = {"outcome": "omission"} if omitted else {"value": value}
        uid = f"{session}/{index}"
        reply = send(desk, "respond", session=session, uid=uid, **what)
        assert isinstance(reply, Ack)
    return reply


def test_what_a_session_measures_moves_the_search(desk: Desk, journal: Journal) -> None:
    for i in range(4):
        answer(desk, hello(desk, f"mouse-{i}").session, value=i / 4)
    ended = {fact.session: fact for fact in facts(journal, SessionEnded)}
    (told,) = facts(journal, GenerationTold)
    measured = []
    for candidate in range(4):
        end = ended[f"c0-g0-i{candidate}-a0"]
        assert (end.status, end.used, end.test_trials) == ("finished", True, 6)
        pair = np.array([[end.error, end.standard_error]])
        measured.append(pair / end.label_variance)
    errors, noise = np.stack(measured, -1)[0]
    expected = shrunk(errors[:, None], noise[:, None])[:, 0]
    assert told.losses == pytest.approx(expected.tolist())
    assert desk.state.best_error == pytest.approx(min(errors))


def test_a_session_without_answers_is_unusable_and_never_bad(
    desk: Desk, journal: Journal
) -> None:
    for attempt in range(3):  # the first candidate comes back, with other stimuli
        session = hello(desk, f"mouse-{attempt}").session
        assert session == f"c0-g0-i0-a{attempt}"
        answer(desk, session, omit=5)
    statuses = [fact.status for fact in facts(journal, SessionEnded)]
    assert statuses == ["unusable"] * 3
    shown = {str(fact.x) for fact in facts(journal, SessionOpened)}
    assert len(shown) == 3
    for i in range(3):
        answer(desk, hello(desk, f"mouse-{i + 3}").session)
    (told,) = facts(journal, GenerationTold)
    assert told.losses[0] is None  # left out
    assert all(loss is not None for loss in told.losses[1:])


def test_a_generation_that_nobody_answered_leaves_the_search_where_it_was(
    desk: Desk, journal: Journal
) -> None:
    before = snapshot(desk.state)["arrays"][0]
    for i in range(12):
        answer(desk, hello(desk, f"mouse-{i}").session, omit=6)
    (told,) = facts(journal, GenerationTold)
    assert told.losses == [None] * 4
    assert snapshot(desk.state)["arrays"][0] == before
    assert desk.state.generation == 1
    run_all(desk)
    assert desk.state.finished


def test_omissions_of_simulated_subjects_are_left_out(journal: Journal) -> None:
    study = small_study(study_text(responses="omission = 0.8"))
    dry_run(study, journal)
    ended = facts(journal, SessionEnded)
    assert {"finished", "unusable"} <= {fact.status for fact in ended}
    assert facts(journal, StudyFinished)
    for fact in ended:
        if fact.status == "finished":
            assert 2 <= fact.test_trials < 6
        else:
            assert fact.error is None
            assert not fact.used


# --- leases --------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(journal: Journal, clock: Clock) -> Desk:
    """A desk with a clock to set."""
    return open_desk(journal, clock)


def test_a_silent_subject_loses_its_candidate_to_another(
    timed: Desk, clock: Clock
) -> None:
    first = hello(timed, "mouse-1").session
    clock.now += LEASE_S + 1
    second = hello(timed, "mouse-2").session
    assert (first, second) == ("c0-g0-i0-a0", "c0-g0-i0-a1")
    assert timed.state.sessions[first].status == "lost"


def test_a_heartbeat_keeps_a_candidate(timed: Desk, clock: Clock) -> None:
    first = hello(timed, "mouse-1").session
    for _ in range(10):
        clock.now += LEASE_S - 1
        assert isinstance(send(timed, "heartbeat", session=first), Alive)
    assert hello(timed, "mouse-2").session == "c0-g0-i1-a0"


@pytest.mark.parametrize("sign", ["hello", "next", "heartbeat", "respond"])
def test_a_lost_subject_may_return(timed: Desk, clock: Clock, sign: str) -> None:
    session = hello(timed, "mouse-1").session
    clock.now += LEASE_S + 1
    if sign == "hello":
        hello(timed, "mouse-1")
    else:
        trial = {"uid": f"{session}/0"} if sign == "respond" else {}
        send(timed, sign, session=session, **trial)
    assert timed.state.sessions[session].status == "open"
    clock.now += LEASE_S - 1  # under a new lease
    assert hello(timed, "mouse-2").session == "c0-g0-i1-a0"


def test_a_result_that_comes_late_is_used_if_it_comes_first(
    timed: Desk, clock: Clock, journal: Journal
) -> None:
    late = hello(timed, "mouse-1").session
    clock.now += LEASE_S + 1
    early = hello(timed, "mouse-2").session
    answer(timed, late, 0.1)
    assert timed.state.scores.scored[0]
    answer(timed, early, 0.2)
    used = {fact.session: fact.used for fact in facts(journal, SessionEnded)[1:]}
    assert used == {late: True, early: False}


def test_a_result_that_comes_too_late_is_kept(
    timed: Desk, clock: Clock, journal: Journal
) -> None:
    late = hello(timed, "mouse-late").session
    clock.now += LEASE_S + 1
    for i in range(4):
        answer(timed, hello(timed, f"mouse-{i}").session)
    assert timed.state.generation == 1
    losses = facts(journal, GenerationTold)[0].losses
    assert isinstance(hello(timed, "mouse-late"), Assignment)
    assert answer(timed, late).done
    end = facts(journal, SessionEnded)[-1]
    assert (end.session, end.status, end.used) == (late, "finished", False)
    assert facts(journal, GenerationTold)[0].losses == losses
    run_all(timed)
    # Even after the study: nothing that an animal did is thrown away.
    assert timed.state.finished


def test_a_result_after_the_end_of_the_study_is_kept(
    timed: Desk, clock: Clock, journal: Journal
) -> None:
    late = hello(timed, "mouse-late").session
    clock.now += LEASE_S + 1
    run_all(timed)
    assert timed.state.finished
    assert answer(timed, late).done
    assert not facts(journal, SessionEnded)[-1].used
    assert hello(timed, "mouse-late").study


def test_an_old_acknowledgement_can_be_asked_for_again(desk: Desk) -> None:
    """Its reply was lost with the server, and other subjects were quick."""
    session = hello(desk, "mouse-1").session
    ack = answer(desk, session)
    run_all(desk)
    again = send(desk, "respond", session=session, uid=f"{session}/11", value=0.5)
    assert again == ack


def test_a_subject_that_gives_up_frees_its_candidate(
    desk: Desk, journal: Journal
) -> None:
    session = hello(desk, "mouse-1").session
    send(desk, "respond", session=session, uid=f"{session}/0", value=0.5)
    send(desk, "abandon", session=session, reason="asleep")
    assert hello(desk, "mouse-2").session == "c0-g0-i0-a1"
    assert facts(journal, SessionEnded)[-1].reason == "asleep"
    refused = send(desk, "respond", session=session, uid=f"{session}/3", value=0.5)
    assert (refused.status, refused.error) == (410, "session_over")
    assert len(facts(journal, Responded)) == 1
    # The trial under way when it gave up: nothing that was done is thrown away.
    last = send(desk, "respond", session=session, uid=f"{session}/1", value=0.5)
    assert (last.done, last.next) == (True, None)
    assert [fact.trials for fact in facts(journal, Responded)] == [[0], [1]]
    assert len(facts(journal, SessionEnded)) == 1


def test_a_naive_subject_has_one_session_and_others_have_several(
    open_journal: OpenJournal,
) -> None:
    naive, several = (
        open_desk(open_journal(f"{i}.db"), study=small_study(text))
        for i, text in enumerate((study_text(), CARRY_OVER))
    )
    for desk in (naive, several):
        answer(desk, hello(desk, "mouse-1").session)
    done = hello(naive, "mouse-1")
    assert isinstance(done, Done)
    assert not done.study
    second = hello(several, "mouse-1").session
    assert several.state.sessions[second].opened.exposure == 1


# --- one study, whatever it runs on --------------------------------------------


def by_session(journal: Journal, kind: type[Fact]) -> dict[str, Any]:
    return {fact.session: fact for fact in facts(journal, kind)}


@pytest.mark.parametrize("text", [study_text(), CHOICE], ids=["graded", "choice"])
def test_in_process_and_over_messages_it_is_the_same_study(
    open_journal: OpenJournal, text: str
) -> None:
    study = small_study(text)
    process, messages = open_journal("process.db"), open_journal("messages.db")
    dry_run(study, process)
    run_all(open_desk(messages, study=study))
    ours, theirs = (by_session(j, SessionOpened) for j in (process, messages))
    assert ours.keys() == theirs.keys()
    for name, one in ours.items():
        other = theirs[name]
        if one.generation == 0:  # later ones follow from errors, to a rounding
            assert one.y == other.y
            assert one.right_rewarded == other.right_rewarded
        np.testing.assert_allclose(one.x, other.x)
        np.testing.assert_allclose(one.y, other.y, atol=0.01)
        assert one.trials == other.trials
    ours, theirs = (by_session(j, SessionEnded) for j in (process, messages))
    for name, one in ours.items():
        assert one.error == pytest.approx(theirs[name].error, abs=0.01)


def test_a_study_begun_with_clients_goes_on_in_process(journal: Journal) -> None:
    desk = open_desk(journal)
    run_one(desk.handle, "sim-1")
    left = hello(desk, "mouse-1").session
    send(desk, "respond", session=left, uid=f"{left}/0", value=0.5)
    dry_run(small_study(), journal)
    assert facts(journal, StudyFinished)
    ended = by_session(journal, SessionEnded)
    assert ended[left].status == "lost"
    assert ended["c0-g0-i1-a1"].used  # shown again, to another
    assert sum(end.used and end.status == "finished" for end in ended.values()) == 8


def test_a_run_in_process_may_stop_and_go_on_with_clients(journal: Journal) -> None:
    dry_run(small_study(), journal, sessions=1)
    desk = open_desk(journal)
    assert (desk.state.generation, desk.state.sessions_ended) == (1, 4)
    run_all(desk)
    assert facts(journal, StudyFinished)


def test_a_dry_run_needs_someone_to_simulate(journal: Journal) -> None:
    text = study_text().split("[simulated_subject]")[0]
    with pytest.raises(StudyFileError, match="simulated_subject"):
        dry_run(small_study(text), journal)


def test_a_simulated_subject_does_not_go_on_for_another(
    desk: Desk, journal: Journal
) -> None:
    """It has not seen the training; a candidate is better shown again."""
    session = hello(desk, "sim-1", simulated=True).session
    send(desk, "respond", session=session, uid=f"{session}/0")
    done = Subject("sim-1", be_born(small_study()), InMemory(desk.handle)).run_session()
    assert "abandoned" in done.reason
    assert facts(journal, SessionEnded)[-1].status == "abandoned"


def test_studies_of_one_journal_file_run_side_by_side(
    open_journal: OpenJournal, tmp_path: Path
) -> None:
    null = small_study(null=True)
    ours, control = open_journal(), open_journal(study=null.name)
    dry_run(small_study(), ours)
    dry_run(null, control)
    assert ours.where == control.where == str(tmp_path / "journal.db")
    assert len(facts(ours, ComponentFrozen)) == len(facts(control, ComponentFrozen))
