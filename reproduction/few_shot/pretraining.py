"""Pre-training: the encoder learns to tell all classes before any few-shot task."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from reproduction.few_shot.conv4 import Block, Conv4
from reproduction.few_shot.episodes import Deck


class Pretraining(NamedTuple):
    """By AdamW, in ``steps`` of ``batch`` images, its rate falling to 0."""

    steps: int = 300
    batch: int = 128
    rate: float = 2e-3
    decay: float = 5e-4


@partial(jax.jit, static_argnums=(0, 1))
def pretrain(
    network: Conv4, pretraining: Pretraining, deck: Deck, key: jax.Array
) -> tuple[list[Block], jax.Array]:
    """The encoder, and the loss at each step ``(steps,)``.

    ``network`` has an output for each class of the deck. Its readout is forgotten.
    """
    birth, rest = jax.random.split(key)
    falling = optax.cosine_decay_schedule(pretraining.rate, pretraining.steps)
    optimiser = optax.adamw(falling, weight_decay=pretraining.decay)
    weights = network.born(birth)

    def loss(weights: Any, places: jax.Array) -> jax.Array:
        guess = network.apply(weights, None, None, deck.shown(places))[0]
        classes = jnp.searchsorted(deck.firsts, places, side="right") - 1
        return jnp.mean(
            optax.losses.softmax_cross_entropy_with_integer_labels(guess, classes)
        )

    def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        weights, state = carry
        places = jax.random.randint(key, (pretraining.batch,), 0, len(deck.images))
        value, slope = jax.value_and_grad(loss)(weights, places)
        updates, state = optimiser.update(slope, state, weights)
        return (optax.apply_updates(weights, updates), state), value

    keys = jax.random.split(rest, pretraining.steps)
    start = (weights, optimiser.init(weights))
    (learnt, _), losses = jax.lax.scan(step, start, keys)
    return learnt.encoder, losses
