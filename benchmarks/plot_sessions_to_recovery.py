"""Draw and tabulate what ``sessions_to_recovery.py`` measured.

python benchmarks/plot_sessions_to_recovery.py [FOLDER OF RESULTS]

Writes ``sessions_to_recovery.png`` there and ``sessions_to_recovery.md`` beside it.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# What is asked of components: places, least power, sessions, by subject and condition.
THREE, FIVE, FIRST_FIVE = slice(0, 3), slice(3, 8), slice(0, 5)
TARGETS = [
    ("relu_kernel", "choice", THREE, 0.95, 40),
    ("relu_kernel", "choice", FIVE, 0.90, 40),
    ("absolute_kernel", "choice", FIRST_FIVE, 0.90, 40),
    ("relu_kernel", "graded", THREE, 0.95, 12),
    ("relu_kernel", "graded", FIVE, 0.90, 12),
    ("absolute_kernel", "graded", FIRST_FIVE, 0.90, 12),
    ("relu_network", "choice", THREE, 0.95, 80),
    ("relu_network", "choice", FIVE, 0.90, 80),
    ("ring", "choice", slice(0, 2), 0.90, 80),
]
GROUPS: dict[str, tuple[slice, ...]] = {
    "relu_kernel": (THREE, FIVE),
    "relu_network": (THREE, FIVE),
    "relu_network_200": (THREE, FIVE),
}
GROUPS |= {"absolute_kernel": (FIRST_FIVE,), "ring": (slice(0, 2),)}
GROUPS |= {"anisotropic": (slice(0, 1), slice(1, 4))}
SUBJECT_MODEL = "subject_model"
SEEDS = 10
# Okabe and Ito's colours, told apart by every eye.
STYLES = {
    "subject_model": ("#0072b2", "-"),
    "subject_model_null": ("#0072b2", ":"),
    "des_mlp": ("#d55e00", "-"),
    "des_mlp_null": ("#d55e00", ":"),
    "cma_es_basis": ("#009e73", "-"),
    "hybrid": ("#56b4e9", "-"),
    "hybrid_null": ("#56b4e9", ":"),
    "snes_basis": ("#cc79a7", "-"),
    "des_basis": ("#e69f00", "-"),
}


def three(values: pd.Series) -> str:
    """Median and quartiles."""
    low, median, high = values.quantile([0.25, 0.5, 0.75])
    return f"{median:.3f} ({low:.3f}, {high:.3f})"


def quality(rows: pd.DataFrame, members: slice) -> tuple[str, str, str, str]:
    """Worst power, overlap of spaces, error and best error of some components."""
    power = rows["power"].map(lambda p: np.array(p)[members])
    error = rows["error"].map(lambda e: np.array(e)[members].mean())
    best = rows["best"].map(lambda e: np.array(e)[members].mean())
    if not len(power.iloc[0]):
        return ("", "", "", "")
    return (
        three(power.map(np.min)),
        three(power.map(np.mean)),
        three(error),
        f"{best.median():.3f}",
    )


def table(runs: pd.DataFrame) -> list[str]:
    """Where every method ends, and on its way at 12 and 40 sessions."""
    columns = ["subject", "condition", "method", "sessions", "seeds", "components"]
    columns += ["worst power", "overlap of spaces", "error", "best error"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    keys = ["subject", "condition", "method", "sessions"]
    for (subject, condition, method, sessions), rows in runs.groupby(keys):
        last = runs[
            (runs[keys[:3]] == [subject, condition, method]).all(axis=1)
        ].sessions.max()
        if sessions not in (4, 12, 40, 80, 1280, 5120, last):
            continue
        for members in GROUPS[subject]:
            found = quality(rows, members)
            if not found[0]:
                continue
            stop = min(members.stop, len(rows["power"].iloc[0]))
            name = (
                f"{members.start + 1}-{stop}" if stop > members.start + 1 else str(stop)
            )
            cells = (subject, condition, method, sessions, len(rows), name, *found)
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def targets(runs: pd.DataFrame) -> list[str]:
    """Each target, met or missed, with the worst member's power.

    At the largest number of sessions within the target that has been run.
    """
    lines = [
        "| target | sessions | seeds | worst power | verdict | seeds that meet it |",
        "|---" * 6 + "|",
    ]
    for subject, condition, members, least, within in TARGETS:
        rows = runs[
            (runs.subject == subject)
            & (runs.condition == condition)
            & (runs.method == SUBJECT_MODEL)
            & (runs.sessions <= within)
        ]
        rows = rows[rows.sessions == rows.sessions.max()]
        name = f"{subject}, {condition}: components {members.start + 1}-{members.stop} "
        name += f">= {least:.2f} within {within}"
        if rows.empty:
            lines.append(f"| {name} | | 0 | not run | | |")
            continue
        worst = rows["power"].map(lambda p, m=members: min(p[m]))
        verdict = "met" if worst.median() >= least else "missed"
        if len(rows) < SEEDS:
            verdict += f" (of {SEEDS} seeds {len(rows)} run)"
        enough = int((worst >= least).sum())
        cells = (name, rows.sessions.max(), len(rows), three(worst), verdict, enough)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def ratios(runs: pd.DataFrame) -> list[str]:
    """Sessions of the best plain evolution for the subject model's first component."""
    lines = []
    for condition in ("graded", "choice"):
        rows = runs[(runs.subject == "absolute_kernel") & (runs.condition == condition)]
        rows = rows[~rows.method.str.endswith("_null") & (rows.method != "hybrid")]
        first = rows.assign(power=rows["power"].map(lambda p: p[0]))
        course = first.groupby(["method", "sessions"])["power"].median()
        plain = course.drop(SUBJECT_MODEL, level="method", errors="ignore")
        if SUBJECT_MODEL not in course.index.get_level_values("method") or plain.empty:
            continue
        ours = course[SUBJECT_MODEL]
        most = plain.index.get_level_values("sessions").max()
        for need in (0.5, 0.75, 0.85, 0.95):
            mine, theirs = ours[ours >= need], plain[plain >= need]
            few = (
                str(mine.index.min()) if len(mine) else f"more than {ours.index.max()}"
            )
            best, many = "none", f"more than {most}"
            if len(theirs):
                best, fewest = min(theirs.index, key=lambda place: place[1])
                many = str(fewest)
            lines.append(f"| {condition} | {need} | {few} | {best} | {many} |")
    head = [
        "| condition | power of component 1 | subject model | best evolution | its |",
        "|---" * 5 + "|",
    ]
    return head + lines


def draw(axes: Axes, runs: pd.DataFrame, subject: str) -> None:
    """Power of the first component against sessions, a line per method."""
    for method, (colour, style) in STYLES.items():
        rows = runs[(runs.subject == subject) & (runs.method == method)]
        if rows.empty:
            continue
        first = rows["power"].map(lambda p: p[0]).groupby(rows["sessions"])
        low, median, high = (first.quantile(q) for q in (0.25, 0.5, 0.75))
        axes.fill_between(median.index, low, high, color=colour, alpha=0.15, lw=0)
        label = method.replace("_", " ")
        axes.plot(median.index, median, style, marker=".", color=colour, label=label)
    axes.set(xscale="log", ylim=(-0.03, 1.03), xlabel="sessions")
    axes.xaxis.set_minor_formatter("")
    axes.set_title(subject.replace("_", " "), loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Read, tabulate, draw."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/results")
    runs = pd.read_json(folder / "sessions_to_recovery.jsonl", lines=True)
    text = "\n".join(
        [
            "# Sessions to recovery: tables",
            "",
            "Median (quartiles) over seeds; written by `plot_sessions_to_recovery.py`.",
            "",
            "## Targets",
            "",
            *targets(runs),
            "",
            "## Sessions for the same power, diagnostic subject",
            "",
            *ratios(runs),
            "",
            "## Everything",
            "",
            *table(runs),
            "",
        ]
    )
    (folder.parent / "sessions_to_recovery.md").write_text(text)
    figure = Figure(figsize=(17, 3.6), layout="constrained")
    shown = [subject for subject in GROUPS if (runs.subject == subject).any()]
    panels = figure.subplots(1, len(shown), sharex=True, sharey=True)
    for axes, subject in zip(panels, shown, strict=True):
        draw(axes, runs[runs.condition == "choice"], subject)
    panels[0].set_ylabel("power of the first component\nin the true leading space")
    handles = {
        h.get_label(): h for a in panels for h in a.get_legend_handles_labels()[0]
    }
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=7)
    figure.savefig(folder / "sessions_to_recovery.png", dpi=130)


if __name__ == "__main__":
    main()
