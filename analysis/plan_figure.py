"""The picture of a plan: how sure a study is to succeed, against its sessions."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import STYLE
from analysis.maps import PALETTE
from server.plan import Course, Power

_ADAPTIVE = PALETTE[1]
_FEW, _MANY = 0.75, 0.05
"""Ends of the colour scale of training stimuli: light enough to see on white."""


@mpl.rc_context(STYLE | {"font.size": 10})
def plan_figure(power: Power, title: str) -> Figure:
    """Probability of the wanted overlap above; below, overlap of each split."""
    courses = power.courses
    figure = Figure(figsize=(max(6.4, 1.75 * len(courses)), 6.0), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    grid = figure.add_gridspec(2, len(courses), height_ratios=[1.7, 1])
    colours = _colours(courses)
    whole = figure.add_subplot(grid[0, :])
    _draw_probability(whole, power, colours)
    first: Axes | None = None
    for column, (course, colour) in enumerate(zip(courses, colours, strict=True)):
        axes = figure.add_subplot(grid[1, column], sharex=first, sharey=first)
        _draw_overlap(axes, course, power.question.overlap, colour)
        if first is None:
            axes.set_ylabel("overlap with the truth\n(median, quartiles)")
        axes.tick_params(labelleft=first is None)
        first = first or axes
    figure.supxlabel("sessions", fontsize="medium")
    return figure


def _draw_probability(axes: Axes, power: Power, colours: Sequence[Any]) -> None:
    wanted = power.question
    ends = []
    for course, colour in zip(power.courses, colours, strict=True):
        share = course.share(wanted.overlap)
        axes.plot(
            np.append(0, course.sessions),
            np.append(0.0, share),
            color=colour,
            linewidth=2.2,
            linestyle="-" if course.split.fixed else (0, (4, 1.5)),
            clip_on=False,
        )
        ends.append(share[-1])
    last = power.courses[0].sessions[-1]
    axes.axhline(wanted.probability, color="0.6", linewidth=0.8, zorder=0)
    axes.text(
        last,
        wanted.probability + 0.01,
        "wanted",
        color="0.45",
        fontsize="small",
        horizontalalignment="right",
    )
    for course, colour, end, place in zip(
        power.courses, colours, ends, _apart(np.array(ends), 0.085), strict=True
    ):
        axes.annotate(
            course.split.name + ("" if course.split.fixed else ", adaptive"),
            (last, end),
            (last * 1.05, place),
            va="center",
            color=colour,
            weight="bold",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8},
        )
    axes.set(xlim=(0, last), ylim=(0, 1), yticks=np.linspace(0, 1, 6))
    axes.set_ylabel(f"probability of an\noverlap of {wanted.overlap:g}")
    axes.text(last * 1.05, 1.14, "training + test stimuli", fontsize="small")


def _draw_overlap(axes: Axes, course: Course, wanted: float, colour: Any) -> None:
    low, median, high = np.quantile(course.overlap, (0.25, 0.5, 0.75), axis=1)
    axes.axhline(wanted, color="0.6", linewidth=0.8, zorder=0)
    axes.fill_between(course.sessions, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(course.sessions, median, color=colour, linewidth=2)
    axes.set(xlim=(0, course.sessions[-1]), ylim=(0, 1), yticks=(0, 0.5, 1))
    name = course.split.name + ("" if course.split.fixed else "\nadaptive")
    axes.set_title(name, color=colour, fontsize="medium")


def _colours(courses: Sequence[Course]) -> list[Any]:
    """Dark for many training stimuli, light for few; the adaptive choice apart."""
    fixed = sum(course.split.fixed for course in courses)
    scale = iter(mpl.colormaps["viridis"](np.linspace(_FEW, _MANY, max(fixed, 1))))
    return [next(scale) if course.split.fixed else _ADAPTIVE for course in courses]


def _apart(places: Any, gap: float) -> Any:
    """Heights of labels as near their lines as they go without overlap."""
    order = np.argsort(places, kind="stable")
    shift = gap * np.arange(len(places))
    # Least squares under a smallest gap: pooled means (isotonic regression).
    pools: list[list[float]] = []
    for value in places[order] - shift:
        pools.append([float(value)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    level = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    apart = np.empty(len(places))
    apart[order] = level + shift
    return apart - max(apart.max() - 1.05, 0)
