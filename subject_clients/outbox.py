"""What a client has said and no server has acknowledged, kept on disk.

A file of JSON lines, appended to: what the file is, then each message before it is
sent (``put``) and each acknowledgement (``done``). Beside it lie ``.lock``, while a
client has it open, ``.torn`` with what a crash cut off in writing, and
``.refused.jsonl`` with what the server will never take.
"""

import contextlib
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from filelock import FileLock, Timeout

from server.protocol import Refusal

_LOG = logging.getLogger(__name__)

FORMAT = 1
"""Version of the file, stated in its first line."""

COMPACT_BYTES = 1 << 16
"""A file larger than this is begun again once all in it is acknowledged."""

MAX_ONCE = 1000
"""How many of the newest ``once`` are remembered."""


class Entry(NamedTuple):
    """A message to deliver; ``once`` names what must not happen a second time."""

    number: int
    kind: str
    message: dict[str, Any]
    once: str | None = None


class Box(Protocol):
    """Where messages wait until they are acknowledged."""

    def put(self, kind: str, message: dict[str, Any], once: str | None = None) -> Entry:
        """Keep a message, before it is sent."""
        ...

    def done(self, entry: Entry) -> None:
        """The server has acknowledged it."""
        ...

    def refused(self, entry: Entry, refusal: Refusal) -> None:
        """The server will never take it: set it aside, out of the way of others."""
        ...

    def pending(self) -> list[Entry]:
        """What is neither acknowledged nor set aside, oldest first."""
        ...

    def seen(self, once: str) -> bool:
        """Whether a message with this ``once`` was ever put."""
        ...


class Memory:
    """A box that lasts as long as the program; for subjects without a rig."""

    def __init__(self) -> None:
        """Empty."""
        self._lock = threading.Lock()
        self._pending: dict[int, Entry] = {}
        self._once: dict[str, None] = {}
        self._number = 0

    def put(self, kind: str, message: dict[str, Any], once: str | None = None) -> Entry:
        """Keep a message."""
        with self._lock:
            self._number += 1
            entry = Entry(self._number, kind, message, once)
            self._pending[entry.number] = entry
            if once is not None:
                self._once[once] = None
            return entry

    def done(self, entry: Entry) -> None:
        """Forget a message."""
        with self._lock:
            self._pending.pop(entry.number, None)

    def refused(self, entry: Entry, refusal: Refusal) -> None:
        """Forget it too; what was wrong is in the log."""
        _report(entry, refusal)
        self.done(entry)

    def pending(self) -> list[Entry]:
        """Oldest first."""
        with self._lock:
            return list(self._pending.values())

    def seen(self, once: str) -> bool:
        """Whether a message with this ``once`` was ever put."""
        with self._lock:
            return once in self._once


class Outbox:
    """A box on disk: what was put survives a crash of client, rig and power.

    Messages never hold the server's token; it is added again when they are sent.
    """

    def __init__(self, path: str | Path, to: str = "") -> None:
        """Open or begin the file at ``path``, for one client at a time.

        ``to`` names the server: sessions of two studies can have the same names,
        so that what waits for one server is never sent to another.

        Raises ``BlockingIOError`` while another client has it, ``ValueError`` if it
        is no outbox or holds messages to another server.
        """
        self.path = Path(path)
        self._lock = threading.Lock()
        self._file: int | None = None
        self._guard = FileLock(self._beside(".lock"), thread_local=False)
        try:
            self._guard.acquire(blocking=False)
        except Timeout as taken:
            raise BlockingIOError(
                f"{self.path} is in use by another client: give each its own outbox"
            ) from taken
        try:
            self._book = _Book.read(self.path, to, self._beside(".torn"))
            self._begin_again()
        except BaseException:
            self._guard.release()
            raise

    def put(self, kind: str, message: dict[str, Any], once: str | None = None) -> Entry:
        """Keep a message; on return it is on disk, or ``OSError`` is raised."""
        if "token" in message:
            raise ValueError("a token has no place in an outbox: add it in sending")
        with self._lock:
            entry = Entry(self._book.number + 1, kind, message, once)
            self._append(_line(_of(entry)), sync=True)
            self._book.add(entry)
            return entry

    def done(self, entry: Entry) -> None:
        """Not synced: sent twice it counts once."""
        with self._lock:
            if self._book.pending.pop(entry.number, None) is None:
                return
            self._append(_line({"done": entry.number}), sync=False)
            if not self._book.pending and self._size > COMPACT_BYTES:
                self._begin_again()

    def refused(self, entry: Entry, refusal: Refusal) -> None:
        """Kept in ``<path>.refused.jsonl``, for a person to look at."""
        _report(entry, refusal)
        why = refusal.model_dump(exclude={"type"})
        what = {"kind": entry.kind, "message": entry.message, "refused": why}
        _append_to(self._beside(".refused.jsonl"), _line(what))
        self.done(entry)

    def pending(self) -> list[Entry]:
        """Oldest first; after a crash those of the earlier run."""
        with self._lock:
            return list(self._book.pending.values())

    def seen(self, once: str) -> bool:
        """Whether a message with this ``once`` was ever put, in any run."""
        with self._lock:
            return once in self._book.once

    def close(self) -> None:
        """Let others have it; what is pending stays in the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
                self._guard.release()

    def __enter__(self) -> Self:
        """The outbox itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _begin_again(self) -> None:
        """A file with what still counts in place of the one that there is."""
        content, new = self._book.compacted(), self._beside(".new")
        new.unlink(missing_ok=True)
        _append_to(new, content)
        if self._file is not None:  # Windows replaces no file that is open
            os.close(self._file)
        try:
            new.replace(self.path)
        finally:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | _BINARY)
        self._size = len(content)
        sync_folder(self.path)

    def _append(self, line: bytes, sync: bool) -> None:
        if self._file is None:
            raise ValueError(f"{self.path} is closed: open another Outbox")
        try:
            _write(self._file, line)
            if sync:
                os.fsync(self._file)
        except OSError:
            # On a full disk half a line may be there, and another would follow it.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)


class _Book:
    """What a file says."""

    def __init__(self, to: str) -> None:
        self.to = to
        self.pending: dict[int, Entry] = {}
        self.once: dict[str, None] = {}
        self.number = 0

    def add(self, entry: Entry) -> None:
        self.pending[entry.number] = entry
        self.number = entry.number
        if entry.once is not None:
            self.once[entry.once] = None

    def compacted(self) -> bytes:
        once = list(self.once)[-MAX_ONCE:]
        head = {"outbox": FORMAT, "to": self.to, "once": once}
        return _line(head) + b"".join(_line(_of(e)) for e in self.pending.values())

    @staticmethod
    def read(path: Path, to: str, torn: Path) -> "_Book":
        """The book of a file, or a new one where there is none."""
        content = path.read_bytes() if path.exists() else b""
        if not content:
            return _Book(to)
        lines, rest = _whole_lines(content, path)
        try:
            book = _Book._of(lines)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is no outbox of this release: give another name"
            ) from error
        if book.pending and book.to != to:
            raise ValueError(
                f"{path} holds {len(book.pending)} messages to {book.to}: deliver them "
                f"there first, or name another outbox for {to}"
            )
        if rest:
            _LOG.warning("%s was cut off by a crash; the rest is in %s", path, torn)
            _append_to(torn, rest)
        return book if book.to == to else _Book(to)

    @staticmethod
    def _of(lines: list[dict[str, Any]]) -> "_Book":
        head = lines[0]
        if head["outbox"] != FORMAT:
            raise ValueError("of another release")
        book = _Book(head["to"])
        book.once = dict.fromkeys(head["once"])
        for line in lines[1:]:
            if "put" in line:
                number, kind, message = line["put"], line["kind"], line["message"]
                book.add(Entry(number, kind, message, line.get("once")))
            else:
                book.pending.pop(line["done"], None)
        return book


def _of(entry: Entry) -> dict[str, Any]:
    line = {"put": entry.number, "kind": entry.kind, "message": entry.message}
    return line if entry.once is None else line | {"once": entry.once}


def _whole_lines(content: bytes, path: Path) -> tuple[list[dict[str, Any]], bytes]:
    """Lines up to the first that is none, and the rest.

    What a crash leaves behind was not synced, hence not sent. A message after a
    line that is none is no crash's work, and nothing is lost in silence.
    """
    lines, at = [], 0
    while at < len(content):
        end = content.find(b"\n", at) + 1
        line = _parsed(content[at:end])
        if line is None:
            break
        lines.append(line)
        at = end
    rest = content[at:]
    if any("put" in (_parsed(line) or ()) for line in rest.splitlines(True)[1:]):
        raise ValueError(
            f"{path}, line {len(lines) + 1}, is damaged, and messages follow it: "
            "mend the line or move the file away"
        )
    return lines, rest


def _parsed(line: bytes) -> dict[str, Any] | None:
    if line.endswith(b"\n"):
        with contextlib.suppress(ValueError):
            parsed = json.loads(line)
            if isinstance(parsed, dict) and parsed.keys() & {"outbox", "put", "done"}:
                return parsed
    return None


def _line(what: dict[str, Any]) -> bytes:
    return json.dumps(what, allow_nan=False).encode() + b"\n"


def _report(entry: Entry, refusal: Refusal) -> None:
    _LOG.warning(
        "%s was refused for good (%s): %s", entry.kind, refusal.error, refusal.detail
    )


_BINARY = getattr(os, "O_BINARY", 0)


def _append_to(path: Path, content: bytes) -> None:
    """Append durably, to a file that may be new."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _BINARY, 0o600)
    try:
        _write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    sync_folder(path)


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def sync_folder(path: Path) -> None:
    """A new name is durable when its folder is; Windows sees to that itself."""
    if os.name == "posix":
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
