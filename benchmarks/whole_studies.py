"""Whole studies in one program: beside the journalled dry run, and how cost grows.

    python -m benchmarks.whole_studies [--turns 5]

Of the default study file (kernel subject, sphere, DES, MLP labellings). First sessions
per second of whole studies beside those of a study with a journal in memory, in turns;
then a power analysis of 1,000 studies x 200 sessions, compiling included; then how the
time of a session grows with population, training and test stimuli, and that of a sweep
with the number of studies (slopes of the logarithms: 1 is proportional).
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from server.dry_run import course
from server.plan_by_search import generations_of, recovered_by_search
from server.plan_truth import model_of
from server.study_file import Study
from server.template import TEMPLATE
from server.whole_studies import Recipe, recipe_of, run_whole

RESULTS = Path(__file__).parent / "results" / "whole_studies.json"


def study_of(generations: int) -> Study:
    """The default study, so long."""
    return Study(
        re.sub(r"(?m)^generations = \d+", f"generations = {generations}", TEMPLATE)
    )


def seconds(work: Callable[[], Any]) -> float:
    """Of a call that ends when its arrays are there."""
    start = time.perf_counter()
    wait: Callable[[Any], Any] = jax.block_until_ready
    wait(work())
    return time.perf_counter() - start


def beside_journal(turns: int) -> list[dict[str, float]]:
    """Sessions per second of whole studies, and of one in process, in turns."""
    study = study_of(7)
    recipe, sessions = recipe_of(study), study.sessions
    rows = []
    for turn in range(turns + 1):
        whole = seconds(partial(run_whole, recipe, range(turn, turn + 64)))
        one = seconds(lambda: [s.sessions_ended for s in course(study, [sys.maxsize])])
        rows.append({"whole": 64 * sessions / whole, "journal": sessions / one})
    return rows[1:]  # the first compiled


def power_analysis(studies: int, sessions: int) -> float:
    """Seconds of a power analysis, nothing compiled before it."""
    jax.clear_caches()  # type: ignore[no-untyped-call]
    study = study_of(7)
    model, looked = model_of(study), generations_of(study, sessions)
    return seconds(
        lambda: list(
            recovered_by_search(study, model, study.design, looked, range(studies))
        )
    )


def growth(turns: int) -> dict[str, dict[str, Any]]:
    """Seconds at each size, least of the turns, and the slope."""
    base = recipe_of(study_of(3))

    def population(n: int) -> Recipe:
        return replace(base, search=replace(base.search, population=n))

    def trained(n: int) -> Recipe:
        return replace(base, design=replace(base.design, training_stimuli=n))

    def tested(n: int) -> Recipe:
        return replace(base, design=replace(base.design, test_stimuli=n))

    ways: dict[str, tuple[Callable[[int], Recipe], tuple[int, ...], int]] = {
        "population": (population, (16, 32, 64, 128, 256), 8),
        "training stimuli": (trained, (10, 20, 40, 80, 160), 16),
        "test stimuli": (tested, (25, 50, 100, 200, 400), 16),
        "studies": (lambda _: base, (8, 16, 32, 64, 128), 0),
    }
    found = {}
    for name, (recipe, sizes, studies) in ways.items():
        programs = [(recipe(n), range(studies or n)) for n in sizes]
        calls = [partial(run_whole, *program) for program in programs]
        for call in calls:
            seconds(call)
        # In turns over the sizes: what else the machine does falls on all.
        each = [[seconds(call) for call in calls] for _ in range(turns)]
        least = np.min(each, axis=0)
        slope = float(np.polyfit(np.log(sizes), np.log(least), 1)[0])
        found[name] = {"sizes": sizes, "seconds": least.tolist(), "slope": slope}
        print(
            f"{name}: slope {slope:.2f}; {np.round(least, 3)} s at {sizes}", flush=True
        )
    return found


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    rows = beside_journal(turns)
    ratios = [row["whole"] / row["journal"] for row in rows]
    print(
        f"whole {np.median([r['whole'] for r in rows]):,.0f} sessions a second, with a "
        f"journal {np.median([r['journal'] for r in rows]):,.0f}; ratio "
        f"{np.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})",
        flush=True,
    )
    power = power_analysis(1000, 224)
    print(f"1,000 studies x 224 sessions, compiled anew: {power:.1f} s", flush=True)
    found = {
        "device": jax.devices()[0].device_kind,
        "turns": rows,
        "power_analysis_s": power,
        "growth": growth(turns),
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
