"""Run figures: journal, numbers and picture of each into a folder of its own."""

import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from reproduction.catalogue import FIGURES
from reproduction.drawing import draw_result
from reproduction.experiment import Experiment, Progress
from reproduction.gallery import gallery

SEEDS = (1, 2, 3, 4, 5)
_DPI = 150


def reproduce(
    name: str,
    out: Path,
    seeds: Sequence[int] = SEEDS,
    progress: Progress | None = None,
    images: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Run one figure of :data:`FIGURES` and write ``out/<name>/``.

    What its journal holds already is not run again. ``images`` are local copies of
    image sets, for a figure that can use them. Returns the numbers, which are in
    ``numbers.json`` too.
    """
    entry = FIGURES[name]
    experiment = Experiment(out / name, seeds, progress, images)
    start = time.perf_counter()
    result = entry.run(experiment)
    elapsed = time.perf_counter() - start
    new = sum(experiment.seconds[name] for name in experiment.ran)
    studies = sum(experiment.seconds.values())
    numbers = {
        "figure": name,
        "title": entry.title,
        "paper": entry.paper,
        "seeds": list(seeds),
        "claims": [claim.as_json() for claim in result.claims],
        "met": not result.missed,
        "notes": result.notes,
        "tables": [table._asdict() for table in result.tables],
        "seconds": round(studies + elapsed - new, 1),
        "seconds_of_studies": round(studies, 1),
        "studies": len(experiment.seconds),
        "new_studies": len(experiment.ran),
        "device": jax.devices()[0].device_kind,
        "versions": {
            "python": platform.python_version(),
            **{each: version(each) for each in ("jax", "evosax", "optax")},
        },
    }
    text = json.dumps(numbers, indent=2, allow_nan=False)
    (experiment.folder / "numbers.json").write_text(text + "\n", encoding="utf-8")
    picture = draw_result(f"{name}: {entry.title}", entry.paper, result)
    picture.savefig(experiment.folder / f"{name}.png", dpi=_DPI)
    return numbers


def reproduce_all(
    names: Sequence[str],
    out: Path,
    seeds: Sequence[int] = SEEDS,
    jobs: int | None = None,
    say: Callable[[str], None] = print,
    images: Mapping[str, Path] | None = None,
) -> list[dict[str, Any]]:
    """Run figures, ``jobs`` at a time and the longest first; write the gallery.

    One that fails does not stop the others; its fault is raised in the end.
    """
    faults: list[Exception] = []

    def tell(name: str, result: Callable[[], dict[str, Any]]) -> None:
        try:
            say(_told(result()))
        except Exception as fault:
            faults.append(fault)
            say(f"{name} failed: {fault}")

    jobs = jobs or _cores()
    if jobs == 1 or len(names) == 1:
        for name in names:
            tell(name, partial(reproduce, name, out, seeds, say, images))
    else:
        longest_first = sorted(names, key=lambda name: -FIGURES[name].minutes)
        # A process each: figures compile half of the time, and that on one core.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
            begun = {
                pool.submit(reproduce, name, out, seeds, None, images): name
                for name in longest_first
            }
            for finished in as_completed(begun):
                tell(begun[finished], finished.result)
    every = list(read_numbers(out))
    (out / "gallery.md").write_text(gallery(every), encoding="utf-8")
    if faults:
        raise faults[0]
    return [numbers for numbers in every if numbers["figure"] in names]


def read_numbers(out: Path) -> Iterator[dict[str, Any]]:
    """Numbers of every figure that is in a folder, in the order of the paper."""
    for name in FIGURES:
        file = out / name / "numbers.json"
        if file.is_file():
            yield json.loads(file.read_text(encoding="utf-8"))


def _told(numbers: dict[str, Any]) -> str:
    targets = [c["met"] for c in numbers["claims"] if c["met"] is not None]
    return (
        f"{numbers['figure']}: {sum(targets)} of {len(targets)} targets met, "
        f"{numbers['seconds']:.0f} s"
    )


def _cores() -> int:
    return 1 if jax.default_backend() != "cpu" else os.cpu_count() or 1
