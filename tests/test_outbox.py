"""The outbox: nothing that was put is lost, whenever the power fails."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import subject_clients.outbox
from server.protocol import Refusal
from subject_clients.outbox import COMPACT_BYTES, MAX_ONCE, Entry, Outbox

HERE = Path(__file__).parent.parent
REFUSAL = Refusal(status=409, error="conflict", detail="another answer")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox is."""
    return tmp_path / "box-3.outbox"


def messages(box: Outbox) -> list[Any]:
    """What is pending, by the number in each message."""
    return [entry.message["n"] for entry in box.pending()]


def put(box: Outbox, n: int, **more: Any) -> Entry:
    """A message with a number."""
    return box.put("respond", {"n": n}, **more)


def test_what_is_not_acknowledged_comes_back_in_order(path: Path) -> None:
    with Outbox(path) as box:
        entries = [put(box, n) for n in range(4)]
        box.done(entries[1])
    with Outbox(path) as box:
        assert messages(box) == [0, 2, 3]
        entry = box.pending()[0]
        assert (entry.kind, entry.message) == ("respond", {"n": 0})
        box.done(entry)
        box.done(entry)  # twice is once
        put(box, 9)
        assert messages(box) == [2, 3, 9]


def test_a_message_is_on_disk_before_it_is_sent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    with Outbox(path) as box:
        entry = put(box, 1)
        assert disk.synced(path) == path.stat().st_size
        box.done(entry)
        assert disk.synced(path) < path.stat().st_size


def test_a_new_name_is_on_disk_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is put later is synced into a file that the folder may forget."""
    replace = os.replace
    synced: list[int] = []
    folder = path.parent.stat().st_ino

    def note(*names: Path) -> None:
        replace(*names)
        synced.clear()

    monkeypatch.setattr(os, "replace", note)
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    with Outbox(path):
        assert synced == [folder]


def test_no_two_clients_share_one(path: Path) -> None:
    with Outbox(path), pytest.raises(BlockingIOError, match="its own outbox"):
        Outbox(path)
    script = f"from subject_clients.outbox import Outbox; Outbox({str(path)!r})"
    with Outbox(path):
        other = subprocess.run(
            [sys.executable, "-c", script],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "BlockingIOError" in other.stderr
    Outbox(path).close()


def test_a_client_that_is_killed_leaves_it_to_the_next(path: Path) -> None:
    script = (
        "import os, signal; from subject_clients.outbox import Outbox;"
        f"Outbox({str(path)!r}).put('respond', {{'n': 5}});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=HERE, check=False)
    with Outbox(path) as box:
        assert messages(box) == [5]


def test_what_waits_for_one_server_is_sent_to_no_other(path: Path) -> None:
    """Sessions of two studies can have the same names."""
    with Outbox(path, to="http://a:5000?study=apple") as box:
        entry = put(box, 1, once="free-1")
    with pytest.raises(ValueError, match=r"holds 1 messages to .*apple"):
        Outbox(path, to="http://a:5000?study=pear")
    with Outbox(path, to="http://a:5000?study=apple") as box:
        box.done(entry)
    with Outbox(path, to="http://a:5000?study=pear") as box:
        assert not box.seen("free-1")


def test_a_token_is_never_kept(path: Path) -> None:
    with Outbox(path) as box, pytest.raises(ValueError, match="no place"):
        box.put("respond", {"n": 1, "token": "sesame"})


def test_what_may_happen_once_is_remembered(path: Path) -> None:
    with Outbox(path) as box:
        box.done(put(box, 1, once="free-1"))
        assert box.seen("free-1")
    for _ in range(2):  # also once the file is compact
        with Outbox(path) as box:
            assert box.seen("free-1")
            assert not box.seen("free-2")
            assert not box.pending()
    with Outbox(path) as box:
        for n in range(MAX_ONCE):
            box.done(put(box, n, once=f"later-{n}"))
    Outbox(path).close()
    with Outbox(path) as box:
        assert box.seen(f"later-{MAX_ONCE - 1}")
        assert not box.seen("free-1")


def test_what_is_refused_is_kept_aside(path: Path) -> None:
    with Outbox(path) as box:
        box.refused(put(box, 1), REFUSAL)
        box.refused(put(box, 2), REFUSAL)
        assert not box.pending()
    aside = path.with_name(path.name + ".refused.jsonl").read_text().splitlines()
    assert json.loads(aside[1]) == {
        "kind": "respond",
        "message": {"n": 2},
        "refused": {"status": 409, "error": "conflict", "detail": "another answer"},
    }


def test_the_file_stays_small(path: Path) -> None:
    with Outbox(path) as box:
        for n in range(3):
            box.done(box.put("respond", {"n": n, "reason": "x" * COMPACT_BYTES}))
            assert path.stat().st_size < 200
        box.put("respond", {"n": 3})
        assert messages(box) == [3]
    with Outbox(path) as box:
        assert messages(box) == [3]


def test_a_torn_last_line_is_cut_off_and_kept_aside(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Outbox(path) as box:
        put(box, 1)
    whole = path.read_bytes()
    for torn in (b'{"put": 2, "kind": "resp', b"\0" * 30, b"\0\0}\n", b'{"a": 1}\n'):
        path.write_bytes(whole + torn)
        with Outbox(path) as box:
            assert messages(box) == [1]
        assert path.with_name(path.name + ".torn").read_bytes().endswith(torn)
    assert "cut off by a crash" in caplog.text


def test_damage_that_no_crash_explains_is_left_to_a_person(path: Path) -> None:
    with Outbox(path) as box:
        put(box, 1)
        put(box, 2)
    damaged = path.read_bytes().replace(b'"n": 1', b'"n" 1')
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="line 2, is damaged"):
        Outbox(path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    "content", ["hello\n", "[]\n", '{"outbox": 99}\n', '{"done": 1}\n', "torn"]
)
def test_another_file_is_no_outbox(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(ValueError, match="is no outbox"):
        Outbox(path)
    assert path.read_text() == content
    path.unlink()
    Outbox(path).close()  # and its lock is free again


def test_an_entry_of_another_kind_is_no_outbox(path: Path) -> None:
    with Outbox(path):
        pass
    path.write_bytes(path.read_bytes() + b'{"put": 1}\n')
    with pytest.raises(ValueError, match="is no outbox"):
        Outbox(path)


def test_a_closed_outbox_takes_nothing(path: Path) -> None:
    box = Outbox(path)
    box.close()
    box.close()
    with pytest.raises(ValueError, match="is closed"):
        put(box, 1)


def test_a_full_disk_leaves_no_half_a_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with Outbox(path) as box:
        put(box, 1)
        with monkeypatch.context() as full:

            def half(file: int, content: bytes) -> int:
                if len(content) < 10:
                    raise OSError("no space left on device")
                return write(file, content[: len(content) // 2])

            full.setattr(os, "write", half)
            with pytest.raises(OSError, match="no space left"):
                put(box, 2)
        put(box, 3)
        assert messages(box) == [1, 3]
    with Outbox(path) as box:
        assert messages(box) == [1, 3]


# --- any history, any crash ----------------------------------------------------


class Disk:
    """Knows how much of each file would survive a loss of power."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._synced: dict[int, int] = {}
        monkeypatch.setattr(os, "fsync", self._sync)

    def _sync(self, file: int) -> None:
        status = os.fstat(file)
        self._synced[status.st_ino] = status.st_size

    def synced(self, path: Path) -> int:
        """How many bytes of a file are safe."""
        return self._synced[path.stat().st_ino]


@contextlib.contextmanager
def patched() -> Iterator[tuple[Path, Disk]]:
    """A folder and a disk of their own for each example."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        # So that files begin again within a few messages.
        patch.setattr(subject_clients.outbox, "COMPACT_BYTES", 150)
        yield Path(name) / "outbox", Disk(patch)


STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 40)),
    st.tuples(st.just("done"), st.integers(0, 5)),
    st.tuples(st.just("reopen"), st.just(0)),
    st.tuples(st.just("crash"), st.floats(0, 1)),
    st.tuples(st.just("crash within a put"), st.floats(0, 1)),
    st.tuples(st.just("zeros"), st.floats(0, 1)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_nothing_is_lost_whatever_happens(steps: list[tuple[str, float]]) -> None:
    """After a crash all that was put and not acknowledged is there, in order.

    What was acknowledged may come back unless that was synced, or the file was
    begun again since; nothing ever comes back twice.
    """
    with patched() as (path, disk):
        box, numbers = Outbox(path), count()
        waiting: list[int] = []  # put, and not acknowledged
        perhaps: set[int] = set()  # acknowledged, but the disk may not know
        for what, how in steps:
            safe = disk.synced(path)
            if what == "put":
                n = next(numbers)
                box.put("respond", {"n": n, "pad": "x" * int(how)})
                waiting.append(n)
                perhaps = set()  # synced with it
            elif what == "done" and waiting:
                entry = box.pending()[int(how) % len(waiting)]
                box.done(entry)
                waiting.remove(entry.message["n"])
                begun_again = disk.synced(path) == path.stat().st_size
                perhaps = set() if begun_again else perhaps | {entry.message["n"]}
            elif what != "done":
                if what == "crash within a put":
                    perhaps.add(put(box, next(numbers)).message["n"])
                box.close()
                if what != "reopen":
                    cut(path, safe, how, zeros=what == "zeros")
                box = Outbox(path)
                back = messages(box)
                assert [n for n in back if n in waiting] == waiting
                assert set(back) <= set(waiting) | perhaps
                assert back == sorted(set(back))
                waiting, perhaps = back, set()
        assert messages(box) == waiting
        box.close()


def cut(path: Path, safe: int, share: float, zeros: bool) -> None:
    """Lose some of what is not safe; a file system may leave zeros in its place."""
    content = path.read_bytes()
    at = safe + round(share * (len(content) - safe))
    rest = b"\0" * (len(content) - at) if zeros else b""
    path.write_bytes(content[:at] + rest)
