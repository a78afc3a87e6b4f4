"""Memory of a server over a million trials, and how long it takes to come back.

Every trial goes through the desk as a message and is committed to disk by itself;
subjects answer at random. ``python -m benchmarks.million`` prints resident memory as
trials go by, then the time of a replay in a new process, and writes
``benchmarks/results/million.json``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from server.desk import Desk
from server.journal import Journal
from server.study_file import Study

RESULTS = Path(__file__).parent / "results" / "million.json"

STUDY = """
[study]
name = "million"
seed = 1
components = 10
[stimuli]
space = "sphere"
[session]
training_stimuli = 30
test_stimuli = 70
lease_s = 600.0
[search]
population = 100
generations = 1000
[labelling]
family = "basis"
degree = 4
"""

REPLAY = "from benchmarks.million import replay; replay({where!r})"


def main() -> None:
    """Serve, measure, and replay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = str(Path(folder) / "million.db")
        served = serve(where, options.trials)
        script = REPLAY.format(where=where)
        replayed = json.loads(subprocess.check_output([sys.executable, "-c", script]))
        size = Path(where).stat().st_size / 2**20
    result = served | replayed | {"journal_mib": round(size)}
    print(json.dumps(result, indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def serve(where: str, trials: int) -> dict[str, Any]:
    """Answer so many trials; resident memory after each tenth of them."""
    journal = Journal(where, "million")
    desk = Desk(Study(STUDY), journal, "dry-run")
    answers = np.random.default_rng(1).uniform(-1, 1, trials + 100).round(6)
    memory, done, begun = [], 0, time.perf_counter()
    while done < trials:
        hello: Any = desk.handle("hello", {"protocol": 1, "subject": f"s{done}"})
        trial: Any = desk.handle("next", {"session": hello.session})
        while trial:
            message = {"session": hello.session, "uid": trial.uid}
            ack: Any = desk.handle("respond", message | {"value": float(answers[done])})
            trial, done = ack.next, done + 1
            if done % (trials // 10) == 0:
                memory.append(round(_rss_mib()))
                print(f"{done:,} trials, {memory[-1]} MiB", flush=True)
    seconds = time.perf_counter() - begun
    journal.close()
    return {
        "trials": done,
        "trials_per_second": round(done / seconds),
        "rss_mib": memory,
    }


def replay(where: str) -> None:
    """Open the journal again as a server that was killed does."""
    study = Study(STUDY)
    begun = time.perf_counter()
    desk = Desk(study, Journal(where, "million"), "dry-run")
    seconds = time.perf_counter() - begun
    ended = desk.state.sessions_ended
    told = {"replay_s": round(seconds, 1), "replay_rss_mib": round(_rss_mib())}
    sys.stdout.write(json.dumps(told | {"sessions": ended}))


def _rss_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()
