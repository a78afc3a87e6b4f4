"""A labelling as numbers to draw, in the way of its stimulus space."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any
from urllib.parse import quote

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.images import Images
from stimuli.phase_difference import PhaseDifference
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere
from stimuli.table import Table

Floats = NDArray[np.float64]

LabelOf = Callable[[Any], Floats]
"""Labels ``(n,)`` of stimuli ``(n, features)``."""

STEPS = 100
"""Labels are told in hundredths: finer than any colour."""

ROWS, COLUMNS = 91, 180
"""Of the sphere's grid, every two degrees; the first row is the north pole."""

PLANE = 33
"""Places along each side of a plane."""

MOST_FEATURES = 5
"""Features of which pairs are drawn; those along which labels change most."""

MOST_ITEMS = 200
"""Pictures or rows that are shown, evenly from the lowest label to the highest."""

_MOST_LABELLED = 2000
"""Items that are looked at to find those."""

_MIDDLE = {"uniform": 0.5, "gaussian": 0.0}
_REACH = {"uniform": 0.5, "gaussian": 2.5}


def picture(space: StimulusSpace, label_of: LabelOf) -> dict[str, Any]:
    """What to draw; ``view`` names the way, the rest goes with it.

    Labels of grids are whole hundredths, to be short; others are rounded numbers.
    """
    drawer: Callable[[Any, LabelOf], dict[str, Any]] = _DRAWERS.get(
        type(space), _points
    )
    return drawer(space, label_of)


def view_of(space: StimulusSpace) -> str:
    """The ``view`` of the space's pictures, without a labelling."""
    if isinstance(space, Hypercube):
        return "line" if space.dimensions == 1 else "planes"
    return _VIEWS.get(type(space), "points")


def _circle(space: Circle, label_of: LabelOf) -> dict[str, Any]:
    turn = 180 if space.shown_as == "orientation" else 360
    return _ring(space, label_of, turn, space.shown_as)


def _phase(space: PhaseDifference, label_of: LabelOf) -> dict[str, Any]:
    return _ring(space, label_of, 360, "phase difference")


def _ring(space: Any, label_of: LabelOf, turn: int, name: str) -> dict[str, Any]:
    n = 360
    return {
        "view": "ring",
        "turn_deg": turn,
        "name": name,
        "unit": "deg",
        "angle_deg": (np.arange(n) * turn / n).tolist(),
        "label": _rounded(label_of(space.grid(n))),
    }


def _sphere(space: Sphere, label_of: LabelOf) -> dict[str, Any]:
    del space
    latitude = np.radians(np.linspace(90, -90, ROWS))[:, None]
    longitude = np.radians(-180 + 360 / COLUMNS * np.arange(COLUMNS))[None]
    across = np.cos(latitude)
    points = np.stack(
        np.broadcast_arrays(
            across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)
        ),
        -1,
    )
    label = label_of(jnp.asarray(points.reshape(-1, 3), jnp.float32))
    return {"view": "sphere", "rows": ROWS, "columns": COLUMNS, "label": _whole(label)}


def _hypercube(space: Hypercube, label_of: LabelOf) -> dict[str, Any]:
    middle, reach = _MIDDLE[space.distribution], _REACH[space.distribution]
    side = np.linspace(middle - reach, middle + reach, PLANE)
    features = space.features
    along = np.full((space.dimensions, PLANE, space.dimensions), middle)
    for i in range(space.dimensions):
        along[i, :, i] = side
    effects = _labels_of(label_of, along)
    if space.dimensions == 1:
        only = features[0]
        return {
            "view": "line",
            "name": only.name,
            "unit": only.unit,
            "x": _rounded(side),
            "label": _rounded(effects[0]),
        }
    shown = np.sort(np.argsort(-effects.std(1), kind="stable")[:MOST_FEATURES])
    pairs = list(combinations(shown.tolist(), 2))
    planes = np.full((len(pairs), PLANE, PLANE, space.dimensions), middle)
    for own, (i, j) in zip(planes, pairs, strict=True):
        own[..., i], own[..., j] = side[None, :], side[:, None]
    ends = [float(side[0]), float(side[-1])]
    return {
        "view": "planes",
        "note": "other features at their middle",
        "features_left_out": space.dimensions - len(shown),
        "planes": [
            {
                "x": features[i].name,
                "y": features[j].name,
                "x_unit": features[i].unit,
                "y_unit": features[j].unit,
                "x_range": ends,
                "y_range": ends,
                "columns": PLANE,
                "rows": PLANE,
                "label": _whole(label.ravel()),
            }
            for (i, j), label in zip(pairs, _labels_of(label_of, planes), strict=True)
        ],
    }


def _images(space: Images, label_of: LabelOf) -> dict[str, Any]:
    names = list(space.pictures)
    n = min(_MOST_LABELLED, len(names))
    places = np.arange(n) * len(names) // n  # as the grid has them
    shown = [names[i] for i in places]
    return _items(space, label_of, dict(zip(shown, shown, strict=True)), len(names))


def _table(space: Table, label_of: LabelOf) -> dict[str, Any]:
    rows = [space.present(x) for x in np.asarray(space.grid(0))]
    return _items(
        space, label_of, {row["id"]: row.get("file", "") for row in rows}, len(rows)
    )


def _items(
    space: Any, label_of: LabelOf, files: Mapping[str, str], total: int
) -> dict[str, Any]:
    """Named stimuli, each with its file if it has one, from low to high labels."""
    x = space.grid(_MOST_LABELLED)
    label, places = label_of(x), np.asarray(space.view(x), float)
    order = np.argsort(label, kind="stable")
    few = np.unique(np.linspace(0, len(order) - 1, MOST_ITEMS).round().astype(int))
    named = list(files.items())
    items = []
    for i in order[few]:
        name, file = named[i]
        url = f"api/v1/dashboard/stimuli/{quote(file)}" if file else None
        across, up = places[i]
        items.append(
            {
                "name": name,
                "label": round(float(label[i]), 3),
                "url": url,
                "x": round(float(across), 4),
                "y": round(float(up), 4),
            }
        )
    return {"view": "items", "items": items, "shown": len(items), "total": total}


def _points(space: StimulusSpace, label_of: LabelOf) -> dict[str, Any]:
    x = space.grid(1500)
    across, up = np.asarray(space.view(x), float).T
    return {
        "view": "points",
        "x": _rounded(across),
        "y": _rounded(up),
        "label": _rounded(label_of(x)),
    }


def _labels_of(label_of: LabelOf, points: Floats) -> Floats:
    """Labels of points ``(..., features)``, ``(...)``."""
    flat = jnp.asarray(points.reshape(-1, points.shape[-1]), jnp.float32)
    return label_of(flat).reshape(points.shape[:-1])


def _whole(label: Floats) -> list[int]:
    whole: list[int] = np.rint(STEPS * label).astype(int).tolist()
    return whole


def _rounded(values: Floats) -> list[float]:
    rounded: list[float] = np.round(values, 4).tolist()
    return rounded


_DRAWERS: dict[type[Any], Callable[[Any, LabelOf], dict[str, Any]]] = {
    Sphere: _sphere,
    Circle: _circle,
    PhaseDifference: _phase,
    Hypercube: _hypercube,
    Images: _images,
    Table: _table,
}

_VIEWS: dict[type[Any], str] = {
    Sphere: "sphere",
    Circle: "ring",
    PhaseDifference: "ring",
    Images: "items",
    Table: "items",
}
