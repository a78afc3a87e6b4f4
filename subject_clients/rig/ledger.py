"""What a rig has given, on its own disk: its limits hold without any server.

A file of JSON lines. What may be given is written down before the hardware is told
(``may``), and what was given after it (``gave``). What a crash leaves between the two
counts as given: too little water is noticed, too much is not undone.
"""

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from subject_clients.outbox import sync_folder
from subject_clients.rig.config import LimitsSection

DUST_MICROLITRE = 1e-6
"""A picolitre: what sums of floats are off by."""


class Ledger:
    """The rewards of one rig. Times are seconds since 1970, of its own clock."""

    def __init__(
        self,
        path: Path,
        limits: LimitsSection,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Open or begin the file, for one client at a time.

        Raises ``BlockingIOError`` while another one runs this rig, ``ValueError``
        where the file is damaged: then nobody knows what was given.
        """
        self._path, self._limits, self._wall = path, limits, wall
        self._lock = threading.Lock()
        self._given: dict[str, dict[str, Any]] = {}
        self._sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
        self._newest = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._guard = FileLock(f"{path}.lock", thread_local=False)
        try:
            self._guard.acquire(blocking=False)
        except Timeout as taken:
            raise BlockingIOError(
                f"another client runs this rig: {path} is in use"
            ) from taken
        whole = self._read()
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        os.ftruncate(self._file, whole)
        sync_folder(path)

    def promised(self, uid: str) -> float | None:
        """What stands for a trial already, given or not; None for one never begun."""
        entry = self._given.get(uid)
        return None if entry is None else float(entry["ul"])

    def reserve(self, uid: str, subject: str, session: str, wanted: float) -> float:
        """Write down what may be given: as much of ``wanted`` as is left.

        On return it is on disk, or ``OSError`` is raised.
        """
        with self._lock:  # a free reward comes from another thread
            left = self._left(subject, session, wanted)
            entry = {"subject": subject, "session": session, "ul": left}
            self._append({"may": uid, **entry, "at": self._now()})
            return left

    def settle(self, uid: str, ul: float) -> None:
        """What was given in the end, also if it is more than was reserved."""
        with self._lock:
            self._append({"gave": uid, "ul": ul, "at": self._now()})

    def _left(self, subject: str, session: str, wanted: float) -> float:
        """Microlitres that are left for one reward now, ``wanted`` at most."""
        caps, today = self._limits, _day(self._now())
        left = min(
            wanted,
            caps.trial_microlitre,
            caps.session_microlitre - self._sums["session", subject, session],
            caps.day_microlitre - self._sums["day", subject, today],
        )
        return left if left > DUST_MICROLITRE else 0.0

    def _now(self) -> float:
        """Never earlier than before: a clock that is set back opens no second day."""
        return max(self._wall(), self._newest)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
        self._guard.release()

    def _append(self, line: dict[str, Any]) -> None:
        self._write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._fold(line)

    def _write(self, content: bytes) -> None:
        size = os.fstat(self._file).st_size
        try:
            while content:
                content = content[os.write(self._file, content) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)  # half a line would spoil the next
            raise

    def _read(self) -> int:
        """Fold the file; returns the length of its whole lines."""
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content.rfind(b"\n") + 1  # what a crash cut off was not promised yet
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                self._fold(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{self._path}, line {number}, is damaged: what was given before "
                    "is not known. Mend the line, or move the file away and lower "
                    "today's limits"
                ) from error
        return whole

    def _fold(self, line: dict[str, Any]) -> None:
        if "may" in line:
            fields = ("subject", "session", "ul", "at")
            entry = {field: line[field] for field in fields}
            self._given[line["may"]] = entry
            self._count(entry, float(entry["ul"]))
        else:
            entry, ul = self._given[line["gave"]], float(line["ul"])
            self._count(entry, ul - entry["ul"])
            entry["ul"] = ul
            if _day(line["at"]) != _day(entry["at"]):  # given after midnight
                self._sums["day", entry["subject"], _day(line["at"])] += ul
        self._newest = max(self._newest, float(line["at"]))

    def _count(self, entry: dict[str, Any], ul: float) -> None:
        self._sums["session", entry["subject"], entry["session"]] += ul
        self._sums["day", entry["subject"], _day(entry["at"])] += ul


def _day(at: float) -> str:
    """The calendar day of this computer's zone."""
    return datetime.fromtimestamp(at).astimezone().date().isoformat()
