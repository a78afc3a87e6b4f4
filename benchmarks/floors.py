"""What the machine itself takes for an evaluation: no program can be faster.

Two floors assume perfection: `arithmetic`, all multiplications at the speed of one
large matrix product, and `bytes`, every array that has to be made written and read once
at the speed of a large copy (caches beat that one). Small matrices reach neither, so
that the *achievable* floor is measured step by step: each step alone, without what
surrounds it, by whichever of XLA and NumPy (BLAS, its time divided by the cores) is the
faster.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simulated_subjects.spiking_network import membrane, spike
from stimuli import random_keys

TRAINED, TESTED, REFERENCE = 30, 50, 512
_BLOCKS, _TOGETHER = 8, 64


class Machine(NamedTuple):
    """Name, cores, multiply-adds x 2 and bytes per second."""

    name: str
    cores: int
    flops: float
    bandwidth: float


class Floor(NamedTuple):
    """Evaluations per second: achievable, and by arithmetic and bytes alone.

    ``parts`` are microseconds of the achievable one.
    """

    per_second: float
    parts: dict[str, float]
    arithmetic: float
    bytes: float


def measure() -> Machine:
    """The machine, by one large product and one large copy."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    square = jax.random.normal(random_keys.key(0), (size, size))
    long = jnp.ones(2**26)
    product = _seconds(jax.jit(jnp.matmul), 1.0, square, square)
    copy = _seconds(jax.jit(lambda a: a + 1), 1.0, long)
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0))
    return Machine(
        device.device_kind, cores, 2 * size**3 / product, 2 * long.nbytes / copy
    )


def kernel(machine: Machine, seconds: float) -> Floor:
    """Of 100 random ReLU features and ridge regression."""
    parts = {
        "random numbers": _normals(540, seconds),
        **_labels(3, machine, seconds),
        "features": _products([(80, 3, 100)], machine, seconds),
        "gram": _products([(TRAINED, 100, TRAINED)], machine, seconds),
        "solve": _solve(TRAINED, seconds),
        "readout": _products([(1, 30, 100), (1, 100, 50)], machine, seconds),
    }
    flops = _label_flops(3) + 2 * (80 * 300 + 30 * 30 * 100 + 8000) + 30**3 / 3
    made = 592 * 33 + 80 * 100 + 30 * 30 + 540
    return _floor(machine, parts, flops, 8 * made)


def relu(machine: Machine, seconds: float) -> Floor:
    """Of a 3-20-20-1 network and 200 steps of descent."""
    forward = [(30, 3, 20), (30, 20, 20), (30, 20, 1)]
    backward = [(3, 30, 20), (20, 30, 20), (30, 20, 20), (20, 30, 1), (30, 1, 20)]
    step = _products([*forward, *backward], machine, seconds)
    parts = {
        "random numbers": _normals(240 + 521, seconds),
        **_labels(3, machine, seconds),
        "200 steps": 200 * step,
    }
    flops = 200 * 2 * sum(n * k * m for n, k, m in (*forward, *backward))
    made = 592 * 33 + 200 * (2 * 30 * 41 + 2 * 521)
    return _floor(machine, parts, flops + _label_flops(3), 8 * made)


def spiking(machine: Machine, seconds: float) -> Floor:
    """Of 200 Poisson inputs, 30 units, 100 time steps and 50 training steps."""
    heard = 100 * TRAINED * 200
    step = _products([(30, 200, 3000), (200, 3000, 30)], machine, seconds, 4, 1)
    parts = {
        "random numbers": _uniforms(50 * heard + 100 * TESTED * 200, seconds),
        **_labels(2, machine, seconds),
        "50 steps, products": 50 * step,
        "50 steps, membrane": 50 * _membrane(seconds),
    }
    flops = 50 * 2 * 2 * heard * 30 + _label_flops(2)
    made = 592 * 33 + 50 * (2 * heard + 6 * 100 * TRAINED * 30)
    return _floor(machine, parts, flops, 8 * made)


FLOORS = {"kernel": kernel, "relu": relu, "spiking": spiking}


def _floor(
    machine: Machine, parts: dict[str, float], flops: float, moved: float
) -> Floor:
    whole = sum(parts.values())
    return Floor(1e6 / whole, parts, machine.flops / flops, machine.bandwidth / moved)


def _labels(features: int, machine: Machine, seconds: float) -> dict[str, float]:
    """Of a 16-16-1 network on 512 reference stimuli and those of the session."""
    n = REFERENCE + TRAINED + TESTED
    layers = [(16, features, n), (16, 16, n), (1, 16, n)]
    return {"labels": _products(layers, machine, seconds)}


def _label_flops(features: int) -> float:
    return 2 * (REFERENCE + TRAINED + TESTED) * (16 * features + 256 + 16)


def _products(
    shapes: Sequence[tuple[int, int, int]],
    machine: Machine,
    seconds: float,
    blocks: int = _BLOCKS,
    together: int = _TOGETHER,
) -> float:
    """Microseconds of products of an individual, each by the faster way."""
    return sum(
        min(
            _by_xla(shape, seconds / len(shapes), blocks, together),
            _by_numpy(shape, seconds / len(shapes), together, machine),
        )
        for shape in shapes
    )


def _by_xla(
    shape: tuple[int, int, int], seconds: float, blocks: int, together: int
) -> float:
    n, k, m = shape
    a = jnp.ones((blocks, together, n, k))
    b = jnp.ones((blocks, together, k, m))
    # Summed, so that writing the results of all to memory does not count.
    product = jax.jit(
        lambda a, b: jax.lax.map(lambda ab: (ab[0] @ ab[1]).sum(), (a, b))
    )
    return 1e6 * _seconds(product, seconds, a, b) / (blocks * together)


def _by_numpy(
    shape: tuple[int, int, int], seconds: float, together: int, machine: Machine
) -> float:
    if jax.default_backend() != "cpu":
        return float("inf")
    n, k, m = shape
    a, b = np.ones((together, n, k), np.float32), np.ones((together, k, m), np.float32)
    out = np.empty((together, n, m), np.float32)
    return (
        1e6
        * _seconds(lambda: np.matmul(a, b, out=out), seconds)
        / (together * machine.cores)
    )


def _solve(n: int, seconds: float) -> float:
    factor = jax.random.normal(random_keys.key(0), (_BLOCKS, _TOGETHER, n, n))
    gram = factor @ jnp.swapaxes(factor, -1, -2) + jnp.eye(n)
    solve = jax.vmap(partial(jax.scipy.linalg.solve, assume_a="pos"))
    ones = jnp.ones((_BLOCKS, _TOGETHER, n))
    every = jax.jit(lambda g, y: jax.lax.map(lambda gy: solve(*gy), (g, y)))
    return 1e6 * _seconds(every, seconds, gram, ones) / (_BLOCKS * _TOGETHER)


def _normals(n: int, seconds: float) -> float:
    draw = jax.jit(lambda k: jax.random.normal(k, (_TOGETHER * n,)).sum())
    return 1e6 * _seconds(draw, seconds, random_keys.key(0)) / _TOGETHER


def _uniforms(n: int, seconds: float) -> float:
    draw = jax.jit(lambda k: (jax.random.uniform(k, (2**20,)) < 0.3).sum())
    return 1e6 * _seconds(draw, seconds, random_keys.key(0)) * n / 2**20


def _membrane(seconds: float, together: int = 4) -> float:
    """A training step's way there and back, for one individual."""

    def fired(current: jax.Array) -> jax.Array:
        return spike(membrane(current, 0.95) - 1).sum()

    current = jnp.ones((100, together, TRAINED, 30))
    way = jax.jit(lambda c: jax.grad(fired)(c).sum())
    return 1e6 * _seconds(way, seconds, current) / together


def _seconds(work: Callable[..., Any], limit: float, *of: Any) -> float:
    """The least seconds of a call, in about ``limit`` seconds of calls."""
    wait: Callable[[Any], Any] = jax.block_until_ready
    wait(work(*of))
    least, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < limit:
        now = time.perf_counter()
        wait(work(*of))
        least = min(least, time.perf_counter() - now)
    return least
