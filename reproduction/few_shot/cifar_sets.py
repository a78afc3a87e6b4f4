"""CIFAR-FS and FC-100, both made of CIFAR-100, from a local copy."""

from pathlib import Path

import numpy as np

from reproduction.few_shot.image_classes import (
    SPLITS,
    FewShotImages,
    ImageClasses,
    images_in,
    lines,
    of_files,
    ordered,
)
from reproduction.few_shot.unpickling import read_entries, whole_numbers

SIDE = 32
"""Pixels of an image of CIFAR-100, each way."""

SUPERCLASSES = {
    "train": (1, 2, 3, 4, 5, 6, 9, 10, 15, 17, 18, 19),
    "val": (8, 11, 13, 16),
    "test": (0, 7, 12, 14),
}
"""Superclasses of each split of FC-100 (Oreshkin et al. 2018, TADAM)."""

_RECORD = 2 + 3 * SIDE * SIDE
"""Bytes of an image: superclass, class, and a plane each of red, green and blue."""


def read_cifar_fs(folder: Path) -> FewShotImages:
    """CIFAR-FS (Bertinetto et al. 2019).

    ``folder``, or ``cifar100`` in it, has ``data/CLASS/*.png`` and
    ``splits/bertinetto/train.txt``, ``val.txt`` and ``test.txt`` with the names of
    their classes. Raises ``ValueError`` with the file that is not so.
    """
    root = folder / "cifar100" if (folder / "cifar100").is_dir() else folder
    splits = root / "splits" / "bertinetto"
    return FewShotImages(
        *(
            of_files(
                {name: images_in(root / "data" / name) for name in lines(names)}, SIDE
            )
            for names in (splits / f"{split}.txt" for split in SPLITS)
        )
    )


def read_fc100(folder: Path) -> FewShotImages:
    """FC-100 (Oreshkin et al. 2018): CIFAR-100, split by superclass.

    ``folder``, or ``cifar-100-binary`` in it, is the binary release of CIFAR-100
    (``train.bin``, ``test.bin``, ``coarse_label_names.txt``,
    ``fine_label_names.txt``); or has ``FC100_train.pickle`` and so for val and test,
    dicts of ``data`` (images, 32, 32, 3) and ``labels``. Raises ``ValueError`` with
    the file that is not so.
    """
    if (folder / "FC100_train.pickle").exists():
        return FewShotImages(
            *(_of_pickle(folder / f"FC100_{split}.pickle") for split in SPLITS)
        )
    within = folder / "cifar-100-binary"
    root = within if within.is_dir() else folder
    if (root / "train.bin").exists():
        return _of_binary(root)
    raise ValueError(
        f"{folder}: expected FC-100 as FC100_train.pickle, FC100_val.pickle and "
        "FC100_test.pickle, or the binary release of CIFAR-100, with train.bin, "
        "test.bin, coarse_label_names.txt and fine_label_names.txt"
    )


def _of_pickle(path: Path) -> ImageClasses:
    held = read_entries(path, ("data", "labels"))
    if not isinstance(held["data"], np.ndarray):
        raise ValueError(f"{path}: expected data as an array")
    return ordered(path, held["data"], whole_numbers(path, held["labels"]))


def _of_binary(root: Path) -> FewShotImages:
    superclasses = _known(root / "coarse_label_names.txt", 20)
    classes = _known(root / "fine_label_names.txt", 100)
    records = np.concatenate(
        [
            _records(root / name, superclasses, classes)
            for name in ("train.bin", "test.bin")
        ]
    )
    planes = records[:, 2:].reshape(-1, 3, SIDE, SIDE)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    splits = []
    for split, chosen in SUPERCLASSES.items():
        here = np.isin(records[:, 0], chosen)
        if not here.any():
            raise ValueError(
                f"{root}: expected images of the superclasses {chosen} for {split}"
            )
        splits.append(ordered(root, images[here], records[here, 1]))
    return FewShotImages(*splits)


def _known(path: Path, number: int) -> list[str]:
    """Names in the order in which CIFAR-100 numbers them: that of the alphabet."""
    names = lines(path)
    if len(names) != number or names != sorted(names):
        raise ValueError(
            f"{path}: expected the {number} names of CIFAR-100 in the order of the "
            f"alphabet, got {len(names)}"
        )
    return names


def _records(
    path: Path, superclasses: list[str], classes: list[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Images of one file as they are there, ``(images, bytes)``."""
    try:
        held = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not len(held) or len(held) % _RECORD:
        raise ValueError(
            f"{path}: expected {_RECORD} bytes for each image, got {len(held)} in all"
        )
    records = held.reshape(-1, _RECORD)
    wrong = (records[:, 0] >= len(superclasses)) | (records[:, 1] >= len(classes))
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ValueError(
            f"{path}: expected a superclass below {len(superclasses)} and a class "
            f"below {len(classes)}, got {records[place, 0]} and {records[place, 1]} "
            f"of image {place}"
        )
    return records
