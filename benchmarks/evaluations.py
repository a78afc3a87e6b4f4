"""Subjects trained and tested per second: one compiled call against a NumPy loop.

    python benchmarks/evaluations.py [--repeats 15]

Both do the same work for a generation of 32 candidates: random MLP labelling
made uniform over 512 reference stimuli, fresh stimuli, a fresh kernel-ridge
subject (100 features, 30 training and 50 test stimuli), its relative error.
They take turns in one process, so that whatever else the machine does falls on
both; the ratio of each turn is reported as median and range.
"""

import argparse
import time
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import Design, draw_assignments
from meta_learner.families import MLP
from meta_learner.labelling import REFERENCE_STIMULI, Labeller
from simulated_subjects.individual import run_sessions
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.responses import Graded
from stimuli.sphere import Sphere

POPULATION = 32
DESIGN = Design(30, 50, shared_stimuli=False)
LABELLER = Labeller(Sphere(), MLP(), "exact")
LEARNER = KernelRidge()
GENES = MLP().genes(Sphere())
REFERENCE = np.asarray(Sphere().grid(REFERENCE_STIMULI))


@jax.jit
def compiled(theta: jax.Array, seed: jax.Array) -> jax.Array:
    """Relative errors of a generation, (candidates,), in one compiled call."""
    slots = jnp.zeros((POPULATION, 4), int).at[:, 2].set(jnp.arange(POPULATION))
    drawn = draw_assignments(LABELLER, DESIGN, (), theta, slots, seed)
    n = DESIGN.training_trials
    births = jax.random.split(jax.random.key(seed), POPULATION)
    y = jnp.take_along_axis(drawn.y, drawn.order, 1)
    answers, _ = run_sessions(LEARNER, Graded(), births, drawn.x, drawn.order, y[:, :n])
    return jnp.mean((answers - y[:, n:]) ** 2, 1) / jnp.var(y[:, n:], 1)


def plain(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same, one subject after the other, in NumPy."""
    return np.array([_one(genes, rng) for genes in theta])


def _one(theta: np.ndarray, rng: np.random.Generator) -> float:
    x = rng.standard_normal((DESIGN.training_stimuli + DESIGN.test_stimuli, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    reference = np.sort(_mlp(theta, REFERENCE))
    n = len(reference)
    y = np.interp(_mlp(theta, x), reference, (2 * np.arange(n) + 1) / n - 1)
    inputs = rng.standard_normal((3, LEARNER.features))
    hidden = np.maximum(x @ inputs, 0) / np.sqrt(LEARNER.features)
    train = hidden[: DESIGN.training_stimuli]
    gram = train @ train.T + LEARNER.penalty * np.eye(len(train))
    readout = train.T @ np.linalg.solve(gram, y[: len(train)])
    tested = y[len(train) :]
    answers = np.clip(hidden[len(train) :] @ readout, -1, 1)
    return float(np.mean((answers - tested) ** 2) / np.var(tested))


def _mlp(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    start, widths = 0, (3, 16, 16, 1)
    for layer, (i, o) in enumerate(pairwise(widths)):
        block = theta[start : start + (i + 1) * o].reshape(i + 1, o)
        start += (i + 1) * o
        x = (x @ block[:-1] + block[-1]) * np.sqrt(2 / (i + 1))
        x = np.maximum(x, 0) if layer < 2 else x
    return x[:, 0]


def main() -> None:
    """Take turns, print rates and the ratio of each turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((POPULATION, GENES)).astype(np.float32)
    errors = compiled(theta, jnp.uint32(0)), plain(theta, rng)  # compile, warm up
    print("median relative error, compiled and plain:", *np.median(errors, 1).round(3))
    rates = np.array([_turn(theta, i, rng) for i in range(repeats)])
    ratio = rates[:, 0] / rates[:, 1]
    print(f"compiled {np.median(rates[:, 0]):,.0f} subjects/s")
    print(f"plain    {np.median(rates[:, 1]):,.0f} subjects/s")
    print(
        f"ratio    {np.median(ratio):.1f} (from {ratio.min():.1f} to {ratio.max():.1f})"
    )


def _turn(
    theta: np.ndarray, i: int, rng: np.random.Generator, calls: int = 10
) -> tuple[float, float]:
    start = time.perf_counter()
    for call in range(calls):
        compiled(theta, jnp.uint32(i * calls + call)).block_until_ready()
    middle = time.perf_counter()
    for _ in range(calls):
        plain(theta, rng)
    end = time.perf_counter()
    work = calls * POPULATION
    return work / (middle - start), work / (end - middle)


if __name__ == "__main__":
    main()
