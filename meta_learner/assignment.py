"""What sessions have to do: stimuli and labels of candidates, reproducibly drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from meta_learner.labelling import Component, Labeller, Series
from stimuli import random_keys
from stimuli.space import StimulusSpace


class Slot(NamedTuple):
    """Place of one session in a study: every random draw follows from it."""

    component: int
    generation: int
    candidate: int
    attempt: int

    @property
    def session(self) -> str:
        """Name of the session, unique in the study."""
        return "c{}-g{}-i{}-a{}".format(*self)


@dataclass(frozen=True)
class Design:
    """How sessions of a study are laid out; static argument of compiled code.

    ``shared_stimuli`` shows the same stimuli to all candidates of a generation
    (common random numbers), so that their errors differ by labelling alone.
    ``feedback`` is what training tells: the label, or the side that pays.
    """

    training_stimuli: int
    test_stimuli: int
    training_repeats: int = 1
    test_repeats: int = 1
    response: Literal["graded", "choice"] = "graded"
    shared_stimuli: bool = True
    feedback: Literal["label", "reward"] = "label"

    @property
    def training_trials(self) -> int:
        """Trials with feedback in a session."""
        return self.training_stimuli * self.training_repeats

    @property
    def test_trials(self) -> int:
        """Trials without feedback in a session."""
        return self.test_stimuli * self.test_repeats


class Assignments(NamedTuple):
    """Content of sessions, a leading axis per session.

    ``x`` (stimuli, features) and ``y`` (stimuli,) with training stimuli first;
    ``order`` (trials,) is the stimulus of each trial; ``right_rewarded``
    (training trials,) the side that pays, drawn, for rewards as feedback.
    """

    x: jax.Array
    y: jax.Array
    order: jax.Array
    right_rewarded: jax.Array


def named_key(seed: int | jax.Array, *names: str | int | jax.Array) -> jax.Array:
    """A key for one purpose, the same wherever and whenever it is asked for."""
    key = random_keys.key(seed)
    for name in names:
        key = jax.random.fold_in(
            key, crc32(name.encode()) if isinstance(name, str) else name
        )
    return key


@partial(jax.jit, static_argnums=(0, 1))
def draw_assignments(
    labeller: Labeller,
    design: Design,
    series: Series,
    theta: jax.Array,
    slots: jax.Array,
    seed: jax.Array,
) -> Assignments:
    """Assignments of candidates ``(sessions, genes)`` at ``slots`` (sessions, 4)."""

    def one(theta: jax.Array, slot: jax.Array) -> Assignments:
        label = partial(labeller.labels, series, theta)
        return _draw(labeller.space, design, label, slot, seed)

    return jax.vmap(one)(theta, slots)


@partial(jax.jit, static_argnums=(0, 1))
def draw_frozen(
    labeller: Labeller,
    design: Design,
    before: Series,
    component: Component,
    slots: jax.Array,
    seed: jax.Array,
) -> Assignments:
    """Assignments of one frozen labelling at ``slots`` (sessions, 4)."""
    label = partial(labeller.evaluate, before, component)
    return jax.vmap(lambda slot: _draw(labeller.space, design, label, slot, seed))(
        slots
    )


def _draw(
    space: StimulusSpace,
    design: Design,
    label: Callable[[jax.Array], jax.Array],
    slot: jax.Array,
    seed: jax.Array,
) -> Assignments:
    component, generation, candidate, attempt = slot
    shared = jnp.stack([component, generation, attempt])
    own = jnp.where(design.shared_stimuli, 0, candidate + 1)
    key = random_keys.key(seed)
    for part in (*shared, own):
        key = jax.random.fold_in(key, part)
    stimulus_key, order_key, feedback_key = jax.random.split(key, 3)
    feedback_key = jax.random.fold_in(feedback_key, candidate)
    x = space.sample(stimulus_key, design.training_stimuli + design.test_stimuli)
    y = label(x)
    order = _order(design, order_key)
    taught = y[order[: design.training_trials]]
    draw = jax.random.uniform(feedback_key, taught.shape)
    return Assignments(x, y, order, draw < (1 + taught) / 2)


@partial(jax.jit, static_argnums=0)
def penalties(labeller: Labeller, series: Series, theta: jax.Array) -> jax.Array:
    """Penalties of candidates ``(candidates, genes)``, shape ``(candidates, 2)``."""
    return jax.vmap(labeller.penalties, (None, 0))(series, theta)


def _order(design: Design, key: jax.Array) -> jax.Array:
    """Stimulus of each trial: every repeat is one shuffled pass over the stimuli."""
    training_key, test_key = jax.random.split(key)

    def passes(key: jax.Array, stimuli: int, repeats: int) -> jax.Array:
        if repeats == 1:  # stimuli are random draws: their order is random already
            return jnp.arange(stimuli)
        keys = jax.random.split(key, repeats)
        shuffled = jax.vmap(lambda k: jax.random.permutation(k, stimuli))(keys)
        return shuffled.reshape(-1)

    training = passes(training_key, design.training_stimuli, design.training_repeats)
    test = passes(test_key, design.test_stimuli, design.test_repeats)
    return jnp.concatenate([training, design.training_stimuli + test])


def decimals(values: ArrayLike) -> list:  # type: ignore[type-arg]
    """Nested lists of stimuli or labels in six decimals: these are what is shown."""
    return np.round(np.asarray(values, np.float64), 6).tolist()  # type: ignore[no-any-return]


def exact_decimals(values: ArrayLike) -> list:  # type: ignore[type-arg]
    """Nested lists of float32 in the shortest decimals that give them back."""
    return np.asarray(values, np.float32).astype(str).astype(np.float64).tolist()  # type: ignore[no-any-return]
