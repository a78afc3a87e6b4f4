"""Data of a study for a notebook, from wherever it is: :func:`load`."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.command_line import beside
from analysis.frames import frames
from analysis.problem import Problem
from analysis.record import Record, read
from analysis.salvage import problem_table, salvage, studies_in
from analysis.tables import is_tables, read_tables
from server.database import JournalError
from server.study_file import Study, StudyFileError

NULL = "-null"
"""What the name of a no-learner null ends in."""


@dataclass(frozen=True, eq=False)
class Log:
    """One study's data as pandas tables, the columns as in :mod:`analysis.frames`.

    ``record`` holds the events behind them, and is None where tables were loaded;
    ``study`` is None where its study file cannot be built here. ``problems`` has a row
    for everything that was not sound: where, row, reason, consequence.
    """

    name: str
    study: Study | None
    record: Record | None
    trials: pd.DataFrame
    sessions: pd.DataFrame
    generations: pd.DataFrame
    components: pd.DataFrame
    problems: pd.DataFrame

    def __repr__(self) -> str:
        """What there is, in a few lines."""
        finished = int((self.sessions["status"] == "finished").sum())
        subjects = self.sessions["subject"].nunique()
        people = "subject" if subjects == 1 else "subjects"
        ended = f"{finished:,} finished, {subjects:,} {people}"
        lines = [
            f"Log of study {self.name!r}{self._kind()}",
            f"  trials       {len(self.trials):>9,}",
            f"  sessions     {len(self.sessions):>9,}   {ended}",
            f"  generations  {len(self.generations):>9,}",
            f"  components   {len(self.components):>9,}",
            f"  problems     {len(self.problems):>9,}",
        ]
        if len(self.problems):
            first = self.problems.iloc[0]
            lines[-1] += f"   first: {first['reason']}"
        return "\n".join(lines)

    def _kind(self) -> str:
        if self.record is None:
            return ", from its tables"
        null = ", a no-learner null" if self.record.study.null else ""
        return f" ({self.record.opened.mode}{null})"


def load(where: str | Path, study: str | None = None) -> Log:
    """The data of a study, from ``where`` it is, also while it is running.

    ``where`` is a journal's file; a database's URL, ``sqlite:///lab.db`` or
    ``postgresql://user@host/lab``; or a folder that ``penchant export`` wrote, of CSV
    or Parquet tables. ``study`` is needed where a database holds several; a study is
    taken before its null. Nothing is ever written there.

    What is damaged is left out, and told in ``problems``. Raises ``OSError`` for what
    is no journal or has nothing sound, ``ValueError`` where ``study`` is not there.
    """
    if "://" not in str(where) and Path(where).is_dir():
        return _from_tables(Path(where), study)
    names = studies_in(where)
    name = _chosen(names, study, str(where))
    return log_of(where, name)


def load_all(where: str | Path) -> list[Log]:
    """Every study of a journal, oldest first; as :func:`load`."""
    return [log_of(where, name) for name in studies_in(where)]


def log_of(where: str | Path, name: str) -> Log:
    """One study of a journal, whose name is known."""
    events = salvage(where, name)
    with beside(_path(where)):
        record = read(events)
        return of_record(record)


def of_record(record: Record) -> Log:
    """The tables of a study that was read."""
    tables = frames(record)
    problems = problem_table(record.problems)
    return Log(record.study.name, record.study, record, *tables, problems)


def _from_tables(folder: Path, study: str | None) -> Log:
    """An export's tables; its study too, if that can be built here."""
    if not is_tables(folder):
        inner = sorted(path.name for path in folder.iterdir() if is_tables(path))
        if not inner:
            raise JournalError(
                f"{folder} holds no tables of `penchant export`: expected "
                "dictionary.json beside trials, sessions, generations and components. "
                "A table of your own becomes a journal by `penchant import`"
            )
        folder /= _chosen(inner, study, str(folder))
    faults: list[str] = []
    read = read_tables(folder, faults)
    problems = [Problem(str(folder), None, fault, "left out") for fault in faults]
    built = None
    try:
        with contextlib.chdir(folder):
            built = Study(read.text, bool(read.study.get("null")))
    except StudyFileError as error:
        reason = f"the study file cannot be built here: {str(error).strip()}"
        follows = "the tables are there, the study is None"
        problems.append(Problem(str(folder / "study.toml"), None, reason, follows))
    name = str(read.study.get("name", folder.name))
    return Log(name, built, None, *read.frames, problem_table(problems))


def _chosen(names: list[str], study: str | None, where: str) -> str:
    if study in names:
        return str(study)
    held = ", ".join(names) or "none"
    if study is not None:
        raise ValueError(f"{where} has no study {study!r}; it has {held}")
    if not names:
        raise ValueError(f"{where} holds no study")
    own = [name for name in names if not name.endswith(NULL)] or names
    if len(own) > 1:
        raise ValueError(
            f"{where} holds several studies, name one of them: "
            f"load({where!r}, {own[0]!r}); it has {held}"
        )
    return own[0]


def _path(where: str | Path) -> str:
    """A journal's place as :func:`beside` takes it."""
    written = str(where)
    return written.removeprefix("sqlite:///") if "sqlite:///" in written else written
