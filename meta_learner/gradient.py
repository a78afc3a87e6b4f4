"""Gradient meta-learning: descent of the meta-loss through the learner's training.

Algorithm 1 of the paper, for simulated learners: what a search learns from one
error per session, a gradient learns from the whole training of the subject.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from meta_learner.assignment import Design
from meta_learner.labelling import Component, Labeller, Series
from meta_learner.objective import Objective
from simulated_subjects.learner import Learner
from stimuli import random_keys

OPTIMISERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    # Rare gradients are huge, where a subject's training is near unstable.
    "adam": lambda step_size: optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(step_size)
    ),
    # As PyTorch's: optax begins as if it had seen gradients.
    "adagrad": partial(optax.adagrad, initial_accumulator_value=0.0, eps=1e-10),
}
"""Optimisers by name; Adagrad is what the paper's code uses."""

MEMORY = {"adam": 100, "adagrad": 1}
"""Steps over which the running mean forgets, a fifth of those taken at most.

Those of Adagrad shrink by themselves.
"""


class State(NamedTuple):
    """Where a descent stands: ``theta`` (genes,), its running mean, steps taken."""

    theta: jax.Array
    mean: jax.Array
    taken: jax.Array
    moments: Any


class Steps(NamedTuple):
    """What meta-steps measured: arrays with a leading axis of steps.

    ``errors`` (steps, groups) are mean relative errors of the individuals;
    ``penalties`` (steps, 2) label distribution and orthogonality.
    """

    errors: jax.Array
    penalties: jax.Array


@dataclass(frozen=True)
class Gradient:
    """Descent of the meta-loss by an optimiser of :data:`OPTIMISERS`.

    Every meta-step trains a ``population`` of newly born individuals, each on
    stimuli of its own, and averages their gradients. ``step_size`` is the
    learning rate, in units of a gene's initial standard deviation.
    """

    method: str
    population: int
    genes: int
    step_size: float = 0.1

    def __post_init__(self) -> None:
        """Refuse an optimiser that is unknown."""
        if self.method not in OPTIMISERS:
            known = ", ".join(sorted(OPTIMISERS))
            raise ValueError(f"unknown method {self.method!r}; known: {known}")

    def init(self, key: jax.Array) -> State:
        """A random labelling: genes from N(0, 1)."""
        theta = jax.random.normal(key, (self.genes,))
        return State(theta, theta, jnp.int32(0), self._optax.init(theta))

    def best(self, state: State) -> jax.Array:
        """Running mean of the steps, ``(genes,)``: has less noise than the last one.

        What is frozen as a component.
        """
        return state.mean

    def step(self, state: State, slope: jax.Array) -> State:
        """One step along a gradient ``(genes,)``; one that is not finite is skipped."""
        updates, moments = self._optax.update(slope, state.moments, state.theta)
        theta = optax.apply_updates(state.theta, updates)
        taken = state.taken + 1
        memory = jnp.clip(taken / 5, 1, MEMORY[self.method])
        mean = state.mean + (theta - state.mean) / memory
        after = State(theta, mean, taken, moments)
        return where(jnp.isfinite(slope).all(), after, state)

    @property
    def _optax(self) -> optax.GradientTransformation:
        return OPTIMISERS[self.method](self.step_size)


@dataclass(frozen=True)
class Problem:
    """What is differentiated: labelling, learners, their training, the meta-loss.

    ``learners`` has one entry per group; static argument of compiled code.
    """

    labeller: Labeller
    design: Design
    learners: tuple[Learner, ...]
    objective: Objective

    def errors(
        self, series: Series, component: Component, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Generalisation error of one individual of each group, twice (groups,).

        Relative to the variance of the labels, and as it counts in the meta-loss.
        The stimuli are the same for all groups. Paper, Algorithm 1.
        """
        stimuli_key, *keys = jax.random.split(key, 1 + len(self.learners))
        n = self.design.training_stimuli
        x = self.labeller.space.sample(stimuli_key, n + self.design.test_stimuli)
        y = self.labeller.evaluate(series, component, x)
        variance = jnp.maximum(jnp.var(y[n:]), 1e-6)

        each = []
        for learner, born in zip(self.learners, keys, strict=True):
            answer = learner.predict(learner.train(born, x[:n], y[:n]), x[n:])
            each.append(jnp.mean((answer - y[n:]) ** 2))
            # One group after the other, forth and back: XLA on a CPU of few cores
            # hangs at times where two batched solves run at once. A sum with
            # nothing orders them; an optimisation barrier is gone by then.
            nothing = 0 * jnp.nan_to_num(each[-1])
            x, y = x + nothing, y + nothing
        error = jnp.stack(each)
        return error / variance, self.objective.counted(error, variance)

    def meta_loss(
        self, series: Series, theta: jax.Array, keys: jax.Array
    ) -> tuple[jax.Array, Steps]:
        """Meta-loss over the individuals of ``keys`` (individuals,), and its parts."""
        penalties = self.labeller.penalties(series, theta)
        if self.objective.generalisation_weight == 0:
            errors = counted = jnp.zeros(0)
        else:
            component = self.labeller.freeze(series, theta)
            each = jax.vmap(partial(self.errors, series, component))(keys)
            errors, counted = (every.mean(0) for every in each)
        loss = self.objective.meta_losses(counted[None], penalties[None])[0]
        return loss, Steps(errors, penalties)


def where(condition: jax.Array, yes: State, no: State) -> State:
    """One state or the other."""
    chosen: State = jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
    return chosen


@partial(jax.jit, static_argnums=(0, 1, 6))
def descend(
    search: Gradient,
    problem: Problem,
    series: Series,
    state: State,
    key: jax.Array,
    steps: tuple[jax.Array | int, jax.Array | int],
    most: int,
) -> tuple[State, Steps]:
    """Take the meta-steps from the first of ``steps`` up to before the second.

    At most ``most`` of them: one compilation serves any number. Returns where
    the descent then stands, and what each step measured; rows beyond the last
    step mean nothing. Individuals and stimuli are fresh at each step; its draws
    follow from ``key`` and its number, so a descent may be interrupted anywhere.
    """
    first, stop = steps
    slope_of = jax.grad(problem.meta_loss, argnums=1, has_aux=True)

    def step(state: State, i: jax.Array) -> tuple[State, Steps]:
        keys = jax.random.split(jax.random.fold_in(key, i), search.population)
        slope, measured = slope_of(series, state.theta, keys)
        after = search.step(state, slope)
        return where(i < stop, after, state), measured

    return jax.lax.scan(step, state, first + jnp.arange(most))


def to_rows(state: State) -> list[jax.Array]:
    """The state as arrays of one dimension: ``theta``, mean, moments."""
    return [jnp.atleast_1d(leaf) for leaf in jax.tree.leaves(state)]


def from_rows(search: Gradient, rows: Sequence[ArrayLike]) -> State:
    """The state back from :func:`to_rows`."""
    like = search.init(random_keys.key(0))
    leaves, tree = jax.tree.flatten(like)
    restored = [
        jnp.asarray(np.asarray(row), leaf.dtype).reshape(leaf.shape)
        for row, leaf in zip(rows, leaves, strict=True)
    ]
    state: State = jax.tree.unflatten(tree, restored)
    return state
