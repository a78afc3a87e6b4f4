"""Whole simulated studies of many settings and seeds, for parameter sweeps."""

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from meta_learner.assignment import named_key
from meta_learner.gradient import Problem
from meta_learner.labelling import Component, Series, component_labels
from meta_learner.spectrum import DEGREE, orders_of
from server.descent import problem_of
from server.dry_run import course
from server.spread import Job, Row, study_from
from server.study_file import Study
from server.whole_studies import recipe_of, run_whole, runs_whole

TOGETHER = 16
"""Seeds of a setting that are run together."""

_FRESH = 128
"""Newly born individuals that learn each component."""


class Setting(NamedTuple):
    """A study file with some of its keys set: ``values`` by dotted key."""

    values: dict[str, Any]
    study: Study

    @property
    def name(self) -> str:
        """The values in words."""
        each = [f"{k.rpartition('.')[2]} {v}" for k, v in self.values.items()]
        return ", ".join(each) or self.study.name

    @property
    def told(self) -> str:
        """The values as a command sets them."""
        return as_set(dict(sorted(self.values.items()))) or "the study as it is"


def as_set(values: Mapping[str, Any]) -> str:
    """Values of dotted keys as a command sets them."""
    typed = {k: str(v).lower() if isinstance(v, bool) else v for k, v in values.items()}
    return " ".join(f"--set {key}={value}" for key, value in typed.items())


def jobs_of(settings: Sequence[Setting], seeds: Sequence[int]) -> list[Job]:
    """A study of each setting with each seed."""
    return [
        Job(
            f"{setting.name}, seed {seed}",
            {
                "study": setting.study.text,
                "sha256": setting.study.sha256,
                "values": setting.values,
                "seed": seed,
            },
            # What runs by a journal takes long: each study is a part of its own.
            setting.study.sha256 + ("" if whole else f" {seed}"),
            setting.told,
            setting.study.sha256,
        )
        for setting in settings
        for whole in [runs_whole(setting.study)]
        for seed in seeds
    ]


def run_block(folder: str | None, jobs: Sequence[Mapping[str, Any]]) -> list[list[Row]]:
    """Rows of studies of one setting; what workers run. Files are in ``folder``."""
    first = jobs[0]
    study = _study(first["study"], first["sha256"], folder)
    rows = run_studies(study, [job["seed"] for job in jobs])
    return [
        [_columns(job["values"]) | {"seed": job["seed"]} | row for row in own]
        for job, own in zip(jobs, rows, strict=True)
    ]


def _columns(values: Mapping[str, Any]) -> Row:
    """Numbers of one type: parts with whole ones and with others are read together."""
    return {
        key: float(value) if type(value) is int else value
        for key, value in values.items()
    }


def run_studies(study: Study, seeds: Sequence[int]) -> list[list[Row]]:
    """Run the study with each of the seeds: what each found, a row a component.

    ``error`` is relative, of fresh individuals without noise, and has a row for each
    group; ``power_1`` to ``power_6`` and ``power_above`` are shares of the variance of
    labels in each order of the space, NaN for orders that it does not have.
    """
    return [
        _found(_seeded(study, seed), series, sessions)
        for seed, (series, sessions) in zip(seeds, _run(study, seeds), strict=True)
    ]


def _run(study: Study, seeds: Sequence[int]) -> Iterator[tuple[Series, int]]:
    """Components and sessions of each: in one program, or by journals in memory."""
    if runs_whole(study):
        whole = run_whole(recipe_of(study), seeds).series
        for i in range(len(seeds)):
            yield jax.tree.map(lambda leaf, i=i: leaf[i], whole), study.sessions
        return
    for seed in seeds:
        (state,) = course(_seeded(study, seed), [sys.maxsize])
        yield state.series, state.sessions_ended


def _found(study: Study, series: Series, sessions: int) -> list[Row]:
    errors = fresh_errors(study, series)
    return [
        {
            "component": number + 1,
            "group": group,
            "sessions": sessions,
            "error": float(error),
            **power,
        }
        for number, power in enumerate(_powers(study, series))
        for group, error in zip(study.groups, errors[number], strict=True)
    ]


def fresh_errors(study: Study, series: Series) -> NDArray[np.float64]:
    """Relative error of newly born individuals on each component, (components, groups).

    On stimuli of their own, and without noise; no model.
    """
    problem = problem_of(study)
    keys = jax.random.split(named_key(study.seed, "fresh"), _FRESH)
    rows = [
        _errors(problem, series[:k], component, keys)
        for k, component in enumerate(series)
    ]
    return np.asarray(jnp.stack(rows), np.float64)


@partial(jax.jit, static_argnums=0)
def _errors(
    problem: Problem, series: Series, component: Component, keys: jax.Array
) -> jax.Array:
    return jax.vmap(partial(problem.errors, series, component))(keys)[0].mean(0)


def _powers(study: Study, series: Series) -> list[Row]:
    """Power of each component in each order, by column."""
    orders = orders_of(study.labeller.space)
    labels = component_labels(study.labeller, series, orders.x)
    powers = orders.power(np.asarray(labels, np.float64))
    none = {
        f"power_{order}": float("nan") for order in (*range(1, DEGREE + 1), "above")
    }
    names = [f"power_{name}" for name in orders.names]
    return [none | dict(zip(names, map(float, row), strict=True)) for row in powers]


@lru_cache(maxsize=1)
def _study(text: str, sha256: str, folder: str | None) -> Study:
    return study_from(text, sha256, folder)


def _seeded(study: Study, seed: int) -> Study:
    """The study with another seed; what is compiled for one serves both."""
    other = copy.copy(study)
    section = study.file.study.model_copy(update={"seed": seed})
    other.file = study.file.model_copy(update={"study": section})
    return other
