"""Draws from the posterior of the subject model, by Hamiltonian Monte Carlo.

The fit's normal approximation steers a study: it is at hand after every session. What
is reported takes these: where sessions leave a parameter open, as choices do with the
amplitude of an order that is not learnt, the posterior is far from normal.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from meta_learner.subject_fit import Fit, precision_of
from meta_learner.subject_model import Evidence, SubjectModel

_STEP, _DOUBLINGS = 0.3, 3
"""Leapfrog step in standard deviations of the normal approximation; at most 7 steps."""

_SETTLING = 12
"""Draws at the start that are not kept: it starts at the mode."""

_AT_ONCE = 20
"""Sessions whose likelihood is computed together: bounds memory."""


@partial(jax.jit, static_argnums=(0, 3))
def posterior_draws(
    model: SubjectModel, evidence: Evidence, fit: Fit, n: int, key: jax.Array
) -> jax.Array:
    """Draws of the parameters given all sessions, ``(n, parameters)``.

    By the no-U-turn sampler (Hoffman and Gelman 2014), in coordinates in which the
    normal approximation at the fit is white. Scales of W and the weight of an answer
    are those of the fit.
    """
    import blackjax  # slow to load, and few studies need it

    root = jnp.linalg.cholesky(precision_of(model, evidence, fit))
    prior, centre = model.precision(fit.deviations), jnp.asarray(model.centre)

    def place(white: jax.Array) -> jax.Array:
        spread = jax.scipy.linalg.solve_triangular(root.T, white, lower=False)
        return fit.parameters + spread

    def log_density(white: jax.Array) -> jax.Array:
        parameters = place(white)
        of_session = partial(model.log_likelihood, parameters)
        told = jax.lax.map(of_session, evidence, batch_size=_AT_ONCE).sum(1)
        density = fit.weight * jnp.sum(evidence.counted * told)
        density -= 0.5 * jnp.sum(prior * (parameters - centre) ** 2)
        # Amplitudes beyond what single precision can solve for.
        return jnp.where(jnp.isfinite(density), density, -jnp.inf)

    sampler = blackjax.nuts(
        log_density, _STEP, jnp.ones(len(prior)), max_num_doublings=_DOUBLINGS
    )

    def step(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        state, _ = sampler.step(key, state)
        return state, state.position

    begun = sampler.init(jnp.zeros(len(prior)))
    _, white = jax.lax.scan(step, begun, jax.random.split(key, _SETTLING + n))
    return jax.vmap(place)(white[_SETTLING:])
