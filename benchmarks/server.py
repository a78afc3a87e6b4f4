"""How fast a server answers: beside a bare Flask-SocketIO echo, in one run.

Subjects are coroutines of one process that speak the wire protocol of Socket.IO: the
client costs the same for both servers. ``python -m benchmarks.server`` writes
``benchmarks/results/server.jsonl`` and prints a table.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import requests
from websockets.asyncio.client import ClientConnection, connect

from server.access import Access
from server.database import open_database
from server.serve_cli import free_port

RESULTS = Path(__file__).parent / "results" / "server.jsonl"
SUBJECTS = (1, 16, 100, 300)

SAFETY = """
[safety]
trial_microlitre = 3
session_microlitre = 1000
day_microlitre = 1500
weight_fraction = 0
"""
"""What a live study has besides: each reward is granted, counted and in the ledger."""

STUDY = """
[study]
name = "bench"
seed = 1
components = 3
[stimuli]
space = "sphere"
[session]
training_stimuli = {stimuli}
test_stimuli = {stimuli}
lease_s = 600.0
[search]
method = "CMA_ES"
population = {population}
generations = {generations}
[allocation]
quorum = 0.5
[labelling]
family = "basis"
degree = 4
"""
"""At one trial a second sessions are short, so that the search goes on meanwhile."""

Tokens = tuple[str, str]
"""That of a rig, and that of a viewer."""

ECHO = """
import sys
from flask import Flask
from flask_socketio import SocketIO
import logging
logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
app = Flask("echo")
socketio = SocketIO(app, async_mode="threading", async_handlers=sys.argv[2] == "bare")
@app.get("/healthz")
def healthz():
    return {"ok": True}
@socketio.on("respond")
def respond(message):
    return message
socketio.run(app, port=int(sys.argv[1]), allow_unsafe_werkzeug=True)
"""


class Subject:
    """One connection: asks, and waits for the acknowledgement."""

    def __init__(self, wire: ClientConnection, name: str, live: bool = False) -> None:
        """``wire`` is an open WebSocket to a Socket.IO server.

        In a ``live`` study each answer is rewarded, and nobody is simulated.
        """
        self._wire, self._name = wire, name
        self._hello = {"protocol": 1, "simulated": not live}
        self._answer: dict[str, Any] = {"value": 0.25}
        if live:
            self._answer["reward"] = {"microlitre": 2.0}
        self._number = itertools.count()
        self._born = itertools.count()
        self._random = random.Random(name)  # noqa: S311
        self._session, self._trial = "", None  # type: str, dict[str, Any] | None

    async def call(self, kind: str, message: dict[str, Any]) -> dict[str, Any]:
        """The reply to a message."""
        await self._wire.send(f"42{next(self._number)}{json.dumps([kind, message])}")
        while True:
            packet = str(await self._wire.recv())
            if packet == "2":
                await self._wire.send("3")
            elif packet.startswith("43"):
                reply: dict[str, Any] = json.loads(packet[packet.index("[") :])[0]
                return reply

    async def enter(self, until: float = math.inf) -> None:
        """Begin a session and be shown its first trial, unless time is over."""
        while self._trial is None and time.perf_counter() < until:
            subject = f"{self._name}-{next(self._born)}"
            hello = await self.call("hello", self._hello | {"subject": subject})
            if hello["type"] == "assignment":
                self._session = hello["session"]
                self._trial = await self.call("next", {"session": self._session})
            else:
                await asyncio.sleep(hello.get("retry_after_s", 0.2))

    async def live(self, pace_s: float, until: float, waits: list[float]) -> None:
        """Sessions one after another, a trial every ``pace_s`` seconds or so.

        Half as long to half as long again, as real subjects are: sessions that a new
        generation lets begin together would else answer in chorus for ever.
        """
        while time.perf_counter() < until:
            await self.enter(until)
            due = time.perf_counter()
            while self._trial and time.perf_counter() < until:
                due += pace_s * self._random.uniform(0.5, 1.5)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                message = {"session": self._session, "uid": self._trial["uid"]}
                sent = time.perf_counter()
                ack = await self.call("respond", message | self._answer)
                waits.append(time.perf_counter() - sent)
                self._trial = ack.get("next")

    async def shout(self, pace_s: float, until: float, waits: list[float]) -> None:
        """The same messages to an echo."""
        message = {"session": "c0-g0-i0-a0", "uid": "c0-g0-i0-a0/7", "value": 0.25}
        due = time.perf_counter()
        while time.perf_counter() < until:
            due += pace_s * self._random.uniform(0.5, 1.5)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter()
            await self.call("respond", message)
            waits.append(time.perf_counter() - sent)


def open_wire(address: str, token: str | None = None) -> connect:
    """A connection as our Python clients have it: nothing is compressed.

    It is hung up on without a farewell, which no server here says.
    """
    headers = _bearer(token)
    return connect(
        address, close_timeout=0.01, compression=None, additional_headers=headers
    )


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


async def _load(
    port: int,
    subjects: int,
    pace_s: float,
    seconds: float,
    echo: bool,
    token: str | None,
) -> list[float]:
    """Seconds from each response to its reply, of ``subjects`` at once."""
    address = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    async with contextlib.AsyncExitStack() as stack:
        every = []
        for number in range(subjects):
            wire = await stack.enter_async_context(open_wire(address, token))
            await wire.recv()
            await wire.send("40")
            await wire.recv()
            every.append(Subject(wire, f"s{time.time_ns()}-{number}", live=bool(token)))
        waits: list[float] = []
        if not echo:  # time runs from when all are in a session
            await asyncio.gather(*(one.enter() for one in every))
        until = time.perf_counter() + seconds

        async def begin(number: int, one: Subject) -> None:
            await asyncio.sleep(pace_s * number / subjects)  # not all at once
            await (one.shout if echo else one.live)(pace_s, until, waits)

        await asyncio.gather(*(begin(i, one) for i, one in enumerate(every)))
    return waits


class Row(NamedTuple):
    """One cell of the table."""

    server: str
    subjects: int
    pace: str
    per_second: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    generations: int
    rss_mib: float


def measure(
    server: str,
    port: int,
    pid: int,
    subjects: int,
    pace_s: float,
    seconds: float,
    tokens: Tokens | None = None,
) -> Row:
    """Load one server and tell how it did; with ``tokens`` a live one."""
    echo = server.startswith("echo")
    rig, viewer = tokens or (None, None)
    before = 0 if echo else _generations(port, viewer)
    waits = asyncio.run(_load(port, subjects, pace_s, seconds, echo, rig))
    after = 0 if echo else _generations(port, viewer)
    cut = statistics.quantiles(waits, n=100) if len(waits) > 1 else [waits[0]] * 99
    return Row(
        server,
        subjects,
        "one a second" if pace_s else "full speed",
        round(len(waits) / seconds, 1),
        round(1e3 * cut[49], 2),
        round(1e3 * cut[98], 2),
        round(1e3 * max(waits), 1),
        after - before,
        round(_rss_mib(pid), 1),
    )


def _generations(port: int, token: str | None) -> int:
    status = f"http://127.0.0.1:{port}/api/v1/status"
    summary = requests.get(status, headers=_bearer(token), timeout=60).json()
    return int(summary["generations_done"])


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


@contextlib.contextmanager
def process(*command: str, start_s: float = 60.0) -> Iterator[tuple[int, int]]:
    """A server process, which may take so long to start; its port and its number."""
    port = free_port()
    filled = [part.replace("PORT", str(port)) for part in command]
    with subprocess.Popen(
        [sys.executable, *filled], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            _wait_for(port, start_s)
            yield port, running.pid
        finally:
            running.kill()


def _wait_for(port: int, start_s: float) -> None:
    until = time.perf_counter() + start_s
    while time.perf_counter() < until:
        with contextlib.suppress(requests.RequestException):
            requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
            return
        time.sleep(0.1)
    raise TimeoutError(f"no server at port {port}")


def _serve(folder: Path, population: int, stimuli: int, live: bool) -> list[str]:
    study = folder / f"bench-{population}-{stimuli}-{live}.toml"
    text = STUDY.format(population=population, generations=4, stimuli=stimuli)
    study.write_text(text + SAFETY * live)
    journal = str(study.with_suffix(".db"))
    command = ["-m", "penchant", "serve", str(study), "--journal", journal]
    mode = [] if live else ["--simulated"]
    return [*command, *mode, "--port", "PORT", "--log-level", "warning"]


def _issue(serve: list[str]) -> Tokens:
    """Tokens; of a rig's every session may send 50 messages a second."""
    engine = open_database(serve[serve.index("--journal") + 1])
    try:
        access = Access(engine)
        return access.issue("rig")[1], access.issue("viewer")[1]
    finally:
        engine.dispose()


def main() -> None:
    """Load the servers by turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--subjects", type=int, nargs="*", default=SUBJECTS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for subjects in options.subjects:
            for pace_s in (1.0, 0.0):
                for name, command, tokens in _servers(Path(folder), subjects, pace_s):
                    with process(*command) as (port, pid):
                        row = measure(
                            name, port, pid, subjects, pace_s, options.seconds, tokens
                        )
                    rows.append(row)
                    print(*row, sep="  ", flush=True)
    options.out.write_text("".join(json.dumps(r._asdict()) + "\n" for r in rows))


def _servers(
    folder: Path, subjects: int, pace_s: float
) -> Iterator[tuple[str, list[str], Tokens | None]]:
    """Name, command and tokens of each server of a cell.

    The bare echo is Flask-SocketIO as it comes, with a thread for each message; the
    tuned one answers in the thread of the connection, as our server does. Limits on
    what a live study is sent bar full speed.
    """
    # As many candidates as subjects, and half as many again.
    population = max(8, subjects + subjects // 2)
    stimuli = 5 if pace_s else 2000
    yield "echo", ["-c", ECHO, "PORT", "bare"], None
    if not pace_s:
        yield "echo, tuned", ["-c", ECHO, "PORT", "tuned"], None
    yield "study", _serve(folder, population, stimuli, live=False), None
    if pace_s:
        live = _serve(folder, population, stimuli, live=True)
        yield "live study", live, _issue(live)


if __name__ == "__main__":
    main()
