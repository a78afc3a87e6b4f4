"""Pictures of a labelling on its stimulus space, one drawer per kind of space."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Ellipse

from analysis.recovery import Floats
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.phase_difference import PhaseDifference
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere

LabelOf = Callable[[Any], Floats]
"""Labels (n,) of stimuli (n, features)."""

LABEL_COLOURS = "RdBu_r"
"""Diverging, and safe for the colour-blind."""

LABEL_SCALE = Normalize(-1, 1)
"""Labels mean the same in every picture."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that the colour-blind tell apart (Okabe & Ito 2008)."""

_COLOURS: dict[str, Any] = {"cmap": LABEL_COLOURS, "norm": LABEL_SCALE}
_LINE = "0.25"
_LABEL_TICKS = (-1, 0, 1)


def draw_map(axes: Axes, space: StimulusSpace, label_of: LabelOf) -> None:
    """Draw one labelling in the way of its space."""
    drawer: Callable[[Axes, Any, LabelOf], None] = _DRAWERS.get(type(space), _scatter)
    drawer(axes, space, label_of)


def _sphere(axes: Axes, space: Sphere, label_of: LabelOf) -> None:
    """The whole sphere in Hammer's equal-area projection, with a zero line."""
    del space
    wide, high = np.meshgrid(np.linspace(-2, 2, 400), np.linspace(-1, 1, 200))
    # Outside the map its border goes on, so that no pixel there shows a gap.
    shrink = np.minimum(1, 0.999 / np.maximum(np.hypot(wide / 2, high), 1e-9))
    label = label_of(_from_hammer(wide * shrink, high * shrink)).reshape(wide.shape)
    outline = Ellipse((0, 0), 4, 2, facecolor="none", edgecolor=_LINE, linewidth=0.8)
    axes.add_patch(outline)
    image = axes.imshow(
        label,
        extent=(-2, 2, -1, 1),
        origin="lower",
        interpolation="bilinear",
        **_COLOURS,
    )
    zero = axes.contour(wide, high, label, [0.0], colors=_LINE, linewidths=0.6)
    for drawn in (image, zero):
        drawn.set_clip_path(outline)
    axes.set(xlim=(-2.03, 2.03), ylim=(-1.03, 1.03), aspect="equal")
    axes.axis("off")


def _from_hammer(wide: Floats, high: Floats) -> Any:
    """Points (n, 3) of the sphere from their places in ``Sphere.view``."""
    depth = np.sqrt(1 - wide**2 / 8 - high**2 / 2)
    half_longitude = np.arctan2(depth * wide / np.sqrt(8), 2 * depth**2 - 1)
    sine = depth * high * np.sqrt(2)
    cosine = np.sqrt(np.clip(1 - sine**2, 0, None))
    longitude = 2 * half_longitude
    points = [cosine * np.cos(longitude), cosine * np.sin(longitude), sine]
    return jnp.asarray(np.stack(points, -1).reshape(-1, 3), jnp.float32)


def _phase(axes: Axes, space: PhaseDifference, label_of: LabelOf) -> None:
    """Label against phase difference, and the same as a ring."""
    _ring(axes, label_of(space.grid(720)), space.grid(720), 360, "phase (deg)")


def _circle(axes: Axes, space: Circle, label_of: LabelOf) -> None:
    """Label against angle, and the same as a ring."""
    turn = 180 if space.shown_as == "orientation" else 360
    x = space.grid(720)
    _ring(axes, label_of(x), x, turn, f"{space.shown_as} (deg)")


def _ring(axes: Axes, label: Floats, x: Any, turn: int, name: str) -> None:
    angle = np.linspace(0, turn, len(label), endpoint=False)
    curve = axes.inset_axes((0.44, 0.14, 0.56, 0.74))
    _coloured_line(curve, angle, label)
    curve.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    curve.set(xlim=(0, turn), ylim=(-1.08, 1.08), yticks=_LABEL_TICKS)
    curve.set_xticks(np.linspace(0, turn, 5)[::2])
    curve.set_xlabel(name)
    east, north = np.asarray(x).T
    ring = axes.inset_axes((0.0, 0.08, 0.36, 0.84))
    closed = [*range(len(east)), 0]
    ring.plot(
        east[closed], north[closed], color=_LINE, linewidth=7.5, solid_capstyle="butt"
    )
    ring.scatter(east, north, c=label, s=34, linewidths=0, zorder=3, **_COLOURS)
    ring.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")
    for hidden in (ring, axes):
        hidden.axis("off")


def _hypercube(axes: Axes, space: Hypercube, label_of: LabelOf) -> None:
    """Mean label along each feature, and labels over the two that matter most."""
    if space.dimensions == 1:
        _scatter(axes, space, label_of)
        return
    x = space.grid(8192)
    label, points = label_of(x), np.asarray(x)
    places, means = _means_along(points, label)
    by_spread = np.argsort(-means.std(0))
    names = [feature.name.replace("_", " ") for feature in space.features]
    effects = axes.inset_axes((0.57, 0.18, 0.43, 0.7))
    for rank, i in enumerate(by_spread):
        style = (
            {"color": PALETTE[rank], "label": names[i]}
            if rank < 2
            else {"color": "0.75"}
        )
        effects.plot(places[:, i], means[:, i], zorder=-rank, linewidth=1.6, **style)
    effects.set(ylim=(-1.08, 1.08), yticks=_LABEL_TICKS, xlabel="feature")
    effects.set_title("mean label", loc="left", fontsize="small")
    effects.legend(fontsize="x-small", handlelength=1, borderpad=0)
    cloud = axes.inset_axes((0.1, 0.18, 0.33, 0.7))
    first, second = by_spread[:2]
    few = slice(0, 2000)
    across, up = points[few, first], points[few, second]
    cloud.scatter(across, up, c=label[few], s=3, linewidths=0, **_COLOURS)
    cloud.set(xlabel=names[first], ylabel=names[second])
    if space.distribution == "uniform":
        effects.set(xticks=(0, 1))
        cloud.set(xticks=(0, 1), yticks=(0, 1))
    axes.axis("off")


def _means_along(points: Floats, label: Floats) -> tuple[Floats, Floats]:
    """Mean place and label in twenty equally filled bins of each feature."""
    bins = [np.array_split(np.argsort(column), 20) for column in points.T]
    both = zip(points.T, bins, strict=True)
    places = [[column[b].mean() for b in own] for column, own in both]
    means = [[label[b].mean() for b in own] for own in bins]
    return np.transpose(places), np.transpose(means)


def _scatter(axes: Axes, space: StimulusSpace, label_of: LabelOf) -> None:
    """Every stimulus at its place in the space's own view."""
    x = space.grid(2048)
    across, up = np.asarray(space.view(x)).T
    size = float(np.clip(6000 / len(across), 4, 60))
    dots = axes.scatter(across, up, c=label_of(x), s=size, **_COLOURS)
    dots.set(linewidth=0.3, edgecolor=_LINE)
    axes.set(xlabel="view, axis 1", ylabel="view, axis 2", xticks=[], yticks=[])


def _coloured_line(axes: Axes, x: Floats, y: Floats) -> None:
    """A curve in the colours of its height, with a dark rim."""
    points = np.stack([x, y], -1)
    pieces = list(np.stack([points[:-1], points[1:]], 1))
    line = LineCollection(pieces, linewidths=2.4, capstyle="round", **_COLOURS)
    line.set_array((y[:-1] + y[1:]) / 2)
    axes.plot(x, y, color=_LINE, linewidth=3.6, solid_capstyle="round")
    axes.add_collection(line)


_DRAWERS: dict[type[Any], Callable[[Axes, Any, LabelOf], None]] = {
    Sphere: _sphere,
    Circle: _circle,
    PhaseDifference: _phase,
    Hypercube: _hypercube,
}
