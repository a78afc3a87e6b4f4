"""Making a recovery certificate: plant, run the whole pipeline, judge."""

import contextlib
import dataclasses
import hashlib
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis import certificate_words as words
from analysis.certificate import Certificate, Nature, Searched, Settings
from analysis.certificate_judge import (
    LEVEL,
    SHARE,
    blank,
    judge,
    null_shares,
    outcome,
    planted,
    shares_of,
)
from analysis.certificate_results import (
    IN_PROCESS,
    OVER_SOCKETS,
    Asked,
    Result,
    Run,
    known_result,
    result_of,
    versions_of,
)
from analysis.certificate_studies import Simulated, simulated
from analysis.certificate_subjects import Bias, Raised, biases, natures, raise_all
from analysis.citations import analysed_with
from analysis.distance import distances_from_null, null_of
from analysis.page import number
from analysis.record import Record
from analysis.recovery import Floats, labels_at
from meta_learner.labelling import Series, freeze, labels_of_each
from meta_learner.spectrum import orders_of
from server.cluster import HERE, Where, run_jobs
from server.cost import costs
from server.events import StudyOpened
from server.hand_out import Failed
from server.study_file import Study, load
from simulated_subjects.planted_family import BIASES, Family
from simulated_subjects.planting import UPBRINGING
from simulated_subjects.upbringing import Upbringing

SUBJECTS, STUDIES = "subjects", "studies"
"""Folders of planted subjects and of simulated studies, in the certificate's."""

LOOKED_AT = ("order 1",)
"""What subjects are looked at for beside: it comes easily to many networks."""

_NULL_BATCH = 111
"""Searches without a learner at a time: bounds the memory."""

Show = Callable[[str, str, int, int], None]
"""Told of progress: of ``subjects`` or ``studies``, which one, done, of how many."""


class Wanted(NamedTuple):
    """How much is asked: studies of each bias and without any, and how they are run.

    ``subjects`` are different planted ones of each bias, which take turns;
    ``replicates`` searches without a learner: so many that the level of a test by them,
    which all studies share, is 5 % to within a standard deviation of 0.7 %. ``keep``
    leaves the journals.
    """

    studies: int = 6
    none: int = 20
    subjects: int = 2
    replicates: int = 999
    over_sockets: bool = False
    keep: bool = False
    upbringing: Upbringing = UPBRINGING


class Null(NamedTuple):
    """What searches without a learner find: of each bias, and of each order."""

    shares: dict[str, Floats]
    power: Floats


def certify(
    path: Path,
    out: Path,
    names: Sequence[str],
    strict: bool,
    wanted: Wanted,
    run: Run,
    show: Show,
    date: str,
    at: Where = HERE,
) -> Certificate:
    """Certify a study file; what is in the folder ``out`` already is not done again.

    ``names`` are biases, or absolute paths of CSV files; ``strict`` refuses one that
    the study's space does not have. Studies are run ``at`` workers that see the folder
    ``out``. Raises ``ValueError`` or ``OSError`` where the
    study cannot be simulated, or nothing can be planted.
    """
    path, out = path.absolute(), out.absolute()
    study = load(path)
    if wanted.over_sockets:
        study.check_sessions()
    with contextlib.chdir(path.parent):  # where the study's table is
        there, left_out = biases(names, study, strict)
        families = {bias.name: own for bias, own in there.items()}
        others, _ = biases([*BIASES, *LOOKED_AT], study, False, beside=there)
        raised = _raised(list(there), study, out / SUBJECTS, wanted, show)
    # What was run in the one way is never gone on with, or judged, in the other.
    where = out / (f"{STUDIES}-over-sockets" if wanted.over_sockets else STUDIES)
    every = _simulated(study, path.parent, where, list(there), raised, wanted)
    how = OVER_SOCKETS if wanted.over_sockets else IN_PROCESS
    asked = Asked(how, versions_of(study), wanted.keep)
    results = _results(every, study, where, asked, run, show, at)
    show(STUDIES, "searches without a learner", -1, -1)
    null = _null(study, families, wanted.replicates)
    searched = [
        _searched(one, result, study, families, null)
        for one, result in zip(every, results, strict=True)
    ]
    looked_at = natures(raised, {b.name: own for b, own in others.items()}, study)
    return _certificate(
        path, study, wanted, results, searched, null, looked_at, left_out, date
    )


def _raised(
    wanted_biases: list[Bias], study: Study, folder: Path, wanted: Wanted, show: Show
) -> list[Raised]:
    total, raised = len(wanted_biases) * wanted.subjects, []
    show(SUBJECTS, "", 0, total)
    for one in raise_all(
        wanted_biases, study, folder, wanted.subjects, wanted.upbringing
    ):
        raised.append(one)
        show(SUBJECTS, one.bias, len(raised), total)
    return raised


def _simulated(
    study: Study,
    folder: Path,
    where: Path,
    wanted_biases: Iterable[Bias],
    raised: Sequence[Raised],
    wanted: Wanted,
) -> list[Simulated]:
    """The simulated studies, those without a bias last."""
    every = []
    for bias in wanted_biases:
        own = [one.path for one in raised if one.bias == bias.name]
        for i in range(wanted.studies):
            subject = own[i % len(own)]
            every.append(simulated(study, folder, where, bias.name, i + 1, subject))
    blank = range(1, wanted.none + 1)
    return [
        *every,
        *(simulated(study, folder, where, None, i, None) for i in blank),
    ]


def _results(
    every: Sequence[Simulated],
    study: Study,
    folder: Path,
    wanted: Asked,
    run: Run,
    show: Show,
    at: Where,
) -> list[Result]:
    """Run what has not been run, and tell of the whole."""
    each = max(study.sessions, 1)
    total = len(every) * each
    results = [known_result(one, folder, wanted) for one in every]
    missing = [number for number, result in enumerate(results) if result is None]
    done = len(every) - len(missing)
    show(STUDIES, "", done * each, total)

    def here(task: _Task) -> Result:
        def progress(summary: Mapping[str, Any]) -> None:
            so_far = min(int(summary["sessions_ended"]), each)
            show(STUDIES, task.one.name, done * each + so_far, total)

        show(STUDIES, task.one.name, done * each, total)
        return result_of(*task, progress)

    failed = dict[str, str]()
    tasks = [_Task(every[number], folder, wanted, run) for number in missing]
    found = run_jobs(
        here if at.here else _run_elsewhere,
        tasks,
        at,
        [task.one.name for task in tasks],
        lambda what: show(STUDIES, what, -1, -1),
    )
    with contextlib.closing(found):
        for number, result in found:
            name = tasks[number].one.name
            if isinstance(result, Failed):
                failed[name] = result.why
                continue
            results[missing[number]] = result
            done += 1
            show(STUDIES, name, done * each, total)
    if failed:
        told = "\n  ".join(f"{name}: {why}" for name, why in failed.items())
        raise ValueError(
            f"{len(failed)} of the simulated studies failed, the others are kept; the "
            f"same command tries them again:\n  {told}"
        )
    show(STUDIES, "", total, total)
    return [result for result in results if result is not None]


class _Task(NamedTuple):
    """A simulated study, and how it is run."""

    one: Simulated
    folder: Path
    asked: Asked
    run: Run


def _run_elsewhere(task: _Task) -> Result:
    """What workers run: a study whose files, and journal, are where we put them."""
    if not (task.folder / f"{task.one.name}.toml").exists():
        raise ValueError(
            f"the worker on {socket.gethostname()} does not see {task.folder}, where "
            "the simulated studies lie: give an --out that all computers share, or "
            "leave the scheduler out"
        )
    return result_of(*task, lambda _: None)


def _null(study: Study, families: Mapping[str, Family], replicates: int) -> Null:
    """What the study's pipeline finds without a learner: the same for any subject."""
    opened = StudyOpened(study.text, study.sha256, "dry-run", False, {})
    generations = (study.file.search.generations,) * study.file.study.components
    orders = orders_of(study.labeller.space)
    parts = []
    for begun in range(0, replicates, _NULL_BATCH):
        record = Record(_reseeded(study, begun), opened, ())
        n = min(_NULL_BATCH, replicates - begun)
        series = null_of(record, generations, n)
        labels = np.asarray(
            labels_of_each(study.labeller, series, orders.x), np.float64
        )
        shares = null_shares(study.labeller, series, families)
        parts.append(Null(shares, orders.power(labels)))
    return Null(
        {
            name: np.concatenate([part.shares[name] for part in parts])
            for name in families
        },
        np.concatenate([part.power for part in parts]),
    )


def _reseeded(study: Study, by: int) -> Study:
    """The study with another seed, for another batch of the same null."""
    other = copy(study)
    section = study.file.study.model_copy(update={"seed": (study.seed + by) % 2**31})
    other.file = study.file.model_copy(update={"study": section})
    return other


def _searched(
    one: Simulated,
    result: Result,
    study: Study,
    families: Mapping[str, Family],
    null: Null,
) -> Searched:
    """A simulated study, judged."""
    labeller, series = study.labeller, _series(study, result.theta)
    judged = judge(shares_of(labeller, series, families), null.shares)
    orders = orders_of(labeller.space)
    power = orders.power(labels_at(labeller, series, orders.x))
    first = distances_from_null(power, null.power, orders.names)[0]
    return Searched.model_validate(
        {
            "name": one.name,
            "bias": one.bias,
            "subject": one.subject and one.subject.name,
            "seed": one.seed,
            "sha256": result.sha256,
            "sessions": result.sessions,
            "shares": {
                bias: [number(share) for share in own]
                for bias, own in judged.shares.items()
            },
            "p_values": {bias: number(p) for bias, p in judged.p_values.items()},
            "found": judged.found,
            "found_later": judged.found_later,
            "outcome": outcome(one.bias, judged.found),
            "leading_order": first.order,
            "beyond_null": first.beyond,
            "confirmed": result.confirmed,
        }
    )


def _series(study: Study, theta: Sequence[Sequence[float]]) -> Series:
    series: Series = ()
    for one in theta:
        vector: jax.Array = jnp.asarray(np.array(one, np.float32))
        series = (*series, freeze(study.labeller, series, vector))
    return series


def _certificate(
    path: Path,
    study: Study,
    wanted: Wanted,
    results: Sequence[Result],
    searched: list[Searched],
    null: Null,
    looked_at: list[Nature],
    left_out: dict[str, str],
    date: str,
) -> Certificate:
    found = [planted(bias, searched, null.shares) for bias in null.shares]
    without = blank(searched)
    responses: Any = study.responses
    noise = {
        "response": study.design.response,
        **dataclasses.asdict(responses),
        "label_noise": words.label_noise(study),
    }
    return Certificate(
        study=study.name,
        file=path.name,
        file_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        sha256=study.sha256,
        date=date,
        how=results[0].how,  # results of which this differs are not kept
        seed=study.seed,
        training_stimuli=study.design.training_stimuli,
        verdict=words.verdict(found, without),
        cautions=words.cautions(study, found, without, looked_at),
        planted=found,
        none=without,
        left_out=left_out,
        natures=looked_at,
        studies=searched,
        settings=Settings(
            studies_per_bias=wanted.studies,
            studies_without_bias=wanted.none,
            subjects_per_bias=wanted.subjects,
            null_replicates=wanted.replicates,
            least_share=SHARE,
            level=LEVEL,
            upbringing=wanted.upbringing._asdict(),
        ),
        budget=dict(costs(study)),
        noise=noise,
        methods=words.methods(study, wanted.replicates, looked_at),
        limits=words.limits(study),
        versions=results[0].versions | analysed_with(),
        study_file=study.text,
    )
