"""Scientific validation: biases recovered over several seeds, beside their controls."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from server.dry_run import dry_run
from server.journal import Journal
from server.study import replay
from server.study_file import Study
from server.template import TEMPLATE

SEEDS = range(1, 6)


def power_per_order(study: Study, folder: Path) -> NDArray[np.float64]:
    """Share of energy per order (components, orders) of what a dry run finds."""
    journal = Journal(folder / "journal.db", study.name)
    dry_run(study, journal)
    # The frozen search vectors, labelled anew: what any reader of the journal does.
    state = replay(study, (event.fact for event in journal.read()))
    space = study.labeller.space
    grid = space.grid(4096)
    basis, orders = space.basis(grid, 6)
    y = np.asarray(study.labeller.component_labels(state.series, grid))
    energy = (y @ np.asarray(basis) / len(grid)) ** 2
    by_order = np.asarray(orders)[:, None] == np.arange(7)
    power: NDArray[np.float64] = energy @ by_order / (y**2).mean(1)[:, None]
    return power


def template(seed: int, *changes: tuple[str, str]) -> str:
    """The study file of `penchant new`, another seed, and what else is changed."""
    text = TEMPLATE
    for old, new in (("seed = 1", f"seed = {seed}"), *changes):
        assert old in text
        text = text.replace(old, new)
    return text


EVEN = ('"relu" ', '"absolute" ')


@pytest.mark.slow
def test_first_component_follows_the_subject_and_not_the_null(tmp_path: Path) -> None:
    relu: list[NDArray[np.float64]] = []
    even: list[NDArray[np.float64]] = []
    null: list[NDArray[np.float64]] = []
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        for found, study in (
            (relu, Study(template(seed))),
            (even, Study(template(seed, EVEN, ("my-study", "even")))),
            (null, Study(template(seed), null=True)),
        ):
            folder.mkdir(exist_ok=True)
            found.append(power_per_order(study, folder)[0])
    print("order 1 of the ReLU kernel", np.round([p[1] for p in relu], 3))
    print("order 2 of the even kernel", np.round([p[2] for p in even], 3))
    print("orders 1, 2 of the null", np.round([p[1:3] for p in null], 3).tolist())
    assert min(p[1] for p in relu) >= 0.95
    assert min(p[2] for p in even) >= 0.90
    # The null never looks like the even subject, and mostly like the ReLU kernel.
    assert max(p[2] for p in null) < 0.90
    assert np.median([p[1] for p in null]) > 0.5


@pytest.mark.slow
def test_two_choice_answers_recover_the_diagnostic_subject(tmp_path: Path) -> None:
    choices = (
        ('response = "graded" ', 'response = "choice" '),
        ("test_repeats = 1  ", "test_repeats = 4  "),
        ("generations = 80 ", "generations = 240 "),
        ("noise = 0.0  ", "lapse = 0.08  "),
    )
    found = []
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        study = Study(template(seed, EVEN, *choices))
        found.append(power_per_order(study, folder)[0])
    print("order 2 of the even kernel, choices", np.round([p[2] for p in found], 3))
    assert np.median([p[2] for p in found]) >= 0.9
