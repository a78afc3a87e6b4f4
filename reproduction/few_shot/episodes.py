"""Episodes: tasks of a few classes with a few images each, drawn from many classes."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from reproduction.few_shot.image_classes import ImageClasses
from simulated_subjects.upbringing import Task


class Deck(NamedTuple):
    """Images where they are computed with, and what it takes to draw from them.

    ``images`` (images, side, side, channels) bytes, ``firsts`` (classes,) the place
    of each class's first image, ``counts`` (classes,), ``numbers`` 0, 1, ... for as
    many images as the largest class has; ``mean`` and ``deviation`` (channels,) of
    the pixels, by which they are normalised.
    """

    images: jax.Array
    firsts: jax.Array
    counts: jax.Array
    numbers: jax.Array
    mean: jax.Array
    deviation: jax.Array

    def shown(self, places: jax.Array) -> jax.Array:
        """Images at ``places`` (n,) as a network sees them, normalised."""
        pixels = self.images[places].astype(jnp.float32)
        mean, deviation = (
            jnp.broadcast_to(m, pixels.shape) for m in (self.mean, self.deviation)
        )
        return (pixels - mean) / deviation


def deck(classes: ImageClasses, normal: ImageClasses) -> Deck:
    """Images to draw from, normalised by the pixels of ``normal``."""
    # A thousand images tell a mean; all of a large set would not fit as numbers.
    every = max(1, len(normal.images) // 1000)
    pixels = normal.images[::every].astype(np.float64)
    return Deck(
        jnp.asarray(classes.images),
        jnp.asarray(np.cumsum(classes.counts) - classes.counts),
        jnp.asarray(classes.counts),
        jnp.arange(classes.counts.max()),
        jnp.asarray(pixels.mean((0, 1, 2)), jnp.float32),
        jnp.asarray(pixels.std((0, 1, 2)) + 1, jnp.float32),
    )


@dataclass(frozen=True)
class Episodes:
    """Draws tasks of ``ways`` classes with ``shots`` images to learn each.

    As many other images of each, ``queries``, are asked. Images come class by class,
    and classes are numbered as they were drawn.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 15

    def __post_init__(self) -> None:
        """Refuse what is no task."""
        if self.ways < 2 or self.shots < 1 or self.queries < 1:
            raise ValueError(
                "expected 2 ways or more, 1 shot and 1 query or more, "
                f"got {self.ways}, {self.shots} and {self.queries}"
            )

    def check(self, classes: ImageClasses, name: str) -> None:
        """Raises ``ValueError`` if there are too few classes, or images of one."""
        if len(classes.counts) < self.ways:
            raise ValueError(
                f"{name}: expected {self.ways} classes or more, "
                f"got {len(classes.counts)}"
            )
        if classes.counts.min() < self.shots + self.queries:
            raise ValueError(
                f"{name}: expected {self.shots} + {self.queries} images or more of "
                f"each class, got {classes.counts.min()}"
            )

    def places(self, deck: Deck, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Places of different images, ``(ways, shots)`` and ``(ways, queries)``."""
        class_key, image_key = jax.random.split(key)
        classes = len(deck.counts)
        chosen = jax.random.choice(class_key, classes, (self.ways,), replace=False)
        # The images with the largest random numbers, among those that a class has.
        lots = jax.random.uniform(image_key, (self.ways, len(deck.numbers)))
        real = deck.numbers[None] < deck.counts[chosen][:, None]
        drawn = jax.lax.top_k(jnp.where(real, lots, -1), self.shots + self.queries)[1]
        places = deck.firsts[chosen][:, None] + drawn
        return places[:, : self.shots], places[:, self.shots :]

    def __call__(self, deck: Deck, key: jax.Array) -> Task:
        """A task: images ``(n, side, side, channels)`` and numbers of classes."""
        support, query = self.places(deck, key)
        numbers = jnp.arange(self.ways)
        return Task(
            deck.shown(support.ravel()),
            jnp.repeat(numbers, self.shots),
            deck.shown(query.ravel()),
            jnp.repeat(numbers, self.queries),
        )
