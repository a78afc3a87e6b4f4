"""How a server stops: whatever it is doing, and as soon as it has given back."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from small_study import write_study
from test_start_up import ROOT

from server.compile_cache import WHERE
from server.serve_cli import free_port

SOON_S = 20.0
"""Of waiting for work under way 2 s, of a busy computer the rest."""


@pytest.mark.parametrize("moment", ["loading", "ready", "compiling"])
def test_a_server_stopped_soon_after_its_start_ends_in_order(
    tmp_path: Path, moment: str
) -> None:
    """With nothing compiled before, it is inside XLA for seconds after its start."""
    port = free_port()
    server = subprocess.Popen(
        (
            *(sys.executable, "-m", "penchant", "serve", str(write_study(tmp_path))),
            *("--simulated", "--port", str(port)),
        ),
        cwd=ROOT,
        env=os.environ | {WHERE: str(tmp_path / "compiled")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if moment == "loading":
        _until(lambda: _is_caught(server.pid))
        time.sleep(0.3)
    else:
        _ready(f"http://127.0.0.1:{port}/healthz")
    if moment == "compiling":
        time.sleep(0.7)
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    _, said = server.communicate(timeout=60)
    assert time.monotonic() - began < SOON_S
    assert server.returncode == 0, said
    assert "Traceback" not in said


def _is_caught(pid: int) -> bool:
    """Whether a process does something of its own on SIGTERM."""
    told = Path(f"/proc/{pid}/status").read_text()
    (caught,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", told, re.MULTILINE)
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def _ready(url: str) -> None:
    def answers() -> bool:
        try:
            return requests.get(url, timeout=5).ok
        except requests.ConnectionError:
            return False

    _until(answers)


def _until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
