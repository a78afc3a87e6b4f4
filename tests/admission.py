"""A database with its tokens and invitations, and a clock to set.

A plugin: a test file that wants it says ``pytest_plugins = ["admission"]``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import Clock
from sqlalchemy.engine import Engine

from server.access import Access
from server.database import open_database
from server.invitations import Invitations


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path / "small.db")
    yield engine
    engine.dispose()


@pytest.fixture
def access(engine: Engine, clock: Clock) -> Access:
    return Access(engine, clock)


@pytest.fixture
def invitations(access: Access) -> Invitations:
    return Invitations(access)
