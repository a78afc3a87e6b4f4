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
from meta_learner.subject_fit import Fit, half_inverse
from meta_learner.subject_model import NUISANCES, Evidence, SubjectModel

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
    half = half_inverse(precision)
    drawn = fit.parameters + jax.random.normal(draw_key, (POOL, len(half))) @ half
    pool = _draw_labellings(model, drawn, label_key)
    sizes = sizes or training_sizes(design)
    keys = jax.random.split(stimulus_key, POOL)
    of_pool = jax.vmap(partial(_session, model, design), (0, None, 0))
    sessions = jax.vmap(of_pool, (None, 0, None))(pool, jnp.array(sizes), keys)
    sessions = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), sessions)
    # A sum with nothing orders the two: XLA on few cores hangs where solvers meet.
    turned = model.turned(fit.parameters + 0 * jnp.nan_to_num(half.sum()))
    slopes, _ = model.scores(turned, fit.parameters[-NUISANCES:], sessions)
    answers = design.test_trials / sessions.tested.shape[1]
    slopes *= jnp.sqrt(fit.weight * answers)
    target = _kernel_slopes(model, turned, probe_key)
    picked = _pick(slopes, target, half, batch)
    return pool[picked % POOL], jnp.array(sizes)[picked // POOL]


def _draw_labellings(
    model: SubjectModel, drawn: jax.Array, key: jax.Array
) -> jax.Array:
    """Coefficients ``(POOL, functions - 1)``, each from its own draw of the kernel."""
    roots = jax.vmap(model.root)(_TEMPER * drawn)[:, 1:]
    noise = jax.random.normal(key, (len(drawn), model.functions))
    rows = jnp.einsum("pij,pj->pi", roots, noise)
    unit: jax.Array = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _session(
    model: SubjectModel,
    design: Design,
    row: jax.Array,
    trained: jax.Array,
    key: jax.Array,
) -> Evidence:
    """A session that is not yet run, with some of its test stimuli."""
    n = design.training_stimuli
    few = min(design.test_stimuli, _TESTED)
    basis = model.basis(model.space.sample(key, n + few))
    y = labels_of(basis, row)
    there = (jnp.arange(n) < trained).astype(jnp.float32)
    return Evidence(
        basis[:n] * there[:, None],
        y[:n] * there,
        jnp.full(n, float(design.training_repeats)),
        basis[n:],
        y[n:],
        jnp.ones(few),
        jnp.ones(()),
    )


def _kernel_slopes(
    model: SubjectModel, turned: tuple[jax.Array, jax.Array], key: jax.Array
) -> jax.Array:
    """Slopes of random combinations of the entries of the kernel of trace one.

    Shape ``(probes, parameters)``: their variances add up, on average, to the total
    variance of the entries (Hutchinson's estimate of a trace).
    """
    root, slopes = turned[0][1:], turned[1]
    size = model.functions - 1
    probes = jax.random.normal(key, (_PROBES, size, size)) / _PROBES**0.5
    kernel = root @ root.T
    level = jnp.einsum("pij,ij->p", probes, kernel) / jnp.trace(kernel)
    # Slopes of both the entries and the trace.
    inner = probes - level[:, None, None] * jnp.eye(size)
    inner = root.T @ inner @ root / jnp.trace(kernel)
    of_kernel = jnp.einsum("pab,abi->pi", inner, slopes)
    return jnp.pad(of_kernel, ((0, 0), (0, NUISANCES)))


def _pick(
    slopes: jax.Array, target: jax.Array, half: jax.Array, batch: int
) -> jax.Array:
    """The sessions ``(batch,)`` that tell most, one after the other.

    Cholesky factorisation, in blocks, with pivoting: of the covariance of all answers,
    and of the probes with them. ``slopes`` (sessions, rows, parameters), ``target``
    (probes, parameters), ``half`` as from :func:`half_inverse` of the precision.
    """
    count, size, parameters = slopes.shape
    white = jnp.concatenate([slopes.reshape(count * size, -1), target]) @ half.T
    of_sessions, probes = jnp.split(white, [count * size])
    mine = of_sessions.reshape(count, size, -1)
    # What is known takes away: behind the covariance, with a minus.
    whole = jnp.pad(white, ((0, 0), (0, batch * size)))
    sign = jnp.where(jnp.arange(whole.shape[1]) < parameters, 1.0, -1.0)

    def take(
        state: tuple[jax.Array, jax.Array, jax.Array], i: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array, jax.Array], jax.Array]:
        inside, seen, whole = state
        roots = jnp.linalg.cholesky(inside)
        told = jax.scipy.linalg.solve_triangular(roots, seen, lower=True)
        best = jnp.argmax(jnp.sum(told**2, (1, 2)))
        picked = jax.lax.dynamic_slice_in_dim(whole, best * size, size)
        shared = (picked * sign) @ whole.T
        known = jax.scipy.linalg.solve_triangular(roots[best], shared, lower=True)
        place = parameters + i * size
        whole = jax.lax.dynamic_update_slice_in_dim(whole, known.T, place, 1)
        block, of_probes = jnp.split(known, [count * size], 1)
        block = block.reshape(size, count, size).swapaxes(0, 1)
        inside -= block.swapaxes(1, 2) @ block
        seen -= block.swapaxes(1, 2) @ of_probes
        return (inside, seen, whole), best

    inside = mine @ mine.swapaxes(1, 2) + jnp.eye(size)
    state = inside, mine @ probes.T, whole
    _, picked = jax.lax.scan(take, state, jnp.arange(batch))
    return picked
