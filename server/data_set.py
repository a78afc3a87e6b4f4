"""One Parquet data set, of the rows of many jobs.

A folder: a part for each lot of jobs, written under another name and moved, so that a
kill leaves whole parts alone; ``_question.json``, what all of its rows have in common;
and ``_failed``, how jobs failed. ``pandas.read_parquet`` reads the folder, and passes
over what begins with ``_``.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from server.hand_out import versions

JOB = "job"
"""Column with the key of the job that a row is of."""

QUESTION, FAILED = "_question.json", "_failed"
_CONTENTS = "contents"


class OtherQuestionError(ValueError):
    """The folder holds rows of another question."""


def content_key(about: Any) -> str:
    """A hash of JSON, whatever the order of its keys."""
    text = json.dumps(about, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def keep_failure(out: Path, job: str, told: str) -> None:
    """Write down how a job failed, by its key."""
    (out / FAILED).mkdir(exist_ok=True)
    (out / FAILED / f"{job}.txt").write_text(told, encoding="utf-8")


def forget_failures(out: Path, done: Iterable[str]) -> None:
    """Remove what is told of jobs that failed before, and are done now."""
    if not (out / FAILED).is_dir():
        return
    keys = set(done)
    for path in (out / FAILED).glob("*.txt"):
        if path.stem in keys:
            path.unlink()
    with contextlib.suppress(OSError):  # others are left
        (out / FAILED).rmdir()


def begin(out: Path, question: Mapping[str, Any], contents: Mapping[str, str]) -> None:
    """Write the question down, or compare it with that of the rows that are there.

    ``contents`` are hashes, by setting, of all that rows depend on, files too. Raises
    :class:`OtherQuestionError` where anything changed.
    """
    asked = json.loads(json.dumps({**question, "versions": versions()}))
    before: dict[str, str] = {}
    if any(out.glob("*.parquet")):
        held = _held(out)
        before = held.pop(_CONTENTS, {})
        _compare(out, held, asked)
        _compare_contents(out, before, contents)
    _ask(out, asked, before)


def keep_contents(out: Path, contents: Mapping[str, str]) -> None:
    """Write down what rows that come now depend on, as in :func:`begin`."""
    held = _held(out)
    before = held.pop(_CONTENTS)
    if any(setting not in before for setting in contents):
        _ask(out, held, before | contents)


def _ask(out: Path, question: Mapping[str, Any], contents: Mapping[str, str]) -> None:
    text = json.dumps({**question, _CONTENTS: contents}, indent=2) + "\n"
    _whole(out / QUESTION, lambda name: name.write_text(text, encoding="utf-8"))


def _held(out: Path) -> dict[str, Any]:
    path = out / QUESTION
    try:
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OtherQuestionError(
            f"{out} holds Parquet files of something else: give another --out"
        ) from None
    except ValueError as error:
        raise OtherQuestionError(
            f"{path} cannot be read ({error}): mend it, or give another --out"
        ) from error
    return held


def _compare(out: Path, held: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    if differing := sorted(k for k in {*asked, *held} if asked.get(k) != held.get(k)):
        told = "; ".join(_differing(k, held.get(k), asked.get(k)) for k in differing)
        raise OtherQuestionError(
            f"{out} holds rows of another question ({told}), and they are not mixed: "
            "give another --out, or remove the folder"
        )


def _compare_contents(
    out: Path, held: Mapping[str, str], asked: Mapping[str, str]
) -> None:
    if changed := [k for k in asked if held.get(k, asked[k]) != asked[k]]:
        raise OtherQuestionError(
            f"{out} holds rows of {changed[0]} from other files: what the study names, "
            "as a table of stimuli, has changed since, and rows are not mixed: give "
            "another --out, or remove the folder"
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


def rows_of(out: Path | None) -> pd.DataFrame:
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


def write_part(table: pd.DataFrame, out: Path) -> None:
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
