"""Groups of subjects: what their errors add up to, and studies that have them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from live_server import play
from small_study import (
    Clock,
    facts,
    hello,
    open_desk,
    run_all,
    run_one,
    send,
    small_study,
    snapshot,
    study_text,
    write_study,
)

from analysis.figures import error_figure
from analysis.finding import find
from analysis.frames import frames
from analysis.record import read
from analysis.report import write_report
from meta_learner.objective import AIMS, CONTRASTS, FLOOR, Objective
from penchant import main
from server.desk import Desk
from server.dry_run import dry_run
from server.events import (
    GenerationTold,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyFinished,
    from_row,
    to_row,
)
from server.journal import Journal
from server.protocol import Assignment, Done, Refusal, Wait
from server.study import replay
from server.study_file import Study, StudyFileError

OpenJournal = Callable[..., Journal]

GROUPS = """
[objective]
aim = "normalised"
chosen = "control"

[groups.lesion]
learner = "ridge"

[groups.control]
learner = "kernel_ridge"
features = 20
"""
PLAIN = study_text()
ALONE = PLAIN[PLAIN.index("[simulated_subject]") : PLAIN.index("[simulated_responses]")]


def grouped(aim: str = "normalised", responses: str = "") -> str:
    """The small study, its subject replaced by two groups."""
    groups = GROUPS.replace("normalised", aim)
    if aim not in CONTRASTS:
        groups = groups.replace('chosen = "control"', "")
    return study_text(responses=responses).replace(ALONE, groups)


TEXT = grouped()
FULL = {"control", "lesion"}


# --- aims ----------------------------------------------------------------------

positive = st.floats(0, 100)
errors = arrays(float, st.tuples(st.integers(1, 5), st.just(2)), elements=positive)


@settings(deadline=None, max_examples=30)
@given(errors)
def test_aims_of_numpy_and_jax_are_the_same(errors: Any) -> None:
    for name, aim in AIMS.items():
        ours = aim(errors)
        assert ours.shape == errors.shape[:1]
        assert ours.dtype == np.float64
        theirs = jax.jit(aim)(jnp.asarray(errors))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=name)


@given(errors)
def test_contrasts_turn_with_their_groups_and_vanish_for_equals(errors: Any) -> None:
    for contrast in CONTRASTS.values():
        np.testing.assert_allclose(contrast(errors[:, ::-1]), -contrast(errors))
        assert (contrast(errors[:, [0, 0]]) == 0).all()


@given(errors, st.floats(0.01, 1))
def test_aims_favour_a_better_chosen_and_a_worse_neglected_group(
    errors: Any, step: float
) -> None:
    more = [errors + np.array(by) * step for by in ((1, 0), (0, 1))]
    for name, aim in AIMS.items():
        worse_chosen, worse_neglected = (aim(e) - aim(errors) for e in more)
        assert (worse_chosen >= 0).all()
        neglected = -worse_neglected if name in CONTRASTS else worse_neglected
        assert (neglected >= 0).all()


@given(errors)
def test_only_the_difference_is_won_without_end(errors: Any) -> None:
    assert np.abs(AIMS["normalised"](errors)).max() < 1
    assert np.abs(AIMS["bounded"](errors)).max() <= 1
    assert np.abs(AIMS["ratio"](errors)).max() <= np.log((100 + FLOOR) / FLOOR)
    assert (AIMS["worst"](errors) >= AIMS["mean"](errors) - 1e-9).all()


@given(errors)
def test_normalised_and_ratio_rank_alike(errors: Any) -> None:
    np.testing.assert_allclose(
        AIMS["normalised"](errors), np.tanh(AIMS["ratio"](errors) / 2), atol=1e-9
    )


@pytest.mark.parametrize("aim", AIMS)
def test_an_error_below_zero_or_missing_does_no_harm(aim: str) -> None:
    columns = 1 if aim == "single" else 2
    found = Objective(aim=aim).combined(
        np.array([[-0.05, 0.3], [np.nan, 0.3], [0.3, np.nan]])[:, :columns]
    )
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
    assert columns == 1 or np.isnan(found[2])


@pytest.mark.parametrize("aim", AIMS)
def test_aims_can_be_differentiated(aim: str) -> None:
    for pair in ([0.2, 0.7], [0.0, 0.0], [0.4, 0.4]):
        slope = jax.grad(lambda e: AIMS[aim](e[None])[0])(jnp.array(pair))
        assert jnp.isfinite(slope).all()


# --- study files ---------------------------------------------------------------


def test_the_chosen_group_comes_first_wherever_it_stands() -> None:
    study = small_study(TEXT)
    assert study.groups == ("control", "lesion")
    assert study.sessions == 2 * 4 * 2
    assert study.learner is None
    assert type(study.learners["lesion"]).__name__ == "Ridge"
    assert small_study().groups == ("",)
    assert small_study().learner == small_study().learners[""]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"normalised"', '"best"', "aim is 'best', expected one of single, mean"),
        ('aim = "normalised"', "", "aim is 'single' with 2 groups"),
        ('chosen = "control"', "", "chosen is None, expected one of lesion, control"),
        ('chosen = "control"', 'chosen = "sham"', "chosen is 'sham', expected one of"),
        ('"normalised"', '"mean"', "chosen is 'control', expected none"),
        ("[groups.lesion]", "[groups.sham]\n[groups.lesion]", "two with the aim"),
        ('[groups.lesion]\nlearner = "ridge"', "", "expected two with the aim"),
        ("[groups.lesion]", '[groups."le sion"]', "groups.le sion"),
        ('"ridge"', '"rigde"', "groups.lesion.learner: expected one of "),
        ("features = 20", "featurs = 20", "groups.control.featurs: kernel_ridge has"),
        ("[groups.lesion]", f"{ALONE}[groups.lesion]", "learner in its own section"),
    ],
)
def test_faults_of_groups_are_told(old: str, new: str, expected: str) -> None:
    assert old in TEXT
    with pytest.raises(StudyFileError, match=r"(?s).*" + expected.replace(".", r"\.")):
        Study(TEXT.replace(old, new))
    with pytest.raises(StudyFileError, match="aim is 'mean' with 0 groups"):
        Study(PLAIN + '[objective]\naim = "mean"')


def test_a_live_study_needs_no_stand_in(journal: Journal) -> None:
    real = Study(TEXT.replace('learner = "ridge"', ""))
    assert isinstance(
        hello(open_desk(journal, study=real, mode="live"), "m", group="lesion"),
        Assignment,
    )
    with pytest.raises(StudyFileError, match=r"no \[groups\.lesion\] section"):
        real.stand_ins()


# --- at the desk ---------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(journal: Journal, clock: Clock) -> Desk:
    """A desk for the study of two groups."""
    return open_desk(journal, clock, study=small_study(TEXT))


def answer(desk: Desk, subject: str, group: str, omit: int = 0) -> str:
    """One session of a subject, all trials at once; its name."""
    session = hello(desk, subject, group=group).session
    for i in range(12):
        how: dict[str, Any] = {"value": 0.5}
        if i >= 12 - omit:
            how = {"outcome": "omission"}
        send(desk, "respond", session=session, uid=f"{session}/{i}", **how)
    return str(session)


def test_a_candidate_waits_for_every_group_on_the_same_stimuli(
    desk: Desk, journal: Journal
) -> None:
    for i in range(4):
        assert answer(desk, f"c{i}", "control") == f"c0-g0-i{i}-a0-control"
    assert not facts(journal, GenerationTold)
    assert isinstance(hello(desk, "c9", group="control"), Wait)
    for i in range(4):
        answer(desk, f"l{i}", "lesion")
    (told,) = facts(journal, GenerationTold)
    ends = {end.session: end for end in facts(journal, SessionEnded)}
    for i, loss in enumerate(told.losses):
        both = [ends[f"c0-g0-i{i}-a0-{g}"] for g in ("control", "lesion")]
        relative = np.array([[end.error / end.label_variance for end in both]])
        assert loss == pytest.approx(AIMS["normalised"](relative)[0])
    opened = {fact.session: fact for fact in facts(journal, SessionOpened)}
    for name, fact in opened.items():
        other = opened[name.replace("control", "lesion")]
        assert (fact.x, fact.y, fact.trials) == (other.x, other.y, other.trials)
        assert fact.group == name.rpartition("-")[2]


def test_a_session_lost_in_one_group_is_made_up_in_that_group(
    desk: Desk, clock: Clock, journal: Journal
) -> None:
    lost = hello(desk, "c0", group="control").session
    kept = hello(desk, "l0", group="lesion").session
    clock.now += 20.0
    send(desk, "heartbeat", session=kept)
    clock.now += 20.0
    assert hello(desk, "c1", group="control").session == "c0-g0-i0-a1-control"
    assert hello(desk, "l1", group="lesion").session == "c0-g0-i1-a0-lesion"
    assert [e.session for e in facts(journal, SessionEnded)] == [lost]
    # Back again, it cannot have its place: another of its group has it.
    assert not desk.state.may_return(desk.state.sessions[lost])


def test_what_one_group_cannot_be_scored_on_is_spared_the_other(
    desk: Desk, journal: Journal
) -> None:
    for i in range(3):
        assert answer(desk, f"c{i}", "control", omit=6).startswith("c0-g0-i0-")
    assert hello(desk, "l0", group="lesion").session == "c0-g0-i1-a0-lesion"
    assert desk.state.best_error is None
    send(desk, "abandon", session="c0-g0-i1-a0-lesion", reason="asleep")
    run_all(desk)
    told = facts(journal, GenerationTold)
    assert [loss is None for loss in told[0].losses] == [True, False, False, False]
    assert desk.state.best_error is not None
    assert -1 < desk.state.best_error < 1


def test_a_subject_says_its_group_and_keeps_to_it(desk: Desk, journal: Journal) -> None:
    for more in ({}, {"group": "sham"}):
        refused = hello(desk, "c0", **more)
        assert (refused.status, refused.error) == (422, "wrong_group")
        assert "control or lesion" in refused.detail
    assert hello(desk, "c0", group="").error == "invalid_message"
    assert not facts(journal, SessionOpened)
    first = answer(desk, "c0", "control")
    refused = hello(desk, "c0", group="lesion")
    assert (refused.status, refused.error) == (409, "other_group")
    assert "control" in refused.detail
    assert isinstance(hello(desk, "c0", group="control"), Done)
    again = open_desk(journal, study=small_study(TEXT))
    assert hello(again, "c0", group="lesion").error == "other_group"
    assert first in again.state.sessions
    readme = Path(__file__).parent.parent / "docs" / "protocol" / "README.md"
    for error in ("wrong_group", "other_group"):
        assert f"`{error}`" in readme.read_text(encoding="utf-8")


def test_a_study_without_groups_takes_no_group(journal: Journal) -> None:
    refused = hello(open_desk(journal), "c0", group="control")
    assert isinstance(refused, Refusal)
    assert refused.error == "wrong_group"
    assert "none in this study" in refused.detail


def test_each_prefix_of_a_journal_of_groups_can_go_on(
    desk: Desk, journal: Journal
) -> None:
    run_all(desk)
    study, every = small_study(TEXT), facts(journal)
    live = replay(study, [])
    for length, fact in enumerate(every, 1):
        live.apply(fact)
        if length % 20 == 0 or not isinstance(fact, Responded):
            assert snapshot(replay(study, every[:length])) == snapshot(live)
    assert snapshot(live) == snapshot(desk.state)
    assert live.finished


def test_a_journal_of_before_there_were_groups_is_read() -> None:
    fields: dict[str, Any] = dict.fromkeys(SessionOpened.__dataclass_fields__, 0)
    kind, row = to_row(SessionOpened(**fields))
    del row["group"]
    opened = from_row(kind, row)
    assert isinstance(opened, SessionOpened)
    assert opened.group == ""


# --- whole studies -------------------------------------------------------------


def ends(journal: Journal) -> dict[str, Any]:
    return {fact.session: fact for fact in facts(journal, SessionEnded)}


@pytest.mark.parametrize("text", [TEXT, grouped("worst")], ids=["contrast", "worst"])
def test_in_process_over_messages_and_over_sockets_it_is_the_same_study(
    open_journal: OpenJournal, text: str
) -> None:
    study = small_study(text)
    process, messages, wire = (open_journal(f"{i}.db") for i in range(3))
    dry_run(study, process)
    run_all(open_desk(messages, study=study))
    desk = open_desk(wire, study=study)
    play(desk)
    assert ends(process).keys() == ends(messages).keys() == ends(wire).keys()
    assert len(ends(wire)) == study.sessions == 16
    for name, one in ends(process).items():
        assert one.error == pytest.approx(ends(messages)[name].error, abs=0.01)
        assert ends(wire)[name] == ends(messages)[name]
    for journal in (process, messages, wire):
        assert facts(journal, StudyFinished)
        groups = {fact.subject: fact.group for fact in facts(journal, SessionOpened)}
        assert len(groups) == 16
        assert set(groups.values()) == FULL


def test_a_study_of_groups_begun_with_clients_goes_on_in_process(
    journal: Journal,
) -> None:
    study = small_study(TEXT)
    desk = open_desk(journal, study=study)
    run_one(desk.handle, "l", study, group="lesion")
    left = hello(desk, "c", group="control").session
    dry_run(study, journal)
    assert facts(journal, StudyFinished)
    assert ends(journal)[left].status == "lost"
    used = [e for e in ends(journal).values() if e.used and e.status == "finished"]
    assert len(used) == 16


def test_subjects_that_omit_leave_no_group_waiting(open_journal: OpenJournal) -> None:
    """Groups need unequal numbers of subjects then."""
    study = small_study(grouped(responses="omission = 0.8"))
    for run in ("process", "threads"):
        journal = open_journal(f"{run}.db")
        if run == "process":
            dry_run(study, journal)
        else:
            desk = open_desk(journal, study=study)
            play(desk, "http", at_once=1)
        assert facts(journal, StudyFinished)
        assert "unusable" in {end.status for end in ends(journal).values()}


def test_the_command_line_counts_and_rehearses_groups(tmp_path: Path) -> None:
    study = write_study(tmp_path, TEXT)

    def penchant(*arguments: str) -> str:
        ran = CliRunner().invoke(main, arguments)
        assert ran.exit_code == (2 if "sham" in arguments else 0), ran.output
        return ran.output.replace("\n", " ")

    checked = penchant("check", str(study))
    assert "control, lesion" in checked
    assert re.search(r"sessions +\S 16 ", checked)
    join = ("subject", "simulated", "--study", str(study))
    assert "no group 'sham'" in penchant(*join, "--group", "sham")
    penchant("dry-run", str(study), "--over-sockets", "--subjects", "1")
    journal = Journal(tmp_path / "small.db", "small")
    assert len(ends(journal)) == 16
    journal.close()


# --- what is made of it --------------------------------------------------------


@pytest.mark.parametrize("aim", ["normalised", "mean"])
def test_tables_and_report_keep_groups_apart(
    journal: Journal, tmp_path: Path, aim: str
) -> None:
    dry_run(small_study(grouped(aim)), journal)
    events = list(journal.read())
    trials, sessions, generations, components = frames(read(events))
    assert set(trials["group"]) == set(sessions["group"]) == FULL
    assert (generations["scored"] == 8).all()
    assert "median_error" not in generations
    for group in FULL:
        own = sessions[(sessions["group"] == group) & (sessions["generation"] == 1)]
        median = own["relative_error"].median()
        assert generations[f"median_error_{group}"][1] == pytest.approx(median)
        assert components[f"final_error_{group}"][0] == pytest.approx(median)
    assert len(error_figure(find("two", events, replicates=3)).axes) == 1
    text = write_report([("two", events)], tmp_path / "out", 3).read_text()
    assert ("easy to generalise" in text) == (aim == "mean")
    assert "In its last generations the error was" in text
    assert ("times that of control" in text) == (aim == "normalised")
    assert "at the end</th>" in text
    assert "lesion: learner ridge" in text


def test_a_study_without_groups_says_nothing_of_groups(
    journal: Journal, tmp_path: Path
) -> None:
    dry_run(small_study(), journal)
    text = write_report([("one", list(journal.read()))], tmp_path, 3).read_text()
    assert "In its last generations" not in text
    assert "What was found easy to generalise" in text
