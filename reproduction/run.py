"""Run figures: journal, numbers and picture of each into a folder of its own."""

import json
import platform
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from reproduction.catalogue import FIGURES
from reproduction.drawing import draw_result
from reproduction.experiment import Experiment, Progress

SEEDS = (1, 2, 3, 4, 5)
_DPI = 150


def reproduce(
    name: str,
    out: Path,
    seeds: Sequence[int] = SEEDS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run one figure of :data:`FIGURES` and write ``out/<name>/``.

    What its journal holds already is not run again. Returns the numbers, which
    are in ``numbers.json`` too.
    """
    entry = FIGURES[name]
    experiment = Experiment(out / name, seeds, progress)
    start = time.perf_counter()
    result = entry.run(experiment)
    seconds = time.perf_counter() - start
    numbers = {
        "figure": name,
        "title": entry.title,
        "paper": entry.paper,
        "seeds": list(seeds),
        "claims": [claim.as_json() for claim in result.claims],
        "met": not result.missed,
        "notes": result.notes,
        "seconds": round(seconds, 1),
        "new_studies": experiment.ran,
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


def read_numbers(out: Path) -> Iterable[dict[str, Any]]:
    """Numbers of every figure that is in a folder, in the order of the paper."""
    for name in FIGURES:
        file = out / name / "numbers.json"
        if file.is_file():
            yield json.loads(file.read_text(encoding="utf-8"))
