"""A folder that is written whole or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = ".penchant-export.json"
"""File that says which study and format a folder holds, and what was written to it."""


@contextlib.contextmanager
def whole(folder: Path, mark: dict[str, Any]) -> Iterator[Path]:
    """An empty folder to write into, which becomes ``folder`` if all went well.

    ``mark`` says what it holds. A folder that is there is replaced only if an earlier
    export with the same mark wrote it, and nobody changed a file or added one since.
    Killed at any moment, ``folder`` is as it was or whole; what is left over beside it
    begins with a dot and its name.

    Raises ``ValueError`` for a folder that holds anything else.
    """
    _check(folder, mark)
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}-unfinished-"
    new = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        new.chmod(0o777 & ~_umask())
        yield new
        written = mark | {"files": _hashes(new)}
        (new / MARK).write_text(json.dumps(written, indent=1), encoding="utf-8")
        _check(folder, mark)
        _replace(folder, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _replace(folder: Path, new: Path) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_name(new.name + "-old")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def _check(folder: Path, mark: dict[str, Any]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file: expected a folder, or nothing")
    if not any(folder.iterdir()):
        return
    advice = "name another folder with --out, or move this one"
    try:
        said = json.loads((folder / MARK).read_text(encoding="utf-8"))
        files, holds = said.pop("files"), said
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{folder} holds files that no export wrote: {advice}"
        ) from error
    differ = [k for k in mark if holds.get(k) != mark[k]]
    if differ:
        told = ", ".join(f"{k} {holds.get(k)!r} and not {mark[k]!r}" for k in differ)
        raise ValueError(f"{folder} holds another export, of {told}: {advice}")
    now = _hashes(folder)
    for name in sorted(now.keys() | files.keys()):
        if name in now and now[name] != files.get(name):
            what = "was changed since" if name in files else "was not written by"
            raise ValueError(f"{folder / name} {what} the last export: {advice}")


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file but the mark, by its path in the folder."""
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*"))}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if path.is_file() and name != MARK
    }


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now
