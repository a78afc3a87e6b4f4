"""Inference of the subject model: its mode, its precision, draws of what it may be."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from meta_learner.subject_model import NUISANCES, Evidence, SubjectModel

COLD, WARM = 40, 15
"""Steps of a fit, at most: from the prior, and after a few more sessions."""

_DEVIATION, _DEVIATION_COUNT = 0.05, 2.0
"""Prior scale of entries of W, and how many observations it counts as."""

_EAGER, _RENEWED = 2, 3
"""Steps at the start that compute information, and then every so many."""

_SMALL = 100
"""Rows of a triangular matrix that is inverted at once."""

_LITTLE = 0.5
"""Gain in log posterior, over all parameters, that is not worth a step."""

_PARTS = (1.0, 0.5, 0.25)
"""Of a step, those that are tried."""


class Fit(NamedTuple):
    """A fitted model: ``parameters`` (parameters,), mode of their posterior.

    ``deviations`` (orders + 1,) is the scale of W within each order and between
    orders; ``weight`` () what one answer counts as:
    those of one session are not independent (magnitude adjustment of a composite
    likelihood, Ribatet et al. 2012, by the spread of the sessions' scores).
    """

    parameters: jax.Array
    deviations: jax.Array
    weight: jax.Array


class _Step(NamedTuple):
    """Where an optimisation stands.

    ``seen`` (parameters, parameters) is the information of the sessions, ``scores``
    (sessions, parameters) theirs, as they were when last computed.
    """

    fit: Fit
    damping: jax.Array
    taken: jax.Array
    done: jax.Array
    seen: jax.Array
    scores: jax.Array


def start(model: SubjectModel) -> Fit:
    """The model before any session."""
    # Of a type as strong as a fit's, or all is compiled twice.
    scales = jnp.full(model.shrunk.shape[1], _DEVIATION, jnp.float32)
    return Fit(jnp.asarray(model.centre), scales, jnp.ones(()))


def information(
    model: SubjectModel, parameters: jax.Array, evidence: Evidence
) -> jax.Array:
    """Fisher information of sessions, ``(parameters, parameters)``.

    What is to be learnt from sessions: needs no answers.
    """
    turned = model.turned(parameters)
    return _outer(model.scores(turned, parameters[-NUISANCES:], evidence)[0])


@partial(jax.jit, static_argnums=0)
def precision_of(model: SubjectModel, evidence: Evidence, fit: Fit) -> jax.Array:
    """Precision of the posterior, ``(parameters, parameters)``: Laplace's."""
    seen = information(model, fit.parameters, evidence)
    return fit.weight * seen + jnp.diag(model.precision(fit.deviations))


@partial(jax.jit, static_argnums=0)
def fit_model(
    model: SubjectModel, evidence: Evidence, start: Fit, most: jax.Array | int
) -> Fit:
    """Mode of the posterior by damped Fisher scoring from ``start``, ``most`` steps.

    Scales of W follow by MacKay's fixed point of the evidence, the weight of an
    answer by the spread of the sessions' scores.
    """
    size, sessions = len(start.parameters), len(evidence.counted)
    nothing = jnp.zeros((size, size)), jnp.zeros((sessions, size))
    begun = _Step(start, jnp.float32(0.05), jnp.int32(0), jnp.bool_(False), *nothing)
    end = jax.lax.while_loop(
        lambda step: (step.taken < most) & ~step.done,
        partial(_improve, model, evidence),
        begun,
    )
    return end.fit


def refit(model: SubjectModel, evidence: Evidence, before: Fit) -> Fit:
    """The model fitted to all ``evidence``, from where it stood."""
    first = bool((before.parameters == start(model).parameters).all())
    fit: Fit = fit_model(model, evidence, before, COLD if first else WARM)
    return fit


@partial(jax.jit, static_argnums=2)
def draw(fit: Fit, precision: jax.Array, n: int, key: jax.Array) -> jax.Array:
    """Draws from the posterior of the parameters, ``(n, parameters)``."""
    noise = jax.random.normal(key, (n, len(fit.parameters)))
    return fit.parameters + noise @ half_inverse(precision)


def half_inverse(matrix: jax.Array) -> jax.Array:
    """H, triangular, with H'H the inverse of a symmetric positive definite matrix."""
    return _inverted(jnp.linalg.cholesky(matrix))


def _inverted(root: jax.Array) -> jax.Array:
    """Inverse of a lower triangular matrix, by halves: mostly matrix products."""
    size = len(root)
    if size <= _SMALL:
        small: jax.Array = jax.scipy.linalg.solve_triangular(
            root, jnp.eye(size), lower=True
        )
        return small
    half = size // 2
    first = _inverted(root[:half, :half])
    # A sum with nothing orders the two: solvers must not run at once.
    second = _inverted(root[half:, half:] + 0 * jnp.nan_to_num(first.sum()))
    below = -second @ (root[half:, :half] @ first)
    return jnp.block([[first, jnp.zeros((half, size - half))], [below, second]])


def _improve(model: SubjectModel, evidence: Evidence, step: _Step) -> _Step:
    fit = step.fit
    u, precision = fit.parameters, model.precision(fit.deviations)
    centre = jnp.asarray(model.centre)

    def likelihood(root: jax.Array, nuisance: jax.Array) -> jax.Array:
        told = jax.vmap(partial(model.told, root, nuisance))(evidence).sum(1)
        return fit.weight * jnp.sum(evidence.counted * told)

    def loss(u: jax.Array) -> jax.Array:
        from_prior = 0.5 * jnp.sum(precision * (u - centre) ** 2)
        return from_prior - likelihood(model.turned(u)[0], u[-NUISANCES:])

    turned = model.turned(u)
    value, slopes = jax.value_and_grad(likelihood, (0, 1))(turned[0], u[-NUISANCES:])
    gradient = precision * (u - centre) - _pulled(turned, slopes)
    before = 0.5 * jnp.sum(precision * (u - centre) ** 2) - value
    # A sum with nothing orders what follows: batched solvers must not run at once.
    nothing = 0 * jnp.nan_to_num(before + gradient.sum())

    def look() -> tuple[jax.Array, jax.Array]:
        later = turned[0] + nothing, turned[1]
        rows, scores = model.scores(later, u[-NUISANCES:], evidence)
        return _outer(rows), scores

    # The gradient leads to the mode; information, which costs more, sets the pace.
    due = (step.taken < _EAGER) | (step.taken % _RENEWED == 0)
    seen, scores = jax.lax.cond(due, look, lambda: (step.seen, step.scores))
    curvature = fit.weight * seen + jnp.diag(precision + nothing)
    damping = step.damping * jnp.diag(curvature)
    # Of the inverse a root is enough, and its diagonal.
    half = half_inverse(curvature + jnp.diag(damping))
    variances = jnp.sum(half**2, 0)
    move = -half.T @ (half @ gradient)
    move *= jnp.minimum(1.0, 2 / jnp.max(jnp.abs(move)))
    # Information falls with the square of an amplitude: whole steps overshoot.
    parts = jnp.array(_PARTS)
    after = jax.lax.map(lambda part: loss(u + part * move), parts)
    after = jnp.where(jnp.isfinite(after), after, jnp.inf)
    better = after.min() < before
    u = jnp.where(better, u + parts[after.argmin()] * move, u)
    expected = (len(u) - variances @ (precision + damping)) / fit.weight
    found = Fit(
        u,
        _rescaled(model, u, fit.deviations, variances),
        _reweighted(fit.weight, expected, jnp.sum((half @ scores.T) ** 2)),
    )
    # What a step can still gain: next to the mode, float32 cannot tell before from
    # after, and neither is better.
    settled = -0.5 * gradient @ move < _LITTLE
    found = jax.tree.map(partial(jnp.where, better | settled), found, fit)
    still = (
        settled
        & (jnp.abs(jnp.log(found.deviations / fit.deviations)).max() < 0.1)
        & (jnp.abs(jnp.log(found.weight / fit.weight)) < 0.05)
    )
    damping = jnp.where(better, jnp.maximum(step.damping / 4, 1e-4), step.damping * 5)
    done = still | (damping > 1e4)
    return _Step(found, damping, step.taken + 1, done, seen, scores)


def _pulled(
    turned: tuple[jax.Array, jax.Array], slopes: tuple[jax.Array, jax.Array]
) -> jax.Array:
    """Slope in the parameters of what has these slopes in a root and in nuisances."""
    root, of_parameters = turned
    of_kernel = jnp.einsum("ab,abp->p", root.T @ slopes[0], of_parameters) / 2
    return jnp.concatenate([of_kernel, slopes[1]])


def _outer(slopes: jax.Array) -> jax.Array:
    """Sum over rows (sessions, rows, parameters) of their outer products."""
    # As one matrix product: XLA on a CPU takes twice as long for einsum.
    rows = slopes.reshape(-1, slopes.shape[-1])
    return rows.T @ rows


def _rescaled(
    model: SubjectModel, u: jax.Array, deviations: jax.Array, variances: jax.Array
) -> jax.Array:
    """Scales of W after one half of a step of MacKay's fixed point."""
    shrunk = jnp.asarray(model.shrunk)
    count = (shrunk > 0).sum(0)
    unsettled = (variances @ shrunk) / deviations**2
    settled = jnp.clip(count - unsettled, 0.0, count)
    power = u**2 @ shrunk + _DEVIATION_COUNT * _DEVIATION**2
    target = jnp.sqrt(power / (settled + _DEVIATION_COUNT))
    return jnp.sqrt(deviations * jnp.clip(target, 0.01, 1.5))


def _reweighted(weight: jax.Array, expected: jax.Array, spread: jax.Array) -> jax.Array:
    """Weight of an answer after half a step: spread of scores expected over seen."""
    target = expected / jnp.maximum(spread, 1e-6)
    return jnp.sqrt(weight * jnp.clip(target, 0.02, 1.0))
