"""Figures of a comparison; each function returns a matplotlib Figure."""

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.behaviour_figures import (
    draw_intervals,
    draw_spectra,
    group_handles,
    null_handle,
)
from analysis.comparison import Compared
from analysis.figures import DOUBLE, letter, mark_ignorance, styled
from analysis.group_spectra import differing
from analysis.maps import PALETTE

MEASURE_NAMES = {
    "relative_error": "relative error",
    "side_bias": "side bias",
    "reaction_time_s": "reaction time",
    "omissions": "omissions",
}
_PAIRS = ("0.15", "0.5", PALETTE[2], PALETTE[3], PALETTE[4], PALETTE[5])


@styled
def spectra_figure(found: Compared) -> Figure:
    """Spectra side by side, and the difference in each order with its interval."""
    figure = Figure(figsize=(DOUBLE, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_spectra(left, found.spectrum, "error")
    mark_ignorance(left)
    left.set_ylabel("error / label variance")
    left.set_ylim(bottom=0)
    pairs = _draw_differences(right, found.differences)
    letter([left, right])
    handles = [*group_handles(found.spectrum), null_handle(), *pairs]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(4, len(handles))
    )
    return figure


@styled
def effect_figure(found: Compared) -> Figure:
    """Effect sizes of every measure with their intervals."""
    table = found.effects[found.effects["hedges_g"].notna()]
    high = 0.9 + 0.28 * max(len(table), 1)
    figure = Figure(figsize=(DOUBLE * 0.6, high), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(table))
    axes.hlines(place, table["g_low"], table["g_high"], color=PALETTE[0], linewidth=1.6)
    axes.plot(table["hedges_g"], place, "o", color=PALETTE[0], markersize=4.5)
    axes.axvline(0, color="0.5", lw=0.8, ls=(0, (4, 3)), zorder=0)
    many = len(table[["group", "other"]].drop_duplicates()) > 1
    names = [
        MEASURE_NAMES.get(row.measure, row.measure)
        + (f"\n{row.group} - {row.other}" if many else "")
        for row in table.itertuples()
    ]
    axes.set_yticks(place, names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(ylim=(len(table) - 0.5, -0.5))
    of = "" if many else f": {table['group'].iloc[0]} - {table['other'].iloc[0]}"
    axes.set_xlabel(f"Hedges' g{of}" if len(table) else "Hedges' g")
    return figure


def _draw_differences(axes: Axes, table: pd.DataFrame) -> list[Any]:
    known = table[table["difference"].notna()]
    orders = list(dict.fromkeys(known["order"]))
    pairs = list(known.groupby(["group", "other"], sort=False))
    step = 0.7 / max(1, len(pairs))
    handles = []
    for i, ((one, other), own) in enumerate(pairs):
        colour = next(c for j, c in enumerate(cycle(_PAIRS)) if j == i)
        place = np.array([orders.index(order) for order in own["order"]], float)
        place += (i - (len(pairs) - 1) / 2) * step
        draw_intervals(axes, place, own, "difference", colour, "o")
        ends = own["high"].to_numpy(float)
        for x, y, apart in zip(place, ends, differing(own), strict=True):
            if apart:
                axes.annotate(
                    "*", (x, y), (0, 1), textcoords="offset points", ha="center"
                )
        name = f"{one} - {other}"
        handles.append(Line2D([], [], color=colour, marker="o", ms=4.5, label=name))
    axes.axhline(0, color="0.5", lw=0.8, ls=(0, (4, 3)), zorder=0)
    axes.set_xticks(range(len(orders)), [o if o != "above" else ">" for o in orders])
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="order", ylabel="difference of errors")
    axes.set_xlim(-0.6, max(len(orders), 1) - 0.4)
    return handles
