"""Figures of what sessions tell; each function returns a matplotlib Figure."""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.conduct import Conduct
from analysis.covariates import TERMS
from analysis.figures import (
    DOUBLE,
    NULL_MEDIAN,
    NULL_RANGE,
    SINGLE,
    letter,
    mark_ignorance,
    styled,
)
from analysis.maps import PALETTE

_MARKERS = ("o", "s", "^", "D", "v", "P")
_NULL_LABEL = "errors exchanged, 5-95 % and median"


@styled
def spectrum_figure(found: Conduct) -> Figure:
    """Error per order with its interval, a group each, beside the permutation null.

    Of choices, how much of the labels of each order came back stands beside it.
    """
    both = bool(len(found.gain))
    wide = DOUBLE if both else DOUBLE * 0.6
    figure = Figure(figsize=(wide, 2.6), layout="constrained")
    panels = figure.subplots(1, 2 if both else 1, squeeze=False)[0].tolist()
    draw_spectra(panels[0], found.spectrum, "error")
    mark_ignorance(panels[0])
    panels[0].set_ylabel("error / label variance")
    panels[0].set_ylim(bottom=0)
    if both:
        draw_spectra(panels[1], found.gain, "gain")
        panels[1].set_ylabel("gain: answers on labels")
        for at, width in ((0, 0.8), (1, 0.8)):
            panels[1].axhline(at, color="0.5", lw=width, ls=(0, (4, 3)), zorder=0)
    letter(panels)
    figure.legend(
        handles=[*group_handles(found.spectrum), null_handle()],
        loc="outside lower center",
        ncols=3,
    )
    return figure


def draw_spectra(axes: Axes, table: pd.DataFrame, value: str) -> None:
    """A value per order and group with intervals; its null in grey, if there is one.

    Orders of which nothing is known are left out.
    """
    known = table[np.isfinite(table[value].to_numpy(float))]
    orders = list(dict.fromkeys(known["order"]))
    groups = list(dict.fromkeys(table["group"]))
    step = 0.7 / max(1, len(groups))
    for i, (group, colour, marker) in enumerate(
        zip(groups, cycle(PALETTE), cycle(_MARKERS))
    ):
        own = known[known["group"] == group]
        place = np.array([orders.index(order) for order in own["order"]], float)
        place += (i - (len(groups) - 1) / 2) * step
        if "null_low" in own:
            _draw_null(axes, place, own, 0.75 * step)
        draw_intervals(axes, place, own, value, colour, marker)
    axes.set_xticks(range(len(orders)), [_order_name(o, table) for o in orders])
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="order", xlim=(-0.6, max(len(orders), 1) - 0.4))


@styled
def behaviour_figure(
    learning: pd.DataFrame, times: pd.DataFrame, chronometric: pd.DataFrame
) -> Figure | None:
    """Learning curve, reaction times and how they follow labels; None without any."""
    drawers: list[tuple[Callable[[Axes, pd.DataFrame], None], pd.DataFrame]] = [
        (_draw_learning, learning),
        (_draw_times, times),
        (_draw_chronometric, chronometric),
    ]
    shown = [(draw, table) for draw, table in drawers if len(table)]
    if not shown:
        return None
    wide = max(SINGLE, DOUBLE * len(shown) / 3)
    figure = Figure(figsize=(wide, 2.4), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0].tolist()
    for (draw, table), axes in zip(shown, panels, strict=True):
        draw(axes, table)
    letter(panels)
    handles = group_handles(shown[0][1])
    if len(handles) > 1:
        columns = len(handles)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    return figure


@styled
def covariate_figure(found: Conduct) -> Figure:
    """Effects of covariates with their intervals, in units of their standard error.

    On one axis, since the units of the effects differ; the table has these.
    """
    table = found.covariates[found.covariates["term"] != "intercept"]
    place = np.arange(len(table))
    figure = Figure(
        figsize=(DOUBLE * 0.6, 0.7 + 0.24 * len(table)), layout="constrained"
    )
    axes = figure.subplots()
    error = (table["effect"] / table["z"]).abs().to_numpy(float)
    middle, low, high = (
        table[name].to_numpy(float) / error for name in ("effect", "low", "high")
    )
    axes.hlines(place, low, high, color=PALETTE[0], linewidth=1.6)
    axes.plot(middle, place, "o", color=PALETTE[0], markersize=4)
    axes.axvline(0, color="0.5", lw=0.8, ls=(0, (4, 3)), zorder=0)
    axes.set_yticks(place, [TERMS[term].partition(",")[0] for term in table["term"]])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(ylim=(len(table) - 0.5, -0.5), xlabel="effect / its standard error")
    return figure


@styled
def flag_figure(found: Conduct, sessions: int) -> Figure:
    """Sessions with each flag, as a share of all."""
    counts = found.flags["flag"].value_counts()
    figure = Figure(figsize=(SINGLE, 0.7 + 0.2 * len(counts)), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(counts))
    share = 100 * counts.to_numpy() / max(sessions, 1)
    axes.barh(place, share, 0.6, color=PALETTE[0])
    for y, (x, n) in enumerate(zip(share, counts, strict=True)):
        axes.text(x, y, f" {n:,}", va="center", fontsize="small")
    axes.set_yticks(place, [str(name).replace("_", " ") for name in counts.index])
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(counts) - 0.5, -0.5), xlabel="% of sessions flagged")
    axes.set_xlim(0, max(share.max() * 1.2, 1))
    return figure


def _draw_learning(axes: Axes, table: pd.DataFrame) -> None:
    for own, colour, marker in _by_group(table):
        x = own["trial"].to_numpy(float)
        low, high = own["error_low"], own["error_high"]
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, own["error"], marker=marker, ms=3, color=colour, lw=1.2)
    axes.set(xlabel="training trial", ylabel="squared error of answers")
    axes.set_ylim(bottom=0)


def _draw_times(axes: Axes, table: pd.DataFrame) -> None:
    """Quantiles of reaction times: a cumulative curve through them."""
    names = [name for name in table if str(name)[:1] == "q" and str(name)[1:].isdigit()]
    shares = [int(str(name)[1:]) / 100 for name in names]
    for own, colour, marker in _by_group(table):
        values = own[names].to_numpy(float)[0]
        axes.plot(values, shares, marker=marker, ms=4, color=colour, lw=1.2)
        row = own.iloc[0]
        axes.hlines(0.5, row["low"], row["high"], color=colour, lw=3, alpha=0.35)
    axes.set(xlabel="reaction time (s)", ylabel="share of answers", ylim=(0, 1))


def _draw_chronometric(axes: Axes, table: pd.DataFrame) -> None:
    for own, colour, marker in _by_group(table):
        x = own["label"].to_numpy(float)
        draw_intervals(axes, x, own, "median", colour, marker)
        axes.plot(x, own["median"], color=colour, lw=0.8, alpha=0.6)
    axes.set(xlabel="|label|", ylabel="median reaction time (s)", xlim=(0, 1))


def _draw_null(axes: Axes, place: Any, table: pd.DataFrame, width: float) -> None:
    low, middle, high = (
        table[f"null_{name}"].to_numpy(float) for name in ("low", "median", "high")
    )
    axes.bar(place, high - low, width, bottom=low, color=NULL_RANGE, zorder=0)
    ends = place - width / 2, place + width / 2
    axes.hlines(middle, *ends, color=NULL_MEDIAN, linewidth=1.0, zorder=1)


def draw_intervals(
    axes: Axes, place: Any, table: pd.DataFrame, value: str, colour: str, marker: str
) -> None:
    """A column of values at their places, each with its interval."""
    low, middle, high = (table[name].to_numpy(float) for name in ("low", value, "high"))
    axes.vlines(place, low, high, color=colour, linewidth=1.6, zorder=2)
    axes.plot(place, middle, marker, color=colour, markersize=4.5, zorder=3)


def _by_group(table: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, str, str]]:
    groups = dict.fromkeys(table["group"])
    for group, colour, marker in zip(groups, cycle(PALETTE), cycle(_MARKERS)):
        yield table[table["group"] == group], colour, marker


def group_handles(table: pd.DataFrame) -> Sequence[Any]:
    """Colour and marker of each group, for a legend."""
    groups = dict.fromkeys(table["group"])
    return [
        Line2D([], [], color=c, marker=m, lw=1.6, ms=4.5, label=g or "study, 90 %")
        for g, c, m in zip(groups, cycle(PALETTE), cycle(_MARKERS))
    ]


def null_handle() -> Patch:
    """Grey, for a legend."""
    return Patch(color=NULL_RANGE, label=_NULL_LABEL)


def _order_name(order: str, table: pd.DataFrame) -> str:
    if order != "above":
        return order
    highest = max(int(o) for o in table["order"] if o != "above")
    return f">{highest}"
