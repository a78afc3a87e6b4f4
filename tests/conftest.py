"""What many tests need: journals that are closed in the end, and a desk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Before JAX loads it: threads of small solves wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest
from small_study import open_desk

from server.desk import Desk
from server.journal import Journal


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
