"""How much more do two workers do than one, and what does a death cost?

    python -m benchmarks.cluster [--studies 192] [--turns 5]

The same studies by one worker and by two, in turns, so that a busy computer is fair to
both. Timed from the first job that is handed to workers that have compiled, to the last
row. Then a worker is killed in mid-sweep: which studies are computed twice? Exact
numbers go to ``benchmarks/results/cluster.json``.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis.sweep_grid import settings_of
from server.cluster import Where, _client, cores
from server.hand_out import hand_out, versions
from server.spread import Job, Row, spread
from server.sweep import TOGETHER, jobs_of, run_block

OUT = Path("benchmarks/results/cluster.json")

STUDY = """
[study]
name = "cluster"
components = 2

[stimuli]
space = "sphere"

[session]
training_stimuli = 30
test_stimuli = 50

[search]
population = 16
generations = 40

[labelling]
family = "basis"
degree = 3

[simulated_subject]
learner = "kernel_ridge"
features = 200
"""


def noted(log: str, jobs: Sequence[Mapping[str, Any]]) -> list[list[Row]]:
    """Run studies, and note that they began, and in which process."""
    for job in jobs:
        with Path(log).open("a") as file:
            file.write(f"{job['seed']} {os.getpid()}\n")
    return run_block(None, jobs)


def studies(folder: Path, count: int) -> list[Job]:
    """Studies of one setting, with the seeds 1, 2, ..."""
    path = folder / "study.toml"
    path.write_text(STUDY)
    return jobs_of(settings_of(path, {}), range(1, count + 1))


def throughput(every: Sequence[Job], turns: int) -> dict[str, list[float]]:
    """Studies a second by one worker and by two, a number for each turn."""
    rates: dict[str, list[float]] = {"1": [], "2": []}
    function = partial(run_block, None)
    abouts = [job.about for job in every]
    arguments = [abouts[i : i + TOGETHER] for i in range(0, len(abouts), TOGETHER)]
    with _client(Where(1), 9) as one, _client(Where(2), 9) as two:
        clients = {"1": one, "2": two}
        for client in clients.values():  # every worker compiles
            address: Any = list(client.nthreads())
            for worker in address:
                client.submit(
                    function, arguments[0], workers=[worker], pure=False
                ).result()
        for turn in range(turns):
            for workers in ("1", "2") if turn % 2 else ("2", "1"):
                names = [f"turn-{turn}"] * len(arguments)
                begun = time.perf_counter()
                handed = (clients[workers], function, arguments, names)
                found = list(hand_out(*handed, lambda _: None))
                seconds = time.perf_counter() - begun
                assert len(found) == len(arguments)
                rates[workers].append(len(every) / seconds)
                print(f"{workers} workers: {rates[workers][-1]:.2f} studies/s")
    return rates


def death(every: Sequence[Job], folder: Path) -> dict[str, int]:
    """Kill one of two workers when half is done: how often studies were begun."""
    log, killed = folder / "log", list[int]()

    def kill(done: int, total: int, _: str) -> None:
        if done >= total // 2 and not killed:
            time.sleep(0.1)  # until the next one is under way
            killed.append(int(log.read_text().split()[-1]))
            os.kill(killed[0], signal.SIGKILL)

    function = partial(noted, str(log))
    found = spread(function, every, {}, folder / "out", Where(2), show=kill)
    begun = Counter(line.split()[0] for line in log.read_text().splitlines())
    return {
        "studies": len(every),
        "finished": int(found.rows["seed"].nunique()),
        "killed_workers": len(killed),
        "computed_twice": sum(count > 1 for count in begun.values()),
    }


def main() -> None:
    """Both, printed and kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=192)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        every = studies(Path(folder), options.studies)
        rates = throughput(every, options.turns)
        ratios = [b / a for a, b in zip(rates["1"], rates["2"], strict=True)]
        told = {
            "cores": cores(),
            "machine": platform.platform(),
            "versions": versions(),
            "studies_a_turn": len(every),
            "studies_per_second": rates,
            "ratio_of_each_turn": ratios,
            "median_ratio": statistics.median(ratios),
            "after_a_death": death(every[:24], Path(folder)),
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(told, indent=2) + "\n")
    print(f"two workers do {told['median_ratio']:.2f} times as much as one")
    print(f"after a death: {told['after_a_death']}")


if __name__ == "__main__":
    main()
