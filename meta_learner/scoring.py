"""Errors and meta-losses of a generation, for compiled programs.

The same as `generalisation.generalisation_error`, `scores.Scores` and
`shrinkage.shrunk` make of sessions one by one, as functions that can be traced.
"""

import jax
import jax.numpy as jnp

from meta_learner.objective import Objective
from meta_learner.psychometric import Psychometric
from meta_learner.shrinkage import LEAST

Measured = tuple[jax.Array, jax.Array, jax.Array]
"""Error, its standard error, and the variance of the ideal answers, each ()."""


def session_error(
    labels: jax.Array,
    stimuli: jax.Array,
    answers: jax.Array,
    responded: jax.Array,
    psychometric: Psychometric | None = None,
    without_side: bool = False,
) -> Measured:
    """Error of one session; NaN where it cannot be scored.

    ``labels`` (stimuli,) of the test stimuli; ``stimuli``, ``answers`` and
    ``responded`` (trials,). As
    :func:`meta_learner.generalisation.generalisation_error`, which says more.
    """
    there = responded.astype(answers.dtype)
    of_stimulus = jax.nn.one_hot(stimuli, len(labels), axis=0) * there
    count = of_stimulus.sum(1)
    scored = count >= jnp.where(count.max() > 1, 2, 1)
    ideal = labels if psychometric is None else psychometric.expected(labels)
    n, weight = jnp.maximum(count, 1), scored / jnp.maximum(scored.sum(), 1)
    mean = of_stimulus @ answers / n
    spread = of_stimulus @ answers**2 / n - mean**2
    noise = jnp.where(n > 1, spread / jnp.maximum(n - 1, 1), 0.0)
    missed = ideal - mean
    if without_side:
        missed, noise = missed - weight @ missed, noise * (1 - weight)
    squared = missed**2 - noise
    error = weight @ squared
    number = scored.sum()
    spread_of_error = weight @ (squared - error) ** 2 / jnp.maximum(number - 1, 1)
    variance = weight @ (ideal - weight @ ideal) ** 2
    range_of_ideal = jnp.ptp(jnp.where(scored, ideal, weight @ ideal))
    usable = (number >= 2) & (range_of_ideal > 0)
    measured = (error, jnp.sqrt(spread_of_error), variance)
    return tuple(jnp.where(usable, value, jnp.nan) for value in measured)  # type: ignore[return-value]


def meta_losses(
    objective: Objective,
    errors: jax.Array,
    standard_errors: jax.Array,
    penalties: jax.Array,
) -> jax.Array:
    """Meta-losses (candidates,) of errors shrunken by their noise.

    Errors and their standard errors are (candidates, groups), NaN where there is none;
    ``penalties`` (candidates, 2).
    """
    drawn = _shrunk(errors, standard_errors)
    losses: jax.Array = objective.meta_losses(drawn, penalties)
    return losses


def _shrunk(errors: jax.Array, standard_errors: jax.Array) -> jax.Array:
    """As :func:`meta_learner.shrinkage.shrunk`."""
    known = ~jnp.isnan(errors)
    number = known.sum(0)
    mean = jnp.nanmean(errors, 0)
    noise = jnp.where(known, standard_errors, 0.0) ** 2
    mean_noise = noise.sum(0) / jnp.maximum(number, 1)
    about = jnp.where(known, errors - mean, 0.0)
    variance = (about**2).sum(0) / jnp.maximum(number - 1, 1)
    true = jnp.maximum(variance - mean_noise, LEAST * mean_noise)
    whole = true + noise
    share = jnp.where(noise > 0, true / jnp.where(whole > 0, whole, 1.0), 1.0)
    drawn = jnp.where(number > 1, mean + share * about, errors)
    return jnp.where(known, drawn, jnp.nan)
