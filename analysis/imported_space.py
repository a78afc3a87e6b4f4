"""The stimulus space of an imported table, and where in it each trial's stimulus is."""

import csv
import io
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.stats import zscore

from analysis.problem import Problem
from analysis.trials_table import TrialsTable
from stimuli.circle import Circle
from stimuli.space import StimulusSpace
from stimuli.table import SAME_PLACE, Table

Floats = NDArray[np.float64]

MOST_STIMULI = 3000
"""Different stimuli that a table's basis is worked out for."""

_ON_IT = 1e-3
"""How far from a range, or from the unit sphere, rounding may take a stimulus."""


def section_of(said: str | None, folder: Path) -> dict[str, Any] | None:
    """The [stimuli] section that an option means; None for a table of what was shown.

    ``said`` is a stimulus table (CSV), a study file (TOML), or a space with its
    options, ``circle:shown_as=direction``. Paths become relative to ``folder``.
    """
    if said is None:
        return None
    path = Path(said)
    if path.suffix == ".csv":
        return {"space": "table", "path": os.path.relpath(path, folder)}
    if path.suffix == ".toml":
        try:
            section: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))["stimuli"]
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path} has no [stimuli] section: {error}") from error
        if "path" in section:
            section["path"] = os.path.relpath(path.parent / section["path"], folder)
        return section
    name, _, options = said.partition(":")
    section = {"space": name}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        try:
            section[key.strip()] = json.loads(value)
        except ValueError:
            section[key.strip()] = value.strip()
    return section


def stimulus_table(table: TrialsTable) -> tuple[str, pd.Series]:
    """A stimulus table (CSV text) of what was shown, and the id of each trial's.

    Raises ``ValueError`` where stimuli are no numbers, are all alike or too many.
    """
    features = table.features
    names = ", ".join(table.columns["stimulus"])
    if features.columns.empty:
        raise ValueError(
            f"stimuli ({names}) are words: name their numeric features by --columns "
            "stimulus=A+B, or give --space a stimulus table (CSV) with these ids"
        )
    varied = features.loc[:, features.nunique() > 1]
    constant = [name for name in features if name not in varied]
    if constant:
        table.notes.append(f"left out, being the same always: {', '.join(constant)}")
    different = varied.drop_duplicates()
    if len(different) < 3 or len(different) > MOST_STIMULI:
        raise ValueError(
            f"there are {len(different):,} different stimuli ({names}), expected 3 to "
            f"{MOST_STIMULI:,}: give --space the space that they are from, such as "
            "circle, sphere or hypercube:dimensions=2"
        )
    different = different.sort_values(list(varied)).reset_index(drop=True)
    apart = zscore(different.to_numpy(float))
    if KDTree(apart).query(apart, 2)[0][:, 1].min() <= 2 * SAME_PLACE:
        raise ValueError(
            f"some of {len(different):,} different stimuli ({names}) are nearly the "
            "same: were they drawn from a continuum? Give --space the one that they "
            "are from, such as circle, sphere or hypercube:dimensions=2"
        )
    ids = [f"stimulus-{i + 1}" for i in range(len(different))]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["id", *(_header(name) for name in varied)])
    for name, row in zip(ids, different.itertuples(index=False), strict=True):
        writer.writerow([name, *map(repr, map(float, row))])
    named = varied.merge(different.assign(_id=ids), how="left", on=list(varied))
    return file.getvalue(), pd.Series(named["_id"].to_numpy(), index=features.index)


def places(
    space: StimulusSpace, table: TrialsTable, ids: "pd.Series | None"
) -> tuple[Floats, list[Problem]]:
    """Coordinates of each trial's stimulus ``(trials, features)``, NaN for none.

    ``ids`` are those of rows in a stimulus table, where they are known.
    """
    if isinstance(space, Table):
        return _in_table(space, table, table.trials["stimulus"] if ids is None else ids)
    features = table.features
    if isinstance(space, Circle) and len(features.columns) == 1:
        period = 180.0 if space.shown_as == "orientation" else 360.0
        angles = features.iloc[:, 0].astype(float)
        if angles.max() - angles.min() > period:
            table.notes.append(
                f"angles span more than {period:g} degrees, after which an "
                f"{space.shown_as} is the same again; of directions give --space a "
                'study file whose [stimuli] have shown_as = "direction"'
            )
        turns = angles.to_numpy() / period * 2 * np.pi
        return np.stack([np.cos(turns), np.sin(turns)], 1), []
    wanted = [feature.name for feature in space.features]
    if len(features.columns) != len(wanted):
        raise ValueError(
            f"the space has {len(wanted)} features ({', '.join(wanted)}), and stimulus "
            f"{len(features.columns)} columns ({', '.join(features)}): say --columns "
            f"stimulus={'+'.join(wanted)}"
        )
    ours = wanted if set(wanted) == set(features) else list(features)
    x = features[ours].to_numpy(float)
    low = np.array([feature.low for feature in space.features])
    high = np.array([feature.high for feature in space.features])
    outside = ((x < low - _ON_IT) | (x > high + _ON_IT)).any(1)
    on_sphere = all(
        (feature.low, feature.high) == (-1, 1) for feature in space.features
    )
    if on_sphere and type(space).__name__ in ("Circle", "Sphere"):
        outside |= np.abs(np.linalg.norm(x, axis=1) - 1) > _ON_IT
    reason = f"its stimulus lies outside the space {type(space).__name__.lower()}"
    return _without(x, outside, table, [reason] * len(x))


def _in_table(
    space: Table, table: TrialsTable, ids: pd.Series
) -> tuple[Floats, list[Problem]]:
    points = np.asarray(space.grid(0), float)
    rows = [space.present(point) for point in points]
    place = {row["id"]: i for i, row in enumerate(rows)}
    which = ids.map(place)
    names = [key for key in rows[0] if key not in ("id", "file")]
    if which.isna().all() and set(map(_plain, names)) <= set(table.features):
        by_values = {tuple(row[n] for n in names): i for i, row in enumerate(rows)}
        values = table.features[[_plain(name) for name in names]]
        found = [
            by_values.get(row) for row in values.itertuples(index=False, name=None)
        ]
        which = pd.Series(found, index=ids.index, dtype=float)
    missing = which.isna().to_numpy()
    x = points[which.fillna(0).astype(int)]
    reasons = [f"stimulus {name!r} is not in {space.path}" for name in ids]
    return _without(x, missing, table, reasons)


def _without(
    x: Floats, out: Any, table: TrialsTable, reasons: Sequence[str]
) -> tuple[Floats, list[Problem]]:
    lines = table.trials.index
    problems = [
        Problem(table.source.name, int(lines[i]), reasons[int(i)], "it is left out")
        for i in np.flatnonzero(out)
    ]
    return np.where(np.asarray(out)[:, None], np.nan, x), problems


def as_toml(section: Mapping[str, Any]) -> str:
    """Lines of a section, whose plain values TOML writes as JSON does."""
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in section.items())


def _header(name: str) -> str:
    """A feature's name as a stimulus table may have it."""
    plain = name.replace("[", "(").replace("]", ")").strip()
    return f"{plain}_feature" if plain in ("id", "file") else plain


def _plain(name: str) -> str:
    """A column of a stimulus table without its unit."""
    return name.partition("[")[0].strip()
