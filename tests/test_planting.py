"""Planted biases: families of labellings, and whether the loop finds them."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from scipy.stats import binomtest

from analysis.certificate_judge import share_in_span
from analysis.distance import null_of
from analysis.record import read
from analysis.recovery import labels_at, recover
from meta_learner.labelling import labels_of_each
from penchant import main
from reproduction.planted_orders import planted
from server.dry_run import dry_run
from server.journal import Journal
from server.study_file import Study
from simulated_subjects.planted_family import BIASES, LABEL_STD, Draw, Family, family
from simulated_subjects.planting import Subject, fresh, plant, relative_error
from simulated_subjects.procedural_file import load, save
from simulated_subjects.procedure import PROCEDURES
from stimuli.catalogue import SPACES
from stimuli.hypercube import Hypercube
from stimuli.sphere import Sphere

KEY = jax.random.key(4)

Array = npt.NDArray[Any]


# --- families ------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sphere", "circle", "hypercube"])
def space(request: pytest.FixtureRequest) -> Any:
    """A stimulus space with its default options."""
    return SPACES[request.param]()


@pytest.mark.parametrize("bias", BIASES)
def test_a_family_is_apart_from_all_else(bias: str, space: Any) -> None:
    own = family(bias, space, 60, KEY)  # in five dimensions there are many functions
    for rows in (own.functions, own.others):
        there = np.asarray(rows)[:, np.asarray(rows).any(0)]
        assert there.shape[1] > 0
        np.testing.assert_allclose(there.mean(0), 0, atol=1e-3)
        np.testing.assert_allclose(
            there.T @ there / len(there), np.eye(there.shape[1]), atol=1e-3
        )
    across = np.asarray(own.functions).T @ np.asarray(own.others) / len(own.x)
    np.testing.assert_allclose(across, 0, atol=1e-3)


def test_biases_are_what_they_are_called() -> None:
    space = Sphere()
    x = np.asarray(family("order 2 harmonics", space, 30, KEY).x, np.float64)
    second = np.stack([x[:, 0] * x[:, 1], x[:, 2] ** 2, x[:, 1] * x[:, 2]])
    of = partial(family, space=space, training_stimuli=30, key=KEY)
    assert share_in_span(second, of("order 2").functions).min() > 0.999
    assert share_in_span(second, of("high frequency").functions).max() < 0.01
    third = x[:, 0] * x[:, 1] * x[:, 2]
    assert share_in_span(third, of("high frequency").functions) > 0.999
    one, other = x[:, 0] ** 2 - 0.3 * x[:, 0], x[:, 1]
    assert share_in_span(one, of("one feature").functions) > 0.999
    assert share_in_span(other, of("one feature").functions) < 0.01
    assert share_in_span(other, of("feature y").functions) > 0.999


@cache
def second_order() -> Family:
    return family("order 2", Sphere(), 30, KEY)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31 - 1), contrast=st.sampled_from([0.0, 0.3]))
def test_a_task_is_a_standardised_mixture_of_different_stimuli(
    seed: int, contrast: float
) -> None:
    own = second_order()
    task = DRAWN[contrast](own, jax.random.key(seed))
    x = np.concatenate([task.x, task.query])
    y = np.concatenate([task.y, task.wanted])
    assert len(np.unique(x, axis=0)) == len(x) == 50
    assert float(task.weight) in (1.0, np.float32(-contrast))
    kept = own.functions if task.weight > 0 else own.others
    pool = np.asarray(own.x)
    places = [int(np.argmin(abs(pool - one).sum(1))) for one in x]
    there = np.asarray(kept)[places]
    there = there[:, there.any(0)]
    mixture = np.linalg.lstsq(there[:40], y[:40])[0]
    np.testing.assert_allclose(there[40:] @ mixture, y[40:], atol=2e-3)
    whole = np.asarray(kept)[:, np.asarray(kept).any(0)] @ mixture
    assert whole.std() == pytest.approx(LABEL_STD, abs=2e-3)


DRAWN = {c: jax.jit(Draw(20, 30, c)) for c in (0.0, 0.3)}


@pytest.mark.parametrize(
    ("bias", "said"),
    [
        ("order 0", "unknown bias"),
        ("easy things", "known: order 2 harmonics, high frequency, one feature"),
        ("feature w", "no such feature; it has x, y, z"),
        ("order 90", "181 functions of that order"),
    ],
)
def test_a_bias_that_the_space_has_not_is_refused(bias: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        family(bias, Sphere(), 30, KEY)


def test_a_wide_space_has_room_for_few_functions() -> None:
    wide = Hypercube(dimensions=20)
    own = family("order 1", wide, 30, KEY)
    assert np.asarray(own.functions).any(0).sum() == 20
    assert np.asarray(own.others).any()
    with pytest.raises(ValueError, match=r"210 functions .* 30 training stimuli"):
        family("order 2", wide, 30, KEY)


def test_labellings_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    rows = [f"{a:.6f},{b:.6f},{c:.6f},{a * b:.6f},{c**2:.6f}" for a, b, c in x]
    path.write_text("\n".join(["x,y,z,label,label 2", *rows]))
    own = family(str(path), Sphere(), 30, KEY)
    assert own.x.shape == (200, 3)
    assert share_in_span(x[:, 0] * x[:, 1], own.functions) > 0.999
    assert share_in_span(x[:, 0], own.functions) < 0.3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read the labellings"),
        ("x,y,z\n0,0,1\n", "a column or more whose name begins with label"),
        ("x,y,label\n0,0,1\n", r"a column for each feature \(x, y, z\)"),
        ("x,y,z,label\n0,0,1,2\n0,one,1,2\n", "line 3, column y: expected a number"),
        ("x,y,z,label\n0,0,1,nan\n", "line 2, column label: expected a number"),
        ("x,y,z,label\n0,0,1,2\n1,0,0,2\n", "the same for every stimulus"),
    ],
)
def test_a_bad_file_of_labellings_is_refused(
    text: str | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=said) as refused:
        family(str(path), Sphere(), 30, KEY)
    assert "mine.csv" in str(refused.value)


# --- the command ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--bias", "nonsense", "--out", "new.safetensors"], "unknown bias"),
        (["--bias", "order 2", "--out", "there.safetensors"], "exists; --force"),
        (["--bias", "order 2", "--out", "nowhere/new.safetensors"], "no such folder"),
        (["lost.toml", "--bias", "order 2"], "cannot read study file"),
    ],
)
def test_plant_refuses_at_once(
    asked: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.safetensors").touch()
    done = CliRunner().invoke(main, ["plant", *asked])
    assert (done.exit_code, said in done.output) == (1, True), done.output
    assert not Path("new.safetensors").exists()


@pytest.mark.slow
def test_plant_writes_a_subject_for_a_study(tmp_path: Path) -> None:
    study, out = tmp_path / "study.toml", tmp_path / "subject.safetensors"
    run = partial(CliRunner().invoke, main)
    assert run(["new", str(study)]).exit_code == 0
    ask = ["plant", str(study), "--bias", "order 2 harmonics", "--procedure", "maml"]
    done = run([*ask, "--out", str(out), "--meta-steps", "3", "--seed", "5"])
    assert done.exit_code == 0, done.output
    assert 'subject = "subject.safetensors"' in done.output
    assert "order 1" in done.output
    assert "did not take" in done.output
    subject = load(out)
    assert subject.rule.parts == PROCEDURES["maml"]
    assert (subject.about["bias"], subject.about["seed"]) == ("order 2 harmonics", "5")


# --- science -------------------------------------------------------------------

SUBJECTS = 10
LEAST = 9
"""Of :data:`SUBJECTS`: in which the closed loop must find what was planted."""

STUDY = """
[study]
name = "planted"
seed = {seed}
[stimuli]
space = "sphere"
[session]
training_stimuli = 30
test_stimuli = 50
[labelling]
family = "basis"
degree = 4
[search]
method = "CMA_ES"
population = 16
generations = 60
[simulated_subject]
learner = "{learner}"
{subject}
[simulated_responses]
noise = 0.2
"""


def share_found(
    tmp_path: Path, own: Family, seed: int, subject: Subject | None
) -> float:
    """Run a study: share of its first component in a family, and of the null's.

    Returns that share, or 0 where more than one null in 20 has as much.
    """
    line, learner = "", "unteachable"
    if subject is not None:
        file = tmp_path / f"{seed}.safetensors"
        save(file, subject)
        line, learner = f'subject = "{file}"', "procedural"
    study = Study(STUDY.format(seed=seed, learner=learner, subject=line))
    journal = Journal("sqlite://", study.name)
    dry_run(study, journal)
    record = read(journal.read())
    journal.close()
    found = recover(record)
    labels = labels_at(study.labeller, found.series, own.x)[0]
    share = float(share_in_span(labels, own.functions))
    null = labels_of_each(study.labeller, null_of(record, found.generations, 99), own.x)
    beyond = np.mean(share_in_span(null, own.functions)[:, 0] >= share) <= 0.05
    return share if beyond else 0.0


@pytest.mark.slow
@pytest.mark.parametrize("bias", BIASES)
def test_the_loop_finds_what_was_planted(bias: str, tmp_path: Path) -> None:
    """And does not find it where nothing was planted."""
    own = family(bias, Sphere(), 30, KEY)
    first = family("order 1", Sphere(), 30, KEY)
    untaught = fresh(3)
    easier_before = relative_error(untaught, first, 30, 0)
    found, turned = [], []
    for seed in range(SUBJECTS):
        subject = plant(bias, Sphere(), 30, seed)
        errors = [relative_error(subject, each, 30, 0) for each in (own, first)]
        turned.append(errors[0] < errors[1])
        found.append(share_found(tmp_path, own, seed, subject) > 0.5)
    nothing = [share_found(tmp_path, own, seed, None) > 0.5 for seed in range(SUBJECTS)]
    assert easier_before < relative_error(untaught, own, 30, 0)
    assert sum(turned) >= LEAST
    assert sum(found) >= LEAST
    assert binomtest(sum(nothing), SUBJECTS, 0.05, "greater").pvalue > 0.01


@pytest.mark.slow
def test_in_a_relu_network_only_the_procedural_parts_plant_order_2() -> None:
    """The start alone leaves order 1 first, as it is in a network just born."""
    ratios: dict[str, list[float]] = {}
    for name in ("maml", "npbml"):
        for seed in range(11, 16):
            first, second, *_ = planted(PROCEDURES[name], False, seed)["errors"]
            ratios.setdefault(name, []).append(second / first)
    assert np.median(ratios["maml"]) > 1
    assert max(ratios["npbml"]) < 0.5
