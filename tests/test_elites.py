"""The best candidates of a generation have a second session before it is told."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fragile import Fragile, PowerCut
from live_server import play
from small_study import (
    Clock,
    facts,
    hello,
    open_desk,
    run_all,
    send,
    small_study,
    snapshot,
    study_text,
    write_study,
)
from test_groups import grouped
from test_study import CARRY_OVER

from analysis.frames import frames
from analysis.record import read
from meta_learner.objective import Objective
from meta_learner.shrinkage import shrunk
from server.cost import costs
from server.desk import Desk
from server.dry_run import dry_run
from server.events import (
    ElitesChosen,
    GenerationTold,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyFinished,
)
from server.journal import Journal
from server.scores import Scores
from server.study import replay
from server.study_file import Study, StudyFileError, load

OpenJournal = Callable[..., Journal]
ONE = "population = 4"
TWO = f"{ONE}\nre_evaluate = 2"


def twice(text: str) -> str:
    """The study, with two elites in each generation."""
    return text.replace(ONE, TWO)


TEXT, GROUPS = twice(study_text()), twice(grouped())
CHOICE = twice(
    study_text(
        session='response = "choice"\ntest_repeats = 2\n'
        "psychometric = { slope = 8, lapse = 0.1 }",
        responses="slope = 8\nlapse = 0.1",
    )
)


def ends(journal: Journal) -> dict[str, Any]:
    return {fact.session: fact for fact in facts(journal, SessionEnded)}


def answer(desk: Desk, subject: str, value: float = 0.5, omit: int = 0) -> str:
    """One session of a subject; its name. The last trials may be omitted."""
    session = str(hello(desk, subject).session)
    for i in range(12):
        how: dict[str, Any] = {"value": value}
        if i >= 12 - omit:
            how = {"outcome": "omission"}
        send(desk, "respond", session=session, uid=f"{session}/{i}", **how)
    return session


# --- scores --------------------------------------------------------------------


def test_a_second_error_is_averaged_with_the_first() -> None:
    scores = Scores(2, 1)
    scores.take((0, 0), 0.2, 0.3)
    assert scores.scored.tolist() == [[True], [False]]
    scores.choose([0])
    assert not scores.scored[0]
    scores.take((0, 0), 0.6, 0.4)
    assert scores.errors[0] == pytest.approx(0.4)
    assert scores.standard_errors[0] == pytest.approx(0.25)
    assert scores.scored[0]


def test_the_best_are_those_of_lowest_meta_loss() -> None:
    scores = Scores(4, 1)
    for i, error in enumerate((0.5, 0.2, 0.9)):
        scores.take((i, 0), error, 0.1)
    penalties = np.array([[0.0, 0], [1, 0], [0, 0], [0, 0]])
    assert scores.best(2, Objective(), penalties) == [0, 2]
    assert scores.best(4, Objective(), penalties) == [0, 2, 1]
    assert Scores(4, 1).best(2, Objective(), penalties) == []


# --- at the desk ---------------------------------------------------------------


@pytest.fixture
def elite_desk(journal: Journal) -> Desk:
    """A desk for the study with elites."""
    return open_desk(journal, study=small_study(TEXT))


def test_elites_are_learnt_again_by_fresh_subjects_from_fresh_stimuli(
    elite_desk: Desk, journal: Journal
) -> None:
    for i in range(4):
        answer(elite_desk, f"mouse-{i}", i / 4)
    (chosen,) = facts(journal, ElitesChosen)
    first = [ends(journal)[f"c0-g0-i{i}-a0"] for i in range(4)]
    errors = np.array([[end.error / end.label_variance] for end in first])
    noise = np.array([[end.standard_error / end.label_variance] for end in first])
    best = np.argsort(shrunk(errors, noise)[:, 0])[:2]
    assert chosen.candidates == best.tolist()
    assert elite_desk.state.free() == sorted(chosen.candidates)
    assert not facts(journal, GenerationTold)
    for i, elite in enumerate(sorted(chosen.candidates)):
        again = answer(elite_desk, f"rat-{i}", 0.1)
        assert again == f"c0-g0-i{elite}-a1"
        end = ends(journal)[again]
        assert end.used
        second = np.array([end.error, end.standard_error]) / end.label_variance
        errors[elite] = (errors[elite] + second[0]) / 2
        noise[elite] = np.hypot(noise[elite], second[1]) / 2
    opened = {fact.session: fact for fact in facts(journal, SessionOpened)}
    again = f"c0-g0-i{chosen.candidates[0]}-a"
    assert opened[f"{again}0"].x != opened[f"{again}1"].x
    (told,) = facts(journal, GenerationTold)
    assert told.losses == pytest.approx(shrunk(errors, noise)[:, 0].tolist())


def test_an_unusable_second_session_leaves_the_first_result(
    elite_desk: Desk, journal: Journal
) -> None:
    for i in range(4):
        answer(elite_desk, f"mouse-{i}", i / 4)
    errors = elite_desk.state.scores.errors.copy()
    noise = elite_desk.state.scores.standard_errors.copy()
    for i in range(2):
        answer(elite_desk, f"rat-{i}", omit=6)
    (told,) = facts(journal, GenerationTold)
    assert told.losses == pytest.approx(shrunk(errors, noise)[:, 0].tolist())
    run_all(elite_desk)
    assert elite_desk.state.finished


def test_a_lost_second_session_is_made_up(journal: Journal) -> None:
    clock = Clock()
    desk = open_desk(journal, clock, study=small_study(TEXT))
    for i in range(4):
        answer(desk, f"mouse-{i}", i / 4)
    elite = min(facts(journal, ElitesChosen)[0].candidates)
    assert hello(desk, "rat-1").session == f"c0-g0-i{elite}-a1"
    clock.now += 31.0
    assert answer(desk, "rat-2") == f"c0-g0-i{elite}-a2"
    assert answer(desk, "rat-1") == f"c0-g0-i{elite}-a1"
    used = {name: end.used for name, end in ends(journal).items()}
    assert used[f"c0-g0-i{elite}-a2"]
    assert not used[f"c0-g0-i{elite}-a1"]


def test_where_nobody_has_answered_there_are_no_elites(
    elite_desk: Desk, journal: Journal
) -> None:
    for i in range(12):
        answer(elite_desk, f"mouse-{i}", omit=6)
    assert facts(journal, ElitesChosen)[0].candidates == []
    assert facts(journal, GenerationTold)[0].losses == [None] * 4


# --- whole studies -------------------------------------------------------------


EACH = [
    pytest.param(TEXT, id="one", marks=pytest.mark.slow),
    pytest.param(GROUPS, id="two"),
    pytest.param(CHOICE, id="choice"),
]
"""Two groups hold what one does."""


@pytest.mark.parametrize("text", EACH)
def test_a_study_with_elites_is_the_same_in_process_and_over_messages(
    open_journal: OpenJournal, text: str
) -> None:
    study = small_study(text)
    process, messages = open_journal("process.db"), open_journal("messages.db")
    dry_run(study, process)
    run_all(open_desk(messages, study=study))
    assert ends(process).keys() == ends(messages).keys()
    assert len(ends(process)) == study.sessions == 12 * len(study.groups)
    assert study.sessions_per_generation * 2 == study.sessions
    for name, one in ends(process).items():
        assert one.error == pytest.approx(ends(messages)[name].error, abs=0.01)
    for journal in (process, messages):
        assert len(facts(journal, ElitesChosen)) == 2
        assert facts(journal, StudyFinished)
    assert (
        frames(read(list(process.read()))).generations["scored"].tolist()
        == [study.sessions_per_generation] * 2
    )


def test_a_study_with_elites_runs_over_sockets(journal: Journal) -> None:
    study = small_study(TEXT)
    desk = open_desk(journal, study=study)
    play(desk)
    assert desk.state.finished
    assert len(ends(journal)) == 12


@pytest.mark.parametrize("text", EACH[:2])
def test_a_run_with_elites_may_be_killed_at_any_transaction(text: str) -> None:
    study = small_study(text)
    calm = Journal(":memory:", "small")
    dry_run(study, calm)
    cuts = 0
    for stored, cut_at in itertools.product((False, True), range(1, 12)):
        journal = Journal(":memory:", "small")
        fragile: Any = Fragile(journal, cut_at, stored)
        try:
            dry_run(study, fragile)
        except PowerCut:
            cuts += 1
            dry_run(study, journal)
        assert facts(journal) == facts(calm)
        journal.close()
    assert cuts == 2 * 6  # to open, to ask, for two generations and their elites
    calm.close()


@pytest.mark.parametrize("text", EACH[:2])
def test_each_prefix_of_a_journal_with_elites_can_go_on(
    journal: Journal, text: str
) -> None:
    study = small_study(text)
    desk = open_desk(journal, study=study)
    run_all(desk)
    every = facts(journal)
    live = replay(study, [])
    for length, fact in enumerate(every, 1):
        live.apply(fact)
        if not isinstance(fact, Responded):
            assert snapshot(replay(study, every[:length])) == snapshot(live)
    assert snapshot(live) == snapshot(desk.state)
    assert live.finished


def test_the_null_chooses_no_elites(journal: Journal) -> None:
    null = small_study(TEXT, null=True)
    assert open_desk(journal, study=null).state.finished
    assert not facts(journal, ElitesChosen)
    assert null.sessions == 0


# --- study files ---------------------------------------------------------------


def test_elites_are_counted(tmp_path: Path) -> None:
    assert dict(costs(load(write_study(tmp_path, TEXT))))["sessions"] == "12"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT.replace("re_evaluate = 2", "re_evaluate = 5"), "at most the population"),
        (TEXT.replace(ONE, f'{ONE}\nmethod = "adam"'), "a gradient has no candidates"),
        (twice(CARRY_OVER), "re_evaluate needs naive subjects"),
        (CHOICE.replace("slope = 8,", "slope = 0,"), "session.psychometric.slope"),
        (CHOICE.replace("slope = 8,", "slop = 8,"), "session.psychometric.slop: "),
        (CHOICE.replace('"choice"', '"graded"'), "psychometric is of choices"),
    ],
)
def test_faults_are_told(text: str, expected: str) -> None:
    with pytest.raises(StudyFileError, match=r"(?s).*" + expected.replace(".", r"\.")):
        Study(text)
