"""Few-shot classification: accuracy of a procedure on an image set.

The encoder is pre-trained on all base classes, the whole procedure then meta-trained
on episodes of them, and judged on episodes of classes that it never saw.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import t as student

from reproduction.few_shot.conv4 import Block, Conv4
from reproduction.few_shot.episodes import Deck, Episodes, deck
from reproduction.few_shot.image_classes import FewShotImages, ImageClasses
from reproduction.few_shot.pretraining import Pretraining, pretrain
from simulated_subjects.procedure import (
    Parts,
    Procedure,
    Rule,
    adapt,
    born,
    outputs,
)
from simulated_subjects.upbringing import Upbringing, bring_up
from stimuli import random_keys

_PRETRAINING = Pretraining(20_000, 128, 1e-3)
_UPBRINGING = Upbringing(30_000, 4, 1e-5)
"""Outer rate and tasks a step are those of NPBML; the lengths are ours."""


@dataclass(frozen=True)
class Setting:
    """How images are shown, learnt and asked.

    ``side`` makes images smaller, by means over blocks of pixels. ``queries`` are
    asked of each class in meta-training, ``judged`` in the test. A procedure takes
    ``steps`` of plain gradient descent; where published, NPBML's have Nesterov's
    momentum .9 and weight decay 5e-4 besides. An upbringing of no meta-step shows what
    pre-training alone is worth. ``judged_on`` the validation classes, settings can be
    chosen without the test.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 15
    judged: int = 15
    filters: int = 64
    blocks: int = 4
    side: int | None = None
    steps: int = 5
    learning_rate: float = 0.01
    pretraining: Pretraining = _PRETRAINING
    upbringing: Upbringing = _UPBRINGING
    episodes: int = 600
    judged_on: Literal["test", "validation"] = "test"

    def __post_init__(self) -> None:
        """Refuse too few episodes for an interval."""
        if self.episodes < 2:
            raise ValueError(f"episodes must be 2 or more, got {self.episodes}")


_PUBLISHED = Setting()
"""Sizes and rates of NPBML."""

_SMALL = Setting(
    queries=5,
    filters=16,
    side=14,
    learning_rate=0.4,
    pretraining=Pretraining(300, 128, 2e-3),
    upbringing=Upbringing(150, 4, 3e-3),
    episodes=200,
)
"""For a CPU: images of 14 x 14 pixels, a quarter of the filters.

The inner rate (of .1, .4 and 1), then the outer one (of 1e-3 and 3e-3), was best for
MAML on the validation classes of the digits, after 100 meta-steps; all procedures
take it.
"""

SETTINGS: dict[str, Setting] = {
    "digits": _SMALL,
    "fashion": _SMALL,
    "mini_imagenet": _PUBLISHED,
    "tiered_imagenet": _PUBLISHED,
    "cifar_fs": _PUBLISHED,
    "fc100": _PUBLISHED,
}
"""How each image set is learnt, by its name; a GPU is meant for the published ones."""


class Accuracy(NamedTuple):
    """Share of query images that got their class.

    ``mean``, half its 95 % ``interval`` and the standard ``deviation`` are over
    ``episodes``; ``adapted`` are the weights that change within a task,
    ``meta_learnt`` all numbers that were learnt over tasks.
    """

    mean: float
    interval: float
    deviation: float
    episodes: int
    adapted: int
    meta_learnt: int


class Pooled(NamedTuple):
    """Mean accuracy ``of_seeds``, and half of its 95 % interval."""

    mean: float
    interval: float
    of_seeds: tuple[float, ...]


def pretrained(images: FewShotImages, setting: Setting, seed: int) -> list[Block]:
    """An encoder that tells all classes to learn on; procedures of a seed share it."""
    train = _smaller(images.train, setting.side)
    network = _network(train, setting, len(train.counts))
    key = jax.random.fold_in(random_keys.key(seed), 0)
    encoder: list[Block] = pretrain(
        network, setting.pretraining, deck(train, train), key
    )[0]
    return encoder


def classify(
    parts: Parts,
    images: FewShotImages,
    setting: Setting,
    seed: int,
    encoder: list[Block] | None = None,
) -> Accuracy:
    """Accuracy of a procedure on classes that it never saw.

    Without meta-steps it is judged as pre-trained: the null of what those bring.
    ``encoder`` is what :func:`pretrained` gives for the same images, setting and seed;
    None trains it here. Two procedures of a seed are asked the same episodes. Raises
    ``ValueError`` if there are too few classes or images.
    """
    unseen = getattr(images, setting.judged_on)
    training = Episodes(setting.ways, setting.shots, setting.queries)
    judging = Episodes(setting.ways, setting.shots, setting.judged)
    training.check(images.train, "classes to learn on")
    judging.check(unseen, f"{setting.judged_on} classes")

    train, unseen = (_smaller(c, setting.side) for c in (images.train, unseen))
    network = _network(train, setting, setting.ways)
    rule = Rule(parts, setting.steps, setting.learning_rate, "classes")
    birth, rest, asked = (
        jax.random.fold_in(random_keys.key(seed), i) for i in range(1, 4)
    )
    start = born(rule, network, birth)
    if parts.initialisation:
        encoder = pretrained(images, setting, seed) if encoder is None else encoder
        start["weights"] = start["weights"]._replace(encoder=encoder)
    shown, how = deck(train, train), setting.upbringing
    learnt = start
    if how.meta_steps:
        learnt, _ = bring_up(rule, network, how, training, shown, rest, start=start)
    keys = jax.random.split(asked, setting.episodes)
    right = _judge(rule, network, judging, learnt, deck(unseen, train), keys)
    adapted = start["weights"] if parts.initialisation else network.born(birth)
    learnt_numbers = _numbers(learnt) if how.meta_steps else 0
    return _accuracy(np.asarray(right), _numbers(adapted), learnt_numbers)


def pooled(of_seeds: Sequence[Accuracy]) -> Pooled:
    """Accuracies of several seeds as one: Student's interval over seeds.

    Of one seed, its own interval, over episodes.
    """
    means = np.array([accuracy.mean for accuracy in of_seeds])
    n = len(means)
    if n == 1:
        return Pooled(of_seeds[0].mean, of_seeds[0].interval, (of_seeds[0].mean,))
    half = student.ppf(0.975, n - 1) * means.std(ddof=1) / math.sqrt(n)
    return Pooled(float(means.mean()), float(half), tuple(means.tolist()))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _judge(
    rule: Rule,
    network: Conv4,
    episodes: Episodes,
    procedure: Procedure,
    deck: Deck,
    keys: jax.Array,
) -> jax.Array:
    """Share of right answers in each episode ``(episodes,)``."""

    def one(key: jax.Array) -> jax.Array:
        task_key, subject_key = jax.random.split(key)
        task = episodes(deck, task_key)
        adapted = adapt(
            rule, network, procedure, subject_key, task.x, task.y, task.query
        )
        answers = jnp.argmax(outputs(network, adapted, task.query), 1)
        return jnp.mean(answers == task.wanted)

    shares: jax.Array = jax.lax.map(one, keys)
    return shares


def _network(classes: ImageClasses, setting: Setting, outputs: int) -> Conv4:
    side, _, channels = classes.images.shape[1:]
    return Conv4(side, channels, setting.filters, outputs, setting.blocks)


def _smaller(classes: ImageClasses, side: int | None) -> ImageClasses:
    """Images made smaller, by means over blocks of pixels."""
    images = classes.images
    n, large, _, channels = images.shape
    if side in (None, large):
        return classes
    if not 1 <= side < large or large % side:
        raise ValueError(f"images of side {large} cannot be made smaller to {side}")
    block = large // side
    means = images.reshape(n, side, block, side, block, channels).mean((2, 4))
    return ImageClasses(np.round(means).astype(np.uint8), classes.counts)


def _numbers(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _accuracy(right: np.ndarray, adapted: int, meta_learnt: int) -> Accuracy:
    deviation = float(right.std(ddof=1))
    interval = 1.96 * deviation / math.sqrt(len(right))
    return Accuracy(
        float(right.mean()), interval, deviation, len(right), adapted, meta_learnt
    )
