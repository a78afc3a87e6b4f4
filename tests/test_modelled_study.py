"""Studies whose search infers the subject: asked, told, frozen, verified, resumed."""

import threading
import time
from collections import Counter
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from small_study import (
    facts,
    hello,
    open_desk,
    run_all,
    run_one,
    send,
    small_study,
    snapshot,
)

from analysis.finding import find
from analysis.report import study_numbers
from analysis.verification import verified
from meta_learner.labelling import freeze
from server.desk import Desk
from server.dry_run import dry_run
from server.events import (
    ComponentFrozen,
    GenerationAsked,
    ModelFitted,
    SessionEnded,
    SessionOpened,
    StudyFinished,
    VerificationAsked,
)
from server.journal import Journal
from server.protocol import Wait
from server.study import replay
from server.study_file import Study, StudyFileError
from server.verification import ask_verification

TEXT = """
[study]
name = "modelled"
seed = 5
components = 2

[stimuli]
space = "circle"

[session]
training_stimuli = 5
test_stimuli = 6

[search]
method = "subject_model"
population = 3
generations = 2

[labelling]
family = "basis"
degree = 3

[verification]
sessions = 2
{more}
[simulated_subject]
learner = "fourier_ridge"
amplitudes = [0.3, 0.2, 1.0, 0.2]
"""
SESSIONS = 6 + 2 * 5


def modelled(more: str = "") -> Study:
    """The study, made once for each variant."""
    return small_study(TEXT.format(more=more))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / "journal.db"), "modelled")


def test_a_dry_run_asks_fits_freezes_and_verifies(journal: Journal) -> None:
    study = modelled()
    assert study.sessions == SESSIONS
    dry_run(study, journal)
    every = facts(journal)
    counted = Counter(type(fact) for fact in every)
    assert counted[GenerationAsked] == 2
    assert counted[ModelFitted] == 2
    assert counted[ComponentFrozen] == 2
    assert counted[SessionOpened] == counted[SessionEnded] == SESSIONS
    assert isinstance(every[-1], StudyFinished)
    # The subject's second order is its favourite: two functions, both found.
    order = np.asarray(study.labeller.space.basis(study.labeller.space.grid(9), 3)[1])
    for frozen in facts(journal, ComponentFrozen):
        theta = np.array(frozen.theta)
        assert (theta**2)[order[1:] == 2].sum() > 0.8 * (theta**2).sum()


def test_a_session_trains_on_as_many_stimuli_as_its_candidate_says(
    journal: Journal,
) -> None:
    study = modelled()
    dry_run(study, journal)
    sizes = {
        (asked.generation, candidate): size
        for asked in facts(journal, GenerationAsked)
        for candidate, size in enumerate(asked.training_stimuli)
    }
    for opened in facts(journal, SessionOpened):
        if opened.component == 0:
            size = sizes[opened.generation, opened.candidate]
            assert opened.training_stimuli == opened.training_trials == size
        assert len(opened.x) == opened.training_stimuli + 6


def test_subjects_one_after_the_other_finish_the_study(journal: Journal) -> None:
    desk = open_desk(journal, study=modelled())
    run_all(desk)
    assert desk.state.finished
    # After each session the model is fitted again, before the next is asked.
    fits = [fact.sessions for fact in facts(journal, ModelFitted)]
    assert fits == list(range(1, 7))
    assert desk.state.fitted == len(desk.state.told) == 6


def test_a_study_killed_between_any_two_events_goes_on_as_if_it_had_not_been(
    tmp_path: Path,
) -> None:
    study = modelled()
    whole = Journal(str(tmp_path / "whole.db"), study.name)
    run_all(open_desk(whole, study=study))
    every = facts(whole)
    ends = [i for i, fact in enumerate(every) if isinstance(fact, SessionEnded)]
    # With the end of a session as the last fact on disk: its fit is still to come.
    for number in (0, 3, 5, 8):
        kept = every[: ends[number] + 1]
        assert snapshot(replay(study, kept)) == snapshot(replay(study, kept))
        cut = Journal(str(tmp_path / f"{number}.db"), study.name)
        cut.append(kept, 0.0)
        run_all(open_desk(cut, study=study))
        assert facts(cut, GenerationAsked) == facts(whole, GenerationAsked)
        assert facts(cut, ComponentFrozen) == facts(whole, ComponentFrozen)


def test_what_is_asked_next_takes_pending_sessions_into_account(
    journal: Journal,
) -> None:
    desk = open_desk(journal, study=modelled())
    held = [hello(desk, f"subject-{i}").session for i in range(3)]
    assert len(set(held)) == 3
    # All of the first generation are held: more are asked while they are under way.
    fourth = hello(desk, "subject-3")
    assert fourth.session not in held
    asked = facts(journal, GenerationAsked)
    assert [fact.generation for fact in asked] == [0, 1]
    assert not facts(journal, ModelFitted)
    for i in (4, 5):
        hello(desk, f"subject-{i}")
    # Six sessions are the budget, and six are under way.
    assert isinstance(hello(desk, "subject-6"), Wait)


def test_a_given_up_session_makes_room_for_another(journal: Journal) -> None:
    desk = open_desk(journal, study=modelled())
    first = hello(desk, "subject-0")
    send(desk, "abandon", session=first.session, reason="asleep")
    run_all(desk)
    assert len(desk.state.told) == 6


def test_the_stopping_rule_ends_the_search_before_its_budget(tmp_path: Path) -> None:
    ends = {}
    for width in (0.0001, 9.0):
        study = modelled(f"[stopping]\nwidth = {width}\nat_least = 3\n")
        journal = Journal(str(tmp_path / f"{width}.db"), study.name)
        dry_run(study, journal)
        ends[width] = [fact.sessions for fact in facts(journal, ModelFitted)]
        widths = [fact.width for fact in facts(journal, ModelFitted)]
        assert all(w is not None and w > 0 for w in widths)
    assert ends == {0.0001: [3, 6], 9.0: [3]}


def test_a_stopping_rule_waits_for_sessions_under_way(journal: Journal) -> None:
    study = modelled("[stopping]\nwidth = 9.0\nat_least = 2\n")
    desk = open_desk(journal, study=study)
    held = hello(desk, "slow")
    for i in range(2):
        run_one(desk.handle, f"sim-{i}", study)
    assert desk.state.settled
    assert not facts(journal, ComponentFrozen)
    assert isinstance(hello(desk, "another"), Wait)
    run_one(desk.handle, "slow", study)
    assert len(desk.state.told) == 3
    ended = {end.session: end.used for end in facts(journal, SessionEnded)}
    assert ended[held.session]
    assert facts(journal, ComponentFrozen)


def test_controls_of_a_component_have_its_power_in_each_order() -> None:
    text = TEXT.format(more="").replace("degree = 3", "degree = 13")
    text = text.replace("population = 3", "population = 4")
    study = small_study(text.replace('"subject_model"', '"SNES"'))
    wide = study.labeller.family.genes(study.labeller.space)
    of_13 = np.eye(wide, dtype=np.float32)[-1]
    component = freeze(study.labeller, (), jnp.asarray(of_13))
    asked = ask_verification(study, (component,))
    order = study.labeller.space.basis(study.labeller.space.grid(9), asked.degree)[1]
    for role, theta in zip(asked.roles, asked.theta, strict=True):
        if role == "matched":
            power = np.square(theta)
            assert power[np.asarray(order)[1:] == 13].sum() > 0.99 * power.sum()


def test_labellings_without_a_learner_are_those_of_the_models_prior() -> None:
    study = modelled()
    component = freeze(study.labeller, (), jnp.ones(6))
    asked = ask_verification(study, (component,))
    order = np.asarray(study.labeller.space.basis(study.labeller.space.grid(9), 3)[1])
    null = [
        np.square(theta)
        for role, theta in zip(asked.roles, asked.theta, strict=True)
        if role == "null"
    ]
    for power in null:  # a component of a model that was told nothing: of one order
        each = np.bincount(order[1:], power)
        assert each.max() > 0.8 * power.sum()


def test_the_model_is_worked_out_beside_the_trials(journal: Journal) -> None:
    study = modelled()
    desk = Desk(study, journal, mode="dry-run", beside=True)
    deadline = time.monotonic() + 240
    number = 0
    while not desk.state.finished and time.monotonic() < deadline:
        run_one(desk.handle, f"sim-{number}", study, sleep=lambda _: time.sleep(0.02))
        number += 1
    assert desk.state.finished
    assert len(facts(journal, VerificationAsked)) == 1
    assert any(thread.daemon for thread in threading.enumerate())


def test_the_null_needs_no_session(tmp_path: Path) -> None:
    study = small_study(TEXT.format(more=""), null=True)
    journal = Journal(str(tmp_path / "null.db"), study.name)
    dry_run(study, journal)
    assert len(facts(journal, ComponentFrozen)) == 2
    assert not facts(journal, SessionOpened, VerificationAsked)


def test_the_report_has_a_verdict_for_each_component(journal: Journal) -> None:
    study = modelled()
    dry_run(study, journal)
    finding = find("modelled", journal.read(), replicates=9)
    assert len(finding.distances) == 2
    assert not finding.recovered.provisional
    verdicts = verified(finding.record)
    assert [v.component for v in verdicts] == [0, 1]
    for verdict in verdicts:
        assert verdict.null.component_sessions == verdict.null.control_sessions == 2
        # The favourite, and random labellings of its order, are learnt well.
        assert verdict.null.component_error < 0.3
        assert verdict.matched.control_error < 0.3
        assert verdict.null.component_shortfall < 0.5
    numbers = study_numbers(finding)
    assert [v["component"] for v in numbers["verification"]] == [1, 2]
    assert "Verification" in numbers["components"][0]["verdict"]


def test_an_unfinished_study_shows_where_the_model_stands(journal: Journal) -> None:
    desk = open_desk(journal, study=modelled())
    for i in range(3):
        run_one(desk.handle, f"sim-{i}", modelled())
    finding = find("modelled", journal.read(), replicates=9)
    assert finding.recovered.provisional
    assert len(finding.distances) == 2


def refused(change: tuple[str, str], more: str = "") -> str:
    text = TEXT.format(more=more)
    assert change[0] in text
    with pytest.raises(StudyFileError) as fault:
        Study(text.replace(*change))
    return str(fault.value)


def test_a_study_file_that_a_model_cannot_serve_is_refused() -> None:
    basis = 'family = "basis"\ndegree = 3'
    assert "basis" in refused((basis, 'family = "mlp"'))
    one = '[simulated_subject]\nlearner = "fourier_ridge"'
    two = '[objective]\naim = "mean"\n[groups.a]\n[groups.b]\nlearner = "fourier_ridge"'
    assert "groups" in refused((one, two))
    assert "stopping.width" in refused(
        ('method = "subject_model"\npopulation = 3', 'method = "DES"\npopulation = 4'),
        more="[stopping]\nwidth = 0.1",
    )
    assert "re_evaluate" in refused(
        ("generations = 2", "generations = 2\nre_evaluate = 1")
    )


def test_verification_also_ends_a_study_by_evolution(tmp_path: Path) -> None:
    text = TEXT.format(more="").replace('"subject_model"', '"SNES"')
    text = text.replace("population = 3", "population = 4").replace(
        "degree = 3", "degree = 2"
    )
    study = small_study(text)
    assert study.sessions == 2 * 2 * 4 + 10
    journal = Journal(str(tmp_path / "snes.db"), study.name)
    dry_run(study, journal)
    (asked,) = facts(journal, VerificationAsked)
    assert Counter(asked.roles) == {"component": 4, "null": 2, "matched": 4}
    assert len(verified(find("snes", journal.read(), replicates=9).record)) == 2
