"""Labels: their distribution, their orthogonality, and the families they come from."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter
from scipy.stats import kstest, wasserstein_distance

from meta_learner import labelling
from meta_learner.convolution import CNN
from meta_learner.families import FAMILIES, MLP, Basis, LabellingFamily, Linear
from meta_learner.label_distribution import PENALTIES, ascending, to_uniform
from meta_learner.labelling import Labeller, Series, freeze
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "linear": [{}],
    "basis": [{"degree": 3}],
    "mlp": [{}, {"hidden": (5,), "activation": "tanh", "output": "cos"}],
    "cnn": [{"channels": (2, 3), "kernel": 2}, {"channels": (2,), "stride": 1}],
}
KEY = jax.random.key(11)

Array = npt.NDArray[Any]


def quantiles(n: int) -> Array:
    return (2 * np.arange(n) + 1) / n - 1


labels_within_range = st.lists(
    st.floats(-1, 1, width=32), min_size=20, max_size=20
).map(partial(np.array, dtype=np.float32))


# Label distribution


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_penalty_is_zero_for_uniform_labels_and_grows_away_from_them(name: str) -> None:
    penalty = jax.jit(PENALTIES[name])
    uniform = quantiles(200)
    shuffled = np.random.default_rng(0).permutation(uniform)
    assert abs(penalty(uniform)) < 1e-4
    assert penalty(shuffled) == pytest.approx(float(penalty(uniform)), abs=1e-6)
    for wrong in (0 * uniform, uniform / 2, np.sign(uniform), (uniform + 1) / 2):
        halfway = penalty((uniform + wrong) / 2)
        assert 0.001 < halfway < penalty(wrong)


@settings(deadline=None, max_examples=50)
@given(labels_within_range)
def test_penalties_equal_their_definitions(y: Array) -> None:
    """By brute force over pairs of labels, and of labels and a fine uniform grid."""
    compiled = {name: float(COMPILED[name](y)) for name in COMPILED}
    precise = y.astype(float)
    target = quantiles(4000)
    apart = partial(np.subtract.outer, precise)
    energy = 2 * abs(apart(target)).mean() - abs(apart(precise)).mean() - 2 / 3
    assert compiled["energy"] == pytest.approx(energy, abs=1e-5)

    coarse = quantiles(64)
    kernel = [
        np.exp(-2 * np.subtract.outer(a, b) ** 2).mean()
        for a, b in [(precise, precise), (precise, coarse), (coarse, coarse)]
    ]
    mmd = kernel[0] - 2 * kernel[1] + kernel[2]
    assert compiled["mmd"] == pytest.approx(mmd, abs=1e-5)

    # Squared Wasserstein-2 in one dimension: the mean over matched quantiles.
    sinkhorn = np.mean((np.sort(precise) - quantiles(20)) ** 2)
    assert compiled["sinkhorn"] == pytest.approx(sinkhorn, abs=1e-5)
    wasserstein = wasserstein_distance(precise, quantiles(20))
    assert compiled["sinkhorn"] >= wasserstein**2 - 1e-5  # Jensen

    variance = (precise.std() - 1 / math.sqrt(3)) ** 2 + precise.mean() ** 2
    assert compiled["variance"] == pytest.approx(variance, abs=1e-5)


COMPILED: dict[str, Callable[[Array], jax.Array]] = {
    name: jax.jit(penalty) for name, penalty in PENALTIES.items()
}


def test_sinkhorn_of_a_shift_is_its_square() -> None:
    y = quantiles(100)
    assert COMPILED["sinkhorn"](y + 0.25) == pytest.approx(0.25**2, rel=1e-4)
    assert wasserstein_distance(y + 0.25, y) == pytest.approx(0.25)


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=20, max_size=20))
def test_ascending_sorts(values: list[float]) -> None:
    y = np.array(values, np.float32)
    np.testing.assert_array_equal(SORT(y), np.sort(y))


SORT = jax.jit(ascending)


def test_ascending_has_the_gradient_of_a_sort() -> None:
    weights = jnp.arange(6.0)
    y = jnp.array([0.5, -2.0, 3.0, -0.1, 0.0, 1.0])
    gradient = jax.grad(lambda y: ascending(y) @ weights)(y)
    np.testing.assert_array_equal(
        gradient, jax.grad(lambda y: jnp.sort(y) @ weights)(y)
    )


@pytest.mark.parametrize(
    "draw", [np.random.Generator.normal, np.random.Generator.exponential]
)
def test_to_uniform_makes_fresh_samples_uniform(draw: Any) -> None:
    rng = np.random.default_rng(3)
    reference = np.sort(draw(rng, size=1000))
    y = np.asarray(
        to_uniform(jnp.asarray(draw(rng, size=1000)), jnp.asarray(reference))
    )
    assert abs(y).max() <= 1
    # Two samples of 1000: by chance above 0.1 in one case of ten thousand.
    assert kstest(y, "uniform", (-1, 2)).statistic < 0.1


def test_to_uniform_keeps_the_order_and_is_exact_on_its_reference() -> None:
    reference = jnp.array([-3.0, 0.0, 0.1, 5.0])
    raw = jnp.array([-9.0, -3.0, -1.5, 0.0, 0.1, 5.0, 9.0])
    expected = [-0.75, -0.75, -0.5, -0.25, 0.25, 0.75, 0.75]
    np.testing.assert_allclose(to_uniform(raw, reference), expected, atol=1e-6)


# Labeller


@partial(jax.jit, static_argnums=0)
def labels(labeller: Labeller, series: Series, theta: Any, x: Any) -> jax.Array:
    return labeller.labels(series, theta, x)


def random_theta(space: StimulusSpace, family: LabellingFamily, seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (family.genes(space),))


@cache
def series_of(labeller: Labeller, components: int) -> Series:
    series: Series = ()
    for seed in range(components):
        theta = random_theta(labeller.space, labeller.family, seed)
        series = (*series, freeze(labeller, series, theta))
    return series


@pytest.mark.parametrize(
    ("space", "family", "components"),
    [(Sphere(), MLP(), 3), (Circle(), Basis(), 1)],
)
def test_exact_labels_are_uniform_and_orthogonal_on_fresh_stimuli(
    space: StimulusSpace, family: LabellingFamily, components: int
) -> None:
    """Any two components have at most 0.25 % of variance in common: |r| < 0.05."""
    labeller = Labeller(space, family, "exact")
    series = series_of(labeller, components)
    x = space.sample(KEY, 6_000)
    theta = [random_theta(space, family, k) for k in range(components + 1)]
    found = np.asarray(jax.jit(labeller.component_labels)(series, x))
    y = np.concatenate([found, labels(labeller, series, theta[-1], x)[None]])
    for row in y:
        assert kstest(row, "uniform", (-1, 2)).statistic < 0.04
    others = ~np.eye(components + 1, dtype=bool)
    correlation = abs(np.corrcoef(y))[others].max()
    assert correlation < 0.05
    # The same vectors without projection: this is what it has taken away.
    alone = [labels(labeller, (), each, x) for each in theta]
    assert abs(np.corrcoef(alone))[others].max() > 3 * correlation
    # Frozen components are the labels that they were when they were proposed.
    np.testing.assert_allclose(found[0], alone[0], atol=1e-5)
    last = labels(labeller, series[:-1], theta[-2], x)
    np.testing.assert_allclose(found[-1], last, atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(
        [
            ("exact", "exact", 0),
            ("exact", "exact", 2),
            ("standardised", "exact", 0),
            ("standardised", "exact", 2),
            ("energy", "penalty", 0),
        ]
    ),
    scale=st.just(0.0) | st.floats(1e-30, 1e9),
    seed=st.integers(0, 2**31 - 1),
)
def test_labels_are_always_within_their_range(
    kind: tuple[str, str, int], scale: float, seed: int
) -> None:
    distribution, orthogonality, components = kind
    labeller = Labeller(Sphere(), MLP(), distribution, orthogonality)
    theta = scale * random_theta(Sphere(), MLP(), seed)
    series = series_of(labeller, components)
    y = np.asarray(labels(labeller, series, theta, Sphere().grid(100)))
    assert np.isfinite(y).all()
    assert abs(y).max() <= 1


def test_stimuli_that_tie_get_their_middle_rank() -> None:
    """As where a ReLU network is flat; a constant labelling is zero."""
    reference = jnp.array([-2.0, 0.0, 0.0, 0.0, 3.0])
    y = to_uniform(jnp.array([0.0, 3.0]), reference)
    np.testing.assert_allclose(y, [0, 0.8], atol=1e-6)
    nothing = jnp.zeros(MLP().genes(Sphere()))
    y = labels(Labeller(Sphere(), MLP(), "exact"), (), nothing, Sphere().grid(100))
    np.testing.assert_array_equal(y, 0)


@pytest.mark.parametrize(
    ("distribution", "std"), [("exact", 3**-0.5), ("standardised", 0.5)]
)
def test_constant_component_does_not_spoil_those_after_it(
    distribution: str, std: float
) -> None:
    labeller = Labeller(Sphere(), MLP(), distribution)
    series = (freeze(labeller, (), jnp.zeros(MLP().genes(Sphere()))),)
    theta = random_theta(Sphere(), MLP(), 1)
    y = np.asarray(labels(labeller, series, theta, Sphere().grid(100)))
    assert np.isfinite(y).all()
    assert y.std() == pytest.approx(std, abs=0.05)


@pytest.mark.parametrize("distribution", ["exact", "standardised"])
def test_search_that_diverges_gets_labels_all_the_same(distribution: str) -> None:
    labeller = Labeller(Sphere(), MLP(), distribution)
    theta = 1e20 * random_theta(Sphere(), MLP(), 1)
    y = np.asarray(labels(labeller, (), theta, Sphere().grid(100)))
    assert abs(y).max() <= 1


@partial(jax.jit, static_argnums=0)
def penalties(labeller: Labeller, series: Series, theta: Any) -> jax.Array:
    return labeller.penalties(series, theta)


@pytest.mark.parametrize("distribution", ["exact", "standardised"])
def test_labels_by_construction_pay_no_penalty(distribution: str) -> None:
    labeller = Labeller(Sphere(), MLP(), distribution)
    theta = random_theta(Sphere(), MLP(), 9)
    paid = penalties(labeller, series_of(labeller, 2), theta)
    np.testing.assert_allclose(paid, 0, atol=1e-3)


def test_orthogonality_penalty_is_equation_2_in_other_units() -> None:
    """Sum of squared dot products, by (stimuli times variance of uniform) squared."""
    labeller = Labeller(Sphere(), Linear(), "exact", "penalty")
    series = series_of(labeller, 2)
    n = labelling.REFERENCE_STIMULI
    x = Sphere().grid(n)
    found = np.asarray(jax.jit(labeller.component_labels)(series, x), np.float64)
    between = float(found[0] @ found[1]) / (n / 3)
    repeated = float(penalties(labeller, series, series[0].theta)[1])
    assert repeated == pytest.approx(1 + between**2, rel=1e-3)
    theta = random_theta(Sphere(), Linear(), 7)
    y = np.asarray(labels(labeller, series, theta, x), np.float64)
    equation_2 = sum((row @ y) ** 2 for row in found)
    distribution, orthogonality = penalties(labeller, series, theta)
    assert distribution == 0
    assert orthogonality == pytest.approx(equation_2 / (n / 3) ** 2, rel=1e-3)


def test_orthogonality_penalty_does_not_depend_on_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labeller = Labeller(Sphere(), Linear(), "exact", "penalty")

    def penalty(first: jax.Array, second: jax.Array) -> jax.Array:
        return labeller.penalties((labeller.freeze((), first),), second)[1]

    results = []
    for n in (200, 2000):
        monkeypatch.setattr(labelling, "REFERENCE_STIMULI", n)
        compiled = jax.jit(partial(penalty))
        results.append(compiled(jnp.array([1.0, 0.0, 0.0]), jnp.array([0.6, 0.8, 0.0])))
    # Uniform labels by two linear functions correlate as their directions do.
    np.testing.assert_allclose(results, 0.6**2, rtol=0.03)


@pytest.mark.parametrize("distribution", sorted(PENALTIES))
def test_label_distribution_penalty_is_that_of_the_labels(distribution: str) -> None:
    labeller = Labeller(Sphere(), Linear(), distribution, "penalty")
    x = np.asarray(Sphere().grid(labelling.REFERENCE_STIMULI))
    theta = np.array([0.9, -0.6, 0.3], np.float32)
    expected = COMPILED[distribution](np.clip(x @ theta, -1, 1))
    paid = np.asarray(penalties(labeller, (), theta))
    np.testing.assert_allclose(paid, [float(expected), 0], atol=1e-5)
    # A linear function of length 1 is uniform on the sphere already.
    unit = theta / np.linalg.norm(theta)
    assert abs(penalties(labeller, (), unit)[0]) < 1e-3


# Families


def test_every_family_has_an_example() -> None:
    assert set(EXAMPLES) == set(FAMILIES)


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, every in EXAMPLES.items() for options in every],
)
def test_family_uses_every_gene(name: str, options: dict[str, Any]) -> None:
    space = Hypercube(9 if name == "cnn" else 2)  # images of 3 x 3
    family: LabellingFamily = TypeAdapter(FAMILIES[name]).validate_python(options)
    x = space.sample(KEY, 30)

    @jax.jit
    @jax.vmap
    def raw_and_slopes(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        raw = family.raw(space, theta, x)
        return raw, jax.jacobian(lambda theta: family.raw(space, theta, x))(theta)

    values, slopes = raw_and_slopes(jax.random.normal(KEY, (20, family.genes(space))))
    assert values.shape == (20, 30)
    assert np.isfinite(values).all()
    assert 0.1 < np.std(values) < 10, "unit genes should give sensible functions"
    assert (np.abs(slopes).max((0, 1)) > 0).all(), "a gene without effect"


@pytest.mark.parametrize("space", [Sphere(), Hypercube(2)], ids=repr)
def test_basis_genes_are_coefficients(space: StimulusSpace) -> None:
    x = space.sample(KEY, 30)
    functions = jax.jit(lambda x: space.basis(x, 3)[0])(x)
    genes = Basis(3).genes(space)
    assert genes == functions.shape[1] - 1
    every = jax.jit(jax.vmap(lambda theta: Basis(3).raw(space, theta, x)))
    np.testing.assert_allclose(every(np.eye(genes)).T, functions[:, 1:], atol=1e-4)


def test_linear_is_a_dot_product() -> None:
    x = Sphere().sample(KEY, 10)
    raw = Linear().raw(Sphere(), jnp.array([1.0, 2.0, -3.0]), x)
    np.testing.assert_allclose(raw, x[:, 0] + 2 * x[:, 1] - 3 * x[:, 2], atol=1e-5)


def test_mlp_is_the_network_it_says() -> None:
    family, space = MLP((4,), "tanh"), Circle()
    theta = np.asarray(random_theta(space, family, 0), np.float64)
    x = np.asarray(space.sample(KEY, 10), np.float64)
    first, second = theta[:12].reshape(3, 4), theta[12:].reshape(5, 1)
    assert family.genes(space) == 17
    hidden = np.tanh((x @ first[:2] + first[2:]) * math.sqrt(2 / 3))
    expected = (hidden @ second[:4] + second[4:]) * math.sqrt(2 / 5)
    raw = family.raw(space, jnp.asarray(theta), jnp.asarray(x))
    np.testing.assert_allclose(raw, expected[:, 0], atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 1e6), st.integers(0, 2**31 - 1))
def test_cos_output_is_within_the_range_of_labels(scale: float, seed: int) -> None:
    theta = scale * random_theta(Sphere(), WAVY, seed)
    assert abs(RAW_WAVY(theta, Sphere().grid(100))).max() <= 1


WAVY = MLP((8,), output="cos")
RAW_WAVY = jax.jit(partial(WAVY.raw, Sphere()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Basis(0), "degree must be 1 to 30, got 0"),
        (lambda: Basis(31), "degree must be 1 to 30, got 31"),
        (lambda: MLP((0,)), r"1 to 4096 units, got \(0,\)"),
        (lambda: MLP((16, 5000)), r"1 to 4096 units, got \(16, 5000\)"),
        (lambda: CNN(()), r"1 to 256 for each convolution, got \(\)"),
        (lambda: CNN((4, 0)), r"1 to 256 for each convolution, got \(4, 0\)"),
        (lambda: CNN(kernel=16), "kernel must be 1 to 15, got 16"),
        (lambda: CNN(kernel=2, stride=3), "stride must be 1 to 2, .* got 3"),
        (lambda: CNN().genes(Circle()), "expects square images .* got 2 features"),
    ],
)
def test_family_refuses(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
