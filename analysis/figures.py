"""Figures of a study's result; each function returns a matplotlib Figure."""

from collections.abc import Sequence
from itertools import cycle
from string import ascii_lowercase
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.finding import Finding
from analysis.frames import error_column
from analysis.maps import LABEL_COLOURS, LABEL_SCALE, PALETTE, draw_map
from analysis.recovery import Floats, labels_at

STYLE: Any = {
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.facecolor": "white",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 9,
    "legend.frameon": False,
}
"""Plain axes, as journals like them."""

MOST_COMPONENTS = 6
"""Components shown in one picture; the report's table has all."""

_STUDY, _BLIND = PALETTE[0], "#8A8A8A"
_LINE_STYLES: Any = ("-", "--", ":", "-.")
NULL_RANGE, NULL_MEDIAN = "#D4D4D4", "#333333"

SINGLE, DOUBLE = 3.5, 7.2
"""Widths of one and of two columns of a journal, in inches."""

styled = mpl.rc_context({**STYLE, "font.size": 8})
"""Draws a figure in :data:`STYLE`, at the size in which it is to be printed."""


@styled
def power_figure(finding: Finding, intervals: pd.DataFrame | None = None) -> Figure:
    """Share of power per order of each component, with the null's range beside it.

    ``intervals`` as of :func:`analysis.intervals.component_intervals`.
    """
    figure, panels = _panels(finding, high=1.75)
    for i, axes in enumerate(panels):
        _draw_power(axes, finding, i)
        if intervals is not None and len(intervals):
            _draw_reach(axes, intervals, i)
        axes.set_title(_component_title(finding, i), loc="left")
        axes.set(xlabel="order", ylabel="share of power")
        axes.label_outer()
    _null_legend(figure, [finding])
    return figure


@styled
def map_figure(finding: Finding) -> Figure:
    """The labels of each component over the stimulus space."""
    figure, panels = _panels(finding, high=1.35)
    for i, axes in enumerate(panels):
        _draw_component(axes, finding, i)
        axes.set_title(_component_title(finding, i), loc="left")
    label_bar(figure, panels)
    return figure


@styled
def error_figure(finding: Finding) -> Figure:
    """Relative generalisation error of each generation against sessions spent.

    Or of each meta-step, against subjects trained. Groups have a line style each.
    """
    figure = Figure(figsize=(DOUBLE * 0.7, 2.5), layout="constrained")
    axes = figure.subplots()
    groups = finding.record.study.groups
    columns = [error_column("median", group) for group in groups]
    table = finding.frames.generations.dropna(subset=columns, how="all")
    for component, part in table.groupby("component"):
        sessions = part["sessions_so_far"].to_numpy()
        colour = PALETTE[int(component) % len(PALETTE)]
        for group, style in zip(groups, cycle(_LINE_STYLES)):
            _draw_errors(axes, sessions, part, group, color=colour, linestyle=style)
        name = f"component {component + 1}" if component == 0 else f"{component + 1}"
        _name_stretch(axes, sessions, name, colour)
    spent = "subjects trained" if finding.record.study.by_gradient else "sessions"
    axes.set(xlabel=spent, ylabel="error / label variance")
    axes.set_xlim(0, max(1, finding.frames.generations["sessions_so_far"].max()))
    mark_ignorance(axes)  # before the limits are set: its line belongs inside
    low, high = (
        table[[error_column(name, group) for group in groups]].to_numpy().ravel()
        for name in ("lower_quartile", "upper_quartile")
    )
    _scale_errors(axes, low, high)
    if len(groups) > 1:
        styles = zip(groups, cycle(_LINE_STYLES))
        lines = [Line2D([], [], color="0.3", linestyle=s, label=g) for g, s in styles]
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))
    return figure


@styled
def comparison_figure(findings: Sequence[Finding]) -> Figure:
    """Studies side by side: label map, power per order, and the null's range.

    A column per study and a pair of rows per component, three at most.
    """
    rows = min(3, max(len(f.distances) for f in findings))
    columns = len(findings)
    wide = max(SINGLE, min(DOUBLE, 2.4 * columns), 1.8 * columns)
    high = 0.5 + 2.6 * rows
    figure = Figure(figsize=(wide, high), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[1.0, 1.15] * rows)
    maps = []
    for column, finding in enumerate(findings):
        for i in range(min(rows, len(finding.distances))):
            picture = figure.add_subplot(grid[2 * i, column])
            bars = figure.add_subplot(grid[2 * i + 1, column])
            maps.append(picture)
            _draw_component(picture, finding, i)
            _draw_power(bars, finding, i)
            if i == 0:
                picture.set_title(finding.title, weight="bold", pad=10)
            bars.set_title(_result(finding, i), fontsize="small", loc="left")
            bars.set_xlabel("order")
            if column:
                bars.set_yticklabels([])
            else:
                row = f"component {i + 1}\n" if rows > 1 else ""
                bars.set_ylabel(f"{row}share of power")
    letter(maps)
    label_bar(figure, maps, rows)
    _null_legend(figure, findings)
    return figure


def _draw_errors(
    axes: Axes, sessions: Any, table: Any, group: str, **line: Any
) -> None:
    """Median and quartiles of a group's errors in the generations of a table."""
    names = ("lower_quartile", "upper_quartile", "median")
    low, high, median = (table[error_column(name, group)] for name in names)
    axes.fill_between(sessions, low, high, color=line["color"], alpha=0.25, linewidth=0)
    axes.plot(sessions, median, linewidth=1.4, **line)


def _draw_power(axes: Axes, finding: Finding, component: int) -> None:
    """Bars of one component, and beside each the null's 5-95 % range and median."""
    names = finding.orders.names
    place = np.arange(len(names))
    low, median, high = np.quantile(
        finding.null[:, component], (0.05, 0.5, 0.95), axis=0
    )
    axes.bar(
        place - 0.2,
        finding.recovered.power[component],
        0.4,
        color=_colour(finding),
    )
    axes.bar(place + 0.2, high - low, 0.3, bottom=low, color=NULL_RANGE)
    axes.hlines(median, place + 0.05, place + 0.35, color=NULL_MEDIAN, linewidth=1.4)
    labels = [*names[:-1], f">{names[-2]}"]
    axes.set_xticks(place, labels)
    axes.tick_params(axis="x", length=0)
    axes.set(ylim=(0, 1), xlim=(-0.6, len(names) - 0.4))
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _draw_reach(axes: Axes, intervals: pd.DataFrame, component: int) -> None:
    """Intervals of a component's powers, on its bars."""
    of = (intervals["component"] == component) & (intervals["quantity"] == "power")
    low, high = (intervals.loc[of, name].to_numpy(float) for name in ("low", "high"))
    axes.vlines(np.arange(len(low)) - 0.2, low, high, color=NULL_MEDIAN, linewidth=1.2)


def _draw_component(axes: Axes, finding: Finding, component: int) -> None:
    labeller = finding.record.study.labeller
    series = finding.recovered.series

    def label_of(x: Any) -> Floats:
        labels: Floats = labels_at(labeller, series, x)[component]
        return labels

    draw_map(axes, labeller.space, label_of)


def _panels(finding: Finding, high: float) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per component, three in a row."""
    shown = min(len(finding.distances), MOST_COMPONENTS)
    columns = max(1, min(3, shown))
    rows = max(1, -(-shown // columns))
    wide = SINGLE if columns == 1 else DOUBLE * columns / 3
    figure = Figure(figsize=(wide, high * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in panels[shown:]:
        unused.remove()
    letter(panels[:shown])
    return figure, panels[:shown]


def letter(panels: Sequence[Axes]) -> None:
    """Name panels a, b, c, ... where there are several."""
    if len(panels) < 2:
        return
    for axes, name in zip(panels, ascii_lowercase, strict=False):
        axes.annotate(
            name,
            (0, 1),
            (-24, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            weight="bold",
            fontsize="large",
            annotation_clip=False,
        )


def _component_title(finding: Finding, component: int) -> str:
    last = component == len(finding.distances) - 1
    state = " (provisional)" if last and finding.recovered.provisional else ""
    return f"component {component + 1}{state}"


def _result(finding: Finding, component: int) -> str:
    found = finding.distances[component]
    return (
        f"order {found.order}: {found.power:.2f} (null {found.null_median:.2f}), "
        f"p = {found.p_value:.2g}"
    )


def _colour(finding: Finding) -> str:
    return _BLIND if finding.record.study.null else _STUDY


def _null_legend(figure: Figure, findings: Sequence[Finding]) -> None:
    handles = [Patch(color=_STUDY, label="study")]
    if any(f.record.study.null for f in findings):
        handles.append(Patch(color=_BLIND, label="no-learner run"))
    if all(f.record.study.null for f in findings):
        del handles[0]
    handles.append(Patch(color=NULL_RANGE, label="null, 5-95 % and median"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def label_bar(figure: Figure, panels: Sequence[Axes], rows: int = 1) -> None:
    """One colour bar for all panels, as high as in a figure of one row."""
    if not panels:
        return
    bar = figure.colorbar(
        ScalarMappable(LABEL_SCALE, LABEL_COLOURS),
        ax=list(panels),
        label="label",
        ticks=[-1, 0, 1],
        shrink=0.6 / rows,
        anchor=(0.0, 1 - 0.35 / rows),
        aspect=16,
        pad=0.03,
    )
    bar.outline.set_visible(False)


def _scale_errors(axes: Axes, low: Any, high: Any) -> None:
    """Logarithmic where errors fall by more than a factor of ten."""
    positive = low[low > 0]
    spread = np.nanmax(high) / positive.min() if len(positive) else 1.0
    if spread > 10:
        axes.set_yscale("log")
        wide = spread > 100
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)


def _name_stretch(axes: Axes, sessions: Any, name: str, colour: str) -> None:
    """Name a component above its stretch of sessions."""
    axes.text(
        (sessions[0] + sessions[-1]) / 2,
        1.02,
        name,
        transform=axes.get_xaxis_transform(),
        ha="center",
        va="bottom",
        color=colour,
    )


def mark_ignorance(axes: Axes) -> None:
    """Where a subject stands that always answers the mean label."""
    axes.axhline(1, color="0.5", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.text(
        1.01,
        1,
        "answering\nthe mean",
        transform=axes.get_yaxis_transform(),
        va="center",
        color="0.4",
        fontsize="small",
    )
