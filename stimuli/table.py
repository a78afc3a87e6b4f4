"""A lab's own stimuli, from a CSV file."""

import csv
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from numpy.typing import NDArray

from stimuli.space import Feature

SAME_PLACE = 1e-4
"""Distance below which two stimuli are one, in standard deviations of a column."""

_HEADER = re.compile(r"(?P<name>[^\[\]]*[^\[\]\s])\s*(\[(?P<unit>[^\[\]]*)\])?")


# Compared by identity: the same path may hold another table a moment later, and
# compiled code remembers the numbers of the table that it was compiled for.
@dataclass(frozen=True, eq=False)
class Table:
    """Stimuli listed in a CSV: ``id``, numeric features, optional ``file``.

    A header names each feature with its unit, as in ``id,frequency [Hz],file``;
    files are relative to the CSV. p(x) is uniform over the rows, and no
    stimulus is drawn twice in a session. Inside, a stimulus is its features as
    z-scores over the table, so that no unit outweighs another; ``present``
    gives back the row's own numbers.

    The basis are eigenfunctions of a diffusion map with a bistochastic kernel
    (Marshall & Coifman 2019) on the rows, smoothest first; the order of a
    function is its rank, since a table has no symmetry that would make several
    equal. ``width`` is the kernel's width in median distances between stimuli.

    Raises ``ValueError`` with the line for anything the file has wrong.
    """

    path: str
    width: float = 0.5

    def __post_init__(self) -> None:
        """Read the file, so that it is refused before a study begins."""
        if not 0 < self.width < math.inf:
            raise ValueError(f"width must be above 0 and finite, got {self.width}")
        _ = self._points

    @property
    def features(self) -> tuple[Feature, ...]:
        """The numeric columns, with their units and the ranges of their values."""
        return self._file.features

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw ``n`` different rows, shape ``(n, features)``.

        Raises ``ValueError`` if the table has fewer.
        """
        rows = len(self._points)
        if n > rows:
            raise ValueError(
                f"{self.path} holds {rows} stimuli, but {n} different ones are needed"
            )
        return jax.random.choice(key, self._points, (n,), replace=False)

    def present(self, x: Any) -> dict[str, Any]:
        """The row of a stimulus by the columns' headers: id, features, file.

        Raises ``ValueError`` for a point that is not in the table.
        """
        distance = np.linalg.norm(self._points - np.asarray(x), axis=1)
        if not distance.min() < SAME_PLACE:
            raise ValueError(
                f"{self.path} has no stimulus with z-scores {np.asarray(x).tolist()}: "
                "was it changed?"
            )
        return dict(self._file.rows[int(distance.argmin())])

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """The constant and the ``degree`` smoothest eigenfunctions, at nearest rows.

        Raises ``ValueError`` for a degree of which the table has too few.
        """
        most = self._eigenfunctions.shape[1] - 1
        if degree > most:
            raise ValueError(
                f"{self.path} has {most} smooth functions besides the constant, "
                f"but degree is {degree}: lower it, or lower the table's width"
            )
        functions = jnp.asarray(self._eigenfunctions[:, : degree + 1], jnp.float32)
        squared = ((x[:, None] - self._points[None]) ** 2).sum(-1)
        return functions[squared.argmin(1)], jnp.arange(degree + 1)

    def view(self, x: jax.Array) -> jax.Array:
        """Projection on the first two principal axes of the table."""
        _, _, axes = np.linalg.svd(self._points, full_matrices=False)
        flat = x @ axes[:2].T
        return jnp.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))

    def grid(self, n: int) -> jax.Array:
        """Every row once, whatever ``n``: the table is the whole space."""
        del n
        return jnp.asarray(self._points)

    @property
    def folder(self) -> Path | None:
        """That of the CSV; it stays when the working directory is another one."""
        return self._file.folder

    @property
    def files(self) -> list[str]:
        """What is in the column ``file``, if there is one."""
        named = (row["file"] for row in self._file.rows if "file" in row)
        return list(dict.fromkeys(named))

    def content(self) -> bytes:
        """The file, as it is now."""
        return Path(self.path).read_bytes()

    @cached_property
    def _file(self) -> "TableFile":
        return read_table(Path(self.path))

    @cached_property
    def _points(self) -> NDArray[np.float32]:
        """Stimuli as z-scores, ``(rows, features)``."""
        raw = self._file.values
        points: NDArray[np.float32] = ((raw - raw.mean(0)) / raw.std(0)).astype("f4")
        distances, pairs = scipy.spatial.KDTree(points).query(points, 2)
        closest = distances[:, 1].argmin()
        if not distances[closest, 1] > SAME_PLACE:
            first, second = (
                self._file.rows[row]["id"] for row in sorted(pairs[closest])
            )
            raise ValueError(
                f"{self.path}: stimuli {first!r} and {second!r} have the same features"
            )
        return points

    @cached_property
    def _eigenfunctions(self) -> NDArray[np.float64]:
        """Values at the rows, orthonormal under them: ``(rows, functions)``.

        As many as numerical precision can tell from the noise.
        """
        distances = scipy.spatial.distance.pdist(self._points.astype(float))
        width = self.width * np.median(distances)
        kernel = np.exp(
            -(scipy.spatial.distance.squareform(distances / width) ** 2) / 2
        )
        # Scaled so that every row and column sums to 1: eigenfunctions are then
        # orthonormal under the uniform distribution over rows, one is constant.
        n = len(kernel)
        scale = np.ones(n)
        for _ in range(200):
            scale = np.sqrt(scale / (kernel @ scale))
        bistochastic = scale[:, None] * kernel * scale
        values, functions = np.linalg.eigh(bistochastic - 1 / n)
        functions = functions[:, values > 1e-9][:, ::-1] * np.sqrt(n)
        # An eigenfunction's sign is arbitrary; here its first extreme is positive.
        extremes = abs(functions).round(6).argmax(0)
        functions *= np.sign(np.take_along_axis(functions, extremes[None], 0))
        return np.concatenate([np.ones((n, 1)), functions], 1)


class TableFile(NamedTuple):
    """What a table holds: ``values`` (rows, features), ``rows`` as presented.

    ``folder`` is the CSV's, absolute.
    """

    features: tuple[Feature, ...]
    values: NDArray[np.float64]
    rows: list[dict[str, Any]]
    folder: Path


def read_table(path: Path) -> TableFile:
    """What a table holds; every fault is a ``ValueError`` that says where it is."""
    (_, header), *stimuli = _lines(path)
    names = _feature_names(path, header)
    if len(stimuli) < 3:
        raise ValueError(f"{path}: expected 3 stimuli or more, got {len(stimuli)}")
    rows: list[dict[str, Any]] = []
    line_of: dict[str, int] = {}
    for line, cells in stimuli:
        row = _row(path, line, header, cells)
        if line_of.setdefault(row["id"], line) != line:
            first = line_of[row["id"]]
            raise ValueError(
                f"{path}, line {line}: id {row['id']!r} is on line {first} too"
            )
        rows.append(row)
    values = np.array([[row[column] for column in names] for row in rows])
    for column, low, high in zip(names, values.min(0), values.max(0), strict=True):
        if low == high:
            raise ValueError(
                f"{path}, column {column!r}: expected values that differ, "
                f"got {low:g} for every stimulus"
            )
    features = tuple(
        Feature(name, unit, float(column.min()), float(column.max()))
        for (name, unit), column in zip(names.values(), values.T, strict=True)
    )
    return TableFile(features, values, rows, path.parent.absolute())


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Cells of each line that has any, with its number; the header first."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [
                (reader.line_num, [cell.strip() for cell in cells]) for cells in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read stimulus table {path}: {error}") from error
    filled = [(line, cells) for line, cells in lines if any(cells)]
    if not filled:
        raise ValueError(f"{path} is empty: expected a header and stimuli")
    return filled


def _feature_names(path: Path, header: list[str]) -> dict[str, tuple[str, str]]:
    """Name and unit of each numeric column."""
    if "id" not in header:
        raise ValueError(
            f"{path}: expected columns separated by commas, one of them 'id', "
            f"got the header {','.join(header)!r}"
        )
    names: dict[str, tuple[str, str]] = {}
    taken: set[str] = set()
    for column in header:
        match = _HEADER.fullmatch(column)
        if not match:
            raise ValueError(
                f"{path}, header: expected 'name' or 'name [unit]', got {column!r}"
            )
        name = match["name"]
        if name in taken:
            raise ValueError(f"{path}, header: two columns are called {name!r}")
        taken.add(name)
        if column not in ("id", "file"):
            names[column] = (name, match["unit"] or "")
    if not names:
        raise ValueError(f"{path}, header: expected a numeric feature besides the id")
    return names


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise ValueError(
            f"{path}, line {line}: expected {len(header)} cells as in the header, "
            f"got {len(cells)}"
        )
    row = {}
    for column, cell in zip(header, cells, strict=True):
        try:
            row[column] = _value(path.parent, column, cell)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {line}, column {column!r}: {error}"
            ) from None
    return row


def _value(folder: Path, column: str, cell: str) -> str | float:
    if column == "id":
        if not cell:
            raise ValueError("expected a name, got an empty cell")
        return cell
    if column == "file":
        if not (folder / cell).is_file():
            raise ValueError(f"expected a file in {folder.absolute()}, got {cell!r}")
        return cell
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"expected a number, got {cell!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {cell!r}")
    return value
