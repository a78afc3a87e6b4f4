"""Networks, learners and labellings alike, against references in NumPy and SciPy."""

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from scipy.signal import correlate2d
from scipy.stats import chisquare

from meta_learner.convolution import CNN
from simulated_subjects.convolutional_network import ConvolutionalNetwork
from simulated_subjects.layers import weighted
from simulated_subjects.learner import Learner
from simulated_subjects.mushroom_body import MushroomBody
from simulated_subjects.relu_network import ReluNetwork
from stimuli.hypercube import Hypercube
from stimuli.images import Images

pytestmark = pytest.mark.usefixtures("strict_shapes")

KEY = jax.random.key(4)

Array = npt.NDArray[Any]


def stimuli(seed: int, n: int, features: int) -> Array:
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


@partial(jax.jit, static_argnums=0)
def trained(learner: Any, key: jax.Array, x: Any, y: Any) -> Any:
    return learner.train(key, x, y)


@partial(jax.jit, static_argnums=0)
def predicted(learner: Learner, key: jax.Array, x: Any, y: Any, test: Any) -> jax.Array:
    return learner.predict(learner.train(key, x, y), test)


def born(learner: Any, x: Any) -> Any:
    """Weights before training: one step that is too small for single precision."""
    tiny = type(learner)(**{**vars(learner), "learning_rate": 1e-30, "steps": 1})
    return trained(tiny, KEY, x, np.zeros(len(x), np.float32))


# What all networks do


@pytest.mark.parametrize("inputs", [3, 20])
@pytest.mark.parametrize("outputs", [1, 7])
def test_a_layer_is_the_product_of_matrices_and_so_are_its_slopes(
    inputs: int, outputs: int
) -> None:
    x, w = stimuli(0, 6, inputs), stimuli(1, inputs, outputs)
    turn = stimuli(2, 6, outputs)

    @partial(jax.jit, static_argnums=0)
    def slopes(product: Any, x: Any, w: Any) -> Any:
        """First, and of their size once more, both ways."""

        def bent(x: Any, w: Any) -> Any:
            return (jnp.sin(product(x, w)) * turn).sum()

        def steep(x: Any, w: Any) -> Any:
            return sum((g**2).sum() for g in jax.grad(bent, (0, 1))(x, w))

        ways = (jax.grad(bent, (0, 1)), jax.grad(steep, (0, 1)), jax.jacfwd(steep))
        return product(x, w), *(way(x, w) for way in ways)

    found, expected = (slopes(product, x, w) for product in (weighted, jnp.matmul))
    for ours, theirs in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("learner", "features"),
    [
        (ReluNetwork((6, 5), 0.1, 12), 3),
        (ReluNetwork((6,), 0.1, 12, "he"), 3),
        (ConvolutionalNetwork(2, 2, 1, 0.05, 12), 9),
        (MushroomBody(8, learning_rate=0.1, steps=12), 5),
        (MushroomBody(8, "grouped", "excitatory", 0.1, 12), 5),
    ],
    ids=lambda value: type(value).__name__ if value != 3 else "",
)
def test_slope_of_the_test_error_by_labels_is_that_of_finite_differences(
    learner: Learner, features: int
) -> None:
    """In double precision: a ReLU has corners, and differences must be small."""
    with jax.enable_x64(True):
        x, test = (jnp.asarray(stimuli(i, 10, features), float) for i in (0, 1))
        y, wanted = jnp.tanh(x[:, 0]), jnp.tanh(test[:, 0])

        @jax.jit
        def error(y: Any) -> jax.Array:
            answers = learner.predict(learner.train(KEY, x, y), test)
            return jnp.mean((answers - wanted) ** 2)

        slope = np.asarray(jax.jit(jax.grad(error))(y))
        nudge = 1e-6
        differences = [
            float(error(y + nudge * one) - error(y - nudge * one)) / (2 * nudge)
            for one in np.eye(10)
        ]
    assert abs(slope).max() > 1e-3
    np.testing.assert_allclose(slope, differences, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("learner", "features"),
    [
        (ReluNetwork(), 3),
        (ReluNetwork((20,) * 8, initialisation="he"), 3),
        (MushroomBody(), 5),
        (MushroomBody(sign="excitatory"), 5),
    ],
    ids=["depth 2", "depth 8", "mushroom body", "excitatory"],
)
def test_networks_learn_a_linear_labelling(learner: Learner, features: int) -> None:
    """Each of 8 individuals better than half of what a constant would get."""
    x = stimuli(0, 200, features)
    y = x @ np.linspace(1, -1, features)
    y /= np.sqrt(3) * y.std()
    keys = jax.random.split(KEY, 8)
    learn = jax.vmap(partial(predicted, learner), (0, None, None, None))
    answers = np.asarray(learn(keys, x[:100], y[:100], x[100:]))
    error = ((answers - y[None, 100:]) ** 2).mean(1) / y[100:].var()
    assert error.max() < 0.5, error


# ReLU network


@pytest.mark.parametrize("hidden", [(4,), (5, 3), (3, 4, 2)])
def test_relu_network_takes_the_steps_of_gradient_descent(
    hidden: tuple[int, ...],
) -> None:
    """Three of them, by backpropagation written out."""
    learner = ReluNetwork(hidden, learning_rate=0.1, steps=3)
    x, y = stimuli(0, 7, 3), stimuli(1, 7, 1)[:, 0]
    layers = [
        [np.asarray(part, np.float64) for part in layer] for layer in born(learner, x)
    ]
    assert [weights.shape[1] for weights, _ in layers] == [*hidden, 1]
    for _ in range(3):
        drives, values = [], [x.astype(float)]
        for weights, bias in layers:
            drives.append(values[-1] @ weights + bias)
            values.append(np.maximum(drives[-1], 0))
        slope = 2 * (drives[-1] - y[:, None]) / len(y)
        for i in reversed(range(len(layers))):
            weights, bias = layers[i]
            back = slope @ weights.T
            layers[i] = [
                weights - 0.1 * values[i].T @ slope,
                bias - 0.1 * slope.sum(0),
            ]
            slope = back * (drives[i - 1] > 0) if i else back
    for found, expected in zip(trained(learner, KEY, x, y), layers, strict=True):
        for part, reference in zip(found, expected, strict=True):
            np.testing.assert_allclose(part, reference, atol=1e-5)


def test_initialisations_are_pytorchs_and_hes() -> None:
    x = stimuli(0, 2, 50)
    first, second = born(ReluNetwork((400,)), x)
    for values, fan_in in [
        (first.weights, 50),
        (first.bias, 50),
        (second.weights, 400),
    ]:
        bound = 1 / math.sqrt(fan_in)
        assert abs(values).max() <= bound
        assert np.std(values) == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert abs(np.mean(values)) < 0.15 * bound
    first, _ = born(ReluNetwork((400,), initialisation="he"), x)
    assert np.std(first.weights) == pytest.approx(math.sqrt(2 / 50), rel=0.05)
    assert abs(first.bias).max() < 1e-20


# Convolutional networks


def test_convolutional_network_tells_zeros_from_ones() -> None:
    space = Images(dataset="mnist", side=14)
    x = space.sample(KEY, 200)
    y = np.where(space.class_of(x) == 1, 1.0, -1.0)
    learner = ConvolutionalNetwork(learning_rate=0.01)
    answers = np.asarray(predicted(learner, KEY, x[:100], y[:100], x[100:]))
    assert ((answers > 0) == (y[100:] > 0)).mean() > 0.95
    assert ((answers - y[100:]) ** 2).mean() < 0.4


@settings(deadline=None, max_examples=10)
@given(
    shape=st.sampled_from([(2, 3, 1, 6), (3, 2, 2, 5), (1, 5, 3, 5), (2, 1, 1, 2)]),
    seed=st.integers(0, 2**31 - 1),
)
def test_convolutional_network_is_a_convolution(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    channels, kernel, stride, side = shape
    learner = ConvolutionalNetwork(channels, kernel, stride)
    x = stimuli(seed, 3, side**2)
    filters, readout = born(learner, x)
    expected = []
    for image in x.reshape(3, side, side):
        maps = [
            correlate2d(image, weights.reshape(kernel, kernel), "valid") + bias
            for weights, bias in zip(filters.weights.T, filters.bias, strict=True)
        ]
        seen = np.maximum([one[::stride, ::stride] for one in maps], 0)
        hidden = np.moveaxis(seen, 0, -1).ravel()
        expected.append(hidden @ readout.weights[:, 0] + readout.bias[0])
    answers = jax.jit(learner.predict)((filters, readout), x)
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_cnn_family_is_the_network_it_says() -> None:
    """Sides 4, 2, 1; to fit, each gets one line of zeros below and at the right."""
    family, space = CNN((2, 3), kernel=3), Hypercube(16)
    assert family.genes(space) == (9 + 1) * 2 + (18 + 1) * 3 + (3 + 1)
    theta = jax.random.normal(KEY, (family.genes(space),))
    first, second, readout = np.split(np.asarray(theta, np.float64), [20, 77])
    x = np.asarray(space.sample(KEY, 5))

    def layer(maps: list[Array], block: Array) -> list[Array]:
        filters, size = block[:-1].reshape(3, 3, len(maps), -1), math.sqrt(len(block))
        padded = [np.pad(one, ((0, 1), (0, 1))) for one in maps]
        drives = [
            sum(correlate2d(p, f[..., i], "valid") for i, p in enumerate(padded))
            for f in np.moveaxis(filters, -1, 0)
        ]
        return [
            np.maximum(drive[::2, ::2] + bias, 0) * math.sqrt(2) / size
            for drive, bias in zip(drives, block[-1], strict=True)
        ]

    expected = []
    for image in x.reshape(5, 4, 4):
        maps = layer(layer([image], first.reshape(10, 2)), second.reshape(19, 3))
        total = np.ravel(maps) @ readout[:-1] + readout[-1]
        expected.append(total * math.sqrt(2 / 4))
    raw = jax.jit(partial(family.raw, space))(theta, x)
    np.testing.assert_allclose(raw, expected, atol=1e-5)


# Mushroom body


def pairs_of(connectivity: Any, individuals: int) -> Counter[tuple[int, ...]]:
    """How often each pair of inputs is connected to one cell."""
    draw = jax.jit(
        jax.vmap(lambda key: MushroomBody(150, connectivity)._connected(key, 5))
    )
    connected = np.asarray(draw(jax.random.split(KEY, individuals)))
    assert set(connected.ravel()) == {0, 1}
    np.testing.assert_array_equal(connected.sum(1), 2)
    assert not (connected[0] == connected[1]).all(), "one network for all"
    cells = np.moveaxis(connected, 1, -1).reshape(-1, 5)
    return Counter(tuple(map(int, np.flatnonzero(cell))) for cell in cells)


def biased(i: int, j: int) -> float:
    p = [0.6, 0.1, 0.1, 0.1, 0.1]
    return p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])


def grouped(i: int, j: int) -> float:
    if (i, j) == (0, 1):
        return 2 / 5 * 0.85
    return (0.05 + 0.1) / 5 if i in (0, 1) else 2 / 5 * 0.4


@pytest.mark.parametrize(
    ("connectivity", "probability"),
    [("random", lambda *_: 0.1), ("biased", biased), ("grouped", grouped)],
)
def test_connections_are_as_frequent_as_appendix_e_says(
    connectivity: str, probability: Callable[[int, int], float]
) -> None:
    """In 6,000 cells, which tell any two of the three apart."""
    found = pairs_of(connectivity, 40)
    every = list(combinations(range(5), 2))
    expected = np.array([probability(*pair) for pair in every])
    assert expected.sum() == pytest.approx(1)
    counts = np.array([found[pair] for pair in every])
    assert chisquare(counts, expected * counts.sum()).pvalue > 1e-4
    if connectivity != "random":
        assert chisquare(counts).pvalue < 1e-9


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31 - 1), st.floats(0.01, 0.5))
def test_excitatory_weights_stay_excitatory_and_connections_stay(
    seed: int, scale: float
) -> None:
    x, key = stimuli(seed, 20, 5), jax.random.key(seed)
    y = -scale * abs(x).sum(1)
    weights = np.asarray(trained(EXCITATORY, key, x, y)[0].weights)
    assert (weights >= 0).all()
    assert ((weights > 0).sum(0) == 2).all()
    free = np.asarray(trained(FREE, key, x, y)[0].weights)
    np.testing.assert_array_equal(free != 0, weights != 0)
    assert (free < 0).any()


FREE = MushroomBody(30, "grouped")
EXCITATORY = MushroomBody(30, "grouped", "excitatory")


def test_both_layers_of_a_mushroom_body_learn() -> None:
    learner = MushroomBody(20)
    x = abs(stimuli(0, 20, 5))
    before, after = born(learner, x), trained(learner, KEY, x, x[:, 0] - 1)
    for old, new in zip(before, after, strict=True):
        assert abs(old.weights - new.weights).max() > 0.01
        assert abs(old.bias - new.bias).max() > 0.001


def test_excitatory_step_is_as_long_as_a_free_one_until_zero() -> None:
    x = abs(stimuli(0, 20, 5))
    y = x[:, 0] - 1
    excitatory = MushroomBody(20, "random", "excitatory", 0.001, 1)
    cells, readout = (
        [np.asarray(part, np.float64) for part in layer]
        for layer in born(excitatory, x)
    )
    drive = x @ cells[0] + cells[1]
    residual = np.maximum(drive, 0) @ readout[0][:, 0] + readout[1] - y
    back = 2 / len(y) * residual[:, None] * readout[0].T * (drive > 0)
    step = 0.001 * (x.T @ back) * (cells[0] != 0)
    after = trained(excitatory, KEY, x, y)[0].weights
    np.testing.assert_allclose(after, abs(cells[0] - step), atol=1e-6)


# Refusals


def refused_by_train(learner: Learner, features: int) -> Callable[[], Any]:
    return lambda: learner.train(KEY, jnp.zeros((4, features)), jnp.zeros(4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReluNetwork((0,)), r"1 to 4096 units, got \(0,\)"),
        (lambda: ReluNetwork(learning_rate=0.0), "learning_rate must be above 0"),
        (lambda: ReluNetwork(learning_rate=math.nan), "learning_rate .* got nan"),
        (lambda: ReluNetwork(steps=0), "steps must be 1 to 100000, got 0"),
        (lambda: ConvolutionalNetwork(0), "channels must be 1 to 1024, got 0"),
        (lambda: ConvolutionalNetwork(kernel=0), "kernel must be 1 to 64, got 0"),
        (lambda: ConvolutionalNetwork(stride=0), "stride must be 1 to 64, got 0"),
        (lambda: ConvolutionalNetwork(learning_rate=-1.0), "learning_rate .* got -1"),
        (lambda: ConvolutionalNetwork(steps=-1), "steps .* got -1"),
        (refused_by_train(ConvolutionalNetwork(), 30), "square images .* got 30 feat"),
        (refused_by_train(ConvolutionalNetwork(), 16), "at least 5 x 5 .* got 16 feat"),
        (lambda: MushroomBody(0), "kenyon_cells must be 1 to 100000, got 0"),
        (lambda: MushroomBody(learning_rate=math.inf), "learning_rate .* got inf"),
        (lambda: MushroomBody(steps=10**6), "steps .* got 1000000"),
        (refused_by_train(MushroomBody(4, "biased"), 4), "exactly 5 features, got 4"),
        (refused_by_train(MushroomBody(4, "grouped"), 6), "grouped .* 5 .* got 6"),
        (refused_by_train(MushroomBody(4), 1), "2 features or more, got 1"),
    ],
)
def test_refuses(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
