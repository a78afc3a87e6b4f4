"""Simulated studies as jobs, and what they found as one Parquet data set.

A data set is a folder: a part for each lot of jobs, written under another name and
moved, so that a kill leaves whole parts alone; and ``_question.json``, what all of its
rows have in common. ``pandas.read_parquet`` reads the folder.
"""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from filelock import FileLock, Timeout

from server.cluster import HERE, Failed, Where, run_jobs, versions
from server.study_file import Study, StudyFileError

Row = dict[str, Any]
"""A row of the data set: numbers and text by column."""

Function = Callable[[Sequence[Mapping[str, Any]]], Sequence[Sequence[Row]]]
"""Runs jobs that were handed over together: the rows of each, from its ``about``."""

Show = Callable[[int, int, str], None]
"""Told of jobs done, of how many, and what happens."""

JOB = "job"
"""Column with the key of the job that a row is of."""

QUESTION = "_question.json"
_LOCK = "_lock"


@dataclass(frozen=True)
class Job:
    """What is run: ``about`` is all that its rows depend on, as JSON.

    Jobs of one ``kind`` share a compiled program, and may be handed over together.
    ``name`` is for people.
    """

    name: str
    about: Mapping[str, Any]
    kind: str = ""

    @cached_property
    def key(self) -> str:
        """Hash of ``about``."""
        return content_key(self.about)


class Spread(NamedTuple):
    """Rows of the jobs asked for, in their order, and jobs that failed, by name."""

    rows: pd.DataFrame
    failed: dict[str, Failed]

    def check(self) -> None:
        """Raise :class:`FailedError` if any job failed."""
        if self.failed:
            told = "\n  ".join(f"{k}: {v.why}" for k, v in self.failed.items())
            raise FailedError(
                f"{len(self.failed)} of the jobs failed, the others are kept; the same "
                f"command tries them again:\n  {told}"
            )


class FailedError(ValueError):
    """Jobs that failed, by name, and why."""


class OtherQuestionError(ValueError):
    """The folder holds rows of another question."""


def content_key(about: Any) -> str:
    """A hash of JSON, whatever the order of its keys."""
    text = json.dumps(about, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


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
    :class:`OtherQuestionError` for a folder with rows of another question, ``OSError``
    for one that cannot be written or that another run is writing, and
    :class:`server.cluster.ClusterError`. Jobs that fail are told, and tried again by
    the next run.
    """
    if out is None:
        return _spread(function, jobs, None, where, together, show)
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / _LOCK)
    try:
        with lock.acquire(timeout=0):
            _begin(out, question)
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
    had = _done(out)
    known = had[had[JOB].isin(list(wanted))] if len(had) else had
    there = set(known[JOB]) if len(known) else set()
    lots = list(_lots([job for job in jobs if job.key not in there], together))
    done, failed = len(there), dict[str, Failed]()
    tables = [known]
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
                show(done, len(jobs), f"{lot[0].name} failed: {found.why}")
                continue
            table = _table(lot, found)
            if out is not None:
                _write(table, out)
            tables.append(table)
            done += len(lot)
            show(done, len(jobs), lot[-1].name)
    rows = pd.concat([t for t in tables if len(t)] or tables, ignore_index=True)
    if len(rows):
        order = rows[JOB].map(wanted)
        rows = rows.iloc[order.argsort(kind="stable")].reset_index(drop=True)
    return Spread(rows, failed)


def _lots(jobs: Iterable[Job], together: int) -> Iterator[list[Job]]:
    """Jobs that are handed over at once: neighbours of one kind."""
    for _, alike in groupby(jobs, lambda job: job.kind):
        while lot := list(islice(alike, together)):
            yield lot


def _begin(out: Path, question: Mapping[str, Any]) -> None:
    """Write the question down, or compare it with what is written."""
    asked = json.loads(json.dumps({**question, "versions": versions()}))
    path = out / QUESTION
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(out.glob("*.parquet")):
            raise OtherQuestionError(
                f"{out} holds Parquet files of something else: give another --out"
            ) from None
        _whole(path, lambda name: name.write_text(json.dumps(asked, indent=2) + "\n"))
        return
    except ValueError as error:
        raise OtherQuestionError(
            f"{path} cannot be read ({error}): mend it, or give another --out"
        ) from error
    if differing := sorted(k for k in {*asked, *held} if asked.get(k) != held.get(k)):
        told = "; ".join(_differing(k, held.get(k), asked.get(k)) for k in differing)
        raise OtherQuestionError(
            f"{out} holds rows of another question ({told}), and they are not mixed: "
            "give another --out, or remove the folder"
        )


def _differing(name: str, held: Any, asked: Any) -> str:
    if isinstance(held, dict) and isinstance(asked, dict):
        name, held, asked = next(
            (f"{name}.{k}", held.get(k), asked.get(k))
            for k in {**held, **asked}
            if held.get(k) != asked.get(k)
        )
    before, now = (json.dumps(value)[:60] for value in (held, asked))
    return f"{name} was {before}, is {now}"


def _done(out: Path | None) -> pd.DataFrame:
    """The rows that are there already."""
    if out is None or not any(out.glob("*.parquet")):
        return pd.DataFrame({JOB: pd.Series(dtype="str")})
    try:
        return pd.read_parquet(out)
    except (OSError, ValueError):
        for part in sorted(out.glob("*.parquet")):
            _check_part(part)
        raise


def _check_part(part: Path) -> None:
    try:
        pd.read_parquet(part)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{part} cannot be read ({error}): remove it, and what it held is run again"
        ) from error


def _table(lot: Sequence[Job], found: Sequence[Sequence[Row]]) -> pd.DataFrame:
    rows = [
        {JOB: job.key, **row}
        for job, own in zip(lot, found, strict=True)
        for row in own
    ]
    return pd.DataFrame(rows)


def _write(table: pd.DataFrame, out: Path) -> None:
    """A part, named by what it holds."""
    name = content_key(list(dict.fromkeys(table[JOB])))
    _whole(out / f"{name}.parquet", lambda path: table.to_parquet(path, index=False))


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """A file that is there as a whole or not at all, on the disk before it counts."""
    begun = path.with_name(f"_{path.name}.begun")  # Parquet readers pass it over
    write(begun)
    with begun.open("rb+") as file:
        os.fsync(file.fileno())
    begun.replace(path)
