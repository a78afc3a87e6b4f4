"""Loading and analysing a million trials: seconds and memory.

``python -m benchmarks.analysing`` writes a journal of 10,000 sessions of 100 trials,
each trial an event of its own as a server stores them, then loads and analyses it in a
new process on two cores. It prints the time of each step and the peak of memory, and
writes ``benchmarks/results/analysing.json``. With ``--together`` the responses of a
session are one event, as in a dry run in process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from server.database import open_database
from server.events import (
    ComponentFrozen,
    Fact,
    GenerationAsked,
    GenerationTold,
    Responded,
    SessionOpened,
    StudyFinished,
    to_row,
)
from server.schema import events
from server.session import Session, apply_responded, finish
from server.steps import opening
from server.study_file import Study

RESULTS = Path(__file__).parent / "results" / "analysing.json"

STUDY = """
[study]
name = "million"
seed = 1
[stimuli]
space = "sphere"
[session]
training_stimuli = 30
test_stimuli = 70
[search]
population = 100
generations = {generations}
[labelling]
family = "basis"
degree = 4
"""

TRIALS = 100
"""Of a session: 30 to learn from, 70 of test."""

ANALYSE = "from benchmarks.analysing import analyse; analyse({where!r})"


def main() -> None:
    """Write the journal, and analyse it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000_000)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = str(Path(folder) / "million.db")
        write(where, options.trials // (100 * TRIALS), options.together)
        size = Path(where).stat().st_size / 2**20
        script = ANALYSE.format(where=where)
        told = json.loads(subprocess.check_output([sys.executable, "-c", script]))
    result = {"trials": options.trials, "journal_mib": round(size)} | told
    print(json.dumps(result, indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def write(where: str, generations: int, together: bool) -> None:
    """A journal of so many generations of 100 candidates, all in one transaction."""
    study = Study(STUDY.format(generations=generations))
    engine = open_database(where)
    with engine.begin() as connection:
        rows: list[dict[str, Any]] = []
        for seq, fact in enumerate(facts(study, generations, together)):
            kind, payload = to_row(fact)
            row = {"study": study.name, "seq": seq, "at": 1e9 + seq, "kind": kind}
            rows.append(row | {"payload": payload})
            if len(rows) == 10_000:
                connection.execute(insert(events), rows)
                rows = []
        connection.execute(insert(events), rows)
    engine.dispose()


def facts(study: Study, generations: int, together: bool) -> Iterator[Fact]:
    """What such a study says; subjects know labels up to noise."""
    rng = np.random.default_rng(1)
    genes = study.labeller.family.genes(study.labeller.space)
    yield opening(study, "dry-run")
    theta = rng.normal(size=(100, genes)).astype(np.float32)
    for generation in range(generations):
        theta = rng.normal(size=(100, genes)).astype(np.float32)
        yield GenerationAsked(0, generation, theta.tolist(), [[0.0, 0.0]] * 100)
        losses = []
        for candidate in range(100):
            for fact in session(rng, generation, candidate, together):
                losses += (
                    [getattr(fact, "error", None)] if hasattr(fact, "error") else []
                )
                yield fact
        yield GenerationTold(0, generation, losses)
    yield ComponentFrozen(0, theta[0].tolist())
    yield StudyFinished()


def session(
    rng: np.random.Generator, generation: int, candidate: int, together: bool
) -> Iterator[Fact]:
    """One session of a subject of its own."""
    x = rng.normal(size=(TRIALS, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.clip(x @ rng.normal(size=3) / 2, -1, 1).round(6)
    values = np.clip(y + rng.normal(0, 0.3, TRIALS), -1, 1).round(6).tolist()
    times = rng.gamma(4, 0.15, TRIALS).round(4).tolist()
    name = f"c0-g{generation}-i{candidate}-a0"
    opened = SessionOpened(
        session=name,
        component=0,
        generation=generation,
        candidate=candidate,
        attempt=0,
        subject=f"s{100 * generation + candidate}",
        exposure=0,
        client={},
        x=x.round(6).tolist(),
        y=y.tolist(),
        training_stimuli=30,
        trials=list(range(TRIALS)),
        training_trials=30,
        right_rewarded=[],
    )
    yield opened
    begun = 1e9 + 1e4 * generation
    clocks: list[dict[str, float] | None] = [
        {"host_monotonic_s": 3.0 * i, "host_utc_s": begun + 3.0 * i}
        for i in range(TRIALS)
    ]
    parts = [range(TRIALS)] if together else [range(i, i + 1) for i in range(TRIALS)]
    played = Session(opened)
    for part in parts:
        where = slice(part.start, part.stop)
        said = Responded(
            name,
            list(part),
            ["responded"] * len(part),
            values[where],
            times[where],
            clocks[where],
        )
        yield said
        if together or part.start >= 30:
            played = apply_responded(played, said)
    yield finish(played, True, choice=False)


def analyse(where: str) -> None:
    """Load and analyse a journal; the seconds of each step, and the peak of memory."""
    begun = time.perf_counter()
    from analysis.behaviour import learning_curve
    from analysis.load import load
    from analysis.quality import quality_of
    from analysis.session_labels import session_powers
    from analysis.spectrum import bias_spectrum

    seconds: dict[str, float] = {}

    def timed(step: str, do: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = do()
        seconds[step] = round(time.perf_counter() - start, 1)
        return result

    log = timed("load", lambda: load(where))
    flags = timed("quality", lambda: quality_of(log))
    powers = timed("powers", lambda: session_powers(log.record))
    timed("spectrum", lambda: bias_spectrum(log.sessions, powers))
    timed("learning curve", lambda: learning_curve(log.trials))
    seconds["all, with imports"] = round(time.perf_counter() - begun, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = {"rows": len(log.trials), "flags": len(flags), "seconds": seconds}
    sys.stdout.write(json.dumps(told | {"peak_gib": round(peak, 2)}))


if __name__ == "__main__":
    main()
