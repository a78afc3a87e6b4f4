"""Jobs for tests of workers: they note that they began, and by whom they are run."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = list[list[dict[str, Any]]]


def squares(jobs: Sequence[Mapping[str, Any]]) -> Rows:
    """A row each. ``seconds`` are slept; ``dies`` and ``raises`` while a file is there.

    Every job is noted in the folder ``log``, as a line with its number and process.
    """
    return [[_square(job)] for job in jobs]


def _square(job: Mapping[str, Any]) -> dict[str, Any]:
    with Path(job["log"], "begun").open("a") as log:
        log.write(f"{job['number']} {os.getpid()}\n")
    time.sleep(job.get("seconds", 0))
    bad = Path(job["log"], "bad").exists()
    if job.get("dies") and bad:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.get("raises") and bad:
        raise ValueError(f"number {job['number']} cannot be squared")
    return {"number": job["number"], "square": job["number"] ** 2}


class _Fatal:
    """Kills whoever packs it up."""

    def __reduce__(self) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""


def lost(log: str) -> Any:
    """Begun for the first time, what cannot leave its worker; then, death at once."""
    first = not begun(Path(log))
    with Path(log, "begun").open("a") as file:
        file.write(f"0 {os.getpid()}\n")
    if not first:
        os.kill(os.getpid(), signal.SIGKILL)
    return _Fatal()


def begun(log: Path) -> list[tuple[int, int]]:
    """Number and process of each job that was begun, in order."""
    path = log / "begun"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(number), int(pid)) for number, pid in map(str.split, lines)]


def threads_of_xla(_: object) -> tuple[int, int]:
    """Threads that XLA multiplies matrices in, and this process."""
    import jax.numpy as jnp

    a = jnp.ones((512, 512))
    (a @ a).block_until_ready()
    tasks = Path("/proc/self/task").iterdir()
    names = [(task / "comm").read_text().strip() for task in tasks]
    return sum(name.startswith("tf_XLAEigen") for name in names), os.getpid()
