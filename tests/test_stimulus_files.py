"""Files of stimuli that are images, or that are none."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.protocol import ProtocolError
from server.stimulus_files import content, names
from stimuli.images import Images, _Source
from stimuli.sphere import Sphere
from stimuli.table import Table


def test_images_of_an_array_are_drawn_pixel_by_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4), np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    space = Images(str(tmp_path / "images.npy"))
    assert names(space) == [f"{number}.png" for number in range(5)]
    for number, image in enumerate(pixels):
        sent = content(space, f"{number}.png")
        assert sent.mimetype == "image/png"
        assert isinstance(sent.data, bytes)
        drawn = np.asarray(Image.open(io.BytesIO(sent.data)).convert("L"))
        times = len(drawn) // 4
        assert drawn.shape == (4 * times, 4 * times)
        assert len(drawn) >= 256
        assert (drawn == image.repeat(times, 0).repeat(times, 1)).all()
    for wrong in (
        "5.png",
        "-1.png",
        "00.png",
        "0",
        "0.PNG",
        "\u0661.png",
        "images.npy",
    ):
        with pytest.raises(ProtocolError):
            content(space, wrong)


def test_digits_have_the_numbers_that_trials_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(0).random((3, 28, 28))
    digits = _Source(pixels, np.array([700, 20, 3]))  # to unpack all takes seconds
    monkeypatch.setattr("stimuli.images._read_mnist", lambda _: digits)
    space = Images(dataset="mnist", digits=(7,))
    shown = [f"{space.present(x)['image']}.png" for x in space.grid(3)]
    assert names(space) == shown == ["700.png", "20.png", "3.png"]
    assert content(space, "20.png").mimetype == "image/png"


def test_images_of_a_folder_are_sent_in_a_form_that_browsers_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 4), np.uint8)
    (tmp_path / "faces" / "sub").mkdir(parents=True)
    for name, image in zip(("a.png", "sub/b.png", "c.pgm"), pixels, strict=False):
        Image.fromarray(image).save(tmp_path / "faces" / name)
    monkeypatch.chdir(tmp_path)
    space = Images("faces")
    monkeypatch.chdir("/")
    assert names(space) == ["a.png", "c.pgm", "sub/b.png"]
    assert content(space, "sub/b.png").data == tmp_path / "faces" / "sub" / "b.png"
    for name in names(space):
        assert content(space, name).mimetype == "image/png"
    drawn = content(space, "c.pgm").data
    assert isinstance(drawn, bytes)
    assert drawn.startswith(b"\x89PNG")


def test_a_space_of_numbers_has_no_files(tmp_path: Path) -> None:
    assert names(Sphere()) == []
    (tmp_path / "t.csv").write_text("id,x\na,1\nb,2\nc,4\n", encoding="utf-8")
    assert names(Table(str(tmp_path / "t.csv"))) == []
    for space in (Sphere(), Table(str(tmp_path / "t.csv"))):
        with pytest.raises(ProtocolError):
            content(space, "t.csv")
