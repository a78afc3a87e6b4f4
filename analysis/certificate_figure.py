"""The picture of a certificate: what first components are made of, beside the null."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.certificate import Certificate
from analysis.figures import DOUBLE, NULL_MEDIAN, NULL_RANGE, STYLE, letter
from analysis.maps import PALETTE

_FOUND, _OTHER = PALETTE[0], "0.55"
_WRONG = PALETTE[1]
_IN_A_ROW = 3


@mpl.rc_context(STYLE | {"font.size": 8, "text.parse_math": False})
def certificate_figure(certificate: Certificate) -> Figure:
    """A panel for each bias: its share in the first component of every study.

    Studies stand in columns by what was planted in their subjects; grey, the range of
    searches without a learner.
    """
    biases = [one.bias for one in certificate.planted]
    columns = min(_IN_A_ROW, len(biases))
    rows = -(-len(biases) // columns)
    wide = DOUBLE if columns > 1 else DOUBLE / 2
    figure = Figure(figsize=(wide, 2.75 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    every: list[Axes] = panels.ravel().tolist()
    for unused in every[len(biases) :]:
        unused.remove()
    for axes, bias in zip(every, biases, strict=False):
        _draw(axes, certificate, bias)
    for row in panels:
        row[0].set_ylabel("share of the first component")
    letter(every[: len(biases)])
    figure.legend(
        handles=_handles(certificate),
        loc="outside lower center",
        ncols=4 if columns > 1 else 2,
    )
    return figure


def _draw(axes: Axes, certificate: Certificate, bias: str) -> None:
    (null,) = (one.null for one in certificate.planted if one.bias == bias)
    columns = [*(one.bias for one in certificate.planted), None]
    axes.axhspan(null.low, null.high, color=NULL_RANGE, linewidth=0, zorder=0)
    axes.axhline(null.median, color=NULL_MEDIAN, linewidth=1, zorder=1)
    least = float(certificate.settings.least_share)
    axes.axhline(least, color="0.5", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for place, planted in enumerate(columns):
        own = [s for s in certificate.studies if s.bias == planted]
        shares = np.array([study.shares[bias][0] for study in own])
        found = np.array([bias in study.found for study in own])
        spread = _beside(shares) + place
        right = _FOUND if planted == bias else _WRONG
        for there, colour in ((found, right), (~found, _OTHER)):
            full = colour if colour != _OTHER else "none"
            axes.scatter(
                spread[there],
                shares[there],
                s=16,
                facecolor=full,
                edgecolor=colour,
                linewidth=0.9,
                clip_on=False,
                zorder=3,
            )
    names = [_wrapped(name or "none") for name in columns]
    axes.set_xticks(range(len(columns)), names, fontsize="x-small")
    for tick, planted in zip(axes.get_xticklabels(), columns, strict=True):
        tick.set_fontweight("bold" if planted == bias else "normal")
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(-0.6, len(columns) - 0.4), ylim=(0, 1), title=bias)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_xlabel("planted in its subjects")


def _beside(shares: np.ndarray) -> np.ndarray:
    """Shifts that keep dots of nearly equal height apart, -0.3 to 0.3."""
    shifts = np.zeros(len(shares))
    order = np.argsort(shares, kind="stable")
    lanes = np.array([0, 1, -1, 2, -2, 3, -3]) * 0.1
    last = np.full(len(lanes), -np.inf)
    for i in order:
        free = np.flatnonzero(shares[i] - last > 0.045)
        lane = int(free[0]) if len(free) else int(np.argmin(last))
        last[lane] = shares[i]
        shifts[i] = lanes[lane]
    return shifts


def _wrapped(name: str) -> str:
    """A name on lines of a word or two."""
    words, lines = name.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > 9:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _handles(certificate: Certificate) -> list[Line2D | Patch]:
    def dot(colour: str, full: bool, label: str) -> Line2D:
        face = colour if full else "none"
        return Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=4,
            markerfacecolor=face,
            markeredgecolor=colour,
            label=label,
        )

    studies = certificate.studies
    wrong = any(bias != study.bias for study in studies for bias in study.found)
    return [
        dot(_FOUND, True, "planted, and found"),
        *([dot(_WRONG, True, "not planted, but found")] if wrong else []),
        dot(_OTHER, False, "not found"),
        Patch(color=NULL_RANGE, label="no learner, 5-95 % and median"),
    ]
