"""A labelling as numbers to draw: each space in its own way, and short."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.picture import picture
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.images import Images
from stimuli.sphere import Sphere
from stimuli.table import Table


def test_a_sphere_is_a_grid_from_pole_to_pole() -> None:
    def latitude(x: Any) -> Any:
        return np.asarray(x)[:, 2].astype(float)

    drawn = picture(Sphere(), latitude)
    label = np.reshape(drawn["label"], (drawn["rows"], drawn["columns"]))
    assert (label[0] == 100).all()
    assert (label[45] == 0).all()
    assert (label[-1] == -100).all()
    east = picture(Sphere(), lambda x: np.asarray(x)[:, 1].astype(float))
    across = np.reshape(east["label"], (91, 180))[45]
    assert (across[0], across[90], across[135]) == (0, 0, 100)  # -180, 0, 90 degrees
    assert len(json.dumps(drawn, separators=(",", ":"))) < 100_000


def test_rings_planes_and_lines() -> None:
    ring = picture(Circle(), lambda x: np.asarray(x)[:, 0].astype(float))
    assert (ring["turn_deg"], ring["angle_deg"][1]) == (180, 0.5)
    assert ring["label"][180] == -1.0
    cube = picture(Hypercube(3), lambda x: np.asarray(x)[:, 2].astype(float))
    names = [(plane["x"], plane["y"]) for plane in cube["planes"]]
    assert names[-1] == ("glomerulus_2", "glomerulus_3")
    label = np.reshape(cube["planes"][-1]["label"], (33, 33))
    assert (label[0].max(), label[-1].min()) == (0, 100)  # it changes upwards
    many = picture(Hypercube(20), lambda x: np.asarray(x)[:, 17].astype(float))
    assert len(many["planes"]) == 10
    assert many["features_left_out"] == 15
    assert "glomerulus_18" in json.dumps(many)
    assert len(json.dumps(many, separators=(",", ":"))) < 100_000
    line = picture(Hypercube(1), lambda x: np.asarray(x)[:, 0].astype(float))
    assert line["x"] == line["label"]


def test_images_and_rows_come_in_the_order_of_their_labels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).random((300, 4, 4)).astype(np.float32)
    np.save(tmp_path / "images.npy", pixels)
    images = Images(path=str(tmp_path / "images.npy"))
    bright = picture(images, lambda x: np.asarray(x).mean(1).astype(float))
    labels = [item["label"] for item in bright["items"]]
    assert labels == sorted(labels)
    assert (bright["shown"], bright["total"]) == (200, 300)
    darkest = bright["items"][0]
    assert images.pictures[darkest["name"]].mean() == pytest.approx(
        darkest["label"], abs=1e-3
    )
    assert darkest["url"].endswith(darkest["name"])
    path = Path(__file__).parents[1] / "examples" / "stimuli.csv"
    rows = picture(Table(str(path)), lambda x: np.asarray(x)[:, 0].astype(float))
    assert rows["total"] == len(rows["items"])
