"""Studies by the subject model for a plan: blocks of them, as arrays."""

from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from meta_learner.bias import components
from meta_learner.subject_fit import COLD, WARM
from meta_learner.subject_model import Evidence
from server.simulated_study import Simulation, begin, learn, tell_batch

_ROOMS = (6, 2, 1)
"""Fits are compiled for a sixth, half, and all of the sessions."""

Floats = NDArray[np.float64]


def recovered_by_model(
    simulation: Simulation,
    steps: Sequence[int],
    numbers: Sequence[int],
    k: int,
    room: tuple[int, int],
    key: jax.Array,
) -> Iterator[tuple[int, Floats]]:
    """Sessions done and components recovered ``(studies, k, functions - 1)``.

    Of the studies with these ``numbers``, from which their draws follow: any block of
    as many is the same program. ``room`` are training stimuli and test trials to which
    evidence is padded, so that fits of all splits are compiled once.
    """
    model, studies = simulation.model, jnp.asarray(numbers)
    progressing = begin(simulation, len(numbers))
    fits, precisions = progressing.fit, progressing.precision
    of_study = jax.vmap(partial(components, model, k=k))
    told: list[Evidence] = []
    for done in steps:
        while (so_far := len(told) * simulation.batch) < done:
            now = jax.random.fold_in(key, so_far)
            keys = jax.vmap(partial(jax.random.fold_in, now))(studies)
            told.append(tell_batch(simulation, fits, precisions, keys))
        space = next(n for part in _ROOMS if (n := -(-steps[-1] // part)) >= done)
        evidence = _padded(told, space, *room)
        most = COLD if done == steps[0] else WARM
        _, fits, precisions = learn(model, evidence, fits, most)
        yield done, np.asarray(of_study(fits.parameters)[1], float)


def _padded(
    told: Sequence[Evidence], sessions: int, trained: int, tested: int
) -> Evidence:
    """Batches one after the other, and nothing after them: what is not there is 0."""

    def whole(*batches: jax.Array) -> jax.Array:
        return jnp.concatenate(batches, 1)

    stimuli, trials = (sessions, trained), (sessions, tested)
    sizes = (stimuli, stimuli, stimuli, trials, trials, trials, (sessions,))

    def pad(leaf: jax.Array, size: tuple[int, ...], value: float) -> jax.Array:
        more = [(0, n - m) for n, m in zip(size, leaf.shape[1:], strict=False)]
        rest = [(0, 0)] * (leaf.ndim - 1 - len(more))
        return jnp.pad(leaf, [(0, 0), *more, *rest], constant_values=value)

    repeats = Evidence._fields.index("repeats")  # which are divided by
    return Evidence(
        *(
            pad(leaf, size, float(i == repeats))
            for i, (leaf, size) in enumerate(
                zip(jax.tree.map(whole, *told), sizes, strict=True)
            )
        )
    )
