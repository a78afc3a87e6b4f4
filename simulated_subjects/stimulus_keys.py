"""Randomness that belongs to a stimulus."""

import jax
import jax.numpy as jnp


def stimulus_keys(key: jax.Array, x: jax.Array) -> jax.Array:
    """A key per stimulus of ``(m, features)``, shape ``(m,)``.

    It follows from ``key`` and from the stimulus to its sixth decimal: the same
    alone or among others.
    """
    # Integers, as -0.0 and 0.0 differ in bits, and studies store six decimals.
    micro = jnp.round(x * 1e6).astype(jnp.int32)

    def fold(key: jax.Array, feature: jax.Array) -> tuple[jax.Array, None]:
        return jax.random.fold_in(key, feature), None

    keys: jax.Array = jax.vmap(lambda one: jax.lax.scan(fold, key, one)[0])(micro)
    return keys
