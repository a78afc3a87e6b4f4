"""Meta-training: a procedure is learnt over many tasks of a family."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from simulated_subjects.procedure import Network, Procedure, Rule, adapt, born, outputs

LARGEST_SLOPE = 10.0
"""Norm at which the gradient of a meta-step is cut off."""


class Task(NamedTuple):
    """A few labelled stimuli, and those by which the answers are judged.

    ``x`` (n, features), ``y`` (n,), ``query`` (m, features), ``wanted`` (m,). A
    negative ``weight`` is that of a task which is to stay hard.
    """

    x: jax.Array
    y: jax.Array
    query: jax.Array
    wanted: jax.Array
    weight: jax.Array | float = 1.0


Draw = Callable[[Any, jax.Array], Task]
"""A task from data (any tree of arrays) and a key."""


class Upbringing(NamedTuple):
    """How long and how fast a procedure is learnt: by Adam, its rate falling to 0.

    ``tasks`` are those of each meta-step.
    """

    meta_steps: int = 2000
    tasks: int = 8
    rate: float = 2e-3


def error(
    rule: Rule, network: Network, procedure: Procedure, key: jax.Array, task: Task
) -> jax.Array:
    """Mean error on the query of a task, after adapting to it."""
    adapted = adapt(rule, network, procedure, key, task.x, task.y, task.query)
    return jnp.mean(rule.errors(outputs(network, adapted, task.query), task.wanted))


def bring_up(
    rule: Rule,
    network: Network,
    upbringing: Upbringing,
    draw: Draw,
    data: Any,
    key: jax.Array,
    start: Procedure | None = None,
) -> tuple[Procedure, jax.Array]:
    """A procedure, and its mean error at each meta-step ``(meta_steps,)``.

    That is over tasks of positive weight. Tasks that are to stay hard, of labels with
    a variance, can become no harder than hopeless: as bad as to say the mean.
    Learning begins at ``start``, or at birth.
    """
    birth, rest = jax.random.split(key)
    procedure = born(rule, network, birth) if start is None else start
    learnt: tuple[Procedure, jax.Array]
    learnt = _learn(rule, network, upbringing, draw, data, procedure, rest)
    return learnt


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _learn(
    rule: Rule,
    network: Network,
    upbringing: Upbringing,
    draw: Draw,
    data: Any,
    procedure: Procedure,
    key: jax.Array,
) -> tuple[Procedure, jax.Array]:
    falling = optax.cosine_decay_schedule(upbringing.rate, upbringing.meta_steps)
    # A meta-step that leads nowhere, where an inner descent diverged, is not taken.
    optimiser = optax.apply_if_finite(
        optax.chain(optax.clip_by_global_norm(LARGEST_SLOPE), optax.adam(falling)),
        max_consecutive_errors=upbringing.meta_steps,
    )

    def loss(procedure: Procedure, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def one(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            task_key, subject_key = jax.random.split(key)
            task = draw(data, task_key)
            value = error(rule, network, procedure, subject_key, task)
            return value, jnp.var(task.wanted), jnp.asarray(task.weight)

        errors, variances, weights = jax.vmap(one)(
            jax.random.split(key, upbringing.tasks)
        )
        easy = weights > 0
        counted = jnp.where(easy, errors, jnp.minimum(errors, variances))
        shown = jnp.sum(jnp.where(easy, errors, 0)) / jnp.maximum(jnp.sum(easy), 1)
        return jnp.mean(weights * counted), shown

    def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        procedure, state = carry
        (_, shown), slope = jax.value_and_grad(loss, has_aux=True)(procedure, key)
        updates, state = optimiser.update(slope, state, procedure)
        return (optax.apply_updates(procedure, updates), state), shown

    keys = jax.random.split(key, upbringing.meta_steps)
    start = (procedure, optimiser.init(procedure))
    (learnt, _), errors = jax.lax.scan(step, start, keys)
    return learnt, errors
