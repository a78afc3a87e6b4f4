"""A study by gradient: its journal, its analysis, and what is refused."""

import itertools
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from small_study import facts, small_study, snapshot, study_text, write_study

from analysis.export import export
from analysis.figures import error_figure
from analysis.finding import Finding, find
from analysis.report import write_report
from analysis.wording import cautions, methods, summary, verdict
from penchant import main
from server.dry_run import dry_run
from server.events import (
    ComponentFrozen,
    Event,
    MetaSteps,
    SessionOpened,
    StudyFinished,
)
from server.journal import Journal
from server.study import replay
from server.study_file import Study, StudyFileError
from server.template import TEMPLATE

OpenJournal = Callable[..., Journal]
DES = "population = 4\ngenerations = 2"
ALONE = """[simulated_subject]
learner = "kernel_ridge"
features = 20
"""
GROUPS = """[objective]
aim = "normalised"
chosen = "control"
[groups.lesion]
learner = "ridge"
[groups.control]
learner = "kernel_ridge"
activation = "absolute"
features = 20
"""


def by_gradient(study: str = "components = 2", steps: int = 12) -> str:
    """The small study by Adam: individuals of a step are two, stretches five."""
    search = f'method = "adam"\npopulation = 2\ngenerations = {steps}'
    text = study_text(study).replace(DES, search)
    return text.replace('family = "linear"', 'family = "basis"\ndegree = 2')


TEXT = by_gradient()
GROUPED = by_gradient("", 60).replace(ALONE, GROUPS)


def penchant(*arguments: str | Path) -> tuple[int, str]:
    """Exit code of a command, and what it said."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, " ".join(result.output.split())


def run(text: str, null: bool = False, sessions: int | None = None) -> list[Event]:
    """The journal of a dry run."""
    study = small_study(text, null)
    journal = Journal(":memory:", study.name)
    dry_run(study, journal, sessions=sessions)
    events = list(journal.read())
    journal.close()
    return events


@cache
def finding_of(text: str, null: bool = False, sessions: int | None = None) -> Finding:
    return find("by gradient", run(text, null, sessions), replicates=19)


# --- the journal ---------------------------------------------------------------


@pytest.mark.parametrize("each", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_between_any_stretches_it_is_the_same_study(each: int) -> None:
    study = small_study(TEXT)
    calm = [event.fact for event in run(TEXT)]
    kinds = [type(fact) for fact in calm]
    assert kinds.count(MetaSteps) == 2 * 4  # three steps each
    assert kinds.count(ComponentFrozen) == 2
    assert kinds[-1] == StudyFinished
    live = replay(study, [])
    for length, fact in enumerate(calm, 1):
        live.apply(fact)
        if length % each:
            continue
        journal = Journal(":memory:", study.name)
        journal.append(calm[:length], at=1.0)
        assert snapshot(replay(study, facts(journal))) == snapshot(live)
        dry_run(study, journal)
        assert facts(journal) == calm
        journal.close()
    assert live.sessions_ended == study.sessions == 2 * 12 * 2


def test_it_may_be_stopped_and_goes_on() -> None:
    part = [event.fact for event in run(TEXT, sessions=1)]
    assert [type(fact) for fact in part][1:] == [MetaSteps]
    study, journal = small_study(TEXT), Journal(":memory:", "small")
    journal.append(part, at=1.0)
    shown: list[Any] = []
    dry_run(study, journal, shown.append)
    assert facts(journal) == [event.fact for event in run(TEXT)]
    assert [s["sessions_ended"] for s in shown[:2]] == [6, 12]
    assert shown[-1]["finished"]
    assert all(s["best_error"] is not None for s in shown)
    journal.close()


def test_other_seeds_are_other_studies() -> None:
    ends = [
        [e.fact.theta for e in run(text) if isinstance(e.fact, ComponentFrozen)]
        for text in (TEXT, TEXT.replace("seed = 3", "seed = 4"))
    ]
    for one, other in itertools.product(*ends):
        assert not np.allclose(one, other, atol=0.1)


def test_its_null_listens_to_nobody() -> None:
    found = finding_of(TEXT, null=True)
    assert found.record.study.null
    assert found.record.facts(StudyFinished)
    assert not found.record.facts(SessionOpened)
    steps = found.record.facts(MetaSteps)
    assert {len(row) for fact in steps for row in fact.errors} == {0}
    assert found.frames.generations["sessions"].sum() == 0
    assert "without a learner" in summary(found)
    error_figure(finding_of(TEXT)).canvas.draw()
    assert not any("so the search has not found" in note for note in cautions([found]))


# --- refusals ------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [("serve", "--simulated"), ("serve",), ("dry-run", "--over-sockets")]
)
def test_no_subject_is_served_a_gradient(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    study = write_study(tmp_path, TEXT)
    code, said = penchant(command[0], study, *command[1:])
    assert code == 1
    assert said.startswith("Error: search.method is adam, a gradient through simulated")
    assert not (tmp_path / "small.db").exists()


def test_check_and_dry_run_speak_of_meta_steps(tmp_path: Path) -> None:
    study = write_study(tmp_path, TEXT)
    code, said = penchant("check", study)
    assert code == 0
    for words in ("meta-steps of each", "individuals in each", "trained", "48"):
        assert words in said
    for words in ("generations", "candidates", "sessions"):
        assert words not in said
    assert penchant("dry-run", study)[0] == 0
    assert penchant("dry-run", study, "--null")[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"adam"', '"adm"', "unknown method 'adm'; known: .*adagrad, adam"),
        ('"adam"', '"DES"', "a population of 4 or more, got 2"),
        ("population = 2", "population = 0", "search.population"),
        (
            "test_stimuli = 6",
            'test_stimuli = 6\nresponse = "choice"\ntest_repeats = 2',
            "adam trains on the labels themselves",
        ),
        ("test_stimuli = 6", "test_stimuli = 6\ntraining_repeats = 2", "adam trains"),
        ("test_stimuli = 6", 'test_stimuli = 6\nfeedback = "reward"', "labels as feed"),
        ("[simulated_responses]", "[simulated_responses]\nnoise = 0.1", "adam trains"),
    ],
)
def test_study_file_is_refused(old: str, new: str, expected: str) -> None:
    assert old in TEXT
    with pytest.raises(StudyFileError, match=expected):
        Study(TEXT.replace(old, new))


@pytest.mark.parametrize("method", ["adam", "adagrad"])
def test_the_template_can_be_made_a_gradient_study(method: str) -> None:
    plain = Study(TEMPLATE)
    assert plain.labeller.label_distribution == "standardised"
    assert plain.objective.relative
    text = TEMPLATE.replace('"DES"     ', f'"{method}"')
    assert Study(text.replace("step_size = 1.0", "")).by_gradient
    assert not Study(text.replace('"relative"', '"raw"')).objective.relative


# --- analysis ------------------------------------------------------------------


def test_meta_steps_are_the_generations_of_the_tables(tmp_path: Path) -> None:
    found = finding_of(TEXT)
    sessions, generations, components = found.frames[1:]
    assert len(sessions) == 0
    assert generations["component"].tolist() == [0] * 12 + [1] * 12
    assert generations["generation"].tolist() == [*range(12)] * 2
    assert generations["sessions_so_far"].tolist() == [*range(2, 50, 2)]
    recorded = [e for f in found.record.facts(MetaSteps) for (e,) in f.errors]
    np.testing.assert_array_equal(generations["mean_error"], recorded)
    np.testing.assert_allclose(generations["best_loss"], generations["mean_error"])
    assert components["sessions"].tolist() == [24, 24]
    assert components["generations"].tolist() == [12, 12]
    assert components["first_error"][0] == recorded[0]
    assert components["final_error"][1] == recorded[-1]
    evolved = find("evolved", run(study_text()), replicates=3).frames.generations
    assert list(generations.columns) == list(evolved.columns)
    assert (generations.dtypes == evolved.dtypes).all()
    assert len(export(found.record.events, tmp_path, "parquet")) == 4


def test_a_gradient_study_that_is_not_finished_can_be_analysed() -> None:
    part = finding_of(TEXT, sessions=1)
    assert part.recovered.provisional
    assert part.recovered.generations == (3,)
    assert "provisional, after 3 of 12 meta-steps" in verdict(part, 0)
    opened = find("begun", part.record.events[:1], replicates=3)
    assert len(opened.frames.generations) == 0
    assert opened.distances == []


def test_groups_have_their_columns() -> None:
    found = finding_of(GROUPED)
    assert found.record.study.groups == ("control", "lesion")
    table, (row,) = found.frames.generations, found.frames.components.to_dict("records")
    recorded = np.array([e for f in found.record.facts(MetaSteps) for e in f.errors])
    columns = ["mean_error_control", "mean_error_lesion"]
    np.testing.assert_array_equal(table[columns], recorded)
    assert (table["sessions"] == 4).all()
    assert row["final_error_control"] < row["final_error_lesion"]
    assert "In its last meta-steps the error was" in verdict(found, 0)
    assert "60 meta-steps of 2 individuals of each group" in methods(found)
    assert not any("contrast" in note for note in cautions([found]))


def test_words_of_the_report(tmp_path: Path) -> None:
    found = finding_of(TEXT)
    said = summary(found)
    assert said.startswith("48 simulated subjects (learner kernel_ridge, features 20)")
    assert "trained in 24 meta-steps. Finished." in said
    assert "by Adam, 12 meta-steps of 2 individuals per component" in methods(found)
    raw = TEXT + '[objective]\nerror = "raw"\n'
    assert "over the variance" in methods(found)
    as_it_is = finding_of(raw)
    assert "over the variance" not in methods(as_it_is)
    assert as_it_is.frames.generations["best_loss"].isna().all()
    page = write_report(
        [("one", found.record.events), ("two", finding_of(GROUPED).record.events)],
        tmp_path,
        replicates=19,
    )
    text = page.read_text()
    for words in ("Adam", "<th>meta-steps</th>", "individuals of each meta-step"):
        assert words in text
    for words in ("candidate", "<th>generations</th>", "sessions begun", "drift"):
        assert words not in text.partition("<details>")[0]
    (numbers, _) = json.loads((tmp_path / "report.json").read_text())["studies"]
    assert numbers["subjects"] == 48
    assert numbers["by_gradient"]
    assert {"1-small-error.png", "2-small-error.png"} <= {
        path.name for path in (tmp_path / "figures").iterdir()
    }
