"""What to ask next: labellings and numbers of training stimuli that tell most.

Thompson sampling proposes: a kernel from the posterior, then a function from that
kernel's own tempered prior. Of many proposals those are taken, one after the other,
from which most is expected about the components: the reduction of the posterior
variance of the kernel of trace one, in which leading eigenfunctions weigh most.
What pending sessions will tell counts as known: it does not depend on their answers.
"""

from functools import partial

import jax
import jax.numpy as jnp

from meta_learner.assignment import Design
from meta_learner.bias import labels_of
from meta_learner.subject_fit import Fit, draw
from meta_learner.subject_model import Evidence, SubjectModel

POOL = 24
"""Labellings proposed, from which a batch is chosen."""

_TEMPER = 0.5
"""Power of the kernel from which labellings are drawn: 1 its own prior, 0 white.

At 1 a kernel with one large eigenvalue would ask for that labelling alone.
"""

_TESTED = 20
"""Test stimuli for which information is computed, at most."""

_PROBES = 32
"""Random combinations of kernel entries that stand for all of them."""


def training_sizes(design: Design) -> tuple[int, ...]:
    """Numbers of training stimuli to choose from: a fifth of the design's to all."""
    most = design.training_stimuli
    return tuple(sorted({max(round(most * f), min(most, 4)) for f in (0.2, 0.4, 1.0)}))


@partial(jax.jit, static_argnums=(0, 1, 4, 6))
def propose(
    model: SubjectModel,
    design: Design,
    fit: Fit,
    precision: jax.Array,
    batch: int,
    key: jax.Array,
    sizes: tuple[int, ...] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The next sessions: coefficients ``(batch, functions - 1)`` and training stimuli.

    The second is ``(batch,)``, one of ``sizes``, by default :func:`training_sizes`.
    ``precision`` is that of the posterior, with the information of pending sessions
    added.
    """
    draw_key, label_key, stimulus_key, probe_key = jax.random.split(key, 4)
    pool = _draw_labellings(model, fit, precision, draw_key, label_key)
    sizes = sizes or training_sizes(design)
    keys = jax.random.split(stimulus_key, POOL)
    of_pool = jax.vmap(partial(_slopes, model, design, fit), (0, None, 0))
    # All sizes in one call: XLA on few cores hangs where two solvers run at once.
    slopes = jax.vmap(of_pool, (None, 0, None))(pool, jnp.array(sizes), keys)
    slopes = slopes.reshape(-1, *slopes.shape[2:])
    covariance = jnp.linalg.inv(precision)
    covariance = (covariance + covariance.T) / 2
    target = _kernel_slopes(model, fit.parameters, probe_key)

    def take(covariance: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        best, after = _take(slopes, covariance, target)
        return after, best

    _, picked = jax.lax.scan(take, covariance, length=batch)
    return pool[picked % POOL], jnp.array(sizes)[picked // POOL]


def _draw_labellings(
    model: SubjectModel,
    fit: Fit,
    precision: jax.Array,
    draw_key: jax.Array,
    label_key: jax.Array,
) -> jax.Array:
    """Coefficients ``(POOL, functions - 1)``, each from its own draw of the kernel."""
    kernels = jax.vmap(model.kernel)(draw(fit, precision, POOL, draw_key))
    values, vectors = jnp.linalg.eigh(kernels[:, 1:, 1:])
    scale = jnp.maximum(values, 1e-6) ** (_TEMPER / 2)
    noise = jax.random.normal(label_key, scale.shape)
    rows = jnp.einsum("pij,pj->pi", vectors, scale * noise)
    unit: jax.Array = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _slopes(
    model: SubjectModel,
    design: Design,
    fit: Fit,
    row: jax.Array,
    trained: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Standardised slopes of a session that is not yet run, ``(rows, parameters)``."""
    n, m = design.training_stimuli, design.test_stimuli
    few = min(m, _TESTED)
    basis = model.basis(model.space.sample(key, n + few))
    y = labels_of(basis, row)
    there = (jnp.arange(n) < trained).astype(jnp.float32)
    session = Evidence(
        basis[:n] * there[:, None],
        y[:n] * there,
        jnp.full(n, float(design.training_repeats)),
        basis[n:],
        y[n:],
        jnp.ones(few),
        jnp.ones(()),
    )
    one = jax.tree.map(lambda leaf: leaf[None], session)
    slopes, _ = model.scores(fit.parameters, one)
    answers = m * design.test_repeats / few
    return slopes[0] * jnp.sqrt(fit.weight * answers)


def _kernel_slopes(
    model: SubjectModel, parameters: jax.Array, key: jax.Array
) -> jax.Array:
    """Slopes of random combinations of the entries of the kernel of trace one.

    Shape ``(probes, parameters)``: their variances add up, on average, to the total
    variance of the entries (Hutchinson's estimate of a trace).
    """
    size = model.functions - 1
    probes = jax.random.normal(key, (_PROBES, size, size)) / _PROBES**0.5

    def normal(parameters: jax.Array) -> jax.Array:
        kernel = model.kernel(parameters)[1:, 1:]
        return jnp.einsum("pij,ij->p", probes, kernel) / jnp.trace(kernel)

    slopes: jax.Array = jax.jacrev(normal)(parameters)
    return slopes


def _take(
    slopes: jax.Array, covariance: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The session that tells most, and the covariance once it has been run."""
    spread = slopes @ covariance
    inside = jnp.einsum("smi,sni->smn", spread, slopes) + jnp.eye(slopes.shape[1])
    seen = spread @ target.T
    told = jax.vmap(partial(jax.scipy.linalg.solve, assume_a="pos"))(inside, seen)
    best = jnp.argmax(jnp.sum(told * seen, (1, 2)))
    gain = jax.scipy.linalg.solve(inside[best], spread[best], assume_a="pos")
    return best, covariance - spread[best].T @ gain
