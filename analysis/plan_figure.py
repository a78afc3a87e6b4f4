"""The picture of a plan: how sure a study is to succeed, against its sessions."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import STYLE
from analysis.maps import PALETTE
from server.plan import Course, Power, sessions_needed

_ADAPTIVE = PALETTE[1]
_FEW, _MANY = 0.75, 0.05
"""Ends of the colour scale of training stimuli: light enough to see on white."""


@mpl.rc_context(STYLE | {"font.size": 10})
def plan_figure(power: Power, title: str, of: str) -> Figure:
    """A column for each split: probability of the wanted overlap, and the overlap.

    ``of`` tells below the title what was simulated.
    """
    courses, wanted = power.courses, power.question
    figure = Figure(figsize=(max(6.4, 1.8 * len(courses)), 5.8), layout="constrained")
    figure.suptitle(f"{title}\n\n\n", x=0.01, ha="left", weight="bold")
    head = (
        f"{of}\ncolumns: training + test stimuli of a session, and the sessions until "
        f"the probability is {wanted.probability:g}"
        + ("\ngrey: the other columns" if len(courses) > 1 else "")
    )
    figure.text(0.01, 0.95, head, va="top", color="0.3", fontsize="small")
    panels = figure.subplots(
        2,
        len(courses),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[1.6, 1],
    )
    for i, colour in enumerate(_colours(courses)):
        _draw_probability(panels[0, i], power, i, colour)
        _draw_overlap(panels[1, i], courses[i], wanted.overlap, colour)
    panels[0, 0].set_ylabel(
        f"probability of an\noverlap of {wanted.overlap:g}\n(95 % interval)"
    )
    panels[1, 0].set_ylabel("overlap with\nthe truth\n(median, quartiles)")
    figure.supxlabel("sessions", fontsize="medium")
    return figure


def _draw_probability(axes: Axes, power: Power, own: int, colour: Any) -> None:
    wanted, course = power.question, power.courses[own]
    axes.axhline(wanted.probability, color="0.6", linewidth=0.8, zorder=0)
    for other in (*power.courses[:own], *power.courses[own + 1 :]):
        share = other.share(wanted.overlap)
        axes.plot(other.sessions, share, color="0.85", linewidth=1, zorder=1)
    share = course.share(wanted.overlap)
    low, high = course.interval(wanted.overlap).T
    axes.fill_between(course.sessions, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(course.sessions, share, color=colour, linewidth=2.2, clip_on=False)
    last = course.sessions[-1]
    needed = sessions_needed(course.sessions, share, wanted.probability)
    told = f"> {last} sessions"
    if not np.isnan(needed):
        told = f"{needed:.0f} sessions"
        axes.plot([needed] * 2, [0, wanted.probability], color=colour, linestyle=":")
    axes.set(xlim=(0, last), ylim=(0, 1), yticks=np.linspace(0, 1, 6))
    axes.set_title(_name(course), color=colour, weight="bold", pad=18)
    axes.text(0.5, 1.03, told, transform=axes.transAxes, ha="center", fontsize="small")
    if not own:
        place: dict[str, Any] = {"fontsize": "small", "va": "bottom", "color": "0.45"}
        axes.text(0, wanted.probability, " wanted", **place)


def _draw_overlap(axes: Axes, course: Course, wanted: float, colour: Any) -> None:
    low, median, high = np.quantile(course.overlap, (0.25, 0.5, 0.75), axis=1)
    axes.axhline(wanted, color="0.6", linewidth=0.8, zorder=0)
    axes.fill_between(course.sessions, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(course.sessions, median, color=colour, linewidth=2, clip_on=False)
    axes.set(ylim=(0, 1), yticks=(0, 0.5, 1))


def _name(course: Course) -> str:
    return course.split.name + ("" if course.split.fixed else "\nadaptive")


def _colours(courses: Sequence[Course]) -> list[Any]:
    """Dark for many training stimuli, light for few; the adaptive choice apart."""
    fixed = sum(course.split.fixed for course in courses)
    scale = iter(mpl.colormaps["viridis"](np.linspace(_FEW, _MANY, max(fixed, 1))))
    return [next(scale) if course.split.fixed else _ADAPTIVE for course in courses]
