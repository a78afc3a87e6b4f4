"""Published tables of trials become journals that can be analysed, and not run."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_series_equal

from analysis.foreign_table import read_foreign
from analysis.import_study import import_trials
from analysis.load import Log, load
from analysis.trial_columns import parsed
from analysis.trials_table import TrialsTable, trials_table
from meta_learner.generalisation import generalisation_error
from penchant import main
from server.desk import Desk
from server.journal import Journal, JournalError
from server.study import ResumeError
from server.study_file import Study


def published(sessions: int = 3, choice: bool = False, seed: int = 1) -> pd.DataFrame:
    """A table of a lab's own: 12 stimuli of two features, some trained, some tested."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 10, (12, 2)).round(2)
    rows = []
    for number in range(sessions):
        label = np.clip(rng.normal(0, 0.5, 12), -1, 1).round(3)
        for trial in range(18):
            test = trial >= 6
            stimulus = 6 + trial % 6 if test else trial
            answer = round(
                float(np.clip(label[stimulus] + rng.normal(0, 0.2), -1, 1)), 3
            )
            rows.append(
                {
                    "subject": f"m{number}",
                    "phase": "test" if test else "training",
                    "feature1": places[stimulus, 0],
                    "feature2": places[stimulus, 1],
                    "label": label[stimulus],
                    "response": (1.0 if answer > 0 else -1.0) if choice else answer,
                    "rt": round(rng.uniform(300, 900), 0),
                }
            )
    return pd.DataFrame(rows)


def written(folder: Path, table: pd.DataFrame, **how: Any) -> Path:
    """The table as a file."""
    path = folder / "paper.csv"
    table.to_csv(path, index=False, **how)
    return path


def read_in(path: Path, *columns: str, **how: Any) -> TrialsTable:
    """Its trials."""
    return trials_table(read_foreign(path), parsed(columns), **how)


def imported(path: Path, *columns: str, **how: Any) -> Log:
    """What is in the journal that it becomes."""
    import_trials(read_in(path, *columns), path.with_suffix(".db"), path.stem, **how)
    return load(path.with_suffix(".db"))


def run(*arguments: object) -> Result:
    """The command."""
    return CliRunner().invoke(main, ["import", *map(str, arguments)])


@settings(max_examples=4, deadline=None)
@given(sessions=st.integers(1, 4), choice=st.booleans(), seed=st.integers(0, 99))
def test_errors_are_those_of_the_server(
    tmp_path_factory: pytest.TempPathFactory, sessions: int, choice: bool, seed: int
) -> None:
    """Of every table: each trial is there, each error as by the very same function."""
    table = published(sessions, choice, seed)
    log = imported(written(tmp_path_factory.mktemp("round"), table))
    assert len(log.trials) == len(table)
    assert list(log.trials["response"]) == list(table["response"])
    assert list(log.trials["label"]) == list(table["label"])
    assert list(log.trials["reaction_time_s"]) == list(table["rt"] / 1000)
    for name, own in table[table["phase"] == "test"].groupby("subject"):
        stimuli, first = pd.factorize(own["feature1"])
        labels = own.groupby("feature1")["label"].first()[first].to_list()
        expected = generalisation_error(
            labels, stimuli.tolist(), own["response"].to_list(), None, choice
        )
        found = log.sessions.set_index("session").loc[str(name)]
        if expected is None:
            assert found["status"] == "unusable"
        else:
            assert found["error"] == expected.error
            assert found["standard_error"] == expected.standard_error


def test_a_trials_table_of_ours_comes_back(tmp_path: Path) -> None:
    """Exported and imported again, sessions have the same errors."""
    first = imported(written(tmp_path, published()))
    again = tmp_path / "again.csv"
    first.trials.to_csv(again, index=False)
    second = imported(again)
    assert_series_equal(first.sessions["error"], second.sessions["error"])
    assert list(first.sessions["session"]) == list(second.sessions["session"])


def test_it_says_where_it_is_from(tmp_path: Path) -> None:
    """File, hash and columns are in the journal; no generation or component is."""
    path = written(tmp_path, published())
    log = imported(path)
    assert log.record
    assert log.record.imported
    versions = log.record.opened.versions
    assert versions["imported from"] == "paper.csv"
    assert versions["table sha256"] == read_foreign(path).sha256
    assert "stimulus = feature1 + feature2" in versions["columns"]
    assert log.generations.empty
    assert log.components.empty
    assert repr(log).startswith("Log of study 'paper' (imported)")


def test_it_is_never_run(tmp_path: Path) -> None:
    """Neither as a dry run nor live; the reason is said."""
    log = imported(written(tmp_path, published()))
    assert log.study
    for mode in ("live", "dry-run"):
        journal = Journal(tmp_path / "paper.db", "paper")
        with pytest.raises(ResumeError, match="imported table of trials"):
            Desk(log.study, journal, mode)
        journal.close()


@pytest.mark.parametrize(
    ("how", "note"),
    [
        ({"sep": ";", "decimal": ","}, "decimal commas"),
        ({"sep": "\t"}, "separated by tabs"),
        ({"encoding": "utf-8-sig"}, "milliseconds"),
        ({"encoding": "utf-16"}, "UTF-16"),
        ({"quoting": csv.QUOTE_ALL, "lineterminator": "\r\n"}, "milliseconds"),
    ],
)
def test_files_of_other_programs(
    tmp_path: Path, how: dict[str, Any], note: str
) -> None:
    """Whatever they are written with, the numbers are the same."""
    table = read_in(written(tmp_path, published(), **how))
    assert note in "\n".join(table.notes)
    assert list(table.trials["response"]) == list(published()["response"])
    assert not table.problems


@pytest.mark.parametrize(
    ("cell", "value", "reason"),
    [
        ("label", "1.5", "label is '1.5', outside -1 to 1"),
        ("response", "7", "response is '7', outside -1 to 1"),
        ("response", "dunno", "response is 'dunno', expected a number"),
        ("feature1", "blue", "feature1 is 'blue', expected a number"),
        ("phase", "lunch", "phase is 'lunch', expected training or test"),
        ("rt", "-5", "rt is '-5', expected a time"),
        ("label", "", "there is no label"),
        ("subject", "", "there is no subject"),
    ],
)
def test_a_row_that_cannot_be_read(
    tmp_path: Path, cell: str, value: str, reason: str
) -> None:
    """It is listed with its line, and the rest is imported."""
    lines = published().astype(str)
    lines.loc[10, cell] = value
    table = read_in(written(tmp_path, lines))
    (problem,) = table.problems
    assert problem.row == 12
    assert reason in problem.reason
    assert len(table.trials) == len(lines) - 1


def test_lines_that_are_no_rows(tmp_path: Path) -> None:
    """Empty ones, ragged ones, columns of one name, letters of another encoding."""
    path = written(tmp_path, published())
    lines = path.read_text().splitlines()
    lines[0] += ",label"
    lines[1:] = [line + ",0.5" for line in lines[1:]]
    lines[4] = ""
    lines[7] += ",one,more"
    lines[9] = lines[9].replace("m0", "m\xe9")
    path.write_bytes("\n".join(lines).encode("cp1252"))
    table = read_in(path)
    told = {(problem.row, problem.reason) for problem in table.problems}
    assert told == {
        (5, "empty lines: 5"),
        (8, "10 cells, where the header has 8"),
        (10, "the file is not UTF-8 from here on"),
        (1, "column 8 is called 'label', as one before it"),
    }
    assert len(table.trials) == 52
    assert set(table.trials["subject"]) == {"m0", "m\xe9", "m1", "m2"}


def test_columns_of_ibl(tmp_path: Path) -> None:
    """Their choice of -1 is one of the right side."""
    table = pd.DataFrame(
        {
            "choice": [-1, 1, 0, 1, -1, 1],
            "contrastLeft": [np.nan, 1.0, 0.5, 0.0, 0.25, 0.125],
            "contrastRight": [1.0, np.nan, np.nan, np.nan, np.nan, np.nan],
            "feedbackType": [1, 1, -1, -1, -1, 1],
            "stimOn_times": [1.0, 2, 3, 4, 5, 6],
            "response_times": [1.5, 2.5, 63, 4.25, 5.5, 6.5],
        }
    )
    read = read_in(written(tmp_path, table))
    assert list(read.features["signed_contrast"]) == [1, -1, -0.5, 0, -0.25, -0.125]
    assert list(read.trials["label"]) == [1, -1, -1, 1, -1, -1]
    assert list(read.trials["response"].fillna(0)) == [1, -1, 0, -1, 1, -1]
    assert list(read.trials["outcome"])[2] == "omission"
    assert read.choice
    pickled = tmp_path / "trials.table.pqt"
    table.to_parquet(pickled)
    assert list(read_in(pickled).trials["label"]) == list(read.trials["label"])


def test_columns_by_name_words_and_ranges(tmp_path: Path) -> None:
    """As said, or as PsychoPy and jsPsych call them."""
    table = published().rename(
        columns={"label": "a", "feature1": "b", "rt": "key_resp.rt"}
    )
    table["key"] = np.where(table["response"] > 0, "j", "f")
    table["a"] = table["a"] * 50 + 50
    read = read_in(
        written(tmp_path, table.drop(columns="response")),
        "stimulus=b+feature2,label=a",
        "response=key",
        values={"response": {"f": -1, "j": 1}},
        ranges={"label": (0, 100)},
    )
    assert read.choice
    assert read.trials["label"].to_numpy() == pytest.approx(published()["label"])
    assert read.columns["reaction_time"] == ["key_resp.rt"]


def test_other_spaces(tmp_path: Path) -> None:
    """Angles on the circle, points of a hypercube, ids of a stimulus table."""
    table = published()
    table["angle"] = table["feature1"] * 18
    log = imported(written(tmp_path, table), "stimulus=angle", space="circle")
    turns = np.arctan2(log.trials["y"], log.trials["x"]) / (2 * np.pi) % 1
    assert turns.to_numpy() * 180 == pytest.approx(table["angle"], abs=1e-3)
    (tmp_path / "paper.db").unlink()
    stimuli = table[["feature1", "feature2"]].drop_duplicates()
    stimuli.insert(0, "id", [f"k{i}" for i in range(len(stimuli))])
    stimuli.to_csv(tmp_path / "stimuli.csv", index=False)
    named = table.merge(stimuli, on=["feature1", "feature2"])
    named = named.rename(columns={"id": "shown"}).drop(columns=["feature1", "feature2"])
    by_id = imported(
        written(tmp_path, named), "stimulus=shown", space=str(tmp_path / "stimuli.csv")
    )
    assert len(by_id.trials) == len(table)


def test_stimuli_from_a_continuum_need_their_space(tmp_path: Path) -> None:
    table = published()
    table["angle"] = np.linspace(0, 350, len(table))
    table.loc[1, "angle"] = 1e-3
    path = written(tmp_path, table)
    with pytest.raises(ValueError, match="drawn from a continuum"):
        imported(path, "stimulus=angle")


def test_directions_are_no_orientations(tmp_path: Path) -> None:
    table = published()
    table["angle"] = np.linspace(0, 350, len(table))
    path = written(tmp_path, table)
    found = run(path, "--columns", "stimulus=angle", "--space", "circle")
    assert found.exit_code == 0, found.output
    assert "angles span more than 180 degrees" in found.output


def test_the_command(tmp_path: Path) -> None:
    """It says what it guessed, what it left out, and what comes next."""
    lines = published().astype(str)
    lines.loc[3, "response"] = "?"
    path = written(tmp_path, lines)
    refused = run(path, "--strict")
    assert refused.exit_code == 1
    assert "line" not in refused.stdout
    assert "row 5: response is '?'" in refused.stderr
    assert not (tmp_path / "paper.db").exists()
    done = run(path)
    assert done.exit_code == 0
    assert "taken by its name: stimulus is 'feature1' and 'feature2'" in done.stdout
    assert "53 trials in 3 sessions of 3 subjects" in done.stdout
    assert "row 5" in done.stderr
    assert "there already" in run(path).stderr


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["--columns", "label=nothing"], "there is no column 'nothing'"),
        (["--columns", "colour=rt"], "unknown role 'colour'"),
        (["--columns", "label"], "expected ROLE=COLUMN"),
        (["--range", "label=1:1"], "two different numbers"),
        (["--space", "sphere"], "the space has 3 features"),
        (["--space", "cube"], "expected one of"),
        (["--columns", "stimulus=phase"], "are words"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, columns: list[str], message: str
) -> None:
    """And nothing stays behind."""
    path = written(tmp_path, published())
    refused = run(path, *columns)
    assert refused.exit_code != 0
    assert message in refused.stderr
    assert [*tmp_path.iterdir()] == [path]


def test_which_columns_are_unknown(tmp_path: Path) -> None:
    """The table's own are listed."""
    path = written(tmp_path, published().rename(columns={"response": "value"}))
    with pytest.raises(ValueError, match=r"which columns are response\? .*value"):
        read_in(path)
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match="is empty"):
        read_in(path)


def test_groups(tmp_path: Path) -> None:
    """Each session is of the group of its subject."""
    table = published()
    table["group"] = np.where(table["subject"] == "m0", "lesion", "control")
    log = imported(written(tmp_path, table))
    assert log.study
    assert isinstance(log.study, Study)
    assert set(log.study.groups) == {"lesion", "control"}
    assert list(log.sessions["group"]) == ["lesion", "control", "control"]
    with pytest.raises(JournalError, match="there already"):
        import_trials(read_in(tmp_path / "paper.csv"), tmp_path / "paper.db", "paper")
