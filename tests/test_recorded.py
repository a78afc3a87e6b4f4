"""Recorded responses: the model is that of the recording, and bad files are refused."""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from test_stimuli import KEY, RECORDING, basis, draw

from server.study_file import Study
from stimuli.recorded import Recorded

pytestmark = pytest.mark.usefixtures("strict_shapes")


def written(folder: Path, values: Any, name: str = "recording.csv") -> str:
    lines = ["id," + ",".join(f"n{i} [Hz]" for i in range(len(values[0])))]
    lines += [f"r{i}," + ",".join(map(str, row)) for i, row in enumerate(values)]
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded(str(RECORDING), 0.9, 4)


def test_samples_have_mean_and_covariance_of_the_recording(recorded: Recorded) -> None:
    n = 20_000
    x = np.asarray(draw(recorded, KEY, n), float)
    z = recorded.z_scores
    assert recorded.model.kept < z.shape[1]  # the rest is noise, and counts too
    np.testing.assert_allclose(x.mean(0), 0, atol=5 / math.sqrt(n))
    products = x[:, :, None] * x[:, None]
    error = abs(products.mean(0) - z.T @ z / len(z))
    assert (error < 5 * products.std(0) / math.sqrt(n) + 1e-3).all()


def test_samples_are_fresh_and_possible(recorded: Recorded) -> None:
    """New responses about as far from the recorded as those from each other."""
    x, z = np.asarray(draw(recorded, KEY, 200)), recorded.z_scores
    nearest = np.linalg.norm(x[:, None] - z, axis=2).min(1)
    apart = np.linalg.norm(z[:, None] - z, axis=2) + 99 * np.eye(len(z))
    assert nearest.min() > 1e-3
    assert np.median(nearest) < 1.5 * np.median(apart.min(1))


def test_stimuli_are_presented_in_the_units_of_the_file(recorded: Recorded) -> None:
    header, *rows = RECORDING.read_text().splitlines()
    x = recorded.z_scores[2]
    shown = recorded.present(np.round(x, 6).tolist())
    assert list(shown) == header.split(",")[1:]
    np.testing.assert_allclose(
        list(shown.values()),
        [float(cell) for cell in rows[2].split(",")[1:]],
        atol=1e-4,
    )
    assert (recorded.features[0].name, recorded.features[0].unit) == ("neuron_1", "Hz")


def test_fit_is_the_same_each_time(recorded: Recorded) -> None:
    again = Recorded(str(RECORDING), 0.9, 4)
    for one, other in zip(recorded.model, again.model, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(recorded.grid(32), again.grid(32))


def test_parts_are_found_where_there_are_any(tmp_path: Path) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        one = rng.standard_normal((80, 3)).round(6)
        apart = one + 8 * (np.arange(80)[:, None] % 2)
        single = Recorded(written(tmp_path, one.tolist()), most_parts=3)
        double = Recorded(written(tmp_path, apart.tolist()), most_parts=3)
        assert len(single.model.weights) == 1
        assert len(double.model.weights) >= 2
        x = np.asarray(draw(double, KEY, 2000)) * apart.std(0) + apart.mean(0)
        middle = abs(x.mean(1) - 4) < 1  # between the two, where nothing was recorded
        assert middle.mean() < 0.02


def test_basis_of_a_gaussian_are_hermite_polynomials(tmp_path: Path) -> None:
    one = np.random.default_rng(1).standard_normal((100, 1)).round(6)
    space = Recorded(written(tmp_path, one.tolist()), most_parts=1)
    u = np.linspace(-2, 2, 9)[:, None].astype(np.float32)
    values, orders = basis(space, u, 2)
    assert orders.tolist() == [0, 1, 2]
    np.testing.assert_allclose(abs(values[:, 1]), abs(u[:, 0]), atol=0.01)
    np.testing.assert_allclose(values[:, 2], (u[:, 0] ** 2 - 1) / 2**0.5, atol=0.02)


def test_repeated_rows_are_no_spike(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = [[1.0, 2.0]] * 40 + rng.standard_normal((40, 2)).round(6).tolist()
    x = np.asarray(draw(Recorded(written(tmp_path, rows), most_parts=3), KEY, 500))
    assert len(np.unique(x, axis=0)) == 500


def test_basis_too_large_is_refused(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match=r"degree 40 of 2 components gives 861 basis"):
        recorded.basis(recorded.grid(2), 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variance_kept": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"variance_kept": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"most_parts": 0}, "1 to 100, got 0"),
    ],
)
def test_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recorded(str(RECORDING), **options)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    text = "id,rate [Hz],file\n" + "\n".join(f"{i},{i},a.wav" for i in range(5))
    path = tmp_path / "sounds.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"column 'file', but .* space 'table'"):
        Recorded(str(path))
    with pytest.raises(ValueError, match=r"line 3, column 'n1 \[Hz\]': .* number"):
        Recorded(written(tmp_path, [[1, 2], [3, "x"], [4, 5]]))
    with pytest.raises(ValueError, match="values that differ"):
        Recorded(written(tmp_path, [[1, 2], [1, 3], [1, 4]]))


def test_a_study_is_of_the_recording_it_was_written_for(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).standard_normal((20, 2)).round(6).tolist()
    path = written(tmp_path, rows)
    text = f"""
study.name = "x"
[stimuli]
space = "recorded"
path = '{path}'
most_parts = 1
"""
    before = Study(text).sha256
    assert Study(text).sha256 == before
    written(tmp_path, rows[:-1])
    assert Study(text).sha256 != before


def test_individual_responses_can_be_drawn_in_parallel(recorded: Recorded) -> None:
    keys = jax.random.split(KEY, 3)
    together = jax.jit(jax.vmap(lambda key: recorded.sample(key, 5)))(keys)
    alone = [draw(recorded, key, 5) for key in keys]
    np.testing.assert_allclose(together, alone, atol=1e-5)
