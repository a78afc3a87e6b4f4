"""Few-shot classification: episodes, the encoder, accuracies."""

from dataclasses import replace

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from reproduction.few_shot.classify import (
    SETTINGS,
    Accuracy,
    Setting,
    classify,
    pooled,
    pretrained,
)
from reproduction.few_shot.conv4 import Conv4, neighbours
from reproduction.few_shot.episodes import Episodes, deck
from reproduction.few_shot.image_classes import FewShotImages, ImageClasses
from reproduction.few_shot.image_sets import read_images
from reproduction.few_shot.pretraining import Pretraining
from simulated_subjects.procedure import PROCEDURES, Parts, Rule, adapt, born, outputs
from simulated_subjects.upbringing import Upbringing

pytestmark = pytest.mark.usefixtures("strict_shapes")

# Episodes


def squares(classes: int, each: int, side: int = 8, seed: int = 0) -> ImageClasses:
    """Noise, with a square of the class's colour somewhere."""
    draws = np.random.default_rng(seed)
    # As a colour wheel has them, a little further round for each seed.
    angles = 2 * np.pi * (np.arange(classes) + seed / 3) / classes
    wheel = np.cos(angles[:, None] + np.arange(3) * 2 * np.pi / 3)
    colours = (127 + 120 * wheel).astype(np.uint8)
    images = draws.integers(0, 40, (classes * each, side, side, 3)).astype(np.uint8)
    for i, pixels in enumerate(images):
        row, column = draws.integers(0, side // 2, 2)
        pixels[row : row + side // 2, column : column + side // 2] = colours[i // each]
    return ImageClasses(images, np.full(classes, each))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(4, 9), min_size=4, max_size=4),
    st.sampled_from([(2, 1, 2), (5, 2, 2)]),
    st.integers(0, 2**31 - 1),
)
def test_an_episode_has_different_images_of_as_many_classes_as_asked(
    smaller: list[int], sizes: tuple[int, int, int], seed: int
) -> None:
    counts = [*smaller, 9]  # of one shape, which JAX compiles once
    ways, shots, queries = sizes
    of_class = np.arange(5).repeat(counts)
    images = np.arange(len(of_class), dtype=np.uint8)[:, None, None, None]
    classes = ImageClasses(images, np.array(counts))
    episodes, shown = Episodes(ways, shots, queries), deck(classes, classes)
    support, query = map(np.asarray, episodes.places(shown, jax.random.key(seed)))
    assert support.shape == (ways, shots)
    assert query.shape == (ways, queries)
    together = np.concatenate([support, query], 1)
    assert len(np.unique(together)) == together.size
    rows = of_class[together]
    assert (rows == rows[:, :1]).all()
    assert len(np.unique(rows[:, 0])) == ways
    task = episodes(shown, jax.random.key(seed))
    assert np.bincount(np.asarray(task.y)).tolist() == [shots] * ways
    assert np.bincount(np.asarray(task.wanted)).tolist() == [queries] * ways
    pixels = np.asarray(task.x) * float(shown.deviation[0]) + float(shown.mean[0])
    np.testing.assert_allclose(pixels.ravel(), support.ravel(), atol=1e-3)


def test_too_few_classes_or_images_are_refused() -> None:
    few = FewShotImages(squares(4, 9), squares(4, 9), squares(4, 9))
    setting = Setting(ways=5, shots=1, queries=5, judged=5)
    with pytest.raises(ValueError, match="learn on: expected 5 classes or more, got 4"):
        classify(PROCEDURES["maml"], few, setting, 0)
    setting = Setting(ways=4, shots=1, queries=5, judged=9)
    with pytest.raises(ValueError, match=r"test classes: expected 1 \+ 9 images"):
        classify(PROCEDURES["maml"], few, setting, 0)
    setting = Setting(ways=4, queries=5, judged=5, side=3)
    with pytest.raises(ValueError, match="side 8 cannot be made smaller to 3"):
        classify(PROCEDURES["maml"], few, setting, 0)


# The encoder

NETWORK = Conv4(16, 3, 4, 5)
IMAGES = jax.random.normal(jax.random.key(1), (6, 16, 16, 3))


def test_the_encoder_has_the_published_size() -> None:
    weights = Conv4(84).born(jax.random.key(0))
    filters = sum(block.filters.size for block in weights.encoder)
    assert filters == 9 * 64 * (3 + 3 * 64)
    assert weights.readout.weights.shape == (1600, 5)


def test_its_filters_are_a_convolution() -> None:
    weights = NETWORK.born(jax.random.key(0)).encoder[0].filters
    # Columns come before rows, and both before channels.
    kernel = weights.reshape(3, 3, 3, 4).transpose(1, 0, 2, 3)
    order = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(
        IMAGES, kernel, (1, 1), "SAME", dimension_numbers=order
    )
    ours = neighbours(IMAGES) @ weights
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_order_of_images_and_mirror_images_carry_over() -> None:
    weights = NETWORK.born(jax.random.key(0))
    answers, hidden = NETWORK.apply(weights, None, None, IMAGES)
    turned, _ = NETWORK.apply(weights, None, None, IMAGES[::-1])
    np.testing.assert_allclose(turned, answers[::-1], atol=1e-4)
    mirrored = [
        block._replace(filters=block.filters.reshape(3, -1)[::-1].reshape(-1, 4))
        for block in weights.encoder
    ]
    seen = NETWORK.apply(
        weights._replace(encoder=mirrored), None, None, IMAGES[:, :, ::-1]
    )
    np.testing.assert_allclose(seen[1], hidden, atol=1e-4)
    other = NETWORK.apply(weights, None, None, IMAGES[:, :, ::-1])
    assert abs(other[1] - hidden).max() > 0.1


def test_neutral_warps_and_modulations_change_nothing() -> None:
    weights = NETWORK.born(jax.random.key(0))
    plain = NETWORK.apply(weights, None, None, IMAGES)[0]
    zero = (jnp.zeros(4), jnp.zeros(4))
    neutral = NETWORK.apply(weights, [jnp.eye(4)] * 4, [zero] * 4, IMAGES)[0]
    np.testing.assert_allclose(neutral, plain, atol=1e-5)
    mixed = [jnp.eye(4) + 0.5 * jnp.eye(4, k=1)] * 4
    assert abs(NETWORK.apply(weights, mixed, None, IMAGES)[0] - plain).max() > 0.01
    with pytest.raises(ValueError, match="expected images of 16 x 16 pixels"):
        NETWORK.apply(weights, None, None, IMAGES[:, 1:])


@pytest.mark.slow
def test_at_birth_every_procedure_is_maml() -> None:
    network, x = Conv4(2, 3, 4, 3), IMAGES[:, :2, :2]
    y, key = jnp.arange(6) % 3, jax.random.key(0)

    def answers(parts: Parts) -> jax.Array:
        rule = Rule(parts, steps=2, learning_rate=0.1, error="classes")
        adapted = adapt(rule, network, born(rule, network, key), key, x, y, x)
        return outputs(network, adapted, x)

    maml = jax.jit(answers, static_argnums=0)(PROCEDURES["maml"])
    for name, parts in PROCEDURES.items():
        same = jax.jit(answers, static_argnums=0)(parts)
        np.testing.assert_allclose(same, maml, atol=1e-4, err_msg=name)
    fresh = born(Rule(Parts()), network, key)["weights"]
    assert abs(network.apply(fresh, None, None, x)[0] - maml).max() > 0.01


# Accuracy

TINY = Setting(
    queries=3,
    judged=5,
    filters=8,
    blocks=2,
    steps=3,
    learning_rate=0.3,
    pretraining=Pretraining(100, 64, 3e-3),
    upbringing=Upbringing(60, 2, 2e-3),
    episodes=40,
)
SQUARES = FewShotImages(squares(8, 20), squares(8, 20, seed=1), squares(5, 20, seed=2))


def test_squares_of_a_colour_are_learnt_from_one_image_each() -> None:
    accuracy = classify(PROCEDURES["maml"], SQUARES, TINY, seed=0)
    assert accuracy.mean > 0.8  # chance is .2; without any learning before, .53
    assert accuracy.episodes == 40
    assert accuracy.adapted == accuracy.meta_learnt
    assert accuracy.interval == pytest.approx(1.96 * accuracy.deviation / 40**0.5)


@pytest.mark.slow
def test_every_procedure_is_worth_more_than_pretraining_alone() -> None:
    images, setting = read_images("digits"), SETTINGS["digits"]
    encoder = pretrained(images, setting, seed=3)
    none = replace(setting, upbringing=Upbringing(meta_steps=0))
    null = classify(PROCEDURES["maml"], images, none, 3, encoder)
    assert null.meta_learnt == 0
    for name, parts in PROCEDURES.items():
        accuracy = classify(parts, images, setting, 3, encoder)
        assert accuracy.mean > null.mean, name


def test_intervals_are_over_seeds_where_there_are_several() -> None:
    one = Accuracy(0.5, 0.1, 1.0, 400, 10, 20)
    assert pooled([one]) == (0.5, 0.1, (0.5,))
    three = [one, one._replace(mean=0.6), one._replace(mean=0.7)]
    mean, interval, of_seeds = pooled(three)
    assert mean == pytest.approx(0.6)
    assert interval == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert of_seeds == (0.5, 0.6, 0.7)
