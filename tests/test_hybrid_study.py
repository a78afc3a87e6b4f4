"""Studies whose evolution is helped by the subject model: journal, desk, report."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import facts, hello, open_desk, run_all, run_one, small_study, snapshot

from analysis.finding import find
from analysis.report import study_numbers
from analysis.wording import methods
from meta_learner.evolution import Evolution
from meta_learner.hybrid import UNTRIED, Judgement, Predictions
from server import helping
from server.desk import Desk
from server.dry_run import course, dry_run
from server.events import (
    ComponentFrozen,
    Fact,
    GenerationAsked,
    GenerationTold,
    ModelFitted,
    SessionEnded,
    SessionOpened,
    VerificationAsked,
)
from server.journal import Journal
from server.study import replay
from server.study_file import Study, StudyFileError

TEXT = """
[study]
name = "helped"
seed = 5
components = 2

[stimuli]
space = "circle"

[session]
training_stimuli = 5
test_stimuli = 12

[search]
method = "hybrid"
strategy = "CMA_ES"
population = 8
generations = 5

[labelling]
family = "basis"
degree = 3

[simulated_subject]
learner = "fourier_ridge"
amplitudes = [0.3, 0.2, 1.0, 0.2]
"""
HYBRID = 'method = "hybrid"\nstrategy = "CMA_ES"'
ALONE = TEXT.replace(HYBRID, 'method = "CMA_ES"')
SESSIONS = 2 * 5 * 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """The journal of a whole hybrid study."""
    folder = tmp_path_factory.mktemp("whole")
    journal = Journal(str(folder / "journal.db"), "helped")
    dry_run(small_study(TEXT), journal)
    return journal


def test_a_dry_run_asks_tells_fits_and_freezes(whole: Journal) -> None:
    counted = Counter(type(fact) for fact in facts(whole))
    assert counted[GenerationAsked] == counted[GenerationTold] == 10
    assert counted[ComponentFrozen] == 2
    assert counted[SessionOpened] == counted[SessionEnded] == SESSIONS
    fits = [fact.sessions for fact in facts(whole, ModelFitted)]
    assert fits == sorted(set(fits))
    assert fits[:2] == [8, 16]
    for told in facts(whole, GenerationTold):
        assert np.shape(told.predictions) == (4, 2, 8)
        assert np.isfinite(np.array(told.predictions, float)).all()


def test_what_was_measured_is_what_sessions_told(whole: Journal) -> None:
    ends = {fact.session: fact for fact in facts(whole, SessionEnded)}
    for opened in facts(whole, SessionOpened):
        end = ends[opened.session]
        told = next(
            fact
            for fact in facts(whole, GenerationTold)
            if (fact.component, fact.generation)
            == (opened.component, opened.generation)
        )
        measured, noise = (np.array(part)[0] for part in told.predictions[:2])
        at = opened.candidate
        assert measured[at] == pytest.approx(end.error / end.label_variance)
        assert noise[at] == pytest.approx(end.standard_error / end.label_variance)


def test_a_helped_study_begins_as_evolution_and_then_differs(
    whole: Journal, tmp_path: Path
) -> None:
    alone = Journal(str(tmp_path / "alone.db"), "helped")
    dry_run(small_study(ALONE), alone)
    helped = facts(whole, GenerationAsked, GenerationTold)
    plain = facts(alone, GenerationAsked, GenerationTold)
    assert helped[0] == plain[0]
    assert helped[1].losses == plain[1].losses
    assert helped[1].judgement == list(UNTRIED)
    trusted = [fact.judgement[0] for fact in facts(whole, GenerationTold)]
    assert max(trusted) > 0.3
    assert any(fact.screened for fact in facts(whole, GenerationAsked))
    assert facts(whole, ComponentFrozen) != facts(alone, ComponentFrozen)


def test_without_skill_a_whole_study_is_that_of_evolution(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unskilled(past: Sequence[Predictions]) -> Judgement:
        del past
        return UNTRIED

    monkeypatch.setattr(helping, "judge", unskilled)
    journals = []
    for name, text in (("helped", TEXT), ("alone", ALONE)):
        journals.append(Journal(str(tmp_path / f"{name}.db"), "helped"))
        dry_run(small_study(text), journals[-1])
    helped, alone = journals
    for kind in (GenerationAsked, ComponentFrozen, SessionOpened, SessionEnded):
        assert facts(helped, kind) == facts(alone, kind)
    told = [[fact.losses for fact in facts(one, GenerationTold)] for one in journals]
    assert told[0] == told[1]


def test_a_course_is_that_of_a_dry_run(whole: Journal) -> None:
    told = facts(whole, GenerationTold)
    study = small_study(TEXT)
    for state, generations in zip(course(study, (8, 20)), (1, 3), strict=True):
        assert state.sessions_ended == 8 * generations
        assert state.help is not None
        measured = [past.measured for past in state.help.past]
        expected = [np.array(fact.predictions[0]) for fact in told[:generations]]
        np.testing.assert_array_equal(measured, expected)


def test_trust_is_earned_anew_for_each_component(whole: Journal) -> None:
    first = [f for f in facts(whole, GenerationTold) if f.generation == 0]
    assert [fact.judgement for fact in first] == [list(UNTRIED)] * 2


def test_a_study_killed_between_any_two_events_goes_on_as_if_it_had_not_been(
    whole: Journal, tmp_path: Path
) -> None:
    study, every = small_study(TEXT), facts(whole)
    told = [i for i, fact in enumerate(every) if isinstance(fact, GenerationTold)]
    # Before a generation is told, before the model is fitted, before it asks; and
    # within a generation, whose other sessions are then to come.
    for number, place in enumerate((told[3], told[3] + 1, told[3] + 2, told[6] - 12)):
        kept = every[:place]
        assert snapshot(replay(study, kept)) == snapshot(replay(study, kept))
        cut = Journal(str(tmp_path / f"{number}.db"), study.name)
        cut.append(kept, 0.0)
        dry_run(study, cut)
        assert _search_of(facts(cut)) == _search_of(every)


def test_the_order_in_which_sessions_end_does_not_matter(tmp_path: Path) -> None:
    text = TEXT.replace("components = 2", "components = 1")
    study = small_study(text.replace("generations = 5", "generations = 3"))
    searches = []
    for step in (1, -1):
        journal = Journal(str(tmp_path / f"{step}.db"), study.name)
        desk = open_desk(journal, study=study)
        while not desk.state.finished:
            number = len(facts(journal, SessionOpened))
            names = [f"sim-{number + i}" for i in range(8)]
            for name in names:
                hello(desk, name)
            for name in names[::step]:
                run_one(desk.handle, name, study)
        searches.append(_search_of(facts(journal)))
    assert searches[0] == searches[1]


def test_no_trial_waits_for_the_model(tmp_path: Path) -> None:
    study = small_study(TEXT.replace("components = 2", "components = 1"))
    journal = Journal(str(tmp_path / "journal.db"), study.name)
    desk = Desk(study, journal, mode="dry-run", beside=True)
    waits = []
    for number in range(2 * 8):
        run_one(
            desk.handle,
            f"sim-{number}",
            study,
            sleep=lambda _: waits.append(threading.Event().wait(0.02)),
        )
    # A subject that came while the model was worked out was told to wait.
    assert waits
    assert len(facts(journal, GenerationTold)) >= 1
    assert facts(journal, ModelFitted)


def test_a_lost_or_unusable_session_does_no_harm(tmp_path: Path) -> None:
    study = small_study(TEXT.replace("components = 2", "components = 1"))
    journal = Journal(str(tmp_path / "journal.db"), study.name)
    desk = open_desk(journal, study=study)
    # Sessions without a single answer: one candidate stays without a score.
    for i in range(3):
        session = hello(desk, f"silent-{i}").session
        desk.commit([SessionEnded(session, "unusable", used=False)])
    run_all(desk)
    told = facts(journal, GenerationTold)[0]
    missing = [i for i, loss in enumerate(told.losses) if loss is None]
    assert len(missing) == 1
    for part in told.predictions:
        for row in part:
            assert [i for i, value in enumerate(row) if value is None] == missing


def test_the_null_is_that_of_the_strategy(tmp_path: Path) -> None:
    frozen = []
    for name, text in (("helped", TEXT), ("alone", ALONE)):
        study = small_study(text.replace("components = 2", "components = 1"), null=True)
        journal = Journal(str(tmp_path / f"{name}.db"), study.name)
        dry_run(study, journal)
        frozen.append(facts(journal, ComponentFrozen))
    assert frozen[0] == frozen[1]


@pytest.mark.slow
def test_the_report_says_how_far_the_model_was_trusted(whole: Journal) -> None:
    finding = find("helped", whole.read(), replicates=9)
    last = [f for f in facts(whole, GenerationTold) if f.generation == 4]
    numbers = study_numbers(finding)["components"]
    for told, component in zip(last, numbers, strict=True):
        trust = component["model_trust"]
        assert trust["last"] == pytest.approx(told.judgement[0])
        assert 0 <= trust["mean"] <= 1
    assert "by CMA_ES" in methods(finding)
    assert f"{100 * last[1].judgement[0]:.0f} %" in methods(finding)
    assert not finding.recovered.provisional


@pytest.mark.slow
def test_components_are_verified_as_those_of_evolution(tmp_path: Path) -> None:
    text = TEXT.replace("components = 2", "components = 1")
    text = text.replace("generations = 5", "generations = 2")
    study = small_study(text + "[verification]\nsessions = 2\n")
    journal = Journal(str(tmp_path / "journal.db"), study.name)
    dry_run(study, journal)
    (asked,) = facts(journal, VerificationAsked)
    assert Counter(asked.roles) == {"component": 2, "null": 2, "matched": 2}
    assert len(facts(journal, SessionEnded)) == 2 * 8 + 6


def test_the_strategy_is_des_unless_another_is_named() -> None:
    study = small_study(TEXT.replace('strategy = "CMA_ES"\n', ""))
    assert isinstance(study.search, Evolution)
    assert study.search.method == "DES"
    assert study.helper is not None


REFUSED = {
    "strategy is 'PGPE', expected one": ('"CMA_ES"', '"PGPE"'),
    "expected none with": ('method = "hybrid"', 'method = "SNES"'),
    "re_evaluate = 0": ("generations = 5", "generations = 5\nre_evaluate = 2"),
    "no groups": (
        '[simulated_subject]\nlearner = "fourier_ridge"',
        '[objective]\naim = "mean"\n[groups.a]\n[groups.b]\nlearner = "fourier_ridge"',
    ),
    'error = "relative"': (
        "[simulated_subject]",
        '[objective]\nerror = "raw"\n[simulated_subject]',
    ),
    "no session.psychometric": (
        "test_stimuli = 12",
        'test_stimuli = 12\nresponse = "choice"\ntest_repeats = 2\npsychometric = {}',
    ),
    "stopping.width": ("[labelling]", "[stopping]\nwidth = 0.2\n[labelling]"),
    "population of 4": ("population = 8", "population = 3"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_study_file_that_a_model_cannot_help_is_refused(fault: str) -> None:
    change = REFUSED[fault]
    assert change[0] in TEXT
    with pytest.raises(StudyFileError) as refused:
        Study(TEXT.replace(*change))
    assert fault in str(refused.value)


EVEN = """
[study]
name = "even"
seed = {seed}
[stimuli]
space = "sphere"
[session]
training_stimuli = 12
test_stimuli = 12
[search]
{search}
population = 16
generations = 13
[labelling]
family = "basis"
degree = 3
[simulated_subject]
learner = "kernel_ridge"
activation = "absolute"
[simulated_responses]
noise = 0.4
omission = 0.05
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_help_finds_the_order_of_an_even_subject_sooner() -> None:
    """Only order 2 can be learnt of those up to 3: the search has to find it."""
    alone, helped = (
        np.array([even_powers(seed, search) for seed in range(8)])
        for search in ('method = "CMA_ES"', HYBRID)
    )
    gain = helped - alone
    assert (gain.mean(0) > 0.08).all(), gain
    assert (gain.mean(0) > 2 * gain.std(0, ddof=1) / np.sqrt(len(gain))).all(), gain


def even_powers(seed: int, search: str) -> list[float]:
    """Power in order 2 of where a search stands after 96 and 192 sessions."""
    study = Study(EVEN.format(seed=seed, search=search))
    assert isinstance(study.search, Evolution)
    powers = []
    for state in course(study, (96, 192)):
        power = np.asarray(study.search.best(state.search)) ** 2
        powers.append(float(power[3:8].sum() / power.sum()))
    return powers


def _search_of(every: list[Fact]) -> list[Any]:
    """What a search asked, was told and found, and the fits of the model."""
    kinds = GenerationAsked | GenerationTold | ModelFitted | ComponentFrozen
    return [fact for fact in every if isinstance(fact, kinds)]
