"""Time to ask for the next trial after 200 trials, beside AEPsych's socket server.

AEPsych is optional: ``pip install aepsych``. Both are asked over a socket on this
computer, by one client that waits for each reply; AEPsych in two dimensions with its
Gaussian process, after as many tells of random points. ``python -m
benchmarks.asking`` prints both and writes ``benchmarks/results/asking.json``.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.server import STUDY, Subject, open_wire, process
from server.serve_cli import free_port

RESULTS = Path(__file__).parent / "results" / "asking.json"

HISTORY = 200
"""Trials before asking is timed."""

# Its model begins with the last trial of the history, or telling would take hours.
CONFIG = """
[common]
parnames = [x, y]
stimuli_per_trial = 1
outcome_types = [binary]
target = 0.75
strategy_names = [init_strat, opt_strat]
[x]
par_type = continuous
lower_bound = -1
upper_bound = 1
[y]
par_type = continuous
lower_bound = -1
upper_bound = 1
[init_strat]
min_asks = 0
min_total_tells = {history}
generator = SobolGenerator
[opt_strat]
min_asks = 1000
refit_every = {refit_every}
generator = OptimizeAcqfGenerator
model = GPClassificationModel
[OptimizeAcqfGenerator]
acqf = MCLevelSetEstimation
"""

AEPSYCH = """
import json, random, sys, time
from aepsych_client import AEPsychClient
(port, history, asks), config = map(int, sys.argv[1:4]), sys.argv[4]
client = AEPsychClient(ip="127.0.0.1", port=port, connect=False)
client.connect("127.0.0.1", port)
client.configure(config_str=config)
random.seed(1)
def tell(x, y):
    outcome = int(random.random() < (x * x + y * y) / 2)
    client.tell(config={"x": [x], "y": [y]}, outcome=outcome)
for trial in range(history):
    tell(random.uniform(-1, 1), random.uniform(-1, 1))
waits = []
for trial in range(asks):
    begun = time.perf_counter()
    asked = client.ask()["config"]
    waits.append(time.perf_counter() - begun)
    tell(asked["x"][0], asked["y"][0])
print(json.dumps(waits))
"""
"""Run by AEPsych's own Python, which may be another one."""


def main() -> None:
    """Ask both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--aepsych", type=Path, help="Folder of programs, with AEPsych."
    )
    parser.add_argument("--asks", type=int, default=10)
    parser.add_argument("--refit-every", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    result: dict[str, Any] = {"history": HISTORY}
    with tempfile.TemporaryDirectory() as folder:
        result["penchant"] = told(ask_penchant(Path(folder), options.asks))
        if options.aepsych:
            waits = ask_aepsych(options, Path(folder))
            result["aepsych"] = told(waits) | {"refit_every": options.refit_every}
    print(json.dumps(result, indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def told(waits: list[float]) -> dict[str, Any]:
    """Milliseconds: median and worst."""
    return {
        "asks": len(waits),
        "median_ms": round(1e3 * statistics.median(waits), 2),
        "worst_ms": round(1e3 * max(waits), 2),
    }


def ask_penchant(folder: Path, asks: int) -> list[float]:
    """Seconds from an answer to the next trial, after so many trials."""
    study = folder / "bench.toml"
    study.write_text(STUDY.format(population=8, generations=2, stimuli=2000))
    serve = ("-m", "penchant", "serve", str(study), "--simulated", "--port", "PORT")
    with process(*serve, "--log-level", "warning") as (port, _):
        return asyncio.run(_answer(port, asks))


async def _answer(port: int, asks: int) -> list[float]:
    address = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    async with open_wire(address) as wire:
        await wire.recv()
        await wire.send("40")
        await wire.recv()
        one, waits = Subject(wire, "mouse"), []
        hello: dict[str, Any] = {"protocol": 1, "subject": "mouse", "simulated": True}
        assigned = await one.call("hello", hello)
        trial = await one.call("next", {"session": assigned["session"]})
        for _ in range(HISTORY + asks):
            message = {"session": assigned["session"], "uid": trial["uid"]}
            begun = time.perf_counter()
            ack = await one.call("respond", message | {"value": 0.25})
            waits.append(time.perf_counter() - begun)
            trial = ack["next"]
    return waits[HISTORY:]


def ask_aepsych(options: argparse.Namespace, folder: Path) -> list[float]:
    """The same of AEPsych."""
    with aepsych_server(options.aepsych, folder) as port:
        command = [
            str(options.aepsych / "python"),
            "-c",
            AEPSYCH,
            str(port),
            str(HISTORY),
            str(options.asks),
            CONFIG.format(history=HISTORY, refit_every=options.refit_every),
        ]
        waits: list[float] = json.loads(subprocess.check_output(command))
    return waits


@contextlib.contextmanager
def aepsych_server(programs: Path, folder: Path) -> Iterator[int]:
    """AEPsych's server on a free port."""
    port = free_port()
    command = [str(programs / "aepsych_server"), "--port", str(port)]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        for _ in itertools.repeat(None, 600):
            time.sleep(0.2)
            if listens(port):
                break
        try:
            yield port
        finally:
            running.kill()


def listens(port: int) -> bool:
    """Whether a port is open; not by connecting, since AEPsych serves one client."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(
        line.split()[1].endswith(wanted) and line.split()[3] == "0A" for line in lines
    )


if __name__ == "__main__":
    main()
