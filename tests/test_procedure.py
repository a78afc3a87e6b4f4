"""A procedure that was learnt: its parts, its upbringing, and the subject's file."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from safetensors.numpy import load_file, save_file
from small_study import study_text

from server.study_file import Study, StudyFileError
from simulated_subjects.perceptron import Perceptron
from simulated_subjects.planting import Subject
from simulated_subjects.procedural import Procedural
from simulated_subjects.procedural_file import load, save
from simulated_subjects.procedure import (
    LOSS_TERMS,
    PROCEDURES,
    Parts,
    Procedure,
    Rule,
    adapt,
    born,
    outputs,
)
from simulated_subjects.upbringing import Task, Upbringing, bring_up, error

pytestmark = pytest.mark.usefixtures("strict_shapes")

KEY = jax.random.key(3)
NETWORK = Perceptron(2, (5, 4), bias=0.5)
X, TEST = (jax.random.normal(jax.random.key(i), (n, 2)) for i, n in ((1, 8), (2, 6)))
Y = jnp.sin(2 * X[:, 0]) * 0.5

Array = npt.NDArray[Any]


@partial(jax.jit, static_argnums=0)
def said(rule: Rule, procedure: Procedure, query: jax.Array = TEST) -> jax.Array:
    """Answers to the test stimuli after learning the others."""
    learnt = adapt(rule, NETWORK, procedure, KEY, X, Y, query)
    return outputs(NETWORK, learnt, TEST)[:, 0]


def shaken(procedure: Procedure, seed: int, size: float = 0.3) -> Procedure:
    """As if it had been learnt: every number moved a little."""
    leaves, tree = jax.tree.flatten(procedure)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    moved = [
        leaf + size * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return dict(jax.tree.unflatten(tree, moved))


# --- parts ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PROCEDURES if name != "maml"])
def test_at_birth_every_procedure_is_gradient_descent(name: str) -> None:
    plain = Rule(PROCEDURES["maml"], 3, 0.1)
    rule = replace(plain, parts=PROCEDURES[name])
    expected = said(plain, born(plain, NETWORK, KEY))
    np.testing.assert_allclose(
        said(rule, born(rule, NETWORK, KEY)), expected, atol=1e-6
    )


def test_plain_gradient_descent_is_that() -> None:
    rule = Rule(Parts(), steps=4, learning_rate=0.05)
    weights: Any = born(rule, NETWORK, KEY)["weights"]

    def loss(weights: Any) -> jax.Array:
        return jnp.mean((NETWORK.apply(weights, None, None, X)[0][:, 0] - Y) ** 2)

    expected = weights
    for _ in range(4):
        slope = jax.grad(loss)(expected)
        expected = jax.tree.map(lambda w, g: w - 0.05 * g, expected, slope)
    learnt = adapt(rule, NETWORK, {"weights": weights}, KEY, X, Y, TEST)
    jax.tree.map(
        partial(np.testing.assert_allclose, atol=1e-6), learnt.weights, expected
    )


@pytest.mark.parametrize("part", ["warps", "rates", "films", "context", *LOSS_TERMS])
def test_every_part_matters(part: str) -> None:
    rule = Rule(Parts(True, True, LOSS_TERMS, True, True), 3, 0.1)
    learnt = shaken(born(rule, NETWORK, KEY), 1)
    other = learnt | {part: shaken({part: learnt[part]}, 2)[part]}
    assert float(abs(said(rule, learnt) - said(rule, other)).max()) > 1e-4


@pytest.mark.parametrize("term", LOSS_TERMS)
def test_only_the_transductive_term_looks_at_stimuli_without_labels(term: Any) -> None:
    rule = Rule(Parts(loss=(term,)), 3, 0.1)
    learnt = shaken(born(rule, NETWORK, KEY), 1)
    apart = abs(said(rule, learnt) - said(rule, learnt, TEST[::-1] + 1)).max()
    assert (float(apart) > 1e-6) == (term == "transductive")


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31 - 1))
def test_a_warp_is_a_metric_for_the_layer_before_it(seed: int) -> None:
    """What weights and warp do together moves by the gradient times warp' warp."""
    network, rate = Perceptron(2, (4,), bias=0.5), 0.1
    rule = Rule(PROCEDURES["t_net"], 1, rate)
    procedure = shaken(born(rule, network, jax.random.key(seed)), seed)
    (warp,) = procedure["warps"]
    first, readout = procedure["weights"]

    def loss(together: jax.Array) -> jax.Array:
        drive = X @ together + (first.bias @ warp)[None]
        return jnp.mean((readout(jax.nn.relu(drive))[:, 0] - Y) ** 2)

    slope = jax.grad(loss)(first.weights @ warp)
    learnt = adapt(rule, network, procedure, KEY, X, Y, TEST)
    moved = (learnt.weights[0].weights - first.weights) @ warp
    np.testing.assert_allclose(moved, -rate * slope @ warp.T @ warp, atol=1e-5)


def test_without_a_learnt_start_each_individual_draws_one() -> None:
    rule = Rule(Parts(initialisation=False), 2, 0.1)
    assert "weights" not in born(rule, NETWORK, KEY)
    one, other = (
        adapt(rule, NETWORK, {}, jax.random.key(i), X, Y, TEST).weights for i in (0, 1)
    )
    assert float(abs(one[0].weights - other[0].weights).max()) > 0.01


# --- upbringing ----------------------------------------------------------------


def line(slope: jax.Array, key: jax.Array) -> Task:
    """Lines through 0 of one slope, up or down."""
    x = jax.random.normal(key, (6, 2))
    y = slope * jax.random.rademacher(key, (1,), jnp.float32) * x[:, 0]
    return Task(x[:3], y[:3], x[3:], y[3:])


def test_an_upbringing_lowers_the_error_on_new_tasks() -> None:
    rule = Rule(PROCEDURES["meta_sgd"], 2, 0.05)
    procedure, errors = bring_up(
        rule, NETWORK, Upbringing(300, 4, 5e-3), line, jnp.float32(0.5), KEY
    )
    before = born(rule, NETWORK, KEY)
    keys = jax.random.split(jax.random.key(77), 100)

    @jax.jit
    def mean_error(procedure: Procedure) -> jax.Array:
        tasks = jax.vmap(partial(line, jnp.float32(0.5)))(keys)
        one = partial(error, rule, NETWORK, procedure, KEY)
        return jnp.mean(jax.vmap(one)(tasks))

    assert errors.shape == (300,)
    assert mean_error(procedure) < 0.3 * mean_error(before)


def test_a_task_of_negative_weight_stays_hard_and_divergence_harms_nothing() -> None:
    def hard(slope: jax.Array, key: jax.Array) -> Task:
        return line(slope, key)._replace(weight=-1.0)

    rule = Rule(PROCEDURES["maml"], 2, 0.05)
    learn = partial(bring_up, rule, NETWORK)
    kept, errors = learn(Upbringing(50, 2, 1e-2), hard, jnp.float32(0.5), KEY)
    assert np.isfinite(np.concatenate([w.ravel() for w in jax.tree.leaves(kept)])).all()
    assert not errors.any()  # no task counted as one to be learnt
    lost, _ = learn(Upbringing(5, 2, 1e-2), line, jnp.float32(jnp.nan), KEY)
    jax.tree.map(
        np.testing.assert_array_equal,
        lost,
        born(rule, NETWORK, jax.random.split(KEY)[0]),
    )


# --- a subject and its file ----------------------------------------------------


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A file with a subject for stimuli of two features, learnt only in name."""
    rule = Rule(PROCEDURES["npbml"], 3, 0.1)
    procedure = shaken(born(rule, NETWORK, KEY), 1, 0.03)
    path = tmp_path / "subject.safetensors"
    save(path, Subject(rule, NETWORK, procedure, TEST, {"bias": "none"}))
    return path


def test_a_file_holds_the_subject_to_the_bit(planted: Path) -> None:
    subject = load(planted)
    assert (subject.rule.parts, subject.network) == (PROCEDURES["npbml"], NETWORK)
    assert subject.about == {"bias": "none"}
    original = shaken(born(subject.rule, NETWORK, KEY), 1, 0.03)
    jax.tree.map(np.testing.assert_array_equal, subject.procedure, original)
    learner = Procedural(str(planted))
    learnt = jax.jit(learner.train)(KEY, X, Y)
    expected = said(subject.rule, subject.procedure)
    np.testing.assert_allclose(learner.predict(learnt, TEST), expected, atol=1e-4)
    save(planted, subject)
    assert Procedural(str(planted)) == learner
    assert hash(Procedural(str(planted))) == hash(learner)


def test_a_subject_is_what_its_file_holds(planted: Path) -> None:
    before = Procedural(str(planted))
    subject = load(planted)
    save(planted, subject._replace(procedure=shaken(subject.procedure, 5, 0.03)))
    after = Procedural(str(planted))
    assert before != after
    one, other = (jax.jit(each.train)(KEY, X, Y) for each in (before, after))
    assert float(abs(one.weights[0].weights - other.weights[0].weights).max()) > 1e-4


def test_a_subject_refuses_other_stimuli(planted: Path) -> None:
    with pytest.raises(ValueError, match="brought up on stimuli of 2 features, got 3"):
        Procedural(str(planted)).train(KEY, jnp.ones((4, 3)), jnp.ones(4))


def _retold(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        told = json.loads(header["__metadata__"]["penchant"])
        change(told)
        save_file(load_file(path), path, {"penchant": json.dumps(told)})

    return spoil


def _rewritten(**changes: Array | None) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        arrays = {key.replace("/", "_"): key for key in load_file(path)}
        kept: dict[str, Any] = dict(load_file(path))
        for name, value in changes.items():
            kept[arrays.get(name, name)] = value
        kept = {key: value for key, value in kept.items() if value is not None}
        save_file(kept, path, header["__metadata__"])

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "cannot read the subject .* `penchant plant` makes"),
        (lambda path: path.write_bytes(b"\x80\x04K\x01."), "is no subject"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is no subject"),
        (lambda path: save_file({"a": np.ones(2)}, path), "is no subject"),
        (_retold(lambda told: told.update(version=2)), "version"),
        (_retold(lambda told: told["rule"].update(steps=0)), r"rule\.steps"),
        (_retold(lambda told: told["network"].update(hidden=[6, 4])), "has shape"),
        (_retold(lambda told: told["network"].update(hidden=[])), r"network\.hidden"),
        (_rewritten(warps_0=None), "warps/0 has shape None"),
        (_rewritten(surplus=np.ones(2, np.float32)), "surplus has shape"),
        (_rewritten(warps_0=np.full((5, 5), np.nan, np.float32)), "warps/0 is not all"),
        (_rewritten(remembered=np.ones((3, 4), np.float32)), "remembered has shape"),
        (_rewritten(remembered=np.full((3, 2), np.nan, "f4")), "remembered is not all"),
    ],
)
def test_a_bad_file_is_refused_by_name(
    spoil: Callable[[Path], None], said: str, planted: Path
) -> None:
    spoil(planted)
    with pytest.raises(ValueError, match=said) as refused:
        Procedural(str(planted))
    assert planted.name in str(refused.value)


def planted_study(subject: Path, more: str = "", space: str = "circle") -> str:
    """The small study with a planted subject, in its folder."""
    stand_in = f'learner = "procedural"\nsubject = "{subject.name}"\n{more}'
    text = study_text().replace('learner = "kernel_ridge"\nfeatures = 20', stand_in)
    return text.replace('"sphere"', f'"{space}"')


@pytest.mark.parametrize("noise", ["", "label_noise = 0.1"])
def test_the_subject_is_part_of_a_study(
    noise: str, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted.parent)
    before = Study(planted_study(planted, noise))
    subject = load(planted)
    save(planted, subject._replace(about={"bias": "another"}))
    assert Study(before.text).sha256 != before.sha256
    with pytest.raises(StudyFileError, match="2 features, got 3"):
        Study(planted_study(planted, noise, space="sphere"))
    planted.unlink()
    with pytest.raises(StudyFileError, match=r"simulated_subject.*cannot read"):
        Study(before.text)
