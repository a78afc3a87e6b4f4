"""Two server processes behind nginx, with PostgreSQL and Redis: all real."""

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import requests
import socketio
from small_study import be_born, facts, small_study, study_text

from server.access import Access
from server.database import open_database
from server.events import Responded, SessionEnded, StudyFinished
from server.journal import Journal
from server.serve_cli import free_port
from subject_clients.simulated import run_subjects
from subject_clients.transport import TRANSPORTS

RECIPE = Path(__file__).parent.parent / "examples" / "scale_out"
NAMES = ("alpha", "beta")

pytest_plugins = ["postgres"]


@contextlib.contextmanager
def process(*command: str, cwd: Path | None = None) -> Iterator[Any]:
    """A process, killed in the end at the latest."""
    folders = (Path(sys.executable).parent, "/usr/sbin", os.environ["PATH"])
    program = shutil.which(command[0], path=os.pathsep.join(map(str, folders)))
    assert program, f"{command[0]} is missing: `make test` installs it"
    with subprocess.Popen(
        [program, *command[1:]], cwd=cwd, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            kill(running)


def kill(running: Any) -> None:
    """End a process and its workers at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def wait_until_open(port: int) -> None:
    for _ in range(600):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port)),
        ):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens at {port}")


class World:
    """nginx in front of two server processes over one database."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database
        self.ports = [free_port(), free_port()]
        self.front, self.redis = free_port(), free_port()
        self.stack = contextlib.ExitStack()
        self.servers: list[Any] = []
        engine = open_database(database)
        access = Access(engine)
        self.operator = access.issue("operator")[1]
        self.rig = access.issue("rig")[1]
        engine.dispose()
        self.studies = [folder / f"{name}.toml" for name in NAMES]
        for name, path in zip(NAMES, self.studies, strict=True):
            text = study_text().replace('name = "small"', f'name = "{name}"')
            path.write_text(text, encoding="utf-8")

    def __enter__(self) -> Self:
        """Start everything."""
        quiet = ("--save", "", "--appendonly", "no")
        redis = ("redis-server", "--port", str(self.redis), *quiet)
        self.stack.enter_context(process(*redis, cwd=self.folder))
        wait_until_open(self.redis)
        for port in self.ports:
            self.servers.append(self.stack.enter_context(self.server(port)))
        self.stack.enter_context(process("nginx", "-g", "daemon off;", *self.config()))
        for port in (*self.ports, self.front):
            wait_until_open(port)
        return self

    def __exit__(self, *_: object) -> None:
        """End everything at once."""
        self.stack.close()

    def server(self, port: int) -> Any:
        """The recipe's server process, in a group of its own."""
        studies = ", ".join(f'"{path}"' for path in self.studies)
        application = (
            f"server.wsgi:application({studies}, journal='{self.database}', "
            f"message_queue='redis://127.0.0.1:{self.redis}', simulated=True, "
            "log_level='warning')"
        )
        where = ("--bind", f"127.0.0.1:{port}", "--log-level", "error")
        return process(
            "gunicorn", "--workers", "1", "--threads", "50", *where, application
        )

    def config(self) -> tuple[str, ...]:
        """The recipe's nginx.conf, on ports of this test."""
        text = (RECIPE / "nginx.conf").read_text(encoding="utf-8")
        for written, port in zip(
            ("5000", "5001", "5002"), (self.front, *self.ports), strict=True
        ):
            assert f"127.0.0.1:{written}" in text
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{port}")
        folders = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = text.replace("http {\n", f"http {{\naccess_log off;\n{folders}")
        path = self.folder / "nginx.conf"
        path.write_text(f"pid {self.folder}/nginx.pid;\n{text}", encoding="utf-8")
        return ("-c", str(path), "-e", str(self.folder / "nginx.log"))

    def url(self, study: str) -> str:
        return f"http://127.0.0.1:{self.front}?study={study}"

    def say(self, study: str, kind: str, **message: Any) -> dict[str, Any]:
        """One message by plain HTTP, through nginx."""
        hello = {"protocol": 1} if kind == "hello" else {}
        answer = requests.post(
            f"http://127.0.0.1:{self.front}/api/v1/{kind}?study={study}",
            json=message | hello | {"token": self.rig},
            timeout=120,
        )
        assert answer.ok, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def owner(self, study: str) -> int:
        """Which of the two serves a study: the other one sends it on."""
        heads = {"Authorization": f"Bearer {self.operator}"}
        for place, port in enumerate(self.ports):
            page = f"http://127.0.0.1:{port}/api/v1/status?study={study}"
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(page, headers=heads, timeout=60).ok:
                    return place
        raise AssertionError(f"nobody serves {study}")

    def run(self, study: str, wire: str) -> None:
        """Two simulated subjects until a study is over."""
        run_subjects(
            f"{wire}-{study}",
            2,
            lambda group: be_born(small_study(), group),
            lambda: TRANSPORTS[wire](self.url(study), 60.0),
            self.rig,
        )


@pytest.fixture
def world(postgres: Any, tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, postgres.database()) as running:
        yield running


def watcher(world: World, port: int) -> tuple[Any, "queue.Queue[dict[str, Any]]"]:
    """A viewer at one process, and what is pushed to it."""
    client, heard = socketio.Client(reconnection=False), queue.Queue[dict[str, Any]]()
    client.on("progress", heard.put)
    auth = {"watch": True, "token": world.operator}
    client.connect(f"http://127.0.0.1:{port}", auth=auth, transports=["websocket"])
    return client, heard


def test_two_processes_share_studies_and_one_takes_over_from_the_other(
    world: World,
) -> None:
    first = {study: world.say(study, "hello", subject="first") for study in NAMES}
    owner = world.owner("alpha")
    # A viewer at the other process hears of alpha, by way of Redis.
    client, heard = watcher(world, world.ports[1 - owner])
    for study in NAMES:
        session = first[study]["session"]
        world.say(study, "abandon", session=session, reason="only looking")
    told = {heard.get(timeout=20)["study"] for _ in NAMES}
    assert told == set(NAMES)
    client.disconnect()
    world.run("beta", "socket")
    kill(world.servers[owner])
    world.run("alpha", "socket")
    assert world.owner("alpha") == 1 - owner
    for study in NAMES:
        journal = Journal(world.database, study)
        assert facts(journal, StudyFinished)
        answered = [
            (fact.session, trial)
            for fact in facts(journal, Responded)
            for trial in fact.trials
        ]
        assert len(answered) == len(set(answered))
        finished = [f for f in facts(journal, SessionEnded) if f.status == "finished"]
        assert len(finished) == 8
        journal.close()
