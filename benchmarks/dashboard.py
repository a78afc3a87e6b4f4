"""What a dashboard costs: its replies, its pushes, and what trials wait because of it.

One server process with a past of many trials, many live subjects, and a watcher by
turns: rounds without and with one alternate, so that the ratio is not that of two
moments of a busy computer. Then a Chromium opens the page, while the subjects go on.
``python -m benchmarks.dashboard`` writes ``benchmarks/results/dashboard.json`` and
prints the same, within three minutes on two free cores.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import socketio

from benchmarks.server import STUDY, Subject, open_wire, process
from server.board import Board
from server.dry_run import dry_run
from server.journal import Journal
from server.study_file import load

RESULTS = Path(__file__).parent / "results" / "dashboard.json"

STIMULI = 25
PAGES = ("overview", "generations", "labelling", "spectrum")

START_S = 300.0
"""How long a server may take to read its journal and to compile, on a busy computer."""

PAINTS = 5
PAINT_S = 20.0
"""Times that the page is opened, and for how long subjects go on meanwhile."""

PAINTED = """performance.getEntriesByType("paint")
.find((one) => one.name === "first-contentful-paint")?.startTime ?? 0"""


def past_of(folder: Path, trials: int, subjects: int) -> tuple[Path, Path]:
    """A study file, and a journal with so many trials that subjects have done."""
    population = max(16, subjects + subjects // 2)
    sessions = -(-trials // STIMULI)  # runs in process record test trials alone
    generations = 2 * sessions // population + 400
    text = STUDY.format(population=population, generations=generations, stimuli=STIMULI)
    text += '\n[simulated_subject]\nlearner = "kernel_ridge"\nfeatures = 50\n'
    path = folder / "past.toml"
    path.write_text(text, encoding="utf-8")
    study = load(path)
    journal = Journal(folder / "past.db", study.name)
    dry_run(study, journal, sessions=sessions)
    journal.close()
    return path, folder / "past.db"


def gets(port: int, pages: tuple[str, ...] = PAGES) -> dict[str, Any]:
    """Milliseconds and bytes of each page: the first time, and the median of ten.

    ``worked_out_ms`` is until it was there, of a page that is pending at first.
    """
    told = {}
    for page in pages:
        url = f"http://127.0.0.1:{port}/api/v1/dashboard/{page}"
        times, size = [_ms(url)], 0
        begun = time.perf_counter()
        while requests.get(url, timeout=120).json().get("pending"):
            time.sleep(0.05)
        there = 1e3 * (time.perf_counter() - begun)
        for _ in range(10):
            begun = time.perf_counter()
            reply = requests.get(url, timeout=120)
            times.append(1e3 * (time.perf_counter() - begun))
            size = len(reply.content)
        told[page] = {
            "first_ms": round(times[0], 1),
            "worked_out_ms": round(there),
            "median_ms": round(statistics.median(times[1:]), 1),
            "bytes": size,
        }
    return told


def _ms(url: str) -> float:
    begun = time.perf_counter()
    requests.get(url, timeout=120)
    return 1e3 * (time.perf_counter() - begun)


def paints(port: int) -> dict[str, float] | None:
    """Milliseconds until a Chromium has drawn something, and until it has numbers.

    Medians of a browser that has nothing in its cache; None without a browser.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        return None
    first, numbers = [], []
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(PAINTS):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            begun = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/dashboard", wait_until="commit")
            page.wait_for_selector("#finished", timeout=60_000)
            numbers.append(1e3 * (time.perf_counter() - begun))
            first.append(page.evaluate(PAINTED))
            context.close()
        browser.close()
    return {
        "first_paint_ms": round(statistics.median(first)),
        "slowest_first_paint_ms": round(max(first)),
        "numbers_ms": round(statistics.median(numbers)),
    }


class Watcher:
    """Counts pushes, and asks for what they say, as the page does."""

    def __init__(self, port: int) -> None:
        """Connect to the server at a port of this computer."""
        self.pushes, self.bytes, self.asked = 0, 0, 0
        self._base = f"http://127.0.0.1:{port}/api/v1/dashboard/"
        self._session = requests.Session()
        self._wanted: dict[str, str] = {}
        self._new = threading.Event()
        self._over = False
        self.client = socketio.Client(reconnection=False)
        self.client.on("dashboard", self._hear)
        self.client.connect(
            f"http://127.0.0.1:{port}", transports=["websocket"], auth={"watch": True}
        )
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self.client.disconnect()
        self._over = True
        self._new.set()
        self._thread.join()

    def _hear(self, news: dict[str, Any]) -> None:
        self.pushes += 1
        self.bytes += len(json.dumps(news))
        for name in ("spectrum", "labelling"):
            if news.get(name):
                self._wanted[name] = ""
        if "generations" in news:
            self._wanted["generations"] = f"?after={news['generations']}"
        self._new.set()

    def _ask(self) -> None:
        while not self._over:
            self._new.wait()
            self._new.clear()
            wanted, self._wanted = self._wanted, {}
            for name, query in wanted.items():
                with contextlib.suppress(requests.RequestException):
                    self._session.get(self._base + name + query, timeout=60)
                    self.asked += 1


def quantiles(waits: list[float]) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    cut = statistics.quantiles(waits, n=100)
    return round(1e3 * cut[49], 2), round(1e3 * cut[98], 2)


class _ByTurns:
    """Takes waits as a list does, into that of the turn."""

    def __init__(self) -> None:
        self.of: dict[bool, list[float]] = {False: [], True: []}
        self.watched: bool | None = None

    def append(self, wait: float) -> None:
        if self.watched is not None:
            self.of[self.watched].append(wait)


async def _live(
    port: int, subjects: int, seconds: float, waits: Any, ready: threading.Event
) -> None:
    """The same subjects all the time, one trial a second each."""
    address = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    async with contextlib.AsyncExitStack() as stack:
        every = []
        for number in range(subjects):
            wire = await stack.enter_async_context(open_wire(address))
            await wire.recv()
            await wire.send("40")
            await wire.recv()
            every.append(Subject(wire, f"s{time.time_ns()}-{number}"))
        await asyncio.gather(*(one.enter() for one in every))
        ready.set()
        until = time.perf_counter() + seconds
        await asyncio.gather(*(one.live(1.0, until, waits) for one in every))


def rounds(
    port: int,
    subjects: int,
    seconds: float,
    times: int,
    then: Callable[[int], Any],
) -> dict[str, Any]:
    """Trials by turns without and with a watcher, one a second of each subject.

    ``then`` looks at the server at a port while the subjects still go on.
    """
    turns, ready = _ByTurns(), threading.Event()
    whole = seconds * (2 * times + 1) + PAINT_S
    load = threading.Thread(
        target=lambda: asyncio.run(_live(port, subjects, whole, turns, ready))
    )
    load.start()
    ready.wait()
    time.sleep(seconds / 2)  # until they are out of step
    pushes = size = asked = 0
    for number in range(2 * times):
        watcher = Watcher(port) if number % 2 else None
        turns.watched = watcher is not None
        time.sleep(seconds)
        turns.watched = None
        if watcher:
            watcher.close()
            pushes, size = pushes + watcher.pushes, size + watcher.bytes
            asked += watcher.asked
    seen_then = then(port)
    load.join()
    waits = turns.of
    alone, seen = quantiles(waits[False]), quantiles(waits[True])
    per_s = {k: round(len(v) / seconds / times, 1) for k, v in waits.items()}
    return {
        "subjects": subjects,
        "trials_per_s": {"alone": per_s[False], "watched": per_s[True]},
        "p50_ms": {"alone": alone[0], "watched": seen[0]},
        "p99_ms": {"alone": alone[1], "watched": seen[1]},
        "p50_ratio": round(seen[0] / alone[0], 3),
        "p99_ratio": round(seen[1] / alone[1], 3),
        "pushes_per_s": round(pushes / seconds / times, 2),
        "bytes_per_s": round(size / seconds / times),
        "asked_per_s": round(asked / seconds / times, 2),
        "page": seen_then,
    }


def fold_cost(study: Path, journal: Path) -> dict[str, float]:
    """Microseconds of processor time that the board takes for each event."""
    read = load(study)
    opened = Journal(journal, read.name)
    events = list(opened.read())
    opened.close()
    board = Board(read)
    begun = time.process_time()
    for event in events:
        board.note(event)
    each = 1e6 * (time.process_time() - begun) / len(events)
    return {"events": len(events), "board_us_per_event": round(each, 2)}


def main() -> None:
    """Make a past, serve it, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--subjects", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study, journal = past_of(Path(folder), options.trials, options.subjects)
        result: dict[str, Any] = {"past_trials": options.trials}
        result["load_average"] = round(os.getloadavg()[0], 1)
        result |= fold_cost(study, journal)
        serve = ["-m", "penchant", "serve", str(study), "--journal", str(journal)]
        command = [*serve, "--simulated", "--port", "PORT", "--log-level", "warning"]
        begun = time.perf_counter()
        with process(*command, start_s=START_S) as (port, _):
            result["start_s"] = round(time.perf_counter() - begun, 1)
            result["quiet"] = gets(port)
            result["page"] = paints(port)
            live = options.subjects, options.seconds, options.rounds
            result["load"] = rounds(port, *live, then=paints)
            result["after"] = gets(port)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
