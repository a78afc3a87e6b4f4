"""Few-shot image sets in their published layouts, every bad one, and pickles."""

import gzip
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from reproduction.few_shot.image_classes import SPLITS
from reproduction.few_shot.image_sets import IMAGE_SETS, read_images
from reproduction.few_shot.unpickling import read_pickle

Array = npt.NDArray[Any]

CLASSES = {"train": 3, "val": 1, "test": 2}
EACH = 4
"""Images of a class in the small sets that are written here."""


def picture(split: str, number: int, image: int, side: int) -> Array:
    """One even colour, that tells where it belongs."""
    colour = np.array([80 * SPLITS.index(split), 80 * number, 60 * image], np.uint8)
    return np.tile(colour, (side, side, 1))


def pictures(split: str, side: int) -> tuple[Array, list[int]]:
    """Images and their classes, as in the files: not class by class."""
    places = [(number, i) for i in range(EACH) for number in range(CLASSES[split])]
    images = np.array([picture(split, number, i, side) for number, i in places])
    return images, [number for number, _ in places]


def save(path: Path, pixels: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def dump(path: Path, held: Any, protocol: int = 2) -> None:
    path.write_bytes(pickle.dumps(held, protocol))


def write_mini_tables(folder: Path) -> None:
    for split in SPLITS:
        images, classes = pictures(split, 84)
        rows = ["filename,label"]
        for i, (pixels, number) in enumerate(zip(images, classes, strict=True)):
            name = f"n{SPLITS.index(split)}{number}{i:04}.jpg"
            rows.append(f"{name},n{number:08}")
            # Larger than they are read, as the images of ImageNet are.
            save(folder / "images" / name, np.tile(pixels[:, :60], (2, 2, 1)))
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")


def write_mini_caches(folder: Path) -> None:
    for split in SPLITS:
        images, classes = pictures(split, 84)
        of_class = {
            f"n{number:08}": [i for i, c in enumerate(classes) if c == number]
            for number in range(CLASSES[split])
        }
        held = {"image_data": images, "class_dict": of_class}
        dump(folder / f"mini-imagenet-cache-{split}.pkl", held)


def write_tiered_pickles(folder: Path) -> None:
    for split in SPLITS:
        images, classes = pictures(split, 84)
        files = []
        for pixels in images:
            save(folder / "one.png", pixels)
            file = np.frombuffer((folder / "one.png").read_bytes(), np.uint8)
            files.append(file[:, None].copy())
        (folder / "one.png").unlink()
        dump(folder / f"{split}_images_png.pkl", files)
        names = [f"class {c}" for c in range(CLASSES[split])]
        labels = {b"label_specific": np.array(classes), b"label_specific_str": names}
        dump(folder / f"{split}_labels.pkl", labels)


def write_tiered_folders(folder: Path) -> None:
    for split in SPLITS:
        for number in range(CLASSES[split]):
            for i in range(EACH):
                name = folder / split / f"n{number:08}" / f"{i}.png"
                save(name, picture(split, number, i, 84))


def write_cifar_fs(folder: Path) -> None:
    root = folder / "cifar100"
    for split in SPLITS:
        names = [f"{split}_{number}" for number in range(CLASSES[split])]
        for number, name in enumerate(names):
            for i in range(EACH):
                save(root / "data" / name / f"{i}.png", picture(split, number, i, 32))
        listed = root / "splits" / "bertinetto" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(names) + "\n")


def write_fc100_binary(folder: Path) -> None:
    root = folder / "cifar-100-binary"
    root.mkdir()
    superclasses = {"train": (1, 2, 19), "val": (8,), "test": (0, 14)}
    records: list[bytes] = []
    for split in SPLITS:
        for pixels, number in zip(*pictures(split, 32), strict=True):
            head = superclasses[split][number], 30 * SPLITS.index(split) + number
            records.append(bytes(head) + pixels.transpose(2, 0, 1).tobytes())
    (root / "train.bin").write_bytes(b"".join(records[::2]))
    (root / "test.bin").write_bytes(b"".join(records[1::2]))
    for kind, number in (("coarse", 20), ("fine", 100)):
        names = "\n".join(f"name{i:03}" for i in range(number))
        (root / f"{kind}_label_names.txt").write_text(names + "\n")


def write_fc100_pickles(folder: Path) -> None:
    for split in SPLITS:
        images, classes = pictures(split, 32)
        dump(folder / f"FC100_{split}.pickle", {"data": images, "labels": classes})


LAYOUTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "mini tables": ("mini_imagenet", write_mini_tables),
    "mini caches": ("mini_imagenet", write_mini_caches),
    "tiered pickles": ("tiered_imagenet", write_tiered_pickles),
    "tiered folders": ("tiered_imagenet", write_tiered_folders),
    "cifar-fs": ("cifar_fs", write_cifar_fs),
    "fc100 binary": ("fc100", write_fc100_binary),
    "fc100 pickles": ("fc100", write_fc100_pickles),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_published_layout_is_read(layout: str, tmp_path: Path) -> None:
    name, write = LAYOUTS[layout]
    write(tmp_path)
    sets = read_images(name, tmp_path)
    side = 84 if "imagenet" in name else 32
    for split, held in zip(SPLITS, sets, strict=True):
        assert held.counts.tolist() == [EACH] * CLASSES[split]
        assert held.images.shape == (EACH * CLASSES[split], side, side, 3)
        assert held.images.dtype == np.uint8
        seen = sorted(map(tuple, np.median(held.images, (1, 2)).round(-1)))
        expected = [
            picture(split, number, i, 1)[0, 0]
            for number in range(CLASSES[split])
            for i in range(EACH)
        ]
        assert seen == sorted(tuple(colour.round(-1)) for colour in expected)
        classes = np.median(held.images[..., 1], (1, 2)).reshape(-1, EACH)
        assert (abs(classes - classes[:, :1]) <= 2).all()  # class by class


def erase(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    raw = content if isinstance(content, bytes) else content.encode()

    def write(folder: Path) -> None:
        (folder / name).write_bytes(raw)

    return write


def pickled(name: str, held: Any) -> Callable[[Path], None]:
    return lambda folder: dump(folder / name, held)


CACHE = "mini-imagenet-cache-val.pkl"
PIXELS = np.zeros((2, 84, 84, 3), np.uint8)
BINARY = "cifar-100-binary"
LISTS = "cifar100/splits/bertinetto"

FAULTS: list[tuple[str, Callable[[Path], None], str]] = [
    ("mini tables", erase("val.csv"), r"val\.csv: expected a text file"),
    ("mini tables", text("val.csv", ""), r"val\.csv: expected a line"),
    ("mini tables", text("val.csv", "filename,label"), r"val\.csv: .* each image"),
    ("mini tables", text("val.csv", "file,label\na,b"), r"val\.csv: .* filename"),
    ("mini tables", text("val.csv", "filename,label\na"), r"val\.csv, line 2"),
    ("mini tables", text("val.csv", b"\xff\xfe"), r"val\.csv: expected a text file"),
    ("mini tables", text("val.csv", "filename,label\na.jpg,b"), r"a\.jpg: no such"),
    ("mini tables", text("images/n000000.jpg", "no"), r"n000000\.jpg: expected an im"),
    ("mini caches", erase(CACHE), rf"{CACHE}: no such file"),
    ("mini caches", text(CACHE, "no"), rf"{CACHE}: expected a pickle"),
    ("mini caches", pickled(CACHE, [1]), rf"{CACHE}: expected a pickled dict"),
    ("mini caches", pickled(CACHE, {"a": 1}), rf"{CACHE}: .* image_data"),
    (
        "mini caches",
        pickled(CACHE, {"image_data": PIXELS, "class_dict": {"a": [0]}}),
        rf"{CACHE}: image 1 is of no class",
    ),
    (
        "mini caches",
        pickled(CACHE, {"image_data": PIXELS, "class_dict": {"a": [0, 2]}}),
        rf"{CACHE}: expected numbers of 0 to 1",
    ),
    (
        "mini caches",
        pickled(CACHE, {"image_data": PIXELS, "class_dict": {"a": ["0"]}}),
        rf"{CACHE}: expected a list of whole numbers",
    ),
    (
        "mini caches",
        pickled(CACHE, {"image_data": PIXELS / 255, "class_dict": {"a": [0, 1]}}),
        rf"{CACHE}: expected images as uint8",
    ),
    ("tiered pickles", erase("test_labels.pkl"), r"test_labels\.pkl: no such file"),
    (
        "tiered pickles",
        pickled("test_labels.pkl", {"label_specific": [0]}),
        r"test_images_png\.pkl: expected a list of images",
    ),
    (
        "tiered pickles",
        pickled("val_images_png.pkl", [np.zeros(9, np.uint8)] * EACH),
        r"val_images_png\.pkl: expected a PNG image at place 0",
    ),
    (
        "tiered folders",
        text("val/n00000000/0.png", "no"),
        r"n00000000/0\.png: expected an image",
    ),
    ("cifar-fs", erase(f"{LISTS}/test.txt"), r"test\.txt: expected a text file"),
    ("cifar-fs", text(f"{LISTS}/test.txt", "owl"), r"data/owl: expected a folder"),
    ("fc100 binary", erase(f"{BINARY}/test.bin"), r"test\.bin: cannot be read"),
    ("fc100 binary", text(f"{BINARY}/test.bin", "no"), r"test\.bin: expected 3074 "),
    (
        "fc100 binary",
        text(f"{BINARY}/test.bin", bytes([20] + [0] * 3073)),
        r"test\.bin: expected a superclass below 20",
    ),
    (
        "fc100 binary",
        text(f"{BINARY}/fine_label_names.txt", "apple"),
        r"fine_label_names\.txt: expected the 100 names",
    ),
    (
        "fc100 pickles",
        pickled("FC100_val.pickle", {"data": PIXELS, "labels": [1]}),
        r"FC100_val\.pickle: expected one label for each of 2",
    ),
    (
        "fc100 pickles",
        pickled("FC100_val.pickle", {"data": [1], "labels": [1]}),
        r"FC100_val\.pickle: expected data as an array",
    ),
]


@pytest.mark.parametrize(("layout", "spoil", "message"), FAULTS)
def test_a_fault_names_the_file_and_what_is_expected(
    layout: str, spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    name, write = LAYOUTS[layout]
    write(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_images(name, tmp_path)


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_a_folder_with_nothing_in_it_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        read_images(name, tmp_path)
    with pytest.raises(ValueError, match="nowhere: expected a folder"):
        read_images(name, tmp_path / "nowhere")


def test_unknown_sets_and_missing_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="known: digits, fashion"):
        read_images("omniglot")
    for name, source in IMAGE_SETS.items():
        if source.needs_path:
            with pytest.raises(ValueError, match="needs the folder"):
                read_images(name)


# Pickles


class Malicious:
    """Unpickled without care, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        """What to call."""
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    ("layout", "file"),
    [
        ("mini caches", "mini-imagenet-cache-train.pkl"),
        ("tiered pickles", "train_images_png.pkl"),
        ("tiered pickles", "train_labels.pkl"),
        ("fc100 pickles", "FC100_train.pickle"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_is_refused_and_does_nothing(
    layout: str, file: str, protocol: int, tmp_path: Path
) -> None:
    name, write = LAYOUTS[layout]
    write(tmp_path)
    dump(tmp_path / file, {"image_data": [Malicious(tmp_path / "harm")]}, protocol)
    with pytest.raises(ValueError, match=rf"{file}: .*asks for .*mkdir"):
        read_images(name, tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("pickle_bytes", "message"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"c_codecs\nencode\n(S'x'\nS'zip'\ntR.", "bytes as text in 'zip'"),
        (b"cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR.", "array of type 'O8'"),
        (pickle.dumps(np.array([None])), "array of type 'O8'"),
        (pickle.dumps({1, 2}, 2), "set"),
        (pickle.dumps(np.zeros(9))[:-20], "expected a pickle"),
    ],
)
def test_only_plain_values_are_unpickled(
    pickle_bytes: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "one.pkl").write_bytes(pickle_bytes)
    with pytest.raises(ValueError, match=f"one.pkl: .*{message}"):
        read_pickle(tmp_path / "one.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("numpy_1", [False, True])
def test_plain_values_of_every_protocol_are_read(
    protocol: int, numpy_1: bool, tmp_path: Path
) -> None:
    held = {"a": [np.arange(6).reshape(2, 3), np.float32(2.5)], b"b": (1, 2.0, None)}
    raw = pickle.dumps(held, protocol)
    if numpy_1 and protocol < 4:  # from 4 on, names have their length before them
        raw = raw.replace(b"numpy._core", b"numpy.core")
    (tmp_path / "one.pkl").write_bytes(raw)
    read = read_pickle(tmp_path / "one.pkl")
    np.testing.assert_array_equal(read["a"][0], held["a"][0])
    assert read["a"][1] == 2.5
    assert read[b"b"] == held[b"b"]


# Sets that come with packages


def test_digits_are_ten_classes_halved_and_turned() -> None:
    train, validation, test = read_images("digits")
    assert train.counts.tolist() == [500] * 20
    assert test.counts.tolist() == [500] * 5
    zero, turned = train.images[0], train.images[500]
    np.testing.assert_array_equal(turned, np.rot90(zero))
    np.testing.assert_array_equal(validation.images[0], zero[:, ::-1])


def write_fashion(folder: Path) -> None:
    labels = np.arange(10, dtype=np.uint8).repeat(2)
    images = np.tile(labels[:, None, None] * 20, (1, 28, 28))
    head = struct.pack(">4B3I", 0, 0, 8, 3, 20, 28, 28)
    packed = gzip.compress(head + images.tobytes())
    (folder / "train-images-idx3-ubyte.gz").write_bytes(packed)
    head = struct.pack(">4BI", 0, 0, 8, 1, 20)
    packed = gzip.compress(head + labels.tobytes())
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(packed)


def test_fashion_is_read_from_the_files_of_debian(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    train, _, test = read_images("fashion", tmp_path)
    assert train.counts.tolist() == [2] * 20
    expected = [100, 100, 120, 120, 140, 140, 160, 160, 180, 180]
    assert test.images[:, 0, 0, 0].tolist() == expected
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    for raw, message in [
        (b"no", "expected a gzipped IDX file"),
        (gzip.compress(b"no"), "expected an IDX file of bytes with 1 axes"),
        (gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, 9)), "expected .*9.* bytes"),
        (
            gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, 20) + bytes(20)),
            "expected labels of 0 to 9",
        ),
    ]:
        labels.write_bytes(raw)
        with pytest.raises(ValueError, match=message):
            read_images("fashion", tmp_path)
