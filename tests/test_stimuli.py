"""Stimulus spaces: one contract for all, theory for each, and every bad table."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from numpy.polynomial import hermite_e, legendre
from pydantic import TypeAdapter
from scipy.special import sph_harm_y

from stimuli.catalogue import SPACES
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.images import Images
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere
from stimuli.table import Table

pytestmark = pytest.mark.usefixtures("strict_shapes")

TONES = Path(__file__).parent.parent / "examples" / "stimuli.csv"
RECORDING = Path(__file__).parent.parent / "reproduction" / "recording.csv"
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "circle": [{}, {"shown_as": "direction"}],
    "sphere": [{}],
    "hypercube": [
        {},
        {"dimensions": 1},
        {"dimensions": 3, "distribution": "gaussian"},
    ],
    "table": [{"path": str(TONES)}],
    "recorded": [{"path": str(RECORDING), "variance_kept": 0.9, "most_parts": 3}],
    "images": [{"dataset": "mnist"}, {"dataset": "mnist", "digits": [7], "side": 4}],
    "phase_difference": [{}],
}
FINITE = (Table, Images)
KEY = jax.random.key(1)

Array = npt.NDArray[Any]


# The contract, as checks that are themselves checked on bad spaces.


@partial(jax.jit, static_argnums=(0, 2))
def draw(space: StimulusSpace, key: jax.Array, n: int) -> jax.Array:
    return space.sample(key, n)


@partial(jax.jit, static_argnums=(0, 2))
def basis_arrays(space: StimulusSpace, x: jax.Array, degree: int) -> Any:
    return space.basis(x, degree)


def basis(space: StimulusSpace, x: Any, degree: int) -> tuple[Array, Array]:
    """Values in double precision and orders, compiled: eager, this takes long."""
    values, orders = basis_arrays(space, x, degree)
    assert jnp.issubdtype(orders.dtype, jnp.integer)
    return np.asarray(values, np.float64), np.asarray(orders)


def from_p(space: StimulusSpace, n: int) -> jax.Array:
    """``n`` stimuli from p(x); of a finite set, all it has."""
    return space.grid(n) if isinstance(space, FINITE) else space.sample(KEY, n)


def check_sample(space: StimulusSpace) -> None:
    x = np.asarray(space.sample(KEY, 20))
    assert x.shape == (20, len(space.features))
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    again, other = space.sample(KEY, 20), space.sample(jax.random.key(2), 20)
    assert np.array_equal(x, again), "not determined by the key"
    assert not np.array_equal(x, other), "the same for any key"
    np.testing.assert_allclose(draw(space, KEY, 20), x, atol=1e-6)


def check_present(space: StimulusSpace) -> None:
    shown = []
    for x in np.asarray(space.sample(KEY, 20)):
        as_stored = [round(float(v), 6) for v in x]
        shown.append(json.dumps(space.present(x), allow_nan=False))
        json.dumps(space.present(as_stored), allow_nan=False)
    assert len(set(shown)) == 20, "different stimuli look the same"


def check_basis(space: StimulusSpace) -> None:
    x = from_p(space, 20_000)
    f, orders = basis(space, x, 3)
    assert f.shape == (len(x), *orders.shape)
    assert orders.tolist() == sorted(orders)
    assert set(orders) == {0, 1, 2, 3}
    assert orders[1] == 1, "more than one constant"
    np.testing.assert_allclose(f[:, 0], 1, atol=1e-5)
    gram = f.T @ f / len(f)
    standard_error = np.sqrt((f**2).T @ f**2 / len(f) - gram**2) / np.sqrt(len(f))
    drawn = not isinstance(space, FINITE)
    error = abs(gram - np.eye(len(gram)))
    assert (error < 6 * drawn * standard_error + 1e-4).all(), "not orthonormal"


def check_view(space: StimulusSpace) -> None:
    view = space.view(space.sample(KEY, 20))
    assert view.shape == (20, 2)
    assert np.isfinite(view).all()


def check_grid(space: StimulusSpace) -> None:
    x = np.asarray(space.grid(1000))
    assert x.shape[1] == len(space.features)
    if isinstance(space, Table):
        shown = [space.present(point) for point in x]
        x = np.array([[v for v in s.values() if not isinstance(v, str)] for s in shown])
    elif not isinstance(space, Images):
        assert 900 <= len(x) <= 1100
    for feature, column in zip(space.features, x.T, strict=True):
        assert feature.low - 1e-6 <= column.min()
        assert column.max() <= feature.high + 1e-6
        # The corner of an image may always be dark.
        assert column.min() < column.max() or isinstance(space, Images)
    assert abs(basis(space, space.grid(1000), 2)[0].mean(0)[1:]).max() < 0.05, (
        "not spread as p(x) is"
    )


CHECKS = [check_sample, check_present, check_basis, check_view, check_grid]


def test_every_space_has_an_example() -> None:
    assert set(EXAMPLES) == set(SPACES)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, every in EXAMPLES.items() for options in every],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "plain",
)
def test_contract(
    name: str, options: dict[str, Any], check: Callable[[StimulusSpace], None]
) -> None:
    check(TypeAdapter(SPACES[name]).validate_python(options))


class _SampleWithoutKey(Circle):
    def sample(self, key: jax.Array, n: int) -> jax.Array:
        del key
        return super().sample(jax.random.key(0), n)


class _OneColumn(Circle):
    def sample(self, key: jax.Array, n: int) -> jax.Array:
        return super().sample(key, n)[:, :1]


class _PresentsArrays(Circle):
    def present(self, x: Any) -> dict[str, Any]:
        return {"angle": jnp.arctan2(x[1], x[0])}


class _HidesDirection(Circle):
    def present(self, x: Any) -> dict[str, Any]:
        return {"right": bool(x[0] > 0)}


class _NotNormalised(Circle):
    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        values, orders = super().basis(x, degree)
        return values.at[:, 1:].divide(math.sqrt(2)), orders


class _NotOrthogonal(Circle):
    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        values, orders = super().basis(x, degree)
        return values.at[:, 2].add(0.05 * values[:, 1]), orders


class _ConstantLast(Circle):
    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        values, orders = super().basis(x, degree)
        return values[:, ::-1], orders[::-1]


class _ThreeDimensionalView(Circle):
    def view(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([x, x[:, :1]], 1)


class _HalfGrid(Circle):
    def grid(self, n: int) -> jax.Array:
        return super().grid(2 * n)[:n]


class _LargeGrid(Circle):
    def grid(self, n: int) -> jax.Array:
        return 2 * super().grid(n)


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (check_sample, _SampleWithoutKey),
        (check_sample, _OneColumn),
        (check_present, _PresentsArrays),
        (check_present, _HidesDirection),
        (check_basis, _NotNormalised),
        (check_basis, _NotOrthogonal),
        (check_basis, _ConstantLast),
        (check_view, _ThreeDimensionalView),
        (check_grid, _HalfGrid),
        (check_grid, _LargeGrid),
    ],
)
def test_contract_catches(
    check: Callable[[StimulusSpace], None], bad: type[Circle]
) -> None:
    check(Circle())
    with pytest.raises((AssertionError, TypeError)):
        check(bad())


# Circle


@given(st.floats(0, 2 * math.pi), st.sampled_from(["orientation", "direction"]))
def test_circle_shows_angles(angle: float, shown_as: Any) -> None:
    period = 180 if shown_as == "orientation" else 360
    shown = Circle(shown_as).present((math.cos(angle), math.sin(angle)))
    degrees = shown[f"{shown_as}_deg"]
    assert 0 <= degrees < period
    apart = abs(degrees - angle * period / (2 * math.pi))
    assert min(apart, period - apart) < 1e-3


def test_circle_lies_on_the_unit_circle_and_has_its_fourier_series() -> None:
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    x = Circle().grid(12)
    np.testing.assert_allclose(
        x, np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-6
    )
    values, orders = basis(Circle(), x, 2)
    assert orders.tolist() == [0, 1, 1, 2, 2]
    for column, wave in [
        (1, np.cos(angle)),
        (2, np.sin(angle)),
        (4, np.sin(2 * angle)),
    ]:
        np.testing.assert_allclose(values[:, column], np.sqrt(2) * wave, atol=1e-5)


# Sphere


def test_sphere_obeys_the_addition_theorem() -> None:
    """Squares of an order add up to 2 order + 1 at every point, also at the poles."""
    x = np.concatenate([[[0, 0, 1], [0, 0, -1]], Sphere().sample(KEY, 200)])
    values, orders = basis(Sphere(), x, 20)
    assert values.shape == (202, 21**2)
    for order in range(21):
        power = (values[:, orders == order] ** 2).sum(1)
        np.testing.assert_allclose(power, 2 * order + 1, rtol=1e-3)


def test_sphere_has_real_spherical_harmonics() -> None:
    x = Sphere().sample(KEY, 200)
    values, orders = basis(Sphere(), x, 5)
    point = np.asarray(x, np.float64)
    polar = np.arctan2(np.hypot(point[:, 0], point[:, 1]), point[:, 2])
    azimuth = np.arctan2(point[:, 1], point[:, 0])
    for column, order in enumerate(orders):
        m = column - order * (order + 1)
        # SciPy's have norm 1 over the sphere and the sign (-1)^m of Condon-Shortley.
        wave = sph_harm_y(order, abs(m), polar, azimuth) * math.sqrt(4 * math.pi)
        expected = wave.real if m >= 0 else wave.imag
        expected = expected * (-1) ** abs(m) * (math.sqrt(2) if m else 1)
        np.testing.assert_allclose(values[:, column], expected, atol=1e-4)


def test_sphere_grid_covers_equal_areas() -> None:
    x = np.asarray(Sphere().grid(1000))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)
    values, _ = basis(Sphere(), Sphere().grid(1000), 4)
    np.testing.assert_allclose(values.T @ values / 1000, np.eye(25), atol=0.02)


def test_sphere_shows_angles_and_maps_equal_areas() -> None:
    shown = Sphere().present([0.0, -1.0, 0.0])
    assert shown["parameters"] == [0.0, -1.0, 0.0]
    assert shown["azimuth_deg"] == 270
    assert shown["elevation_deg"] == 0
    # Hammer's ellipse has half axes of 2 and 1 here; equal areas fill it evenly.
    horizontal, vertical = np.asarray(Sphere().view(Sphere().sample(KEY, 20_000))).T
    radius = np.sqrt((horizontal / 2) ** 2 + vertical**2)
    assert radius.max() <= 1 + 1e-5
    assert np.mean(radius < 0.5) == pytest.approx(0.25, abs=6 * 0.0031)


def test_sphere_azimuth_stays_below_a_full_turn() -> None:
    assert Sphere().present([1.0, -1e-9, 0.0])["azimuth_deg"] == 0


# Hypercube


@pytest.mark.parametrize("distribution", ["uniform", "gaussian"])
def test_hypercube_has_products_of_orthonormal_polynomials(distribution: Any) -> None:
    space = Hypercube(2, distribution)
    x = space.sample(KEY, 100)
    values, orders = basis(space, x, 4)
    assert len(orders) == math.comb(2 + 4, 4)
    point = np.asarray(x, np.float64)
    if distribution == "uniform":
        norms = np.sqrt(2 * np.arange(5) + 1)
        one = norms[:, None, None] * [
            legendre.legval(2 * point - 1, row) for row in np.eye(5)
        ]
    else:
        norms = np.sqrt([math.factorial(k) for k in range(5)])
        one = [hermite_e.hermeval(point, row) for row in np.eye(5)] / norms[
            :, None, None
        ]
    products = {
        (i + j): sorted(
            (one[a][:, 0] * one[b][:, 1]).tolist()
            for a in range(5)
            for b in range(5)
            if a + b == i + j
        )
        for i in range(5)
        for j in range(5 - i)
    }
    for order, expected in products.items():
        found = sorted(values[:, orders == order].T.tolist())
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_hypercube_refuses_a_basis_that_fills_the_memory() -> None:
    with pytest.raises(ValueError, match="10 in 20 dimensions gives 30045015"):
        Hypercube(20).basis(jnp.zeros((1, 20)), 10)


@pytest.mark.parametrize("dimensions", [0, 21, -1])
def test_hypercube_refuses_dimensions(dimensions: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 20, got {dimensions}"):
        Hypercube(dimensions)
