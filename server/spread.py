"""Simulated studies as jobs, and what they found as one Parquet data set."""

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from filelock import FileLock, Timeout

from server.cluster import HERE, Where, run_jobs
from server.data_set import (
    FAILED,
    JOB,
    begin,
    content_key,
    forget_failures,
    keep_contents,
    keep_failure,
    rows_of,
    write_part,
)
from server.hand_out import Failed
from server.study_file import Study, StudyFileError

Row = dict[str, Any]
"""A row of the data set: numbers and text by column."""

Function = Callable[[Sequence[Mapping[str, Any]]], Sequence[Sequence[Row]]]
"""Runs jobs that were handed over together: the rows of each, from its ``about``."""

Show = Callable[[int, int, str], None]
"""Told of jobs done, of how many, and what happens."""

_LOCK = "_lock"


@dataclass(frozen=True)
class Job:
    """What is run: ``about`` is all that its rows depend on, as JSON.

    Jobs of one ``kind`` share a compiled program, and may be handed over together.
    ``name`` is for people. ``contents`` is a hash of all that rows of its ``setting``
    depend on, files too: those of one setting in a data set have the same.
    """

    name: str
    about: Mapping[str, Any]
    kind: str = ""
    setting: str = ""
    contents: str = ""

    @cached_property
    def key(self) -> str:
        """Hash of ``about``."""
        return content_key(self.about)


class Spread(NamedTuple):
    """Rows of the jobs asked for, in their order, and jobs that failed, by name.

    ``traces`` is the folder with a file for each of these, if it is kept.
    """

    rows: pd.DataFrame
    failed: dict[str, Failed]
    traces: Path | None = None

    def check(self) -> None:
        """Raise :class:`FailedError` if any job failed."""
        if self.failed:
            told = "\n  ".join(f"{k}: {v.why}" for k, v in self.failed.items())
            raise FailedError(
                f"{len(self.failed)} of the jobs failed, the others are kept; the same "
                f"command tries them again:\n  {told}"
                + (f"\ntracebacks: {self.traces}" if self.traces else "")
            )


class FailedError(ValueError):
    """Jobs that failed, by name, and why."""


def study_from(text: str, sha256: str, folder: str | None) -> Study:
    """A study in a worker, from its text, and the files that it names.

    They are looked for in ``folder``, if the worker has it. Raises
    :class:`StudyFileError` where they are missing, or differ from those of ``sha256``.
    """
    there = folder if folder and Path(folder).is_dir() else "."
    with contextlib.chdir(there):
        study = Study(text)
    if study.sha256 != sha256:
        raise StudyFileError(
            f"study {study.name}: the files that it names differ on "
            f"{socket.gethostname()}: expected the same in {Path(there).absolute()}"
        )
    return study


def spread(
    function: Function,
    jobs: Sequence[Job],
    question: Mapping[str, Any],
    out: Path | None = None,
    where: Where = HERE,
    together: int = 1,
    show: Show = lambda *_: None,
) -> Spread:
    """Run the jobs that the data set ``out`` does not hold yet; without one, all.

    ``question`` is what all rows have in common; versions are added to it. At most
    ``together`` jobs of a kind are handed over at once, and make a part. Raises
    :class:`server.data_set.OtherQuestionError` for a folder with rows of another
    question, ``OSError`` for one that cannot be written or that another run is writing,
    and :class:`server.hand_out.ClusterError`. Jobs that fail are told, and tried again
    by the next run.
    """
    if out is None:
        return _spread(function, jobs, None, where, together, show)
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / _LOCK)
    try:
        with lock.acquire(timeout=0):
            begin(out, question, _contents(jobs))
            return _spread(function, jobs, out, where, together, show)
    except Timeout as error:
        raise OSError(
            f"another run is writing {out}: wait for it, or give another --out"
        ) from error


def _spread(
    function: Function,
    jobs: Sequence[Job],
    out: Path | None,
    where: Where,
    together: int,
    show: Show,
) -> Spread:
    wanted = {job.key: number for number, job in enumerate(jobs)}
    had = rows_of(out)
    known = had[had[JOB].isin(list(wanted))] if len(had) else had
    there = set(known[JOB]) if len(known) else set()
    lots = list(_lots([job for job in jobs if job.key not in there], together))
    done, failed = len(there), dict[str, Failed]()
    tables = [known]
    if out is not None:
        forget_failures(out, had[JOB])
    show(done, len(jobs), "")
    results = run_jobs(
        function,
        [[job.about for job in lot] for lot in lots],
        where,
        [lot[0].name for lot in lots],
        lambda what: show(done, len(jobs), what),
    )
    with contextlib.closing(results):
        for number, found in results:
            lot = lots[number]
            if isinstance(found, Failed):
                failed |= dict.fromkeys((job.name for job in lot), found)
                if out is not None:
                    _keep(lot, found, out)
                show(done, len(jobs), f"{lot[0].name} failed: {found.why}")
                continue
            table = _table(lot, found)
            if out is not None:
                keep_contents(out, _contents(lot))
                write_part(table, out)
                forget_failures(out, table[JOB])
            tables.append(table)
            done += len(lot)
            show(done, len(jobs), lot[-1].name)
    rows = pd.concat([t for t in tables if len(t)] or tables, ignore_index=True)
    if len(rows):
        order = rows[JOB].map(wanted)
        rows = rows.iloc[order.argsort(kind="stable")].reset_index(drop=True)
    return Spread(rows, failed, out and out / FAILED)


def _lots(jobs: Iterable[Job], together: int) -> Iterator[list[Job]]:
    """Jobs that are handed over at once: neighbours of one kind."""
    for _, alike in groupby(jobs, lambda job: job.kind):
        while lot := list(islice(alike, together)):
            yield lot


def _contents(jobs: Iterable[Job]) -> dict[str, str]:
    return {job.setting: job.contents for job in jobs if job.setting}


def _keep(lot: Sequence[Job], found: Failed, out: Path) -> None:
    for job in lot:
        keep_failure(out, job.key, f"{job.name}\n{found.why}\n\n{found.trace}")


def _table(lot: Sequence[Job], found: Sequence[Sequence[Row]]) -> pd.DataFrame:
    rows = [
        {JOB: job.key, **row}
        for job, own in zip(lot, found, strict=True)
        for row in own
    ]
    return pd.DataFrame(rows)
