"""Sinusoid regression and the entry ``npbml`` that it is part of."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings

from penchant import main
from reproduction import sinusoid
from reproduction.catalogue import FIGURES
from reproduction.claim import Result
from reproduction.drawing import draw_result
from reproduction.finished_rows import FinishedRows
from reproduction.gallery import gallery
from reproduction.npbml import claims, panels
from reproduction.npbml_tables import (
    ABLATION,
    LOSS_ABLATION,
    PUBLISHED_ERRORS,
    UNTAUGHT,
    Found,
    tables,
)
from simulated_subjects.procedure import PROCEDURES, Parts, Rule
from simulated_subjects.upbringing import Upbringing, bring_up, error

# The tasks


@given(seed=st.integers(0, 2**32 - 1), shots=st.sampled_from(sinusoid.SHOTS))
@settings(max_examples=25, deadline=None)
def test_tasks_are_those_of_the_protocol(seed: int, shots: int) -> None:
    task = sinusoid.Sinusoids(shots)(None, jax.random.key(seed))
    assert task.x.shape == (shots, 1)
    assert task.y.shape == (shots,)
    assert task.query.shape == (sinusoid.QUERY, 1)
    x = np.concatenate([task.x, task.query])[:, 0].astype(float)
    y = np.concatenate([task.y, task.wanted]).astype(float)
    assert np.all(np.abs(x) <= 5)
    assert len(set(x)) == len(x), "nothing that is shown is asked"
    waves = np.stack([np.sin(x), -np.cos(x)], 1)
    (sine, cosine), *_ = np.linalg.lstsq(waves, y)
    amplitude, phase = np.hypot(sine, cosine), np.arctan2(cosine, sine)
    assert 0.1 - 1e-4 <= amplitude <= 5 + 1e-4
    assert -1e-3 <= phase <= np.pi + 1e-3
    assert np.allclose(waves @ [sine, cosine], y, atol=1e-4)


def test_amplitudes_and_phases_fill_their_ranges() -> None:
    keys = jax.random.split(jax.random.key(1), 4000)
    task = jax.vmap(lambda key: sinusoid.Sinusoids(5)(None, key))(keys)
    assert np.mean(np.asarray(task.wanted) ** 2) == pytest.approx(
        sinusoid.OF_SILENCE, rel=0.05
    )
    assert np.asarray(task.query).std() == pytest.approx(10 / 12**0.5, rel=0.02)


# What is learnt


def _short_run(name: str) -> float:
    """Mean error of a procedure after a short upbringing; compiled without haste."""
    parts = PROCEDURES[name]
    how = sinusoid.training(parts, 300)
    rule = Rule(parts, sinusoid.STEPS, how.inner_rate)
    tasks = sinusoid.Sinusoids(10)

    def error_of(key: jax.Array) -> jax.Array:
        network, upbringing = sinusoid.NETWORK, Upbringing(300, 8, how.meta_rate)
        procedure, _ = bring_up(rule, network, upbringing, tasks, None, key)

        def one(key: jax.Array) -> jax.Array:
            return error(rule, network, procedure, key, tasks(None, key))

        return jax.vmap(one)(jax.random.split(jax.random.key(7), 500)).mean()

    # To optimise takes longer than to run.
    quick = jax.jit(error_of, compiler_options={"xla_backend_optimization_level": 0})
    return float(quick(jax.random.key(1)))


def test_the_learnt_procedure_beats_a_learnt_start_by_much() -> None:
    assert _short_run("npbml") < 0.6 * _short_run("maml")


def test_the_ablation_is_that_of_the_paper_in_its_order() -> None:
    accuracies = [accuracy for _, accuracy in ABLATION.values()]
    assert accuracies == [65.38, 67.47, 71.75, 72.79, 75.01]
    start, optimiser, loss, both, whole = (parts for parts, _ in ABLATION.values())
    assert start == PROCEDURES["maml"] == Parts()
    assert optimiser == PROCEDURES["t_net"]
    assert (loss.preconditioning, both.preconditioning) == (False, True)
    assert loss.loss == both.loss == whole.loss
    assert not both.modulation
    assert whole == PROCEDURES["npbml"]
    *single, together = (parts.loss for parts, _ in LOSS_ABLATION.values())
    assert sum(single, ()) == together
    assert [a for _, a in LOSS_ABLATION.values()] == [70.68, 70.92, 70.04, 71.75]
    assert sinusoid.ADAPTED == 1761, "weights of 1-40-40-1"


# The entry


def _row(error: float, **more: Any) -> dict[str, Any]:
    curve = [0.0] * len(sinusoid.GRID)
    row = {"error": error, "interval": 0.1, "tasks": 1000, "learnt": 1761}
    return row | {"before": curve, "after": curve} | more


def _found(npbml: float = 0.2) -> Found:
    """As if everything had been run, with three seeds."""
    errors = {"as born": 9.0, "maml": 0.8, "meta_sgd": 0.4, "t_net": 0.5}
    by_name = {k: [_row(v)] * 3 for k, v in (errors | {"npbml": npbml}).items()}
    parts = {**ABLATION, **LOSS_ABLATION}
    ablation = {k: [_row(0.8 - 0.1 * i)] * 3 for i, k in enumerate(parts)}
    planted = [*ABLATION, "MAML, contrast", "NPBML, contrast"]
    orders = {"as born": [{"errors": [0.5, 1.1, 1.3, 1.4], "learnt": 0}] * 3}
    orders["as born, 100 steps"] = orders["as born"]
    orders |= {k: [{"errors": [0.4, 0.1, 1.2, 1.3], "learnt": 9}] * 3 for k in planted}
    image = {"mean": 0.6, "interval": 0.01, "deviation": 0.1, "episodes": 400}
    image |= {"adapted": 10, "meta_learnt": 20}
    images = {"digits": {name: [image] * 3 for name in (UNTAUGHT, *PROCEDURES)}}
    return Found({5: by_name, 10: by_name}, ablation, orders, images)


def test_npbml_has_to_be_best_with_every_seed_and_number_of_shots() -> None:
    good, bad = claims(_found()), claims(_found(npbml=0.41))
    assert [c.met for c in good[:3]] == [True, True, True]
    assert good[0].median == pytest.approx(0.5)
    assert [c.met for c in bad[:3]] == [False, False, False]


def test_what_was_found_becomes_tables_and_a_picture(tmp_path: Path) -> None:
    found = _found()
    result = Result(claims(found), ["A note."], panels(found), tables(found))
    draw_result("npbml", "It says so.", result).savefig(tmp_path / "it.png")
    assert (tmp_path / "it.png").stat().st_size > 50_000
    plain: dict[str, Any] = {
        "figure": "npbml",
        "title": "procedures",
        "paper": "It says so.",
    }
    plain |= {"seconds": 1.0, "device": "cpu", "notes": result.notes}
    plain |= {"claims": [claim.as_json() for claim in result.claims]}
    plain |= {"tables": [table._asdict() for table in result.tables]}
    page = gallery([json.loads(json.dumps(plain))])
    published = "{:.2f} ± {:.2f}".format(*PUBLISHED_ERRORS["maml"])
    assert "| MAML | 1761 | 0.800 ± 0.100 (0.800 to 0.800) |" in page
    assert published in page
    assert "| + loss |" in page
    for before, line in pairwise(page.splitlines()):
        if line.startswith("| ---"):
            assert line.count("|") == before.count("|"), before


def test_rows_that_are_there_are_not_found_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    told: list[str] = []
    for _ in range(2):
        rows = FinishedRows(file, told.append)
        for seed in (1, 2):
            row = rows.row(f"seed {seed}", {"seed": seed}, lambda: {"error": 0.5})
            assert row["error"] == 0.5
    assert told == ["seed 1", "seed 2"]
    assert rows.ran == []
    assert len(rows.seconds) == 2
    rows.row("other", {"seed": 1, "steps": 2}, lambda: {"error": 0.1})
    assert told[-1] == "other"
    file.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="move it away"):
        FinishedRows(file, told.append)


def test_a_bad_local_copy_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    command = ["reproduce", "npbml", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*command, "--images", f"cifar_fs={tmp_path}/no"])
    assert done.exit_code == 1
    assert "expected a folder with CIFAR-FS" in " ".join(done.output.split())
    assert not (tmp_path / "out" / "npbml" / "rows.json").exists()


def test_local_copies_of_image_sets_are_for_npbml_alone(tmp_path: Path) -> None:
    def refused(*command: str) -> str:
        done = CliRunner().invoke(main, ["reproduce", *command])
        assert done.exit_code == 2, done.output
        return " ".join(done.output.split())

    assert "is for npbml" in refused("fig2b", "--images", f"cifar_fs={tmp_path}")
    assert "NAME one of digits" in refused("npbml", "--images", f"cifar10={tmp_path}")
    assert "NAME=PATH" in refused("npbml", "--images", "cifar_fs")
    assert list(FIGURES)[-1] == "npbml"


# The whole, in `make validate`


@pytest.mark.slow
@pytest.mark.parametrize("shots", sinusoid.SHOTS)
def test_npbml_errs_least_with_every_seed(shots: int) -> None:
    for seed in (1, 2, 3, 4, 5):
        error = {
            name: sinusoid.learnt(
                parts, shots, seed, sinusoid.training(parts, sinusoid.meta_steps(parts))
            )["error"]
            for name, parts in PROCEDURES.items()
        }
        assert min(error, key=error.__getitem__) == "npbml", (seed, error)
