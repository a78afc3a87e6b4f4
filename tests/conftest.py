"""What many tests need: journals that are closed in the end, and a desk."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Before JAX loads it: threads of small solves wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest
from rigs import Builder, Clock
from small_study import open_desk

from server.compile_cache import keep_compiled
from server.desk import Desk
from server.journal import Journal

# What one process has compiled others need not: workers, and servers that tests start.
keep_compiled(Path(__file__).parents[1] / ".pytest_cache" / "compiled")

# As commands do: libraries and programs stay, and are looked through less often.
gc.set_threshold(100_000)

MOST_MAPPINGS = 30_000
"""Of the 65,530 pieces of memory that Linux allows a process; a program takes some."""


LONG = (
    "test_plan",
    "test_reanalysis",
    "test_modelled_study",
    "test_hybrid_study",
    "test_subject_model",
    "test_subject_model_recovery",
    "test_reproduction",
    "test_human_window",
    "test_sinusoid",
    "test_session",
    "test_resume",
    "test_docs",
    "test_cluster",
    "test_chaos",
    "test_scale_out",
    "test_bpod_study",
)
"""Files of long tests: begun first, so that no core is idle while the last one runs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; all else stays in its order."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs() -> Iterator[None]:
    """Forget compiled programs before there are so many that XLA breaks down."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()  # type: ignore[no-untyped-call]
        gc.collect()


@pytest.fixture
def noon() -> Clock:
    """Seconds since 1970 as a test sets them."""
    return Clock()


@pytest.fixture
def build(tmp_path: Path, noon: Clock) -> Iterator[Builder]:
    """Builds a rig around a box."""
    builder = Builder(tmp_path, noon)
    yield builder
    builder.close()


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
