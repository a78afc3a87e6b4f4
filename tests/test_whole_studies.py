"""Whole studies in one program: what a journalled study of the same seed finds."""

import re
import sys
from copy import copy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_server import play
from small_study import open_desk, small_study, study_text

from meta_learner.generalisation import generalisation_error
from meta_learner.psychometric import Psychometric
from meta_learner.scoring import meta_losses, session_error
from meta_learner.shrinkage import shrunk
from meta_learner.subject_model import SubjectModel
from server.dry_run import course
from server.journal import Journal
from server.plan_by_search import generations_of, recovered_by_search
from server.study_file import Study
from server.whole_studies import recipe_of, run_whole
from simulated_subjects.kernel_ridge import KernelRidge
from stimuli import random_keys
from stimuli.sphere import Sphere

SEEDS = (3, 4, 11)

GROUPS = """
[objective]
aim = "worst"
[groups.control]
learner = "kernel_ridge"
features = 20
[groups.lesion]
learner = "ridge"
"""


def longer(text: str, generations: int = 5) -> str:
    """Five generations of eight: enough that each learns from those before."""
    text = text.replace("generations = 2", f"generations = {generations}")
    return text.replace("population = 4", "population = 8")


def seeded(study: Study, seed: int) -> Study:
    """The study with another seed."""
    other = copy(study)
    section = study.file.study.model_copy(update={"seed": seed})
    other.file = study.file.model_copy(update={"study": section})
    return other


PLAIN = longer(study_text())
KINDS = {
    "graded": PLAIN,
    "two components": longer(study_text(study="components = 2"), 3),
    "choices, rewarded": longer(
        study_text(
            session='response = "choice"\ntest_repeats = 2\n'
            "psychometric = { slope = 3.0, lapse = 0.05 }",
            responses="lapse = 0.1",
        )
    ),
    "noise, two subjects each": longer(
        study_text(responses="noise = 0.2")
        + "\n[allocation]\nsubjects_per_candidate = 2\n"
    ),
    "elites": longer(study_text(responses="noise = 0.2")).replace(
        "[labelling]", "re_evaluate = 2\n[labelling]"
    ),
    "a population-based strategy": PLAIN.replace(
        "[labelling]", 'method = "DifferentialEvolution"\n[labelling]'
    ),
    "penalties": PLAIN + '\n[objective]\nlabel_distribution = "energy"\n',
    "groups": PLAIN.replace('[simulated_subject]\nlearner = "kernel_ridge"\n', "")
    .replace("features = 20\n", "")
    .replace("[simulated_responses]", GROUPS + "[simulated_responses]"),
}


FAST = ("graded", "groups", "two components")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in FAST else pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_whole_studies_find_what_journalled_ones_find(kind: str) -> None:
    study = small_study(KINDS[kind])
    whole = run_whole(recipe_of(study), SEEDS)
    x = study.labeller.space.grid(64)
    for i, seed in enumerate(SEEDS):
        (state,) = course(seeded(study, seed), [sys.maxsize])
        found = jax.tree.map(lambda leaf, i=i: leaf[i], whole.series)
        labels = study.labeller.component_labels(found, x)
        journalled = study.labeller.component_labels(state.series, x)
        assert np.abs(labels - journalled).max() < 1e-4
        for number, component in enumerate(found):
            end = whole.standing[i, number, -1]
            assert jnp.array_equal(component.theta, end)


def test_labellings_that_a_session_cannot_tell_from_a_constant() -> None:
    text = PLAIN.replace('family = "linear"', 'family = "mlp"\nhidden = [2]')
    text = text.replace("test_stimuli = 6", "test_stimuli = 2")
    study = small_study(text.replace("[labelling]", "re_evaluate = 2\n[labelling]"))
    whole, x = run_whole(recipe_of(study), range(1, 7)), study.labeller.space.grid(64)
    for i, seed in enumerate(range(1, 7)):
        (state,) = course(seeded(study, seed), [sys.maxsize])
        found = jax.tree.map(lambda leaf, i=i: leaf[i], whole.series)
        labels = study.labeller.component_labels(found, x)
        journalled = study.labeller.component_labels(state.series, x)
        assert np.abs(labels - journalled).max() < 1e-4


def test_over_sockets_it_is_the_same_study(journal: Journal) -> None:
    study = small_study(PLAIN)
    desk = open_desk(journal, study=study)
    play(desk)
    assert desk.state.finished
    whole = run_whole(recipe_of(study), [study.seed])
    x = study.labeller.space.grid(64)
    found = jax.tree.map(lambda leaf: leaf[0], whole.series)
    labels = study.labeller.component_labels(found, x)
    over_the_wire = study.labeller.component_labels(desk.state.series, x)
    assert np.abs(labels - over_the_wire).max() < 1e-4


def test_a_study_does_not_depend_on_those_beside_it() -> None:
    recipe = recipe_of(small_study(PLAIN))
    many, few = run_whole(recipe, range(9)), run_whole(recipe, [8, 3])
    assert many.standing.shape[0] == 9
    assert np.allclose(many.standing[8], few.standing[0], atol=1e-5)
    assert np.allclose(many.standing[3], few.standing[1], atol=1e-5)
    assert not np.allclose(many.standing[3], many.standing[8], atol=1e-2)


def test_the_subject_is_heard() -> None:
    def lowest(activation: str) -> float:
        features = f'features = 20\nactivation = "{activation}"'
        study = small_study(PLAIN.replace("features = 20", features))
        return float(run_whole(recipe_of(study), SEEDS).errors.mean())

    # Linear labellings are odd: what an even subject cannot learn.
    assert lowest("relu") < 0.5 < lowest("absolute")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ('method = "adam"\nstep_size = 0.1\n', "adam does not run as a whole"),
        ('family = "basis"\n', None),
    ],
)
def test_what_needs_a_journal_is_refused(changed: str, message: str | None) -> None:
    text = PLAIN.replace('family = "linear"\n', 'family = "basis"\n')
    if message is None:
        text += "\n[allocation]\nreplicate_above = 0.3\nmost_subjects = 3\n"
        message = "replicate_above"
    else:
        text = text.replace("[labelling]", changed + "[labelling]")
    with pytest.raises(ValueError, match=message):
        recipe_of(small_study(text))


def test_single_precision_is_enough_for_a_kernel_subject() -> None:
    learner = KernelRidge()
    keys = jax.random.split(random_keys.key(3), 64)
    x = jax.vmap(lambda key: Sphere().sample(key, 80))(keys)
    y = jnp.sign(x[..., 0]) * x[..., 1]

    def error(answers: Any, labels: Any) -> Any:
        return ((answers - labels) ** 2).mean(-1) / labels.var(-1)

    inputs, readout = jax.vmap(learner.train)(keys, x[:, :30], y[:, :30])
    single = error(jax.vmap(learner.predict)((inputs, readout), x[:, 30:]), y[:, 30:])
    stimuli, drive, labels = (np.asarray(a, np.float64) for a in (x, inputs, y))
    hidden = np.maximum(stimuli @ drive, 0) / 10
    known, tested = hidden[:, :30], hidden[:, 30:]
    gram = known @ known.transpose(0, 2, 1) + learner.penalty * np.eye(30)
    weights = known.transpose(0, 2, 1) @ np.linalg.solve(gram, labels[:, :30, None])
    double = error((tested @ weights)[..., 0], labels[:, 30:])
    np.testing.assert_allclose(single, double, rtol=1e-3)


# --- scores, traced --------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
def test_a_traced_error_is_the_error(
    seed: int, repeats: int, choice: bool, omitted: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.uniform(-1, 1, 6).astype(np.float32)
    stimuli = np.tile(np.arange(6), repeats)
    answers = rng.uniform(-1, 1, len(stimuli)).astype(np.float32)
    answers = np.sign(answers) if choice else answers
    there = rng.random(len(stimuli)) >= omitted
    psychometric = Psychometric(3.0, 0.1, 0.1) if choice else None
    expected = generalisation_error(
        labels.tolist(),
        stimuli[there].tolist(),
        answers[there].tolist(),
        psychometric,
        choice,
    )
    found = session_error(
        jnp.asarray(labels),
        jnp.asarray(stimuli),
        jnp.asarray(answers),
        jnp.asarray(there),
        psychometric,
        choice,
    )
    if expected is None:
        assert all(np.isnan(value) for value in found)
    else:
        assert np.allclose(found, expected[:3], atol=2e-5)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2), st.floats(0, 1))
def test_traced_losses_are_the_losses(seed: int, groups: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    study = small_study(KINDS["groups"] if groups == 2 else PLAIN)
    errors, noise = rng.uniform(0, 2, (5, groups)), rng.uniform(0, 0.5, (5, groups))
    noise[0] = 0.0
    errors[rng.random(errors.shape) < missing] = np.nan
    penalties = rng.uniform(0, 1, (5, 2))
    expected = study.objective.meta_losses(shrunk(errors, noise), penalties)
    found = meta_losses(study.objective, *map(jnp.asarray, (errors, noise, penalties)))
    assert np.allclose(found, expected, atol=2e-5, equal_nan=True)


# --- power analysis by the study's own search ------------------------------------


def test_a_plan_looks_ever_more_rarely_and_at_the_last() -> None:
    study = small_study(PLAIN)  # 8 sessions a generation
    assert generations_of(study, 79) == [1, 2, 3, 4, 6, 9]
    with pytest.raises(ValueError, match="expected 8 or more"):
        generations_of(study, 7)


@pytest.mark.parametrize(
    ("activation", "least", "most"), [("relu", 0.3, 1.0), ("absolute", 0.0, 0.2)]
)
def test_a_plan_follows_what_the_subject_finds_easy(
    activation: str, least: float, most: float
) -> None:
    text = re.sub("(training|test)_stimuli = 6", r"\1_stimuli = 20", PLAIN)
    text = text.replace('family = "linear"', 'family = "basis"')
    study = small_study(
        text.replace("features = 20", f'features = 20\nactivation = "{activation}"')
    )
    model = SubjectModel(study.labeller.space, 4, "graded")
    first, last = recovered_by_search(study, model, study.design, [1, 40], range(24))
    assert first.shape == last.shape == (24, 1, model.functions - 1)
    assert (np.linalg.norm(last, axis=-1) < 1 + 1e-6).all()
    # Three of 24 functions are of order 1, which only one of the subjects can learn.
    before, after = (np.mean(np.sum(rows[:, 0, :3] ** 2, 1)) for rows in (first, last))
    assert before < 0.2
    assert least < after < most
