"""A plan in words and numbers: its table, its answer, its files."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from analysis.plan_figure import plan_figure
from server.plan import Course, Power, sessions_needed
from server.study_file import Study


def plan_table(power: Power) -> Table:
    """One row for each split; 80 columns wide, or less."""
    wanted, budget = power.question, power.budget
    table = Table(
        "training\n+ test",
        "sessions\nfor 50 %",
        f"\nfor {wanted.probability:.0%}".replace("%", " %"),
        f"after {budget}:\noverlap",
        "\nprobability, 95 %",
        "\nregret",
        title=f"An overlap of {wanted.overlap:g}, {_simulated(power)}",
    )
    for course in power.courses:
        at = list(course.sessions).index(budget)
        low, high = course.interval(wanted.overlap)[at]
        reached = course.share(wanted.overlap)[at]
        table.add_row(
            _name(course).replace(", ", "\n"),
            _sessions(_needed(course, power, 0.5), power),
            _sessions(_needed(course, power, wanted.probability), power),
            f"{np.median(course.overlap[at]):.2f}",
            f"{reached:.2f} ({low:.2f} to {high:.2f})",
            f"{np.mean(course.regret):+.3f}",
        )
    return table


def answer(study: Study, power: Power) -> str:
    """The sentences that answer the question of a plan."""
    wanted = power.question
    best = _best(power)
    needed = _needed(best, power, wanted.probability)
    last = int(best.sessions[-1])
    at = len(best.sessions) - 1
    if not np.isnan(needed):
        at = int(np.searchsorted(best.sessions, needed))
    low, high = best.interval(wanted.overlap)[at]
    reached = round(best.share(wanted.overlap)[at] * wanted.studies)
    of = (
        f"{reached} of {wanted.studies} simulated studies reach it after "
        f"{best.sessions[at]} sessions (95 % interval of the probability "
        f"{low:.2f} to {high:.2f})"
    )
    aim = f"an overlap of {wanted.overlap:g} with probability {wanted.probability:g}"
    if np.isnan(needed):
        lines = [
            f"{aim[:1].upper()}{aim[1:]} is not reached within {last} sessions.",
            f"The best split is {_words(best)}: {of}.",
        ]
    else:
        reaches = f"a study of this subject reaches {aim}"
        lines = [f"With {_words(best)} {reaches} after {needed:.0f} sessions: {of}."]
    lines.append(
        "Regret is the relative error of fresh individuals above that of the true "
        f"components, {power.best_error:.3f}."
    )
    if power.budget < study.exploring_sessions:
        own = f"{study.exploring_sessions:,} sessions"
        lines.append(f"The study's own budget is {own} of search.")
    if wanted.own_search:
        lines.append(f"This is a plan for the study's own search, {_search(study)}.")
    elif study.file.search.method != "subject_model":
        lines.append(
            'This is a plan for method = "subject_model", not for the study\'s own, '
            f"{_search(study)}, which needs many more sessions: see --own-search."
        )
    return "\n".join(lines)


def _search(study: Study) -> str:
    return study.file.search.method


def _simulated(power: Power) -> str:
    return f"{power.question.studies:,} simulated studies of each split"


def _by(study: Study, power: Power) -> str:
    """How the components were looked for, and how often."""
    own = f"the study's own search, {_search(study)}"
    by = own if power.question.own_search else "the subject model"
    return f"by {by}; {_simulated(power)}"


def write_plan(study: Study, power: Power, folder: Path) -> Figure:
    """Write plan.json, plan.csv (one line a study and step) and plan.png."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {
        "study": study.name,
        "sha256": study.sha256,
        "question": asdict(power.question),
        "budget": power.budget,
        "best_error": power.best_error,
        "answer": answer(study, power),
        "splits": [_numbers(course, power) for course in power.courses],
    }
    text = json.dumps(numbers, indent=2, allow_nan=False) + "\n"
    (folder / "plan.json").write_text(text, encoding="utf-8")
    with (folder / "plan.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ["split", "fixed", "training", "test", "sessions", "study", "overlap"]
        )
        for course in power.courses:
            design = course.split.design
            of = (course.split.name, course.split.fixed)
            sizes = (design.training_stimuli, design.test_stimuli)
            for sessions, overlaps in zip(course.sessions, course.overlap, strict=True):
                for i, overlap in enumerate(overlaps):
                    table.writerow([*of, *sizes, sessions, i, f"{overlap:.6f}"])
    figure = plan_figure(power, f"Sessions that {study.name} needs", _by(study, power))
    figure.savefig(folder / "plan.png", dpi=200)
    return figure


def _best(power: Power) -> Course:
    """The split that needs fewest sessions, or comes nearest."""

    def rank(course: Course) -> tuple[float, float, float]:
        needed = _needed(course, power, power.question.probability)
        last = course.overlap[-1]
        share = float(np.mean(last >= power.question.overlap))
        return (np.inf if np.isnan(needed) else needed, -share, -float(np.median(last)))

    return min(power.courses, key=rank)


def _numbers(course: Course, power: Power) -> dict[str, Any]:
    wanted, design = power.question, course.split.design
    low, median, high = np.quantile(course.overlap, (0.25, 0.5, 0.75), axis=1)
    needed = [_needed(course, power, p) for p in (0.5, wanted.probability)]
    half, enough = (None if np.isnan(n) else n for n in needed)
    return {
        "name": _name(course),
        "fixed": course.split.fixed,
        "training_stimuli": design.training_stimuli,
        "test_stimuli": design.test_stimuli,
        "sessions": course.sessions.tolist(),
        "lower_quartile": low.tolist(),
        "median_overlap": median.tolist(),
        "upper_quartile": high.tolist(),
        "probability": course.share(wanted.overlap).tolist(),
        "probability_interval": course.interval(wanted.overlap).tolist(),
        "sessions_for_half": half,
        "sessions_for_wanted": enough,
        "regret": course.regret.tolist(),
    }


def _needed(course: Course, power: Power, probability: float) -> float:
    share = course.share(power.question.overlap)
    return sessions_needed(course.sessions, share, probability)


def _sessions(needed: float, power: Power) -> str:
    last = power.courses[0].sessions[-1]
    return f"> {last}" if np.isnan(needed) else f"{needed:.0f}"


def _name(course: Course) -> str:
    return course.split.name + ("" if course.split.fixed else ", adaptive")


def _words(course: Course) -> str:
    training, _, test = course.split.name.partition(" + ")
    return f"{training} training and {test} test stimuli" + (
        "" if course.split.fixed else ", chosen session by session,"
    )
