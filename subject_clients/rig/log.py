"""The rig's own record of every trial, whether or not a server heard of it."""

import contextlib
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from subject_clients.outbox import sync_folder
from subject_clients.tasks.trial import Happened, Reinforcer, RigTrial


class TrialLog:
    """A file of JSON lines, each on disk before anything else happens."""

    def __init__(self, path: Path) -> None:
        """Append to the file at ``path``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._last = _newest(path)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        sync_folder(path)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # after what a crash cut off

    def write(self, kind: str, **fields: Any) -> None:
        """One line: when, what kind, and what."""
        line = {"utc_s": time.time(), "what": kind, **fields}
        content = json.dumps(line, default=_plain).encode()
        os.write(self._file, content + b"\n")
        os.fsync(self._file)

    def last_happened(self, uid: str) -> Happened | None:
        """What an earlier run wrote of a trial, if it was that run's last."""
        last = self._last.get("happened")
        return Happened(**last["happened"]) if last and last["uid"] == uid else None

    def last_trial(self, uid: str) -> RigTrial | None:
        """How an earlier run laid a trial out, if it was that run's last."""
        last = self._last.get("trial")
        if not last or last["uid"] != uid:
            return None
        said = dict(last["trial"])
        for name in ("left", "right", "automatic"):
            said[name] = Reinforcer(*said[name])
        return RigTrial(**said)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _newest(path: Path) -> dict[str, dict[str, Any]]:
    """The newest whole line of each kind; a crash may have cut off what follows."""
    newest: dict[str, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError):
                read = json.loads(line)
                newest[read["what"]] = read
    return newest


def _plain(what: object) -> dict[str, Any]:
    if isinstance(what, RigTrial | Happened):
        return dataclasses.asdict(what)
    raise TypeError(f"{type(what).__name__} cannot be logged")
