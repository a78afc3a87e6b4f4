"""Families of labellings that a subject can be brought up on: its planted bias."""

import csv
import math
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from simulated_subjects.upbringing import Task
from stimuli import random_keys
from stimuli.space import StimulusSpace, highest_degree

BIASES = ("order 2 harmonics", "high frequency", "one feature")
"""Biases that are known by name; others are ``order N harmonics``, ``feature NAME``."""

POOL = 2048
"""Stimuli among which those of all tasks are."""

LABEL_STD = 0.5
"""Of the labels of each task, whose mean is 0: as standardised labels of a study."""

_DEGREE = 6
"""Highest order that counts as a high frequency."""

_COLUMNS = 32
"""Columns of a family; its basis functions are no more than these."""

_OTHER = 0.05
"""Standard deviation of what a basis function has beside a family, at least."""

_POWERS = 3
"""Powers of a feature of which labels that depend on it alone are made."""

_ORDER = re.compile(r"order (?P<order>[1-9]\d?)( harmonics)?")
_FEATURE = re.compile(r"one feature|feature (?P<name>.+)")

Floats = NDArray[np.float64]


class Family(NamedTuple):
    """Labellings that are mixtures of ``functions`` of stimuli, and what they are not.

    ``x`` (pool, features) stands for p(x); ``functions`` and ``others``, (pool, k)
    each, have mean 0 and variance 1 there, or are 0 where there are fewer than the
    columns; no function is correlated with any of the others.
    """

    x: jax.Array
    functions: jax.Array
    others: jax.Array


@dataclass(frozen=True)
class Draw:
    """A random mixture of a family, standardised, as a task; static argument.

    ``training`` stimuli are labelled and ``query`` others judge the answers. With a
    ``contrast``, every other task, more or less, is a mixture of the ``others``, and
    of that weight: it is to stay hard.
    """

    training: int
    query: int
    contrast: float = 0.0

    def __call__(self, family: Family, key: jax.Array) -> Task:
        """The task of a key."""
        side_key, mix_key, pick_key = jax.random.split(key, 3)
        hard = jax.random.bernoulli(side_key, 0.5 if self.contrast else 0.0)
        functions = jnp.where(hard, family.others, family.functions)
        mixture = functions @ jax.random.normal(mix_key, functions.shape[1:])
        y = LABEL_STD * (mixture - mixture.mean()) / mixture.std()
        n, whole = self.training, self.training + self.query
        # Tables may hold fewer stimuli: then some that were taught are asked again.
        again = whole > len(y)
        picked = jax.random.choice(pick_key, len(y), (whole,), replace=again)
        x, y = family.x[picked], y[picked]
        weight = jnp.where(hard, -self.contrast, 1.0)
        return Task(x[:n], y[:n], x[n:], y[n:], weight)


def family(
    bias: str, space: StimulusSpace, training_stimuli: int, key: jax.Array
) -> Family:
    """The labellings of a bias that is named, or listed in a CSV file.

    ``order N harmonics`` are all functions of an order of the space's basis; ``high
    frequency`` those of the highest order, up to 6, that has at most a quarter as many
    functions as there are training stimuli; ``one feature``, or ``feature NAME``,
    cubic functions of the first feature or of another. Else ``bias`` is a file: see
    :func:`listed`. Raises ``ValueError`` where the space has no such labellings.
    """
    if bias.endswith(".csv"):
        x, rows = listed(Path(bias), space)
    else:
        x = jax.jit(partial(space.sample, n=_most(space)))(key)
        rows = _named(bias, space, training_stimuli, x)
    functions = _independent(rows, 1e-6 * float(abs(rows).max(initial=0)))
    if not functions.shape[1]:
        raise ValueError(f"{bias}: its labels are the same for every stimulus")
    return Family(x, _padded(functions), _padded(_others(bias, space, x, functions)))


def _others(bias: str, space: StimulusSpace, x: jax.Array, functions: Floats) -> Floats:
    """What the basis has beside the functions of a family, ``(n, k)``.

    Low orders first: all that the columns have room for.
    """
    most = highest_degree(space, min(_COLUMNS, len(x) // 2), _DEGREE)
    for degree in range(most, _DEGREE + 1):
        try:
            rest = np.asarray(space.basis(x, degree)[0], np.float64)[:, 1:]
        except ValueError:  # a table with few stimuli has no more
            break
        rest = rest - functions @ np.linalg.lstsq(functions, rest)[0]
        rest = rest[:, rest.std(0) > _OTHER][:, :_COLUMNS]
        if (others := _independent(rest, _OTHER)).shape[1]:
            return others
    raise ValueError(f"{bias}: it has every labelling of the space: no bias at all")


def _padded(rows: Floats) -> jax.Array:
    """Columns of zeros behind, so that upbringings of all families compile once."""
    missing = max(_COLUMNS - rows.shape[1], 0)
    return jnp.asarray(np.pad(rows, [(0, 0), (0, missing)]), jnp.float32)


def listed(path: Path, space: StimulusSpace) -> tuple[jax.Array, Floats]:
    """Stimuli ``(n, features)`` and labellings ``(n, k)`` of a CSV file.

    A row is a stimulus: by a column for each feature, in the space's own coordinates,
    or, of a table or of images, by the ``id`` or ``file``. Columns whose names begin
    with ``label`` are labellings. Raises ``ValueError`` for what is not so.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read the labellings of {path}: {error}") from error
    labels = [name for name in header if name.lower().startswith("label")]
    if not labels or not rows:
        raise ValueError(
            f"{path}: expected rows of stimuli, and a column or more whose name begins "
            f"with label; got {len(rows)} rows with the columns {', '.join(header)}"
        )
    names = [feature.name for feature in space.features]
    values = _numbers(path, rows, labels)
    if set(names) <= set(header):
        return jnp.asarray(_numbers(path, rows, names), jnp.float32), values
    every = space.grid(_most(space))
    for called in ("id", "file"):
        shown = [str(space.present(np.asarray(x)).get(called, "")) for x in every]
        if called in header and any(shown):
            return every[_places(path, rows, called, shown)], values
    raise ValueError(
        f"{path}: expected a column for each feature ({', '.join(names)}), or an id or "
        "file that the study's stimuli have"
    )


def _named(bias: str, space: StimulusSpace, training: int, x: jax.Array) -> Floats:
    if match := _ORDER.fullmatch(bias):
        rows = _of_order(space, x, int(match["order"]))
        if rows.shape[1] > training:
            raise ValueError(
                f"{bias}: this space has {rows.shape[1]} functions of that order, "
                f"which {training} training stimuli cannot tell apart"
            )
        return rows
    if bias == "high frequency":
        for order in range(_DEGREE, 1, -1):
            rows = _of_order(space, x, order)
            if 0 < rows.shape[1] <= max(training // 4, 1):
                return rows
        raise ValueError(
            f"high frequency: no order of this space from 2 to {_DEGREE} has few "
            f"enough functions to be learnt from {training} stimuli"
        )
    if match := _FEATURE.fullmatch(bias):
        names = [feature.name for feature in space.features]
        name = match["name"] or names[0]
        if name not in names:
            raise ValueError(
                f"{bias}: the space has no such feature; it has {', '.join(names)}"
            )
        seen = np.asarray(x[:, names.index(name)], np.float64)
        scale = max(float(np.ptp(seen)), 1e-12)
        return np.stack([(seen / scale) ** power for power in range(1, _POWERS + 1)], 1)
    raise ValueError(
        f"unknown bias {bias!r}; known: {', '.join(BIASES)}, order N harmonics, "
        "feature NAME, or a file ending in .csv"
    )


def _of_order(space: StimulusSpace, x: jax.Array, order: int) -> Floats:
    """Basis functions of an order, ``(n, k)``; none where the basis ends before it."""
    try:
        values, orders = space.basis(x, order)
    except ValueError:  # a table with few stimuli
        return np.zeros((len(x), 0))
    return np.asarray(values, np.float64)[:, np.asarray(orders) == order]


def _independent(rows: Floats, least: float) -> Floats:
    """An orthonormal basis of what ``rows`` span, without the constant, ``(n, k)``.

    Columns that vary by ``least`` or less, a standard deviation, count as constant.
    """
    centred = rows - rows.mean(0, keepdims=True)
    spread = centred.std(0)
    kept = spread > least
    left, size, _ = np.linalg.svd(
        centred[:, kept] / spread[None, kept], full_matrices=False
    )
    root = math.sqrt(len(rows))
    spanned: Floats = root * left[:, size > 1e-3 * root]
    return spanned


def _most(space: StimulusSpace) -> int:
    """Stimuli of the pool: no more than there are, of a table or of images."""
    try:
        jax.eval_shape(partial(space.sample, n=POOL), random_keys.key(0))
    except ValueError:
        return len(space.grid(POOL))
    return POOL


def _numbers(path: Path, rows: list[dict[str, str]], names: list[str]) -> Floats:
    """Columns of numbers, ``(rows, names)``."""

    def number(line: int, row: dict[str, str], name: str) -> float:
        try:
            value = float(row[name])
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(
                f"{path}, line {line}, column {name}: expected a number, "
                f"got {row[name]!r}"
            )
        return value

    return np.array(
        [[number(i, row, n) for n in names] for i, row in enumerate(rows, start=2)]
    )


def _places(
    path: Path, rows: list[dict[str, str]], called: str, shown: list[str]
) -> NDArray[np.int64]:
    """Where each row's stimulus is among those ``shown``."""
    place = {name: i for i, name in enumerate(shown)}
    for line, row in enumerate(rows, start=2):
        if row[called] not in place:
            raise ValueError(
                f"{path}, line {line}: the study has no stimulus whose {called} is "
                f"{row[called]!r}"
            )
    return np.array([place[row[called]] for row in rows])
