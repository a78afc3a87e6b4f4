"""Subjects trained and tested per second, beside PyTorch and beside the machine.

    python -m benchmarks.evaluations [--turns 7] [--seconds 3] [kernel relu spiking]

One compiled program for whole generations, in a process of one thread for each core
as `penchant sweep` runs it, against the per-subject loop of `per_subject_loop.py`, with
one thread or all, whichever is faster. They take turns on the same cores.
The loop is run twice: with the work that ours does, and as the paper does it, with a
Sinkhorn divergence in place of labels distributed by construction. The floors are those
of `floors.py`, measured in the same run. Needs the extra ``bench``. On a GPU it is the
same program; the loop stays on the CPU and its ratio is left out.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.floors import FLOORS, Machine, measure
from meta_learner.assignment import Design, draw_assignments
from meta_learner.families import MLP
from meta_learner.labelling import Labeller
from meta_learner.scoring import session_error
from server.compile_cache import keep_compiled
from server.hand_out import ONE_THREAD
from simulated_subjects.individual import run_sessions
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.relu_network import ReluNetwork
from simulated_subjects.responses import Graded
from simulated_subjects.spiking_network import SpikingNetwork
from stimuli import random_keys
from stimuli.phase_difference import PhaseDifference
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere

RESULTS = Path(__file__).parent / "results" / "evaluations.json"
DESIGN = Design(30, 50, shared_stimuli=False)


class Subject(NamedTuple):
    """What is evaluated: ``blocks`` of ``together`` individuals in a call."""

    learner: Learner
    space: StimulusSpace
    blocks: int
    together: int


SUBJECTS = {
    "kernel": Subject(KernelRidge(), Sphere(), 64, 64),
    "relu": Subject(ReluNetwork(), Sphere(), 4, 32),
    "spiking": Subject(SpikingNetwork(), PhaseDifference(), 2, 4),
}


def generation(subject: Subject) -> Callable[[int], jax.Array]:
    """A compiled generation: median relative error of individuals, by seed."""
    family = MLP()
    labeller = Labeller(subject.space, family, "standardised")
    genes = family.genes(subject.space)
    together = subject.together if jax.default_backend() == "cpu" else 0

    size = together or subject.blocks * subject.together
    blocks = subject.blocks if together else 1
    # Of each block its own: of labellings that stay, XLA would keep what it can.
    every = jax.random.normal(random_keys.key(0), (blocks, size, genes))

    def block(theta: jax.Array, key: jax.Array) -> jax.Array:
        n = DESIGN.training_trials
        seed_key, born_key = jax.random.split(key)
        slots = jnp.zeros((size, 4), int).at[:, 2].set(jnp.arange(size))
        seed = jax.random.bits(seed_key)
        drawn = draw_assignments(labeller, DESIGN, (), theta, slots, seed)
        y = jnp.take_along_axis(drawn.y, drawn.order, 1)
        answers, there = run_sessions(
            subject.learner,
            Graded(),
            jax.random.split(born_key, size),
            drawn.x,
            drawn.order,
            y[:, :n],
        )
        error, _, variance = jax.vmap(session_error)(
            drawn.y[:, n:], drawn.order[:, n:] - n, answers, there
        )
        return error / variance

    @jax.jit
    def errors(every: jax.Array, seed: jax.Array) -> jax.Array:
        keys = jax.random.split(random_keys.key(seed), blocks)
        return jnp.median(jax.lax.map(lambda now: block(*now), (every, keys)))

    return lambda seed: errors(every, jnp.uint32(seed)).block_until_ready()


def loops(name: str) -> dict[str, Callable[[], float]]:
    """The PyTorch loop's evaluation of one subject, with either distribution."""
    import torch

    from benchmarks import per_subject_loop as loop

    space = SUBJECTS[name].space
    labelling = loop.perceptron(len(space.features), 16, 16, 1)
    reference = torch.tensor(np.array(space.grid(loop.REFERENCE)))
    sample = loop.circle if name == "spiking" else loop.sphere
    learn = getattr(loop, name)
    return {
        distribution: lambda distribution=distribution: loop.evaluate(  # type: ignore[misc]
            learn, sample, labelling, reference, distribution
        )
        for distribution in ("standardised", "sinkhorn")
    }


def _settle_threads(evaluate: Callable[[], float], seconds: float) -> None:
    """Let PyTorch have as many threads as serve it best, one or all."""
    import torch

    def speed(threads: int) -> float:
        torch.set_num_threads(threads)
        evaluate()
        return rate(lambda _: evaluate(), 1, seconds / 2)

    best = max((1, len(os.sched_getaffinity(0))), key=speed)
    torch.set_num_threads(best)
    print(f"  PyTorch with {best} threads", flush=True)


def rate(evaluate: Callable[[int], Any], at_once: int, seconds: float) -> float:
    """Evaluations per second, for about so many seconds."""
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        evaluate(calls)
        calls += 1
    return calls * at_once / (time.perf_counter() - start)


def _work(name: str, pipe: Connection) -> None:
    """In a process: evaluate for as many seconds as asked, and tell the rate."""
    keep_compiled()
    subject = SUBJECTS[name]
    ours = generation(subject)
    pipe.send(float(ours(0)))
    while seconds := pipe.recv():
        pipe.send(rate(ours, subject.blocks * subject.together, seconds))


@contextlib.contextmanager
def workers(name: str, number: int) -> Iterator[list[Connection]]:
    """Processes that evaluate, of one thread each if there are several."""
    spawn, before = multiprocessing.get_context("spawn"), dict(os.environ)
    if number > 1:
        os.environ.update(ONE_THREAD)
    pipes = []
    for _ in range(number):
        ours, theirs = spawn.Pipe()
        spawn.Process(target=_work, args=(name, theirs), daemon=True).start()
        pipes.append(ours)
    os.environ.clear()
    os.environ.update(before)
    error, *_ = [pipe.recv() for pipe in pipes]
    print(f"{name}: median relative error {error:.3f}", flush=True)
    yield pipes
    for pipe in pipes:
        pipe.send(0.0)


def compare(name: str, turns: int, seconds: float, machine: Machine) -> dict[str, Any]:
    """Rates and ratios of each turn, and the floors."""
    on_cpu = jax.default_backend() == "cpu"
    plain = loops(name) if on_cpu else {}
    if plain:
        _settle_threads(plain["standardised"], seconds)
    found: dict[str, Any] = {"ours": [], **{kind: [] for kind in plain}, "floor": []}
    with workers(name, machine.cores if on_cpu else 1) as pipes:
        for _ in range(turns):
            for pipe in pipes:
                pipe.send(seconds)
            found["ours"].append(sum(pipe.recv() for pipe in pipes))
            for kind, one in plain.items():
                found[kind].append(rate(lambda _, one=one: one(), 1, seconds))  # type: ignore[misc]
            found["floor"].append(FLOORS[name](machine, seconds / 4).per_second)
    floors = FLOORS[name](machine, seconds)
    found["parts_us"] = floors.parts
    found["arithmetic"], found["bytes"] = floors.arithmetic, floors.bytes
    return found


def report(found: dict[str, Any]) -> None:
    """Print median, least and greatest of each rate and ratio."""

    def words(values: Any) -> str:
        low, middle, high = np.quantile(values, (0, 0.5, 1))
        return f"{middle:,.3g} ({low:,.3g} to {high:,.3g})"

    ours = np.array(found["ours"])
    print(f"  ours {words(ours)} a second")
    for kind in ("standardised", "sinkhorn"):
        if kind in found:
            print(
                f"  PyTorch, {kind}: {words(found[kind])}; ratio "
                f"{words(ours / found[kind])}"
            )
    print(f"  achievable floor {words(found['floor'])}; share of it", end=" ")
    print(words(ours / found["floor"]))
    for floor in ("arithmetic", "bytes"):
        print(
            f"  floor by {floor} alone {found[floor]:,.3g}; share "
            f"{words(ours / found[floor])}"
        )
    parts = ", ".join(f"{k} {v:.3g}" for k, v in found["parts_us"].items())
    print(f"  its parts, microseconds: {parts}", flush=True)


def main() -> None:
    """Compare, print, and keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", default=[*SUBJECTS])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    keep_compiled()
    machine = measure()
    print(machine)
    every = {}
    for name in asked.subjects:
        every[name] = compare(name, asked.turns, asked.seconds, machine)
        report(every[name])
    kept = {"device": machine.name, "machine": machine._asdict(), "subjects": every}
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
