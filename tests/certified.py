"""Certificates for tests: a study and subjects so small that one takes seconds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from small_study import study_text, write_study

from analysis.certificate import Certificate, Nature, Searched
from analysis.certificate_judge import Floats, blank, judge, outcome, planted
from analysis.certificate_run import Wanted, certify
from penchant import runner
from server.dry_run import dry_run
from server.journal import Journal
from server.study_file import load
from simulated_subjects.perceptron import Perceptron
from simulated_subjects.planting import Subject
from simulated_subjects.procedure import Parts, Rule, born
from stimuli.space import StimulusSpace

BIAS = "order 2 harmonics"
TEXT = (
    study_text()
    .replace('family = "linear"', 'family = "basis"\ndegree = 2')
    .replace("population = 4", 'method = "SNES"\npopulation = 4')
)
DATE = "2026-01-31"

IN_PROCESS = runner(over_sockets=False)


def plant_cheaply(
    bias: str, space: StimulusSpace, training: int, seed: int, *_: Any
) -> Subject:
    """A subject in place of a planted one: not brought up at all."""
    del training
    features = len(space.features)
    rule, network = Rule(Parts(), 1, 0.05), Perceptron(features, (4,))
    procedure = born(rule, network, jax.random.key(seed))
    about = {"bias": bias, "seed": str(seed)}
    return Subject(rule, network, procedure, jnp.zeros((0, features)), about)


def untaught_cheaply(features: int) -> Subject:
    """In place of an untaught one: the same, so that both compile at once."""
    rule, network = Rule(Parts(), 1, 0.05), Perceptron(features, (4,))
    procedure = born(rule, network, jax.random.key(0))
    return Subject(rule, network, procedure, jnp.zeros((0, features)), {})


class Runner:
    """Runs studies in process, as the command line does, and notes which."""

    def __init__(self, dies_at: int | None = None) -> None:
        """Killed in the study with the number ``dies_at``."""
        self.ran: list[str] = []
        self.dies_at = dies_at

    def __call__(
        self, study: Path, journal: str, progress: Callable[[dict[str, Any]], None]
    ) -> None:
        """Run one study."""
        if len(self.ran) == self.dies_at:
            loaded = load(study)
            opened = Journal(journal, loaded.name)
            dry_run(loaded, opened, progress, 1)
            opened.close()
            raise KeyboardInterrupt
        IN_PROCESS(study, journal, progress)
        self.ran.append(study.stem)


def certified(
    folder: Path,
    runner: Runner,
    text: str = TEXT,
    none: int = 1,
    names: Sequence[str] = (BIAS,),
    strict: bool = True,
    replicates: int = 19,
) -> Certificate:
    """A certificate of a study file in a folder, beside it in ``small-certificate``."""
    return certify(
        write_study(folder, text),
        folder / "small-certificate",
        names,
        strict,
        Wanted(studies=1, none=none, subjects=1, replicates=replicates),
        runner,
        lambda *_: None,
        DATE,
    )


def judged(bias: str | None, shares: dict[str, float], null: dict[str, Floats]) -> Any:
    """A simulated study with so much of each bias in its only component."""
    own = {name: np.array([share]) for name, share in shares.items()}
    found = judge(own, null)
    return Searched(
        name="one",
        bias=bias,
        subject=None,
        seed=1,
        sha256="0" * 64,
        sessions=8,
        shares={name: [share] for name, share in shares.items()},
        p_values=found.p_values,
        found=found.found,
        found_later=found.found_later,
        outcome=outcome(bias, found.found),  # type: ignore[arg-type]
        leading_order="1",
        beyond_null=bool(found.found),
        confirmed=None,
    )


def made_up(
    studies: list[Searched], null: dict[str, Floats]
) -> tuple[list[Any], Any, list[Nature]]:
    """What is said of studies: of each bias, of none, and subjects that took it."""
    natures = [
        Nature(
            subject=f"{bias}.safetensors",
            bias=bias,
            seed=1,
            sha256="0" * 64,
            errors={other: 0.1 if other == bias else 0.9 for other in null},
        )
        for bias in null
    ]
    return [planted(bias, studies, null) for bias in null], blank(studies), natures


def made_up_of_nothing() -> tuple[list[Any], Any]:
    """What is said of a study of one bias that finds nothing."""
    null = {BIAS: np.zeros((19, 1))}
    studies = [judged(bias, {BIAS: 0.0}, null) for bias in (BIAS, None)]
    found, none, _ = made_up(studies, null)
    return found, none
