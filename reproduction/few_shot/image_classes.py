"""Images by class: what every image set is read into."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
"""Names of the splits in the files of published sets."""

Pixels = NDArray[np.uint8]


class ImageClasses(NamedTuple):
    """Images of one class after the other.

    ``images`` (images, side, side, channels), ``counts`` (classes,): how many of the
    images are of the first class, of the second, ...
    """

    images: Pixels
    counts: NDArray[np.int64]


class FewShotImages(NamedTuple):
    """Classes to learn to learn on, to choose settings by, and to be judged on."""

    train: ImageClasses
    validation: ImageClasses
    test: ImageClasses

    def digest(self) -> str:
        """SHA-256 of all pixels and classes."""
        whole = hashlib.sha256()
        for classes in self:
            whole.update(np.ascontiguousarray(classes.counts).tobytes())
            whole.update(np.ascontiguousarray(classes.images).data)
        return whole.hexdigest()


def ordered(
    source: Path, images: NDArray[Any], labels: Sequence[Any] | NDArray[Any]
) -> ImageClasses:
    """Images ``(n, side, side, channels)`` with labels ``(n,)``, class by class.

    Raises ``ValueError`` with the ``source`` for other types or shapes.
    """
    labels = np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or not _square(images.shape):
        raise ValueError(
            f"{source}: expected images as uint8 (images, side, side, 3), "
            f"got {images.dtype} {images.shape}"
        )
    if labels.shape != images.shape[:1] or not len(labels):
        raise ValueError(
            f"{source}: expected one label for each of {len(images)} images, "
            f"got labels {labels.shape}"
        )
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if (np.diff(place) < 0).any():  # a copy of all images, only where it must be
        images = images[np.argsort(place, kind="stable")]
    return ImageClasses(images, counts)


def _square(shape: tuple[int, ...]) -> bool:
    return shape[1] == shape[2] >= 1 and shape[3] in (1, 3)


def of_files(files: Mapping[str, Sequence[Path]], side: int) -> ImageClasses:
    """Images of files, by class, in colour and made ``side`` pixels high and wide.

    Raises ``ValueError`` with the file if one is no image, or a class has none.
    """
    for name, paths in files.items():
        if not paths:
            raise ValueError(f"class {name!r}: expected one image or more, got none")
    counts = np.array([len(paths) for paths in files.values()])
    # Filled one by one: the largest set takes 16 GB, once.
    images = np.empty((counts.sum(), side, side, 3), np.uint8)
    for i, path in enumerate(path for paths in files.values() for path in paths):
        images[i] = read_image(path, side)
    return ImageClasses(images, counts)


def read_image(path: Path, side: int) -> Pixels:
    """An image file in colour, ``(side, side, 3)``.

    Raises ``ValueError`` with the file if it is no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise ValueError(f"{path}: expected an image, got: {error}") from error
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)


def images_in(folder: Path) -> list[Path]:
    """Image files of a folder, by name.

    Raises ``ValueError`` if there is no such folder, or nothing in it.
    """
    suffixes = {".jpg", ".jpeg", ".png"}
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in suffixes)
    if not found:
        raise ValueError(f"{folder}: expected a folder of .jpg or .png images")
    return found


def lines(path: Path) -> list[str]:
    """Lines of a text file that are not empty.

    Raises ``ValueError`` with the file if it is none, or has none.
    """
    try:
        found = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a text file, got: {error}") from error
    kept = [line for line in found if line]
    if not kept:
        raise ValueError(f"{path}: expected a line or more, got none")
    return kept
