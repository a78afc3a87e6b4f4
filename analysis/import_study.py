"""A table of trials as a study of its own in a journal."""

import re
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import insert

from analysis.imported_space import as_toml, places, section_of, stimulus_table
from analysis.problem import Problem
from analysis.trials_table import TrialsTable
from server.database import JournalError, failures
from server.events import Fact, Responded, SessionOpened, to_row
from server.journal import Journal
from server.schema import events
from server.session import Session, apply_responded, finish
from server.steps import opening
from server.study import IMPORTED
from server.study_file import Study
from stimuli.space import StimulusSpace
from stimuli.table import Table

Floats = NDArray[np.float64]

_BATCH = 500
_SMALLEST = {"training_stimuli": 1, "test_stimuli": 2, "test_repeats": 1}


@dataclass(frozen=True)
class Imported:
    """What became of a table: the study, its numbers, and what was not taken."""

    study: str
    trials: int
    sessions: int
    subjects: int
    notes: list[str]
    problems: list[Problem]


def import_trials(
    table: TrialsTable,
    out: str | Path,
    name: str,
    space: str | None = None,
    strict: bool = False,
) -> Imported:
    """Write a table's trials as study ``name`` into the journal ``out``.

    ``space`` is as in :func:`analysis.imported_space.section_of`; without one a
    stimulus table is made of what was shown, beside the journal. Errors are computed
    as the server does, of the same trials. Raises ``ValueError`` where nothing can be
    imported, or with ``strict`` where a row cannot; ``JournalError`` for a journal
    that holds the study already.
    """
    folder = Path.cwd() if "://" in str(out) else Path(out).absolute().parent
    section, beside, ids = section_of(space, folder), None, None
    if section is None:
        beside = folder / f"{name}-stimuli.csv"
        text, ids = stimulus_table(table)
        _write_beside(beside, text)
        section = {"space": "table", "path": beside.name}
    try:
        with chdir(folder):
            # Once to learn the space, and again with the sizes of its sessions.
            draft = Study(_study_text(name, section, table, _SMALLEST))
            x, outside = places(draft.labeller.space, table, ids)
            problems = [*table.problems, *outside]
            if strict and problems:
                raise ValueError(_refusal(problems))
            sessions, more = _sessions(table, x)
            problems += more
            size = _size(sessions, draft.labeller.space)
            study = Study(_study_text(name, section, table, size))
            _store(out, study, table, sessions)
    except BaseException:
        if beside is not None:
            beside.unlink()
        raise
    return Imported(
        study.name,
        sum(len(one.trials) for one in sessions),
        len(sessions),
        len({one.subject for one in sessions}),
        table.notes,
        problems,
    )


@dataclass(frozen=True)
class _OneSession:
    """Trials of a session, training first; ``x`` and ``y`` are its stimuli."""

    name: str
    subject: str
    group: str
    exposure: int
    x: Floats
    y: Floats
    stimulus: NDArray[np.int64]
    training_stimuli: int
    trials: pd.DataFrame

    @property
    def training_trials(self) -> int:
        """Trials with feedback, which come first."""
        return int((self.trials["phase"] == "training").sum())


def _sessions(table: TrialsTable, x: Floats) -> tuple[list[_OneSession], list[Problem]]:
    there = np.isfinite(x).all(1)
    if not there.any():
        raise ValueError(f"no stimulus of {table.source.name} lies in the space")
    trials = table.trials[there].assign(row=np.arange(int(there.sum())))
    x = np.round(x[there], 6)
    trials["session"] = _session_names(trials)
    begun: dict[str, int] = {}
    sessions, mixed, disagreeing = [], 0, 0
    for name, own in trials.groupby("session", sort=False):
        training_last = (own["phase"] == "training").to_numpy()
        in_order = own.sort_values(["phase", "order"], ascending=[False, True])
        order = in_order["row"].to_numpy()
        mixed += bool((np.diff(training_last.astype(int)) > 0).any())
        stimuli, labels, which, trained, several = _stimuli(in_order, x[order])
        disagreeing += several
        subject = str(in_order["subject"].iloc[0])
        exposure = begun[subject] = begun.get(subject, -1) + 1
        group = str(in_order["group"].iloc[0])
        sessions.append(
            _OneSession(
                str(name),
                subject,
                group,
                exposure,
                stimuli,
                labels,
                which,
                trained,
                in_order,
            )
        )
    problems = []
    for count, reason, follows in (
        (mixed, "{} sessions train again after test trials", "training is put first"),
        (
            disagreeing,
            "{} stimuli have several labels within a session",
            "the label of each is their mean",
        ),
    ):
        if count:
            said = reason.format(f"{count:,}")
            problems.append(Problem(table.source.name, None, said, follows))
    return sessions, problems


def _session_names(trials: pd.DataFrame) -> pd.Series:
    """A name for each session: of its subject too, where several have one of its name.

    Without sessions in the table each subject has one.
    """
    subject, session = trials["subject"].astype(str), trials["session"].astype(str)
    if (session == "").all():
        return subject
    shared = trials.groupby("session")["subject"].nunique() > 1
    return session if not shared.any() else subject + "-" + session


def _stimuli(
    trials: pd.DataFrame, x: Floats
) -> tuple[Floats, Floats, NDArray[np.int64], int, int]:
    """Different stimuli, those of training first, their labels, and that of each trial.

    Then how many were trained, and how many have labels that disagree.
    """
    training = (trials["phase"] == "training").to_numpy()
    labels = trials["label"].to_numpy(float)
    keys = pd.DataFrame(x).assign(test=~training)
    which = keys.groupby(list(keys), sort=False).ngroup().to_numpy()
    first = np.unique(which, return_index=True)[1]
    n = len(first)
    mean = np.bincount(which, labels, n) / np.bincount(which, minlength=n)
    several = int((pd.Series(labels).groupby(which).nunique() > 1).sum())
    # What never differed is kept to the digit.
    y = np.where(mean == labels[first], mean, np.round(mean, 6))
    return x[first], y, which, len(np.unique(which[training])), several


def _study_text(
    name: str,
    section: dict[str, Any],
    table: TrialsTable,
    size: dict[str, int],
) -> str:
    """A study file that says where it comes from, and how large sessions were."""
    columns = "; ".join(
        f"{role} = {' + '.join(names)}" for role, names in table.columns.items()
    )
    groups = sorted(set(table.trials["group"].astype(str)) - {""})
    if table.choice:
        size = size | {"test_repeats": max(2, size["test_repeats"])}
    session = size | {"response": "choice" if table.choice else "graded"}
    parts = [
        f"# {table.source.name}, sha256 {table.source.sha256}, a table of trials that",
        "# penchant import brought in. It can be analysed; it is not to be run.",
        f"# Columns: {columns}",
        f"[study]\n{as_toml({'name': name})}",
        f"[stimuli]\n{as_toml(section)}",
        f"[session]\n{as_toml(session | {'feedback': 'label'})}",
        '[labelling]\nfamily = "linear"',
    ]
    if len(groups) > 1:
        parts.append('[objective]\naim = "mean"')
        parts += [f"[groups.{_plain(group)}]" for group in groups]
    return "\n".join(parts) + "\n"


def _size(sessions: list[_OneSession], space: StimulusSpace) -> dict[str, int]:
    """Stimuli and repeats of the usual session: medians, 1 and 2 stimuli at least.

    No more in all than a stimulus table has.
    """
    trained = np.array([one.training_stimuli for one in sessions])
    tested = np.array([len(one.x) for one in sessions]) - trained
    trials = np.array([len(one.trials) for one in sessions])
    training = np.array([one.training_trials for one in sessions])

    def usual(values: Any, least: int) -> int:
        return max(least, int(np.median(values)))

    most = len(space.grid(0)) if isinstance(space, Table) else 10_000
    taught = min(usual(trained, 1), most - 2)
    return {
        "training_stimuli": taught,
        "test_stimuli": min(usual(tested, 2), most - taught),
        "training_repeats": usual(training / np.maximum(trained, 1), 1),
        "test_repeats": usual((trials - training) / np.maximum(tested, 1), 1),
    }


def _facts(
    study: Study, table: TrialsTable, sessions: list[_OneSession]
) -> Iterator[tuple[float, Fact]]:
    """When and what: each session as if it had been ours."""
    now = round(time.time(), 3)
    versions = {
        "imported from": table.source.name,
        "table sha256": table.source.sha256,
        "columns": "; ".join(
            f"{k} = {' + '.join(v)}" for k, v in table.columns.items()
        ),
    }
    first = opening(study, IMPORTED)
    began = float(np.nanmin([now, *table.trials["at"]]))
    yield began, replace(first, versions=first.versions | versions)
    choice, several = study.design.response == "choice", len(study.groups) > 1
    for number, one in enumerate(sessions):
        own = one.trials
        at = own["at"].to_numpy(float)
        start, end = (
            (float(np.nanmin(at)), float(np.nanmax(at)))
            if np.isfinite(at).any()
            else (now, now)
        )
        lines = own.index.to_numpy()
        client = {"lines": [int(lines.min()), int(lines.max())]}
        opened = SessionOpened(
            session=one.name,
            component=0,
            generation=0,
            candidate=number,
            attempt=0,
            subject=one.subject,
            exposure=one.exposure,
            client={"imported": True} | client,
            x=one.x.tolist(),
            y=one.y.tolist(),
            training_stimuli=one.training_stimuli,
            trials=one.stimulus.tolist(),
            training_trials=one.training_trials,
            right_rewarded=[],
            group=_plain(one.group) if several else "",
        )
        responded = Responded(
            one.name,
            list(range(len(own))),
            own["outcome"].tolist(),
            _or_none(own["response"]),
            _or_none(own["reaction_time_s"]),
            [None] * len(own),
        )
        session = apply_responded(Session(opened), responded)
        yield start, opened
        yield end, responded
        yield end, finish(session, True, choice, study.psychometric)


def _store(
    out: str | Path, study: Study, table: TrialsTable, sessions: list[_OneSession]
) -> None:
    """All events in one transaction: the study is there as a whole, or not."""
    journal = Journal(out, study.name)
    try:
        if any(True for _ in journal.read()):
            raise JournalError(
                f"{journal.where} holds a study {study.name!r} already: give another "
                "--study or --out"
            )
        journal.claim()
        rows: list[dict[str, Any]] = []
        with failures("write", journal.where), journal.engine.begin() as connection:
            for seq, (at, fact) in enumerate(_facts(study, table, sessions)):
                kind, payload = to_row(fact)
                row = {"study": study.name, "seq": seq, "at": at, "kind": kind}
                rows.append(row | {"payload": payload})
                if len(rows) == _BATCH:
                    connection.execute(insert(events), rows)
                    rows = []
            if rows:
                connection.execute(insert(events), rows)
    finally:
        journal.close()


def _write_beside(path: Path, text: str) -> None:
    """A new file; one that is there already may belong to another study."""
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError as error:
        raise JournalError(
            f"{path} is there already, the stimuli of another import: give another "
            "--study, or take it away"
        ) from error


def _refusal(problems: list[Problem]) -> str:
    shown = "\n  ".join(map(str, problems[:10]))
    more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
    return f"nothing was imported, since there are problems:\n  {shown}{more}"


def _plain(name: str) -> str:
    """A name as a study file may have it."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name).lstrip("-_")[:32] or "none"


def _or_none(column: pd.Series) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in column.tolist()]
