"""Figures of a reanalysis; each function returns a matplotlib Figure."""

from collections.abc import Sequence
from functools import partial
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.figures import (
    NULL_MEDIAN,
    NULL_RANGE,
    label_bar,
    mark_ignorance,
    styled,
)
from analysis.maps import PALETTE, draw_map
from analysis.recovery import Floats
from analysis.subject import Reanalysis
from meta_learner.bias import labels_of
from meta_learner.subject_model import SubjectModel

_COLUMNS = 3
_LOG_RANGE = 10
"""Errors that differ by more than this factor are drawn on a logarithmic scale."""

_LEAST_SKILL = -0.5
"""Skills below are drawn there."""

_PRIOR, _BEFORE = "0.35", "before any session"
_LEAST_SHOWN = 1e-3
"""Errors below are nothing to a reader; a logarithmic scale ends there."""


@styled
def spectrum_figure(groups: Sequence[Reanalysis]) -> Figure:
    """Bias spectrum: error per order, 90 % intervals, groups and nulls side by side."""
    orders = len(groups[0].spectrum)
    wide = float(np.clip(1.2 + 0.28 * orders * (1 + len(groups)), 4.6, 10.0))
    figure = Figure(figsize=(wide, 3.6), layout="constrained")
    axes = figure.subplots()
    step = 0.8 / len(groups)
    for i, (group, colour) in enumerate(zip(groups, cycle(PALETTE))):
        table = group.spectrum
        place = table["order"].to_numpy() + (i - (len(groups) - 1) / 2) * step
        if "null_low" in table:
            _draw_null(axes, place, table, 0.7 * step)
        _draw_intervals(axes, place, table, colour)
    mark_ignorance(axes)
    axes.set_xticks(groups[0].spectrum["order"])
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="order", ylabel="generalisation error\n/ label variance")
    axes.set_xlim(0.4, orders + 0.6)
    _scale(axes, groups)
    handles: list[Any] = [
        Line2D([], [], color=colour, marker="o", label=group.group or "fitted, 90 %")
        for group, colour in zip(groups, cycle(PALETTE))
    ]
    if "null_low" in groups[0].spectrum:
        handles.append(Patch(color=NULL_RANGE, label="answers shuffled"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@styled
def component_figure(result: Reanalysis) -> Figure:
    """Leading eigenfunctions on the stimulus space, and power per order of each."""
    shown = len(result.components)
    columns = min(_COLUMNS, shown)
    rows = -(-shown // columns)
    size = (max(2.9 * columns + 0.6, 4.4), 0.2 + 3.2 * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[1.25, 1.0] * rows)
    maps = []
    for i, row in result.components.iterrows():
        down, across = divmod(int(i), columns)
        picture = figure.add_subplot(grid[2 * down, across])
        bars = figure.add_subplot(grid[2 * down + 1, across])
        maps.append(picture)
        labels = partial(_labels, result.model, result.coefficients[int(i)])
        draw_map(picture, result.model.space, labels)
        picture.set_title(
            f"component {int(row['component'])}\nerror {_interval(row, 'error')}",
            loc="left",
        )
        own = result.power[result.power["component"] == row["component"]]
        _draw_power(bars, own)
        bars.set_xlabel("order")
        if across == 0:
            bars.set_ylabel("share of power")
        else:
            bars.set_yticklabels([])
    label_bar(figure, maps, rows)
    return figure


@styled
def skill_figure(groups: Sequence[Reanalysis]) -> Figure:
    """Skill at held-out sessions, beside a model that has learnt nothing and null."""
    figure = Figure(figsize=(5.6, 1.2 + 0.5 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for i, (group, colour) in enumerate(zip(groups, cycle(PALETTE))):
        skill = group.skill
        values = np.maximum([*skill.null, skill.prior, skill.skill], _LEAST_SKILL)
        axes.plot(values[:-2], [i] * len(skill.null), "|", color="0.6", ms=13, mew=1.4)
        axes.plot(values[-2], i, "D", color=_PRIOR, ms=6, mfc="white")
        ends = [max(skill.low, _LEAST_SKILL), max(skill.high, _LEAST_SKILL)]
        axes.plot(ends, [i, i], color=colour, lw=2)
        axes.plot(values[-1], i, "o", color=colour, ms=7)
    axes.axvline(0, color="0.5", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_xlim(min(axes.get_xlim()[0], -0.1), 1.03)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks(range(len(groups)), [group.group for group in groups])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("share of variance of held-out answers that is explained")
    handles: list[Any] = [
        Line2D([], [], color=PALETTE[0], marker="o", label="fitted, 90 %"),
        Line2D([], [], color=_PRIOR, marker="D", mfc="white", lw=0, label=_BEFORE),
        Line2D([], [], color="0.6", marker="|", ms=10, lw=0, label="answers shuffled"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _labels(model: SubjectModel, row: Floats, x: jax.Array) -> Floats:
    """Standardised labels (n,) of a component at stimuli (n, features)."""
    return np.asarray(labels_of(model.basis(x), jnp.asarray(row, jnp.float32)), float)


def _draw_null(axes: Axes, place: Floats, table: Any, width: float) -> None:
    low, high = (_shown(table[f"null_{name}"]) for name in ("low", "high"))
    axes.bar(place, high - low, width, bottom=low, color=NULL_RANGE, zorder=0)
    ends = place - width / 2, place + width / 2
    median = _shown(table["null_median"])
    axes.hlines(median, *ends, color=NULL_MEDIAN, linewidth=1.2, zorder=1)


def _draw_intervals(axes: Axes, place: Floats, table: Any, colour: str) -> None:
    middle, low, high = (
        _shown(table[name]) for name in ("error", "error_low", "error_high")
    )
    axes.plot(place, middle, color=colour, linewidth=0.8, alpha=0.5)
    axes.errorbar(
        place,
        middle,
        [middle - low, high - middle],
        fmt="o",
        color=colour,
        markersize=6,
        elinewidth=2,
        capsize=0,
        zorder=3,
    )


def _draw_power(axes: Axes, table: Any) -> None:
    """Bars of a component's power, and what the posterior draws have at its rank."""
    order, power = table["order"].to_numpy(), table["power"].to_numpy()
    axes.bar(order, power, 0.6, color=PALETTE[0])
    axes.vlines(order, table["low"], table["high"], color=NULL_MEDIAN, linewidth=1.4)
    axes.set_xticks(order if len(order) <= _LOG_RANGE else order[::2])
    axes.tick_params(axis="x", length=0)
    axes.set(ylim=(0, 1), xlim=(order[0] - 0.6, order[-1] + 0.6))
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])


def _scale(axes: Axes, groups: Sequence[Reanalysis]) -> None:
    """Logarithmic where errors differ by more than a factor of ten."""
    low = min(float(_shown(group.spectrum["error_low"]).min()) for group in groups)
    high = max(float(group.spectrum["error_high"].max()) for group in groups)
    if high / low > _LOG_RANGE:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(low / 1.4, max(high, 1) * 1.4)
    else:
        axes.set_ylim(0, max(high, 1) * 1.08)


def _shown(errors: Any) -> Floats:
    floor: Floats = np.maximum(np.asarray(errors, float), _LEAST_SHOWN)
    return floor


def _interval(row: Any, name: str) -> str:
    low, middle, high = (row[f"{name}_low"], row[name], row[f"{name}_high"])
    return f"{middle:.2g} ({low:.2g} to {high:.2g})"
