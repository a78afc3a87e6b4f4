"""What many tests need: journals that are closed in the end, and a desk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before JAX loads it: threads of small solves wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest
from small_study import open_desk

from server.desk import Desk
from server.journal import Journal

# What one process has compiled, the servers that tests start need not. A folder for
# each process that runs tests, since JAX does not lock it.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "jax" / _WORKER
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
_OURS: Any = jax.config  # has no types
_OURS.update("jax_compilation_cache_dir", str(_CACHE))
_OURS.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="module")
def strict_shapes() -> Iterator[None]:
    """Silent broadcasting fails; for our own code only, since evosax relies on it."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Opens the journal of the small study, or another one."""
    opened: list[Journal] = []

    def open_one(file: str = "journal.db", study: str = "small") -> Journal:
        opened.append(Journal(tmp_path / file, study))
        return opened[-1]

    yield open_one
    for journal in opened:
        journal.close()


@pytest.fixture
def journal(open_journal: Callable[..., Journal]) -> Journal:
    """The journal of the small study."""
    return open_journal()


@pytest.fixture
def desk(journal: Journal) -> Desk:
    """A desk for the small study."""
    return open_desk(journal)
