"""Power analysis by simulation: how many sessions a study of a subject will need.

Many studies by the subject model, or by the study's own search, for each split of a
session's trials between training and test, of the subject that the study file declares.
How near they come to the truth is measured twice: by the overlap of the recovered
components with those of a model that saw very many noiseless sessions, and, without any
model, by how much worse fresh individuals generalise the recovered components (regret).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from meta_learner.adaptive_design import training_sizes
from meta_learner.assignment import Design, named_key
from meta_learner.reference import overlap_with
from server.cluster import HERE, Where
from server.data_set import content_key
from server.plan_by_model import recovered_by_model
from server.plan_by_search import generations_of, recovered_by_search, sessions_of
from server.plan_truth import Truth, check, error_of, model_of, truth_of
from server.simulated_study import Simulation
from server.spread import Job, Row, Show, spread
from server.study_file import Study
from server.whole_studies import recipe_of

TRAINING = (4, 6, 10, 20, 30)
"""Numbers of training stimuli looked at, of those that leave a third to the test."""

_TOGETHER = {False: 4, True: 32}
"""Studies of a block, by the subject model and by their own search.

Few, so that workers share a split, and always as many, so that a study comes out the
same whatever else is asked.
"""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What is asked of a plan: see the options of ``penchant plan``.

    With ``own_search`` of the study's own, an evolution strategy, and not of the
    subject model; sessions are then asked a generation at a time, not by ``batch``.
    """

    overlap: float = 0.9
    probability: float = 0.8
    lost: float = 0.0
    studies: int = 16
    sessions: int = 120
    batch: int = 4
    own_search: bool = False


@dataclass(frozen=True)
class Split:
    """Sessions of one design; ``fixed`` trains with all of its training stimuli."""

    design: Design
    fixed: bool = True

    @property
    def name(self) -> str:
        """Training and test stimuli, in words."""
        n, m = self.design.training_stimuli, self.design.test_stimuli
        least = training_sizes(self.design)[0]
        return f"{n} + {m}" if self.fixed or least == n else f"{least}-{n} + {m}"


@dataclass(frozen=True)
class Course:
    """What the simulated studies of one split reached.

    ``overlap`` (steps, studies) after so many ``sessions`` (steps,); ``regret``
    (studies,) at the study's own budget.
    """

    split: Split
    sessions: NDArray[np.int64]
    overlap: Floats
    regret: Floats

    def share(self, wanted: float) -> Floats:
        """Of studies with the ``wanted`` overlap at each step, ``(steps,)``."""
        share: Floats = np.mean(self.overlap >= wanted, axis=1)
        return share

    def interval(self, wanted: float) -> Floats:
        """Wilson's 95 % interval of the probability of it, ``(steps, 2)``."""
        studies = self.overlap.shape[1]
        reached = np.sum(self.overlap >= wanted, axis=1)
        each = [
            binomtest(int(k), studies).proportion_ci(method="wilson") for k in reached
        ]
        return np.array([(one.low, one.high) for one in each])


@dataclass(frozen=True)
class Power:
    """A plan: ``budget`` are the study's own sessions, or the most looked at.

    ``best_error`` is the relative error of the true components on fresh individuals.
    """

    question: Question
    courses: list[Course]
    budget: int
    best_error: float


def splits(study: Study, trials: int, training: Sequence[int] = ()) -> list[Split]:
    """Ways to split ``trials``: fixed ones, then the adaptive choice.

    Fixed numbers of ``training`` stimuli, by default those of :data:`TRAINING` that
    leave a third of the trials to the test, and the study's own. Repeats stay as in
    the study. Raises ``ValueError`` for one that leaves fewer than two test stimuli.
    """
    design = study.design

    def divided(n: int) -> Design:
        left = trials - n * design.training_repeats
        tested = left // design.test_repeats
        if tested < 2:
            raise ValueError(
                f"{n} training stimuli leave {max(left, 0)} of {trials} trials to the "
                f"test: expected {2 * design.test_repeats} or more"
            )
        return replace(design, training_stimuli=n, test_stimuli=tested)

    most = 2 * trials // 3 // design.training_repeats
    # As many of other trials as in the study's own.
    whole = design.training_trials + design.test_trials
    own = max(1, round(design.training_stimuli * trials / whole))
    fixed = training or {n for n in TRAINING if n <= most} | {own}
    each = [Split(divided(n)) for n in sorted(set(fixed))]
    return [*each, Split(divided(own), fixed=False)]


def plan(
    study: Study,
    question: Question,
    asked: Sequence[Split],
    show: Show = lambda *_: None,
    where: Where = HERE,
    out: Path | None = None,
    folder: Path | None = None,
) -> Power:
    """Simulate the studies of every split; minutes on a few cores.

    Blocks of studies are jobs, run ``where`` is said, and kept as a data set in a
    folder of their own in ``out``: asked again, only what is missing is run. Paths in
    the study file are relative to ``folder``. Raises ``ValueError`` for more components
    than the model has functions, for an own search that is no evolution strategy, or
    where jobs failed, and :class:`StudyFileError` where there is nobody to simulate.
    """
    check(study)
    model_of(study)
    if question.own_search:
        recipe_of(study)
    of_all = {
        "study": study.text,
        "sha256": study.sha256,
        "sessions": question.sessions,
        "batch": question.batch,
        "lost": question.lost,
        "own_search": question.own_search,
        "room": [
            max(split.design.training_stimuli for split in asked),
            max(split.design.test_trials for split in asked),
        ],
    }
    together = _TOGETHER[question.own_search]
    jobs = [
        Job(f"{split.name}, studies {first + 1} to {first + together}", about)
        for split in asked
        for first in range(0, question.studies, together)
        for about in [{**of_all, "split": _as_json(split), "first": first}]
    ]
    # A folder for each question: another one is not mixed in, and not in the way.
    data = out and out / f"studies-{content_key(of_all)[:8]}"
    function = partial(run_block, str(folder) if folder else None)
    found = spread(function, jobs, of_all, data, where, show=show)
    found.check()
    rows = found.rows[found.rows["study"] < question.studies]
    budget = _budget(study, _steps(study, of_all))
    courses = [_course(split, rows, budget) for split in asked]
    return Power(question, courses, budget, float(rows["best_error"].iloc[0]))


def run_block(folder: str | None, jobs: Sequence[Mapping[str, Any]]) -> list[list[Row]]:
    """Rows of blocks of studies: one a study and step. What workers run."""
    return [_block(_Asked(**about), folder) for about in jobs]


class _Asked(NamedTuple):
    """What a block of studies depends on, as JSON."""

    study: str
    sha256: str
    sessions: int
    batch: int
    lost: float
    own_search: bool
    room: list[int]
    split: dict[str, Any]
    first: int


def _block(asked: _Asked, folder: str | None) -> list[Row]:
    truth = truth_of(asked.study, asked.sha256, folder)
    split = _from_json(truth.study, asked.split)
    numbers = range(asked.first, asked.first + _TOGETHER[asked.own_search])
    budget = _budget(truth.study, _steps(truth.study, asked._asdict()))
    of_split = {
        "split": split.name,
        "fixed": split.fixed,
        "training": split.design.training_stimuli,
        "test": split.design.test_stimuli,
    }
    table = []
    for done, found in _recovered(truth, asked, split, numbers):
        for number, rows in zip(numbers, found, strict=True):
            regret = float("nan")
            if done == budget:
                regret = error_of(truth.study, truth.model, rows) - truth.best_error
            reached = {
                "study": number,
                "sessions": done,
                "overlap": float(overlap_with(truth.components, rows)),
                "regret": regret,
                "best_error": truth.best_error,
            }
            table.append(of_split | reached)
    return table


def _recovered(
    truth: Truth, asked: _Asked, split: Split, numbers: Sequence[int]
) -> Iterator[tuple[int, Floats]]:
    """Sessions done and components recovered by the studies with these numbers.

    Arrays ``(studies, components, functions - 1)`` after each of the milestones. Here,
    and nowhere else, it is chosen how the studies of a split are run.
    """
    study, steps = truth.study, _steps(truth.study, asked._asdict())
    if asked.own_search:
        looked = generations_of(study, asked.sessions, asked.lost)
        of_search = study, truth.model, split.design, looked, numbers
        return zip(steps, recovered_by_search(*of_search), strict=True)
    simulation = Simulation(
        truth.model,
        split.design,
        check(study),
        study.responses,
        steps[-1],
        asked.batch,
        asked.lost,
        split.fixed,
    )
    trained, tested = asked.room
    k, key = study.file.study.components, named_key(study.seed, "plan")
    return recovered_by_model(simulation, steps, numbers, k, (trained, tested), key)


def _steps(study: Study, asked: Mapping[str, Any]) -> list[int]:
    """Sessions after which studies are looked at."""
    if not asked["own_search"]:
        return milestones(asked["batch"], asked["sessions"])
    looked = generations_of(study, asked["sessions"], asked["lost"])
    return [sessions_of(study, generations, asked["lost"]) for generations in looked]


def _course(split: Split, rows: pd.DataFrame, budget: int) -> Course:
    design = split.design
    own = rows[
        (rows["training"] == design.training_stimuli)
        & (rows["test"] == design.test_stimuli)
        & (rows["fixed"] == split.fixed)
    ]
    overlap = own.pivot_table("overlap", "sessions", "study")
    at_budget = own[own["sessions"] == budget].sort_values("study")
    return Course(
        split,
        overlap.index.to_numpy(np.int64),
        overlap.to_numpy(np.float64),
        at_budget["regret"].to_numpy(np.float64),
    )


def _budget(study: Study, steps: Sequence[int]) -> int:
    """The study's own sessions, or the last step before them."""
    return max((s for s in steps if s <= study.exploring_sessions), default=steps[0])


def _as_json(split: Split) -> dict[str, Any]:
    design = split.design
    sizes = design.training_stimuli, design.test_stimuli
    return {"training": sizes[0], "test": sizes[1], "fixed": split.fixed}


def _from_json(study: Study, split: Mapping[str, Any]) -> Split:
    sizes = {"training_stimuli": split["training"], "test_stimuli": split["test"]}
    return Split(replace(study.design, **sizes), split["fixed"])


def milestones(batch: int, most: int) -> list[int]:
    """Sessions after which the model is fitted: every batch, then ever more rarely.

    A study itself learns after every batch, so that a plan errs on the safe side.
    """
    done, most = [0], max(most // batch, 1) * batch
    while done[-1] < most:
        step = max(1, done[-1] // 2 // batch) * batch
        done.append(min(done[-1] + step, most))
    return done[1:]


def sessions_needed(
    sessions: NDArray[np.int64], share: Floats, probability: float
) -> float:
    """Sessions from which on ``share`` (steps,) stays at ``probability`` or above.

    Between steps by a straight line; NaN if that is not reached.
    """
    below = np.flatnonzero(share < probability)
    if not len(below):
        return float(sessions[0])
    i = below[-1]
    if i == len(share) - 1:
        return float("nan")
    pair = slice(i, i + 2)
    return float(np.ceil(np.interp(probability, share[pair], sessions[pair]) - 1e-9))
