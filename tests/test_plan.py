"""Power analyses: overlap with a truth that has ties, sessions needed, the command."""

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from numpy.typing import NDArray
from rich.console import Console
from small_study import CHOICE, study_text, write_study

from analysis.plan_report import answer, plan_table, write_plan
from meta_learner.bias import space_overlap
from meta_learner.reference import overlap_with, reference
from penchant import main
from server.plan import Course, Power, Question, milestones, sessions_needed, splits
from server.plan_by_model import recovered_by_model
from server.plan_truth import check, model_of
from server.simulated_study import Simulation
from server.study_file import Study

SMALL = (
    study_text()
    .replace("generations = 2", 'generations = 2\nmethod = "subject_model"')
    .replace('family = "linear"', 'family = "basis"\ndegree = 2')
)
SEEDS = st.integers(0, 2**20)
VALUES = np.array([5.0, 3.0, 1.05, 1.0, 0.95, 0.2, 0.1])
"""Two leading components, three tied ones, and two that are not to be found."""


def rotation(seed: int, size: int) -> NDArray[np.float64]:
    """A random orthonormal basis, rows."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


@settings(deadline=None)
@given(SEEDS, st.integers(1, 7))
def test_the_truth_overlaps_with_itself_alone(seed: int, k: int) -> None:
    basis = rotation(seed, 7)
    true = reference(VALUES, basis, k)
    turned = rotation(seed + 1, k) @ basis[:k]
    assert overlap_with(true, turned) == pytest.approx(1, abs=1e-4)
    other = rotation(seed + 2, 7)[:k]
    overlap = overlap_with(true, other)
    enlarged = np.concatenate([true.leading, true.tied])

    def share(of: NDArray[np.float64]) -> float:
        return float(space_overlap(jnp.asarray(other), jnp.asarray(of)))

    assert share(basis[:k]) - 1e-5 <= overlap <= share(enlarged) + 1e-5


@settings(deadline=None)
@given(SEEDS)
def test_any_member_of_a_tied_group_is_as_true(seed: int) -> None:
    basis = rotation(seed, 7)
    true = reference(VALUES, basis, 3)
    assert (len(true.leading), len(true.tied)) == (2, 3)
    member = (rotation(seed + 1, 3) @ basis[2:5])[:1]
    found = np.concatenate([basis[:2], member])
    assert overlap_with(true, found) == pytest.approx(1, abs=1e-4)
    # But all of the tied group is not what leads: the first two are missing.
    assert overlap_with(true, basis[2:5]) == pytest.approx(1 / 3, abs=1e-4)
    assert overlap_with(true, basis[[0, 5, 6]]) == pytest.approx(1 / 3, abs=1e-4)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.05, 1))
def test_sessions_needed_is_where_the_share_stays(
    shares: list[float], probability: float
) -> None:
    sessions, share = 4 * np.arange(1, len(shares) + 1), np.array(shares)
    needed = sessions_needed(sessions, share, probability)
    if np.isnan(needed):
        assert share[-1] < probability
        return
    assert sessions[0] <= needed <= sessions[-1]
    assert all(share[sessions >= needed] >= probability)
    assert needed >= sessions_needed(sessions, np.maximum(share, 0.5), probability)


def test_sessions_needed_between_steps() -> None:
    sessions = np.array([4, 8, 16])
    assert sessions_needed(sessions, np.array([0.0, 0.5, 1.0]), 0.75) == 12
    assert sessions_needed(sessions, np.array([1.0, 0.5, 1.0]), 0.5) == 4
    assert np.isnan(sessions_needed(sessions, np.array([1.0, 1.0, 0.7]), 0.8))


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 300))
def test_milestones_are_batches_up_to_the_budget(batch: int, most: int) -> None:
    steps = milestones(batch, most)
    assert steps[0] == batch
    assert steps[-1] == max(most // batch, 1) * batch
    assert all(np.diff(steps) > 0)
    assert not any(step % batch for step in steps)


def test_splits_keep_trials_and_repeats() -> None:
    study = Study(CHOICE)  # 6 training, 6 test stimuli twice
    each = splits(study, 18)
    assert [split.name for split in each] == ["4 + 7", "6 + 6", "10 + 4", "4-6 + 6"]
    assert [split.fixed for split in each] == [True, True, True, False]
    assert all(split.design.test_repeats == 2 for split in each)
    assert [split.name for split in splits(study, 36, (20,))] == [
        "20 + 8",
        "4-12 + 12",
    ]
    with pytest.raises(ValueError, match="16 training stimuli leave 2 of 18 trials"):
        splits(study, 18, (16,))


def test_a_plan_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.plan_truth._TRUE_SESSIONS", 96)
    study, out = write_study(tmp_path, SMALL), tmp_path / "out"
    sizes = ["--studies", "3", "--sessions", "16", "--batch", "8", "--training", "5"]
    more = ["--trials", "18", "--drop-out", "0.2", "--overlap", "0.8"]
    ended = CliRunner().invoke(
        main, ["plan", str(study), *sizes, *more, "--out", str(out), "--workers", "0"]
    )
    assert ended.exit_code == 0, ended.output
    assert "This is a plan for" not in ended.output  # it is the study's own method
    numbers = json.loads((out / "plan.json").read_text())
    assert numbers["question"]["lost"] == 0.2
    assert numbers["budget"] == 8
    assert numbers["answer"].splitlines()[0] in ended.output
    names = [split["name"] for split in numbers["splits"]]
    assert names == ["5 + 13", "4-9 + 9, adaptive"]
    for split in numbers["splits"]:
        assert split["sessions"] == [8, 16]
        assert min(split["lower_quartile"]) >= 0
        assert max(split["upper_quartile"]) <= 1.0001
        assert all(low <= high for low, high in split["probability_interval"])
        assert min(split["regret"]) > -0.3
    medians = np.array([split["median_overlap"] for split in numbers["splits"]])
    assert medians[:, -1].mean() > medians[:, 0].mean() - 0.05
    assert medians[:, -1].mean() > 0.5
    with (out / "plan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3
    assert (out / "plan.png").read_bytes().startswith(b"\x89PNG")
    (data,) = out.glob("studies-*")
    table = pd.read_parquet(data)
    assert set(table["study"]) == {0, 1, 2, 3}  # a whole block
    told = [f"{overlap:.6f}" for overlap in table.query("study < 3")["overlap"]]
    assert sorted(told) == sorted(row["overlap"] for row in rows)


def test_a_study_of_a_plan_is_the_same_in_any_block() -> None:
    study = Study(SMALL)
    (split, _) = splits(study, 12, (5,))
    model = model_of(study)
    simulated = Simulation(
        model, split.design, check(study), study.responses, 4, 2, 0.0, split.fixed
    )
    key = jax.random.key(1)
    of_blocks = [
        list(recovered_by_model(simulated, [2, 4], block, 1, (5, 7), key))
        for block in ([0, 1, 2], [2, 1, 7])
    ]
    for (done, ours), (same, theirs) in zip(*of_blocks, strict=True):
        assert done == same
        # Signs of a component are free.
        likeness = np.abs(np.sum(ours[[1, 2]] * theirs[[1, 0]], -1))
        assert likeness == pytest.approx(1, abs=1e-3)
        assert np.abs(np.sum(ours[0] * theirs[2], -1)).max() < 0.999


def found_by_hand(study: Study, own_search: bool = False) -> Power:
    """Four studies that all find the truth with 4 training stimuli, and none with 6."""
    few, many = splits(study, 12, (4,))[0], splits(study, 12, (6,))[0]
    steps = np.array([4, 8])
    good, bad = np.array([[0.0] * 4, [0.95] * 4]), np.array([[0.5] * 4] * 2)
    courses = [Course(few, steps, good, bad[0]), Course(many, steps, bad, bad[0])]
    question = Question(studies=4, sessions=8, own_search=own_search)
    return Power(question, courses, 8, 0.1)


def test_the_answer_names_the_best_split_and_how_sure_it_is() -> None:
    study = Study(study_text())  # by an evolution strategy, of 8 sessions
    power = found_by_hand(study)
    said = answer(study, power)
    assert said.startswith(
        "With 4 training and 8 test stimuli a study of this subject reaches an overlap "
        "of 0.9 with probability 0.8 after 8 sessions: 4 of 4 simulated studies"
    )
    assert "(95 % interval of the probability 0.51 to 1.00)" in said
    assert 'This is a plan for method = "subject_model"' in said
    never = answer(study, replace(power, courses=power.courses[1:]))
    assert "is not reached within 8 sessions.\nThe best split is 6 training" in never


@pytest.mark.parametrize(("k", "n"), [(0, 4), (3, 16), (1000, 1000)])
def test_the_interval_of_a_probability_is_that_of_wilson(k: int, n: int) -> None:
    (split, _) = splits(Study(SMALL), 12, (5,))
    overlap = np.array([[0.95] * k + [0.5] * (n - k)])
    course = Course(split, np.array([4]), overlap, np.zeros(n))
    z, p = 1.959964, k / n
    centre, half = p + z**2 / 2 / n, z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    expected = np.array([centre - half, centre + half]) / (1 + z**2 / n)
    assert course.interval(0.9)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("own_search", [False, True])
def test_picture_and_table_say_what_was_simulated_and_how_sure_it_is(
    own_search: bool, tmp_path: Path
) -> None:
    study = Study(study_text())
    power = found_by_hand(study, own_search)
    figure = write_plan(study, power, tmp_path)
    told = " ".join(text.get_text() for text in figure.findobj(Text))
    by = "the study's own search, DES" if own_search else "the subject model"
    assert f"by {by}; 4 simulated studies of each split" in told
    assert "95 % interval" in told
    first = figure.axes[0]
    assert {text.get_text() for text in first.texts} >= {"8 sessions"}
    assert "> 8 sessions" in told
    (band,) = first.collections
    ends = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert sorted({round(end, 2) for end in ends}) == [0, 0.49, 0.51, 1]
    shown = StringIO()
    Console(width=80, file=shown).print(plan_table(power))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("1.00 (0.51 to 1.00)" in line for line in lines)
    assert "4 simulated studies" in lines[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('[simulated_subject]\nlearner = "kernel_ridge"\nfeatures = 20', "", "nobody"),
        ("population = 4", 'population = 4\nmethod = "adam"', "it has no sessions"),
        (
            '[simulated_subject]\nlearner = "kernel_ridge"\nfeatures = 20',
            '[objective]\naim = "mean"\n[groups.a]\nlearner = "ridge"\n[groups.b]',
            "the groups a, b: plan each",
        ),
        ("test_stimuli = 6", "test_stimuli = 6\ntest_stimulus = 6", "test_stimulus"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    study = write_study(tmp_path, study_text().replace(old, new))
    ended = CliRunner().invoke(main, ["plan", str(study)])
    assert ended.exit_code == 1
    assert ended.output.startswith("Error: ")
    assert message in ended.output


def test_a_budget_below_one_batch_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    ended = CliRunner().invoke(main, ["plan", str(study), "--sessions", "3"])
    assert ended.exit_code == 2
    assert "fewer than --batch 4" in ended.output
