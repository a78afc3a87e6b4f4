"""Draw what ``six_components.py`` measured; writes a PNG and prints the table.

python benchmarks/plot_six_components.py [RESULTS.jsonl [PICTURE.png]]
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Which components should have their power in which order, per true subject.
WANTED = {
    "relu": {"components 1-3 in order 1": (slice(0, 3), 1)}
    | {"components 4-6 in order 2": (slice(3, 6), 2)},
    "absolute": {"components 1-5 in order 2": (slice(0, 5), 2)},
}
DEFAULTS = (
    "benchmarks/results/six_components.jsonl",
    "docs/images/six_components.png",
)
OBJECTIVES = ("exact", "penalties", "tuned penalties")
TITLES = {"relu": "ReLU-kernel subject", "absolute": "absolute-value-kernel subject"}
COLOURS = ("#0072b2", "#d55e00")


def worst(runs: pd.DataFrame, members: slice, order: int) -> pd.DataFrame:
    """Median, least and greatest over seeds of the worst member's power."""
    power = runs["power"].map(lambda p: np.array(p)[members, order].min())
    by_sessions = power.groupby(runs["sessions"])
    return by_sessions.agg(["median", "min", "max"])


def draw(axes: Axes, runs: pd.DataFrame, subject: str) -> None:
    """One subject beside the null, against sessions."""
    for colour, (name, (members, order)) in zip(
        COLOURS, WANTED[subject].items(), strict=False
    ):
        found = worst(runs[runs["subject"] == subject], members, order)
        null = worst(runs[runs["subject"] == "null"], members, order)
        axes.fill_between(
            found.index, found["min"], found["max"], color=colour, alpha=0.2
        )
        axes.plot(found.index, found["median"], "o-", color=colour, label=name)
        axes.plot(
            null.index, null["median"], "--", color=colour, label="same, no learner"
        )
    axes.set(xscale="log", ylim=(0, 1.02))
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Read, print, draw."""
    results, picture = [*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :]]
    runs = pd.read_json(results, lines=True)
    for objective, subject in [(o, s) for o in OBJECTIVES for s in WANTED]:
        part = runs[runs["objective"] == objective]
        for name, (members, order) in WANTED[subject].items():
            for who in (subject, "null"):
                table = worst(part[part["subject"] == who], members, order)
                print(f"\n{objective}, {who}: {name}, worst member\n{table.round(2)}")
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    grid = figure.subplots(2, 3, sharex=True, sharey=True)
    for row, subject in zip(grid, WANTED, strict=True):
        for axes, objective in zip(row, OBJECTIVES, strict=True):
            draw(axes, runs[runs["objective"] == objective], subject)
            axes.set_title(f"{TITLES[subject]}\n{objective}", loc="left", fontsize=10)
        row[0].set_ylabel("power of the worst component")
        row[-1].legend(frameon=False, fontsize=8, loc="upper left")
    for axes in grid[-1]:
        axes.set_xlabel("sessions, six components together")
    figure.savefig(Path(picture), dpi=150)


if __name__ == "__main__":
    main()
