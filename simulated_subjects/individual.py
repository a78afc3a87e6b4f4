"""One simulated individual in a session: the same draws however it is run."""

from functools import partial
from typing import Any
from zlib import crc32

import jax

from simulated_subjects.learner import Learner
from simulated_subjects.responses import ResponseModel
from stimuli import random_keys


def individual_keys(seed: int, sessions: list[str]) -> jax.Array:
    """A key per session name: who the subject is, and how its noise falls."""
    names = [crc32(name.encode()) for name in sessions]
    return jax.vmap(partial(individual_key, seed))(
        jax.numpy.array(names, dtype=jax.numpy.uint32)
    )


def individual_key(seed: int | jax.Array, name: jax.Array) -> jax.Array:
    """As :func:`individual_keys`, of the CRC-32 of one session's name; traceable."""
    base = jax.random.fold_in(random_keys.key(seed), crc32(b"individual"))
    return jax.random.fold_in(base, name)


@partial(jax.jit, static_argnums=0)
def learn(learner: Learner, key: jax.Array, x: jax.Array, targets: jax.Array) -> Any:
    """State after training on stimuli ``(n, features)`` with targets ``(n,)``."""
    return learner.train(jax.random.fold_in(key, 0), x, targets)


@partial(jax.jit, static_argnums=(0, 1))
def answer(
    learner: Learner,
    responses: ResponseModel,
    key: jax.Array,
    state: Any,
    x: jax.Array,
    trial: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Response to stimulus ``(features,)`` in a trial, and whether there is one."""
    prediction = learner.predict(state, x[None, :])[0]
    noise = jax.random.fold_in(jax.random.fold_in(key, 1), trial)
    return responses.respond(noise, prediction)


@partial(jax.jit, static_argnums=(0, 1))
def run_sessions(
    learner: Learner,
    responses: ResponseModel,
    keys: jax.Array,
    x: jax.Array,
    order: jax.Array,
    targets: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Whole sessions at once: train and test every individual in one call.

    ``keys`` (sessions,), ``x`` (sessions, stimuli, features), ``order``
    (sessions, trials) the stimulus of each trial, ``targets`` (sessions,
    training trials). Returns responses and whether there was one, both
    (sessions, test trials).
    """

    def one(
        key: jax.Array, x: jax.Array, order: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        training = targets.shape[0]
        shown = x[order]
        state = learn(learner, key, shown[:training], targets)
        trials = jax.numpy.arange(training, order.shape[0])
        answers: tuple[jax.Array, jax.Array] = jax.vmap(
            lambda stimulus, trial: answer(
                learner, responses, key, state, stimulus, trial
            )
        )(shown[training:], trials)
        return answers

    sessions: tuple[jax.Array, jax.Array] = jax.vmap(one)(keys, x, order, targets)
    return sessions
