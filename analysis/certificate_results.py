"""What simulated studies of a certificate found: run once, and kept."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from analysis.certificate_studies import Simulated
from analysis.record import read
from analysis.verification import verified
from analysis.writing import write_json, write_text
from server.events import ComponentFrozen, SessionEnded, StudyFinished, StudyOpened
from server.journal import Journal
from server.steps import opening
from server.study_file import Study, load

How = Literal["in process", "over sockets"]
IN_PROCESS: How = "in process"
OVER_SOCKETS: How = "over sockets"

Run = Callable[[Path, str, Callable[[dict[str, Any]], None]], None]
"""Runs, or continues, a study file to its end: with its journal, told of progress."""


class Asked(NamedTuple):
    """How studies are run, by which ``versions``, and whether journals are kept."""

    how: How
    versions: dict[str, str]
    keep: bool = False


class Result(NamedTuple):
    """What is kept of a simulated study: search vectors of its components.

    ``versions`` are those that ran it.
    """

    sha256: str
    how: How
    versions: dict[str, str]
    sessions: int
    theta: list[list[float]]
    confirmed: bool | None


def versions_of(study: Study) -> dict[str, str]:
    """Versions of what runs a study here, now."""
    return _software(opening(study, "dry-run"))


def result_of(
    one: Simulated,
    folder: Path,
    asked: Asked,
    run: Run,
    progress: Callable[[dict[str, Any]], None],
) -> Result:
    """What a simulated study found: from the folder, or by running it to its end.

    A result of another study file or subject, or that was come by in another way or
    by other versions, is not taken; nor one without its journal, if that is to be kept.
    """
    file, kept, journal = _files(one, folder)
    sha256, known = _looked_up(one, folder, asked)
    if known:
        return known
    opened = _opened(journal) if journal.exists() else None
    if opened is None or (opened.sha256, _software(opened)) != (sha256, asked.versions):
        _take_away(journal)  # of the study file, subject or software as it was before
    kept.unlink(missing_ok=True)  # killed from here on, it goes on with the journal
    run(file, str(journal), progress)
    with contextlib.chdir(folder):
        result = _read(journal, asked.how)
    write_json(kept, result._asdict())
    if not asked.keep:
        _take_away(journal)
    return result


def known_result(one: Simulated, folder: Path, asked: Asked) -> Result | None:
    """What a simulated study found, if it was run before and is of use."""
    return _looked_up(one, folder, asked)[1]


def _looked_up(one: Simulated, folder: Path, asked: Asked) -> tuple[str, Result | None]:
    """The hash of a study, which is written, and what it found if that is known."""
    file, kept, journal = _files(one, folder)
    write_text(file, one.text)
    sha256, known = load(file).sha256, _known(kept)
    if not known or (known.sha256, known.how, known.versions) != (sha256, *asked[:2]):
        return sha256, None
    if asked.keep:
        return sha256, known if journal.exists() else None
    _take_away(journal)  # if killed before that, or kept before
    return sha256, known


def _files(one: Simulated, folder: Path) -> tuple[Path, Path, Path]:
    """Where a study file, its result and its journal are."""
    file, kept, journal = (folder / f"{one.name}.{s}" for s in ("toml", "json", "db"))
    return file, kept, journal


def _read(where: Path, how: How) -> Result:
    """What is kept of a finished study."""
    journal = _journal(where)
    record = read(journal.read())
    journal.close()
    if not record.facts(StudyFinished):
        raise ValueError(
            f"the simulated study {record.study.name} in {where} was not finished: "
            "run certify again, it goes on from there"
        )
    verdicts = verified(record)
    ended = record.facts(SessionEnded)
    return Result(
        record.study.sha256,
        how,
        _software(record.opened),
        sum(fact.status == "finished" for fact in ended),
        [list(fact.theta) for fact in record.facts(ComponentFrozen)],
        verdicts[0].confirmed if verdicts else None,
    )


def _known(path: Path) -> Result | None:
    """A result kept before; None where there is none, or it is torn."""
    try:
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _software(opened: StudyOpened) -> dict[str, str]:
    """Versions that a study was opened with, without those of the machine."""
    return {k: v for k, v in opened.versions.items() if k != "platform"}


def _opened(where: Path) -> StudyOpened | None:
    """The study that a journal is of."""
    journal = _journal(where)
    first = next(journal.read(), None)
    journal.close()
    return first.fact if first and isinstance(first.fact, StudyOpened) else None


def _journal(where: Path) -> Journal:
    """That of the one study in a journal's file."""
    return Journal(where, f"certify-{where.stem}"[:64])


def _take_away(journal: Path) -> None:
    """Remove a journal, and what SQLite and its lock left beside."""
    for path in journal.parent.glob(f"{journal.name}*"):
        path.unlink()
