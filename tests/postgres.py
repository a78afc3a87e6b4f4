"""A PostgreSQL server for the tests of one process, and databases in it.

A plugin: a test file that wants it says ``pytest_plugins = ["postgres"]``.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from server.journal import Journal

MISSING = (
    "these tests need the programs of PostgreSQL, and {} is not there: `make test` "
    "installs them (on Debian and Ubuntu the package postgresql)"
)


def binaries() -> Path:
    """The folder of initdb and postgres; the test fails where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = subprocess.run(
            ["pg_config", "--bindir"], capture_output=True, text=True, check=True
        )
        folders.append(Path(said.stdout.strip()))
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    pytest.fail(MISSING.format("initdb"))


class Server:
    """A server that listens in its own folder only, and waits for the disk."""

    def __init__(self) -> None:
        self.bin = binaries()
        # Short, since the path of a socket may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._numbers = count()
        if os.geteuid() == 0:  # as whom PostgreSQL refuses to run
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-N")
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=on"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", log, "-w", "start")

    def database(self) -> str:
        """URL of a new, empty database."""
        name = f"test{next(self._numbers)}"
        self.execute(f"create database {name}")
        return self.url(name)

    def schema(self) -> str:
        """URL of a new, empty schema in one database: faster than a new database."""
        name = f"test{next(self._numbers)}"
        self.execute(f"create schema {name}")
        return f"{self.url('postgres')}&options=-csearch_path%3D{name}"

    def url(self, name: str) -> str:
        """URL of a database."""
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def execute(self, statement: str, *values: Any, database: str = "postgres") -> Any:
        """One statement, outside any transaction; the rows it gives, if any."""
        where = f"host={self.folder} user=postgres dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else None

    def stop(self) -> None:
        """Stop at once and forget everything."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        root = os.geteuid() == 0
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.folder,
            user="postgres" if root else None,
            group="postgres" if root else None,
            extra_groups=[] if root else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server would hold a pipe open
            check=False,
        )
        assert done.returncode == 0, f"{program}: see {self.folder}/log"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server of this process of tests."""
    server = Server()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of each kind: a path or a URL."""
    if request.param == "sqlite":
        return str(tmp_path / "journal.db")
    server: Server = request.getfixturevalue("postgres")
    return server.schema()


@pytest.fixture
def open_here(where: str) -> Iterator[Callable[..., Journal]]:
    """Opens the journal of the small study, or another one, in that database."""
    opened: list[Journal] = []

    def open_one(study: str = "small") -> Journal:
        opened.append(Journal(where, study))
        return opened[-1]

    yield open_one
    for journal in opened:
        journal.close()
