"""A study rehearsed for real: server and subjects in processes of their own."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

START_UP_S = 120.0
"""How long a server may take to answer for the first time."""


def rehearse(
    study: Path,
    journal: str,
    port: int,
    subjects: int,
    sessions: int | None,
    progress: Callable[[dict[str, Any]], None],
) -> None:
    """Serve ``study`` to simulated subjects until it is over, or ``sessions`` ended.

    ``subjects`` of each group at a time.

    Raises ``OSError`` when server or subjects stop before that.
    """
    url = f"http://127.0.0.1:{port}"
    limit = float("inf") if sessions is None else sessions
    serve = ["serve", str(study), "--journal", journal, "--port", str(port)]
    with _process(*serve, "--simulated") as server:
        _wait_for(url, server)
        join = ["subject", "simulated", "--study", str(study), "--url", url]
        with _process(*join, "--count", str(subjects)) as clients:
            while True:
                summary = requests.get(f"{url}/api/v1/status", timeout=60).json()
                progress(summary)
                if summary["finished"] or summary["sessions_ended"] >= limit:
                    return
                if server.poll() is not None or clients.poll() not in (None, 0):
                    raise OSError("the server or the subjects stopped; see above")
                time.sleep(0.2)


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "penchant", *arguments], stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_UP_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise OSError("the server did not start; see above")
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{url}/healthz", timeout=5).raise_for_status()
            return
        time.sleep(0.1)
    raise OSError(f"no answer from {url} within {START_UP_S:g} s")
