"""Sinusoid regression: the few-shot tasks of Finn et al. 2017 (MAML, section 5.1)."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis.recovery import Floats
from meta_learner.assignment import named_key
from simulated_subjects.perceptron import Perceptron
from simulated_subjects.procedure import (
    Adapted,
    Parts,
    Procedure,
    Rule,
    adapt,
    born,
    outputs,
)
from simulated_subjects.upbringing import Task, Upbringing, bring_up, error
from stimuli import random_keys

NETWORK = Perceptron(1, (40, 40))
"""Of the protocol: its weights are what adapts, whatever the procedure."""

SHOTS = (5, 10)
QUERY = 20
"""Points by which the answers to a task are judged."""

STEPS = 1
"""Gradient steps in which a task is learnt."""

TEST_TASKS = 1000
"""The same for every procedure and every seed."""

SETTINGS = {
    "hidden": list(NETWORK.hidden),
    "steps": STEPS,
    "query": QUERY,
    "test": TEST_TASKS,
}
"""What all rows share."""

META_STEPS = 5_000
"""In which procedures with a learnt loss are brought up, and all of an ablation."""

PLAIN_META_STEPS = 20_000
"""Of those without, when procedures are compared: each takes a tenth of the time."""

BORN_RATE = 3e-4
"""Step size with which a network as it is born errs least, of 1e-6 to 3e-3."""

OF_SILENCE = (5.0**3 - 0.1**3) / (3 * 4.9) / 2
"""Mean squared error of who says 0 always: half the mean square amplitude."""

ADAPTED = sum(w.size for w in jax.tree.leaves(NETWORK.born(random_keys.key(0))))
"""Numbers that adapt to a task."""

GRID = np.linspace(-5.0, 5.0, 101)
"""Where the fit of the task that is shown is told."""


@dataclass(frozen=True)
class Sinusoids:
    """Amplitudes of .1 to 5, phases of 0 to pi, x of -5 to 5, all uniform."""

    shots: int
    query: int = QUERY

    def __call__(self, data: Any, key: jax.Array) -> Task:
        """Draw a task; ``data`` is not looked at."""
        del data
        amplitude_key, phase_key, x_key = jax.random.split(key, 3)
        amplitude = jax.random.uniform(amplitude_key, minval=0.1, maxval=5.0)
        phase = jax.random.uniform(phase_key, maxval=math.pi)
        shape = (self.shots + self.query, 1)
        x = jax.random.uniform(x_key, shape, minval=-5.0, maxval=5.0)
        y = amplitude * jnp.sin(x[:, 0] - phase)
        n = self.shots
        return Task(x[:n], y[:n], x[n:], y[n:])


class Training(NamedTuple):
    """How a procedure is learnt: set on tasks that are in neither training nor test.

    ``inner_rate`` is the step size on a task, ``meta_rate`` that of Adam over tasks.
    """

    inner_rate: float
    meta_rate: float
    meta_steps: int
    tasks: int = 8


def meta_steps(parts: Parts) -> int:
    """Meta-steps when procedures are compared."""
    return META_STEPS if parts.loss else PLAIN_META_STEPS


def training(parts: Parts, meta_steps: int) -> Training:
    """The best rates that were found for such parts."""
    return Training(
        inner_rate=0.003 if parts.preconditioning else 0.01,
        meta_rate=0.003 if parts.preconditioning or parts.rates else 0.01,
        meta_steps=meta_steps,
    )


def learnt(parts: Parts, shots: int, seed: int, how: Training) -> dict[str, Any]:
    """A procedure brought up and tested: a row of JSON.

    Mean squared error over :data:`TEST_TASKS`, half of its 95 % interval over them,
    the numbers that were learnt over tasks, and the fit of one task.
    """
    rule = Rule(parts, STEPS, how.inner_rate)
    upbringing = Upbringing(how.meta_steps, how.tasks, how.meta_rate)
    key = named_key(seed, "sinusoid")
    procedure, _ = bring_up(rule, NETWORK, upbringing, Sinusoids(shots), None, key)
    return tested(rule, procedure, shots)


def as_born(shots: int, seed: int) -> dict[str, Any]:
    """The same of a network that was not brought up."""
    rule = Rule(Parts(), STEPS, BORN_RATE)
    return tested(rule, born(rule, NETWORK, named_key(seed, "sinusoid")), shots)


def tested(rule: Rule, procedure: Procedure, shots: int) -> dict[str, Any]:
    """A row of :func:`learnt` for a procedure."""
    each = test_errors(rule, procedure, shots)
    before, after = _fits(rule, procedure, shown_task(shots))
    return {
        "error": float(each.mean()),
        "interval": float(1.96 * each.std(ddof=1) / math.sqrt(len(each))),
        "tasks": len(each),
        "learnt": sum(w.size for w in jax.tree.leaves(procedure)),
        "before": np.round(before, 4).tolist(),
        "after": np.round(after, 4).tolist(),
    }


def test_errors(rule: Rule, procedure: Procedure, shots: int) -> Floats:
    """Mean squared error on each task of the test, ``(tasks,)``."""
    keys = jax.random.split(named_key(0, "sinusoid test"), TEST_TASKS)
    return np.asarray(_test_errors(rule, shots, procedure, keys), np.float64)


@partial(jax.jit, static_argnums=(0, 1))
def _test_errors(
    rule: Rule, shots: int, procedure: Procedure, keys: jax.Array
) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        task = Sinusoids(shots)(None, key)
        return error(rule, NETWORK, procedure, key, task)

    return jax.vmap(one)(keys)


def shown_task(shots: int) -> Task:
    """The task whose fit is shown: of amplitude 3.5, whatever was to be seen of it."""
    x = np.random.default_rng(4).uniform(-5, 5, shots + QUERY)[:, None]
    y = sine(x[:, 0])
    n = shots
    return Task(*map(jnp.asarray, (x[:n], y[:n], x[n:], y[n:])))


def sine(x: Floats) -> Floats:
    """The labels of :func:`shown_task`."""
    y: Floats = 3.5 * np.sin(x - 0.8)
    return y


def _fits(rule: Rule, procedure: Procedure, task: Task) -> tuple[Floats, Floats]:
    """What is said at :data:`GRID` before and after a task is learnt."""
    key = random_keys.key(0)
    adapted = adapt(rule, NETWORK, procedure, key, task.x, task.y, task.query)
    before = Adapted(procedure["weights"], procedure.get("warps"), None)
    grid = jnp.asarray(GRID)[:, None]
    said = [np.asarray(outputs(NETWORK, a, grid)[:, 0]) for a in (before, adapted)]
    return said[0], said[1]
