"""Server, clients, network and disk fail again and again, and nothing is lost."""

import contextlib
import json
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import chaos_checks as checks
import pytest
import requests
from chaos_client import MEMORY, OUTBOX
from chaos_proxy import Odds, Proxy
from flask import Flask
from flask_socketio import SocketIO
from werkzeug.serving import make_server

from server.journal import Journal
from server.protocol import Wait
from server.study_file import Study
from subject_clients.transport import Socket

pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="limits of another process are Linux's"
)

STUDY = """
[study]
name = "chaos"
seed = 11
components = {components}
[stimuli]
space = "sphere"
[session]
training_stimuli = 5
test_stimuli = 5
lease_s = {lease_s}
[search]
population = {population}
generations = {generations}
re_evaluate = {re_evaluate}
[allocation]
quorum = {quorum}
[labelling]
family = "linear"
"""

HERE = Path(__file__).parent


class Plan(NamedTuple):
    """How much is to happen; what is random of it follows from the seed."""

    subjects: int
    programs: int
    population: int
    generations: int
    components: int
    kills: int
    """Of the server, a quarter of them while it starts, one in three tearing a record
    that was being written."""
    client_kills: int
    forgetting: int
    """Kills of a client after which it has no memory of the training."""
    freezes: int
    cuts: int
    disk_full: int
    re_evaluate: int
    quorum: float
    lease_s: float = 3.0
    starts_within_s: float = 6.0

    def study(self) -> str:
        """The study file."""
        return STUDY.format(**self._asdict())

    def lives(self, rng: random.Random) -> Iterator["Life"]:
        """Each ends with a kill."""
        starting = self.kills // 4
        running = self.kills - starting
        budget = 10 * self.population * self.generations * self.components
        moments = sorted(rng.sample(range(1, budget // 3), running))
        troubles = (
            ["client killed"] * self.client_kills
            + ["client killed, memory lost"] * self.forgetting
            + ["client frozen"] * self.freezes
            + ["all connections cut"] * self.cuts
            + ["disk full"] * self.disk_full
        )
        troubles += ["nothing"] * (running - len(troubles))
        rng.shuffle(troubles)
        lives = [
            Life(None, now - before, trouble)
            for before, now, trouble in zip(
                [0, *moments], moments, troubles[:running], strict=False
            )
        ]
        within = self.starts_within_s
        lives += [Life(rng.uniform(0, within), 0, "nothing") for _ in range(starting)]
        rng.shuffle(lives)
        yield from lives


class Life(NamedTuple):
    """Of a server: killed so long after its start, or after so many responses."""

    start_s: float | None
    responses: int
    trouble: str


SMALL = Plan(
    subjects=4,
    programs=2,
    population=4,
    generations=2,
    components=1,
    kills=2,
    client_kills=1,
    forgetting=0,
    freezes=0,
    cuts=0,
    disk_full=1,
    re_evaluate=2,
    quorum=1.0,
)
LARGE = Plan(
    subjects=50,
    programs=3,
    population=60,
    generations=16,
    components=2,
    kills=100,
    client_kills=14,
    forgetting=6,
    freezes=8,
    cuts=5,
    disk_full=4,
    re_evaluate=0,
    quorum=0.9,
)


class Server:
    """`penchant serve`, to be started and killed again and again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.journal = folder / "chaos.db"
        self._study, self._log = folder / "chaos.toml", folder / "server.log"

    @contextlib.contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        """A process, ended by SIGKILL."""
        serve = ["serve", str(self._study), "--journal", str(self.journal)]
        wire = ["--simulated", "--port", str(self.port), "--log-level", "warning"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "penchant", *serve, *wire],
                cwd=HERE.parent,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            yield process
            assert process.poll() is None, f"the server ended: see {self._log}"
        finally:
            process.kill()
            process.wait()

    def wait(self, timeout_s: float = 180.0) -> None:
        """Until it says that it stores what it hears."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                url = f"http://127.0.0.1:{self.port}/healthz"
                if requests.get(url, timeout=10).status_code == 200:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"no healthy server: see {self._log}")

    def tear(self) -> bool:
        """As if power had gone while a commit was being written."""
        wal = self.journal.with_name(f"{self.journal.name}-wal")
        content = wal.read_bytes() if wal.exists() else b""
        if len(content) <= 32:
            return False
        page = int.from_bytes(content[8:12], "big")
        salts, frame = content[16:24], 24 + page
        at = 32
        while content[at + 8 : at + 16] == salts:
            at += frame
        # Page 1, the last frame of a commit; but half of it, and sums that are wrong.
        half = (
            (1).to_bytes(4, "big") + (9).to_bytes(4, "big") + salts + bytes(page // 2)
        )
        with wal.open("r+b") as file:
            file.seek(at)
            file.write(half)
        return True


class Clients:
    """Programs of scripted subjects, by turns over HTTP and Socket.IO."""

    def __init__(self, folder: Path, url: str, plan: Plan, seed: int) -> None:
        self.folder, self._url, self._seed = folder, url, seed
        share = -(-plan.subjects // plan.programs)
        starts = range(0, plan.subjects, share)
        self._places = [range(a, min(a + share, plan.subjects)) for a in starts]
        self._programs: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start every program."""
        self._programs = [self._started(i) for i in range(len(self._places))]
        return self

    def __exit__(self, *_: object) -> None:
        """End those that have not ended."""
        for program in self._programs:
            program.kill()
            program.wait()

    def _started(self, which: int) -> "subprocess.Popen[bytes]":
        places, transport = self._places[which], ("http", "socket")[which % 2]
        numbers = (places.start, len(places), transport, self._seed)
        script, into = HERE / "chaos_client.py", self.folder
        return subprocess.Popen(
            [sys.executable, script, self._url, into, *map(str, numbers)],
            cwd=HERE.parent,
            env=os.environ | {"PYTHONPATH": str(HERE.parent)},
        )

    @property
    def over(self) -> bool:
        """Whether every program has ended; raises if a subject met what must not be."""
        wrong = checks.unexpected(self.folder)
        assert not wrong, "\n".join(wrong[:5])
        return all(program.poll() is not None for program in self._programs)

    def wait(self, timeout_s: float) -> None:
        """Until the study is over for every subject."""
        deadline = time.monotonic() + timeout_s
        while not self.over:
            assert time.monotonic() < deadline, "the study comes to no end"
            time.sleep(1.0)

    def kill(self, which: int, forgets: bool) -> None:
        """SIGKILL; half a line is left in outboxes. Then it starts again."""
        if self._programs[which].poll() is not None:
            return
        self._programs[which].kill()
        self._programs[which].wait()
        for place in self._places[which]:
            folder = self.folder / f"subject-{place}"
            if (folder / OUTBOX).exists():
                with (folder / OUTBOX).open("ab") as outbox:
                    outbox.write(b'{"put": 1000000, "kind": "resp')
            if forgets:
                (folder / MEMORY).unlink(missing_ok=True)
        self._programs[which] = self._started(which)

    @contextlib.contextmanager
    def frozen(self, which: int) -> Iterator[None]:
        """SIGSTOP, then SIGCONT."""
        self._programs[which].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._programs[which].send_signal(signal.SIGCONT)


class Storm:
    """A study that goes through all that a plan says."""

    def __init__(self, folder: Path, plan: Plan, seed: int) -> None:
        self.folder, self.plan, self.seed = folder, plan, seed
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._server = Server(folder)
        (folder / "chaos.toml").write_text(plan.study())

    def run(self) -> Counter[str]:
        """All of it, then calm until the study is over; how often what was done."""
        with (
            Proxy(self._server.port, self.seed) as proxy,
            Clients(self.folder, proxy.url, self.plan, self.seed) as clients,
        ):
            for life in self.plan.lives(self._random):
                with self._server.running() as process:
                    self._live(life, process, proxy, clients)
                self.done["server killed"] += 1
                self.done["server killed in starting"] += life.start_s is not None
                if self._random.random() < 1 / 3:
                    self.done["record torn"] += self._server.tear()
            with self._server.running():
                clients.wait(1800)
        return self.done + proxy.counts

    def _live(
        self,
        life: Life,
        process: "subprocess.Popen[bytes]",
        proxy: Proxy,
        clients: Clients,
    ) -> None:
        if life.start_s is not None:
            time.sleep(life.start_s)
            return
        self._server.wait()
        assert not clients.over, "the study was over before the last kill"
        which = self._random.randrange(self.plan.programs)
        proxy.wait_for("carried", life.responses // 2, 60)
        if life.trouble.startswith("client killed"):
            clients.kill(which, forgets=life.trouble.endswith("lost"))
        elif life.trouble == "client frozen":
            with clients.frozen(which):
                time.sleep(1.7 * self.plan.lease_s)
        elif life.trouble == "all connections cut":
            proxy.cut_all()
        elif life.trouble == "disk full":
            self._fill_disk(process, proxy)
        self.done[life.trouble] += life.trouble != "nothing"
        proxy.wait_for("carried", life.responses - life.responses // 2, 60)
        # On its way to the disk, there, or answered: all of these moments.
        time.sleep(self._random.uniform(0, 0.02))

    def _fill_disk(self, process: "subprocess.Popen[bytes]", proxy: Proxy) -> None:
        """No file may grow, or be written beyond its first page."""
        before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        assert proxy.wait_for("status 503", 5, 60), "a full disk went unnoticed"
        if self._random.random() < 0.75:  # else it is killed before there is room
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
            assert proxy.wait_for("acknowledged", 5, 60), "room went unnoticed"
            self._server.wait(30)


def everything(folder: Path, study: Study) -> dict[str, list[str]]:
    """What each check finds wrong."""
    with contextlib.closing(Journal(folder / "chaos.db", study.name)) as journal:
        events = list(journal.read())
    with contextlib.closing(sqlite3.connect(folder / "chaos.db")) as database:
        whole = [row for (row,) in database.execute("pragma integrity_check")]
    return checks.of_journal(study, events, checks.acknowledged(folder)) | {
        "database damaged": [row for row in whole if row != "ok"],
        "not delivered": checks.undelivered(folder, study.name),
        "unexpected": checks.unexpected(folder),
    }


def report(folder: Path, plan: Plan, counts: dict[str, Any]) -> None:
    """Print the counts; into a file too where ``PENCHANT_CHAOS_REPORT`` names one."""
    with contextlib.closing(Journal(folder / "chaos.db", "chaos")) as journal:
        events = list(journal.read())
    said = checks.acknowledged(folder)
    counts = {
        "plan": plan._asdict(),
        **counts,
        "acknowledged trials": len({uid for uid, _ in said}),
        "acknowledged again": len(said) - len({uid for uid, _ in said}),
        **checks.summary(events),
    }
    text = json.dumps(counts, indent=1)
    print(text)
    if path := os.environ.get("PENCHANT_CHAOS_REPORT"):
        Path(path).write_text(text + "\n", encoding="utf-8")


def weather(folder: Path, plan: Plan, seed: int) -> Counter[str]:
    """Nothing is wrong after a storm; returns what it was."""
    print(f"drawn with seed {seed}")
    begun = time.monotonic()
    done = Storm(folder, plan, seed).run()
    seconds = round(time.monotonic() - begun)
    counts = {"seed": seed, "seconds": seconds} | dict(sorted(done.items()))
    report(folder, plan, counts)
    found = everything(folder, Study(plan.study())).items()
    wrong = {check: [len(faults), *faults[:5]] for check, faults in found if faults}
    assert not wrong, json.dumps(wrong, indent=1)
    assert done["server killed"] == plan.kills
    troubles = plan.client_kills, plan.freezes, plan.disk_full
    kinds = "client killed", "client frozen", "disk full"
    assert tuple(done[kind] for kind in kinds) == troubles
    return done


def test_a_client_notices_at_once_that_its_connection_is_cut() -> None:
    """And not when its patience with the reply ends."""
    app, asked, over = Flask("silent"), threading.Event(), threading.Event()
    server_side = SocketIO(app, async_mode="threading")

    def silent_at_first(_: object) -> dict[str, Any]:
        if not asked.is_set():
            asked.set()
            over.wait(60)
        return Wait(retry_after_s=1.0, reason="well").model_dump()

    server_side.on_event("next", silent_at_first)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with ThreadPoolExecutor() as threads:
        serving = threads.submit(server.serve_forever, 0.05)
        with Proxy(server.server_port, 0, Odds(0, 0, 0, 0, 0)) as proxy:
            wire = Socket(proxy.url)
            reply = threads.submit(wire.send, "next", {"session": "a"})
            assert asked.wait(30)
            proxy.cut_all()
            assert reply.result(timeout=20).type == "wait"
            wire.close()
        over.set()
        server.shutdown()
        serving.result()
    server.server_close()


@pytest.mark.slow
def test_a_small_storm_loses_nothing(tmp_path: Path) -> None:
    weather(tmp_path, SMALL, random.randrange(10_000))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    done = weather(tmp_path, LARGE, random.randrange(10_000))
    missed = [fault for fault in Odds._fields if not done[fault]]
    assert not missed, f"the proxy was too kind: {missed}"
    assert done["record torn"]
