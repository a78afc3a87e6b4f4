"""The studies behind one figure: run with several seeds into one journal."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis.distance import null_of
from analysis.finding import Finding, find
from analysis.recovery import Floats
from meta_learner.assignment import named_key
from meta_learner.gradient import Problem
from meta_learner.labelling import Series, labels_of_each
from reproduction.claim import Claim, Role
from reproduction.settings import OURS, Sections, merged, to_toml
from server.descent import problem_of
from server.dry_run import dry_run
from server.journal import Journal
from server.study_file import Study

Progress = Callable[[str], None]

REPLICATES = 20
"""Null series of each seed; those of all seeds count together."""

FRESH = 64
"""Newly born individuals by which a component found is judged."""


class Experiment:
    """Runs studies into ``folder``; what is in its journal already is not run again."""

    def __init__(
        self,
        folder: Path,
        seeds: Sequence[int],
        progress: Progress | None = None,
        images: Mapping[str, Path] | None = None,
    ) -> None:
        """``seeds`` are those of every study; ``progress`` is told what begins.

        ``images`` are local copies of image sets, by their names.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.seeds = tuple(seeds)
        self.progress = progress or (lambda _: None)
        self.images = dict(images or {})
        self.ran: list[str] = []
        """Studies that were not in the journal."""
        self.seconds: dict[str, float] = {}
        """What each study took when it was run, by the clock of its journal."""

    def run(
        self, name: str, *sections: Sections, replicates: int = REPLICATES
    ) -> list[Finding]:
        """The study of :data:`OURS` and ``sections``, once with every seed.

        ``replicates`` is the number of null series of each seed.
        """
        return [self._one(name, seed, sections, replicates) for seed in self.seeds]

    def few(self, seeds: int = 3) -> "Experiment":
        """The same with the first few seeds, for what takes long."""
        return self.with_seeds(self.seeds[:seeds])

    def with_seeds(self, seeds: Sequence[int]) -> "Experiment":
        """The same with other seeds; what it runs counts here."""
        other = Experiment(self.folder, seeds, self.progress, self.images)
        other.ran, other.seconds = self.ran, self.seconds
        return other

    def _one(
        self, name: str, seed: int, sections: Sequence[Sections], replicates: int
    ) -> Finding:
        self.progress(f"{name}, seed {seed}")
        stream = re.sub(r"[^A-Za-z0-9]+", "-", f"{name}-{seed}")
        study = {"study": {"name": stream, "seed": seed}}
        loaded = Study(to_toml(merged(OURS, *sections, study)))
        journal = Journal(str(self.folder / "journal.db"), loaded.name)
        try:
            if not any(True for _ in journal.read()):
                self.ran.append(loaded.name)
            dry_run(loaded, journal)
            events = list(journal.read())
            self.seconds[loaded.name] = events[-1].at - events[0].at
            return find(name, events, replicates)
        finally:
            journal.close()


def order_power(
    findings: Sequence[Finding], components: slice, order: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean power of some components in an order: per seed, and of the null."""
    column = order - 1
    ours = [f.recovered.power[components, column].mean() for f in findings]
    null = [f.null[:, components, column].mean(1) for f in findings]
    return tuple(map(float, ours)), tuple(map(float, np.concatenate(null)))


def power_claim(
    findings: Sequence[Finding],
    components: slice | int,
    order: int,
    paper: str,
    target: float | None = None,
    role: Role = "ours",
    which: str = "",
) -> Claim:
    """Mean power of some components, or of one, in an order."""
    if isinstance(components, int):
        components = slice(components, components + 1)
    ours, null = order_power(findings, components, order)
    first, last = components.start + 1, components.stop
    name = f"labelling {first}" if first == last else f"labellings {first} to {last}"
    statement = f"{which}{name}: power in order {order}"
    return Claim(statement, paper, ours, null, target, role=role)


def label_deviation(finding: Finding) -> Floats:
    """Standard deviation of the labels of each component."""
    spread: Floats = finding.recovered.labels.std(1)
    return spread


def fresh_errors(finding: Finding) -> Floats:
    """Relative error of each component on newly born subjects, (components, groups)."""
    study, series = finding.record.study, finding.recovered.series
    problem = problem_of(study)
    keys = jax.random.split(named_key(study.seed, "fresh"), FRESH)
    rows = [
        _errors(problem, series[:k], component, keys).mean(0)
        for k, component in enumerate(series)
    ]
    return np.asarray(jnp.stack(rows), np.float64)


def null_errors(finding: Finding) -> Floats:
    """Relative error of first labellings of the null, (replicates, groups)."""
    first, *_ = _null(finding)
    problem = problem_of(finding.record.study)
    keys = jax.random.split(named_key(finding.record.study.seed, "fresh"), FRESH)
    one = partial(_errors, problem, (), keys=keys)
    return np.asarray(jax.lax.map(lambda c: one(c).mean(0), first), np.float64)


def null_labels_at(findings: Sequence[Finding], x: jax.Array) -> Floats:
    """Labels of stimuli by the nulls of all seeds, (replicates, components, n)."""
    each = [labels_of_each(f.record.study.labeller, _null(f), x) for f in findings]
    return np.concatenate([np.asarray(labels, np.float64) for labels in each])


def _null(finding: Finding) -> Series:
    """The null series that the finding was compared with."""
    return null_of(finding.record, finding.recovered.generations, len(finding.null))


@partial(jax.jit, static_argnums=0)
def _errors(
    problem: Problem, series: Series, component: Any, keys: jax.Array
) -> jax.Array:
    return jax.vmap(partial(problem.errors, series, component))(keys)[0]
