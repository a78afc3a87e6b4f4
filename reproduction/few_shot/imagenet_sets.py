"""mini-ImageNet and tiered-ImageNet from a local copy, as they were published."""

import csv
import io
from pathlib import Path
from typing import Any

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
from reproduction.few_shot.unpickling import (
    read_entries,
    read_pickle,
    whole_numbers,
)

SIDE = 84
"""Pixels to which images of ImageNet are made smaller."""


def read_mini_imagenet(folder: Path) -> FewShotImages:
    """mini-ImageNet (Vinyals et al. 2016), in the split of Ravi & Larochelle 2017.

    ``folder`` has ``train.csv``, ``val.csv``, ``test.csv`` (filename, label) and
    ``images/``; or ``mini-imagenet-cache-train.pkl`` and so on, dicts of
    ``image_data`` (images, 84, 84, 3) and ``class_dict`` (name: numbers of images).
    Raises ``ValueError`` with the file that is not so.
    """
    if (folder / "mini-imagenet-cache-train.pkl").exists():
        return FewShotImages(
            *(
                _of_cache(folder / f"mini-imagenet-cache-{split}.pkl")
                for split in SPLITS
            )
        )
    if (folder / "train.csv").exists():
        return FewShotImages(*(_of_table(folder / f"{split}.csv") for split in SPLITS))
    raise ValueError(
        f"{folder}: expected mini-ImageNet as train.csv, val.csv, test.csv and "
        "images/, or as mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl"
    )


def read_tiered_imagenet(folder: Path) -> FewShotImages:
    """tiered-ImageNet (Ren et al. 2018).

    ``folder`` has ``train_images_png.pkl``, a list of images as the bytes of a PNG
    file, ``train_labels.pkl``, a dict with their ``label_specific``, and so for val
    and test; or folders ``train/CLASS/*.jpg``. Raises ``ValueError`` with the file
    that is not so.
    """
    if (folder / "train_images_png.pkl").exists():
        return FewShotImages(*(_of_pngs(folder, split) for split in SPLITS))
    if (folder / "train").is_dir():
        return FewShotImages(*(_of_folders(folder / split) for split in SPLITS))
    raise ValueError(
        f"{folder}: expected tiered-ImageNet as train_images_png.pkl, "
        "train_labels.pkl and so for val and test, or as folders train/CLASS/*.jpg"
    )


def _of_table(path: Path) -> ImageClasses:
    table = csv.DictReader(io.StringIO("\n".join(lines(path))))
    columns = table.fieldnames or []
    if not {"filename", "label"} <= {*columns}:
        raise ValueError(
            f"{path}: expected the columns filename and label, got {', '.join(columns)}"
        )
    files: dict[str, list[Path]] = {}
    for number, row in enumerate(table, 2):
        if not row["filename"] or not row["label"]:
            raise ValueError(f"{path}, line {number}: expected a file and its label")
        name = path.parent / "images" / row["filename"]
        files.setdefault(row["label"], []).append(name)
    if not files:
        raise ValueError(f"{path}: expected a line for each image, got none")
    return of_files(files, SIDE)


def _of_cache(path: Path) -> ImageClasses:
    held = read_entries(path, ("image_data", "class_dict"))
    images, of_class = held["image_data"], held["class_dict"]
    if not isinstance(images, np.ndarray) or not isinstance(of_class, dict):
        raise ValueError(
            f"{path}: expected image_data as an array and class_dict as a dict"
        )
    # One label for each image; -1 would be an image of no class.
    labels = np.full(len(images), -1)
    for number, places in enumerate(of_class.values()):
        chosen = whole_numbers(path, places)
        if not ((chosen >= 0) & (chosen < len(images))).all():
            raise ValueError(
                f"{path}: expected numbers of 0 to {len(images) - 1} in class_dict"
            )
        labels[chosen] = number
    if (labels < 0).any():
        missing = int(np.argmax(labels < 0))
        raise ValueError(f"{path}: image {missing} is of no class of class_dict")
    return ordered(path, images, labels)


def _of_pngs(folder: Path, split: str) -> ImageClasses:
    path, labels_path = (
        folder / f"{split}_{kind}.pkl" for kind in ("images_png", "labels")
    )
    held = read_entries(labels_path, ("label_specific",))
    labels = whole_numbers(labels_path, held["label_specific"])
    files = read_pickle(path)
    if not isinstance(files, list | np.ndarray) or labels.shape != (len(files),):
        raise ValueError(
            f"{path}: expected a list of images, as many as {labels_path.name} has "
            f"labels, {labels.shape}"
        )
    images = np.empty((len(files), SIDE, SIDE, 3), np.uint8)
    for i, place in enumerate(np.argsort(labels, kind="stable")):
        images[i] = _decoded(path, int(place), files[place])
    return ordered(path, images, np.sort(labels))


def _decoded(path: Path, place: int, png: Any) -> Any:
    """An image from the bytes of its file."""
    from PIL import Image, UnidentifiedImageError

    try:
        held = png if isinstance(png, bytes) else np.asarray(png, np.uint8).tobytes()
        with Image.open(io.BytesIO(held)) as file:
            image = file.convert("RGB")
    except (OSError, UnidentifiedImageError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a PNG image at place {place}, got: {error}"
        ) from error
    if image.size != (SIDE, SIDE):
        raise ValueError(
            f"{path}: expected {SIDE} x {SIDE} pixels at place {place}, "
            f"got {image.size[0]} x {image.size[1]}"
        )
    return np.asarray(image)


def _of_folders(folder: Path) -> ImageClasses:
    names = sorted(p.name for p in folder.glob("*") if p.is_dir())
    if not names:
        raise ValueError(f"{folder}: expected a folder for each class")
    return of_files({name: images_in(folder / name) for name in names}, SIDE)
