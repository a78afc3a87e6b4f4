"""The picture of a figure: what was found, and each number beside paper and null."""

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from analysis.figures import STYLE
from analysis.finding import Finding
from analysis.maps import PALETTE, draw_map
from analysis.recovery import Floats, labels_at
from reproduction.claim import ROLES, Claim, Panel, Result
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.phase_difference import PhaseDifference

CELLS = 6
"""Pictures of labellings that fit into a row."""

_WIDE, _HEADER_HIGH, _CLAIM_HIGH = 12.0, 0.8, 0.5
_NULL, _INK = "#CFCFCF", "#222222"
_COLOURS = {
    "ours": PALETTE[0],
    "diagnostic": PALETTE[2],
    "paper": PALETTE[1],
    "paper diagnostic": PALETTE[3],
    "learnt": PALETTE[0],
    "as born": "0.45",
}


def map_panel(title: str, finding: Finding, most: int = CELLS) -> Panel:
    """The labellings of one study in a row, with order and power of each."""
    shown = min(most, len(finding.distances))
    labeller, series = finding.record.study.labeller, finding.recovered.series

    def label_of(component: int, x: Any) -> Floats:
        labels: Floats = labels_at(labeller, series, x)[component]
        return labels

    def draw(strip: SubFigure) -> None:
        for i, axes in enumerate(np.atleast_1d(strip.subplots(1, shown))):
            draw_map(axes, labeller.space, partial(label_of, i))
            found = finding.distances[i]
            name = f"{found.power:.2f} in order {found.order}"
            axes.set_title(name, fontsize="small")

    wide = isinstance(labeller.space, Circle | PhaseDifference | Hypercube)
    return Panel(title, draw, min(CELLS, shown * (2 if wide else 1)))


@mpl.rc_context(STYLE)
def draw_result(title: str, paper: str, result: Result) -> Figure:
    """What was found above, what it comes to below."""
    rows = _packed(result.panels)
    heights = [
        _HEADER_HIGH,
        *(max(panel.high for panel in row) for row in rows),
        _CLAIM_HIGH * len(result.claims) + 1.2,
    ]
    figure = Figure(figsize=(_WIDE, sum(heights)), layout="constrained")
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    header, *strips = parts
    header.text(0.01, 0.86, title, weight="bold", fontsize="large", va="top")
    said = "\n".join(textwrap.wrap(f"Paper: {paper}", 130))
    header.text(0.01, 0.45, said, color="0.3", va="top")
    for row, strip in zip(rows, strips, strict=False):
        widths = [panel.cells for panel in row]
        widths += [CELLS - sum(widths)] if sum(widths) < CELLS else []
        cells = np.atleast_1d(strip.subfigures(1, len(widths), width_ratios=widths))
        for panel, part in zip(row, cells, strict=False):
            name = textwrap.fill(panel.title, 26 * panel.cells)
            part.suptitle(name, x=0.02, ha="left", fontsize="medium")
            panel.draw(part)
    _draw_claims(strips[-1], result.claims)
    return figure


def _packed(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Panels in rows, in order, as many in a row as fit."""
    rows: list[list[Panel]] = []
    for panel in panels:
        if rows and sum(p.cells for p in rows[-1]) + panel.cells <= CELLS:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    return rows


def _draw_claims(strip: SubFigure, claims: Sequence[Claim]) -> None:
    """One line per number: seeds as dots, the null as a bar, the target as a tick."""
    axes = strip.subplots()
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(len(claims) - 0.4, -0.9),
        xlabel="share, or relative error",
    )
    axes.set_yticks(range(len(claims)), [_wrapped(c) for c in claims], fontsize="small")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for row, claim in enumerate(claims):
        _draw_claim(axes, row, claim)
    used = list(dict.fromkeys(claim.role for claim in claims))
    handles = [
        axes.plot([], [], "o", color=_COLOURS[role], label=ROLES[role], ms=5)[0]
        for role in used
    ]
    if any(claim.null for claim in claims):
        null = "no learner, 5 to 95 %"
        handles += axes.plot([], [], color=_NULL, lw=7, label=null)
    handles += axes.plot([], [], "|", color=_INK, ms=10, label="target")
    strip.legend(handles=handles, loc="outside lower left", ncols=3, fontsize="small")


def _draw_claim(axes: Axes, row: int, claim: Claim) -> None:
    colour = _COLOURS[claim.role]
    if claim.share:
        if claim.null:
            low, mid, high = np.nanquantile(claim.null, (0.05, 0.5, 0.95))
            axes.plot([low, high], [row, row], color=_NULL, lw=9, solid_capstyle="butt")
            axes.plot([mid, mid], [row - 0.22, row + 0.22], color="0.45", lw=1.2)
        jitter = np.linspace(-0.14, 0.14, len(claim.values))
        axes.plot(claim.values, row + jitter, "o", color=colour, ms=5, alpha=0.85)
        if claim.target is not None:
            axes.plot(claim.target, row, "|", color=_INK, ms=16, mew=1.4)
    else:
        axes.text(0.5, row, "not a share", color="0.6", ha="center", va="center")
    axes.text(
        1.04,
        row,
        _outcome(claim),
        va="center",
        fontsize="small",
        transform=axes.get_yaxis_transform(),
        color=_INK,
    )


def _outcome(claim: Claim) -> str:
    spread = f"{min(claim.values):.3g} to {max(claim.values):.3g}"
    text = f"{claim.median:.3g} ({spread})"
    if claim.target is not None:
        sign = "≤" if claim.at_most else "≥"
        text += f"; target {sign} {claim.target:g}: {'met' if claim.met else 'missed'}"
        text += f", {claim.reached} of {len(claim.values)}"
    if claim.beyond_null is not None:
        beyond = "beyond" if claim.beyond_null else "not beyond"
        text += f"\n{beyond} the null, p = {claim.p_value:.2g}"
    if claim.paper:
        text += f"\npaper: {claim.paper}"
    return text


def _wrapped(claim: Claim) -> str:
    return "\n".join(textwrap.wrap(claim.statement, 38))
