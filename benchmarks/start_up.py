"""How long commands take to start, with and without programs compiled before.

``python -m benchmarks.start_up`` starts each command ``--starts`` times: after a Python
that only imports jax and flask, with an empty folder for compiled programs (cold), and
again with what that left there (warm). It prints medians in seconds and medians of the
ratios within a turn, and writes ``benchmarks/results/start_up.json``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from server.protocol import PROTOCOL
from server.serve_cli import free_port
from server.template import TEMPLATE

RESULTS = Path(__file__).parent / "results" / "start_up.json"

PENCHANT = (sys.executable, "-m", "penchant")

GENERATION = 32
"""Sessions of the first generation of the study file that ``new`` writes."""

PATIENCE_S = 300.0
"""How long a server may take to start, on a busy computer."""

Environment = dict[str, str]

Start = Callable[[Path, Environment], dict[str, float]]
"""Starts something beside a study file; the seconds until each thing was there."""


def main() -> None:
    """Start everything so often, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    turn()  # Python itself keeps compiled modules: the first start would be its own
    turns = [turn() for _ in range(options.starts)]
    starts = {name: summary([told[name] for told in turns]) for name in turns[0]}
    for name, of in starts.items():
        print(f"{name:30}", *(f"{key} {value}" for key, value in of["medians"].items()))
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    text = json.dumps({"machine": machine, "starts": starts}, indent=1)
    options.out.write_text(text + "\n", encoding="utf-8")


def turn() -> dict[str, dict[str, float]]:
    """Seconds of everything that is started once bare, once cold and once warm."""
    told: dict[str, dict[str, float]] = {}
    for start in (
        run_short("--help"),
        run_short("new"),
        run_short("check"),
        serve,
        play,
    ):
        with tempfile.TemporaryDirectory() as caches:
            environment = clean(caches)
            bare = seconds((sys.executable, "-c", "import jax, flask"), environment)
            cold, warm = (started(start, environment) for _ in range(2))
        for name in cold:
            told[name] = {"bare": bare, "cold": cold[name], "warm": warm[name]}
    return told


def started(start: Start, environment: Environment) -> dict[str, float]:
    """Start something in a folder of its own, beside a study file as ``new`` writes."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.toml"
        study.write_text(TEMPLATE, encoding="utf-8")
        return start(study, environment)


def summary(turns: list[dict[str, float]]) -> dict[str, Any]:
    """Medians and extremes of seconds, and of ratios of two starts of one turn."""
    columns = {key: [turn[key] for turn in turns] for key in ("bare", "cold", "warm")}
    columns["cold / warm"] = [turn["cold"] / turn["warm"] for turn in turns]
    columns["warm / bare"] = [turn["warm"] / turn["bare"] for turn in turns]
    columns["cold / bare"] = [turn["cold"] / turn["bare"] for turn in turns]
    return {
        "medians": {k: round(statistics.median(v), 2) for k, v in columns.items()},
        "least and most": {
            key: [round(min(of), 2), round(max(of), 2)] for key, of in columns.items()
        },
        "starts": len(turns),
    }


def run_short(command: str) -> Start:
    """A command that ends by itself."""

    def start(study: Path, environment: Environment) -> dict[str, float]:
        on = {"--help": (), "new": (str(study), "--force")}.get(command, (str(study),))
        return {f"penchant {command}": seconds((*PENCHANT, command, *on), environment)}

    return start


def play(study: Path, environment: Environment) -> dict[str, float]:
    """A dry run of the first generation."""
    call = ("dry-run", str(study), "--sessions", str(GENERATION))
    return {"dry-run, first generation": seconds((*PENCHANT, *call), environment)}


def serve(study: Path, environment: Environment) -> dict[str, float]:
    """A server: until it says that it is well, and until a subject has a trial."""
    port = free_port()
    url, call = f"http://127.0.0.1:{port}", ("--simulated", "--port", str(port))
    began = time.perf_counter()
    server = subprocess.Popen(
        (*PENCHANT, "serve", str(study), *call),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"{url}/healthz", server)
        ready = time.perf_counter() - began
        hello = {"protocol": PROTOCOL, "subject": "first", "simulated": True}
        session = said(f"{url}/api/v1/hello", hello)["session"]
        trial = said(f"{url}/api/v1/next", {"session": session})
        delivered = time.perf_counter() - began
        assert trial["type"] == "trial", trial
    finally:
        server.kill()
        server.wait()
    return {"serve, ready": ready, "serve, first trial": delivered}


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Ask until there is an answer."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and server.poll() is None:
        try:
            requests.get(url, timeout=5).raise_for_status()
            return
        except requests.ConnectionError:
            time.sleep(0.01)
    raise TimeoutError(f"no answer from {url}")


def said(url: str, message: dict[str, Any]) -> dict[str, Any]:
    """What a server replies to a message."""
    reply = requests.post(url, json=message, timeout=60)
    reply.raise_for_status()
    told: dict[str, Any] = reply.json()
    return told


def seconds(command: tuple[str, ...], environment: Environment) -> float:
    """How long a command takes from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def clean(caches: str) -> Environment:
    """An environment that keeps compiled programs below ``caches``, and modules."""
    told = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    told.pop("PYTHONDONTWRITEBYTECODE", None)
    # By the rules of Linux, Windows and macOS.
    return told | dict.fromkeys(("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"), caches)


if __name__ == "__main__":
    main()
