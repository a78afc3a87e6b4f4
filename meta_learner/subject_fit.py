"""Inference of the subject model: its mode, its precision, draws of what it may be."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from meta_learner.subject_model import Evidence, SubjectModel

COLD, WARM = 40, 15
"""Steps of a fit, at most: from the prior, and after a few more sessions."""

_DEVIATION, _DEVIATION_COUNT = 0.05, 2.0
"""Prior scale of entries of W, and how many observations it counts as."""

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
    """Where an optimisation stands."""

    fit: Fit
    damping: jax.Array
    taken: jax.Array
    done: jax.Array


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
    return _outer(model.scores(parameters, evidence)[0])


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
    begun = _Step(start, jnp.float32(0.05), jnp.int32(0), jnp.bool_(False))
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
    root = jnp.linalg.cholesky(precision)
    noise = jax.random.normal(key, (len(fit.parameters), n))
    spread = jax.scipy.linalg.solve_triangular(root.T, noise, lower=False)
    return fit.parameters + spread.T


def _improve(model: SubjectModel, evidence: Evidence, step: _Step) -> _Step:
    fit = step.fit
    u, precision = fit.parameters, model.precision(fit.deviations)
    centre = jnp.asarray(model.centre)

    def loss(u: jax.Array) -> jax.Array:
        told = jax.vmap(partial(model.log_likelihood, u))(evidence).sum(1)
        from_prior = 0.5 * jnp.sum(precision * (u - centre) ** 2)
        return from_prior - fit.weight * jnp.sum(evidence.counted * told)

    before, gradient = jax.value_and_grad(loss)(u)
    # A sum with nothing orders the two: batched solvers must not run at once.
    nothing = 0 * jnp.nan_to_num(before + gradient.sum())
    slopes, residuals = model.scores(u + nothing, evidence)
    seen = _outer(slopes)
    curvature = fit.weight * seen + jnp.diag(precision)
    damped = curvature + step.damping * jnp.diag(jnp.diag(curvature))
    root = jax.scipy.linalg.cho_factor(damped, lower=True)
    inverse = jax.scipy.linalg.cho_solve(root, jnp.eye(len(u)))
    move = -inverse @ gradient
    move *= jnp.minimum(1.0, 2 / jnp.max(jnp.abs(move)))
    # Information falls with the square of an amplitude: whole steps overshoot.
    parts = jnp.array(_PARTS)
    after = jax.lax.map(lambda part: loss(u + part * move), parts)
    after = jnp.where(jnp.isfinite(after), after, jnp.inf)
    better = after.min() < before
    u = jnp.where(better, u + parts[after.argmin()] * move, u)
    found = Fit(
        u,
        _rescaled(model, u, fit.deviations, inverse),
        _reweighted(fit.weight, slopes, residuals, inverse, seen),
    )
    # What a step can still gain: next to the mode, float32 cannot tell before from
    # after, and neither is better.
    settled = -0.5 * gradient @ move < 0.05
    found = jax.tree.map(partial(jnp.where, better | settled), found, fit)
    still = (
        settled
        & (jnp.abs(jnp.log(found.deviations / fit.deviations)).max() < 0.1)
        & (jnp.abs(jnp.log(found.weight / fit.weight)) < 0.05)
    )
    damping = jnp.where(better, jnp.maximum(step.damping / 4, 1e-4), step.damping * 5)
    return _Step(found, damping, step.taken + 1, still | (damping > 1e4))


def _outer(slopes: jax.Array) -> jax.Array:
    """Sum over rows (sessions, rows, parameters) of their outer products."""
    # As one matrix product: XLA on a CPU takes twice as long for einsum.
    rows = slopes.reshape(-1, slopes.shape[-1])
    return rows.T @ rows


def _rescaled(
    model: SubjectModel, u: jax.Array, deviations: jax.Array, covariance: jax.Array
) -> jax.Array:
    """Scales of W after one half of a step of MacKay's fixed point."""
    shrunk = jnp.asarray(model.shrunk)
    count = (shrunk > 0).sum(0)
    unsettled = (jnp.diag(covariance) @ shrunk) / deviations**2
    settled = jnp.clip(count - unsettled, 0.0, count)
    power = u**2 @ shrunk + _DEVIATION_COUNT * _DEVIATION**2
    target = jnp.sqrt(power / (settled + _DEVIATION_COUNT))
    return jnp.sqrt(deviations * jnp.clip(target, 0.01, 1.5))


def _reweighted(
    weight: jax.Array,
    slopes: jax.Array,
    residuals: jax.Array,
    covariance: jax.Array,
    seen: jax.Array,
) -> jax.Array:
    """Weight of an answer after half a step: spread of scores expected over seen."""
    scores = jnp.einsum("smi,sm->si", slopes, residuals)
    spread = jnp.einsum("si,ij,sj->", scores, covariance, scores)
    target = jnp.sum(covariance * seen) / jnp.maximum(spread, 1e-6)
    return jnp.sqrt(weight * jnp.clip(target, 0.02, 1.0))
