"""Keys of all random numbers: JAX's own numbers, several times faster on a CPU.

For a CPU JAX compiles its generator as a loop that goes through memory in each round.
Written out, XLA makes one pass of it, together with what uses the numbers.
"""

from collections.abc import Hashable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl, threefry_prng_impl

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_WIDTHS = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint64}


def key(seed: int | jax.Array) -> jax.Array:
    """As ``jax.random.key``: what is drawn with it is the same."""
    made: jax.Array = jax.random.key(seed, impl=_IMPL)
    return made


def _threefry(
    k: jax.Array, high: jax.Array, low: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 in 20 rounds of the counter ``(high, low)``, key ``k`` (2,).

    Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """
    keys = (k[0], k[1], k[0] ^ k[1] ^ np.uint32(0x1BD11BDA))
    x, y = high + keys[0], low + keys[1]
    for i in range(5):
        for by in _ROTATIONS[i % 2]:
            x = x + y
            y = ((y << by) | (y >> (32 - by))) ^ x
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def _counted(k: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    n = int(np.prod(shape))
    if n >= 2**32:
        raise NotImplementedError(f"{n} random numbers at once: draw fewer than 2^32")
    # As one row, which a CPU does faster than many short ones.
    low = jax.lax.iota(jnp.uint32, n)
    x, y = _threefry(k, jnp.zeros_like(low), low)
    return x.reshape(shape), y.reshape(shape)


def _bits(k: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    x, y = _counted(k, shape)
    if width == 64:
        return (x.astype(jnp.uint64) << 32) | y.astype(jnp.uint64)
    return (x ^ y).astype(_WIDTHS[width])


# One program where keys are made one by one, and in others no call of its own.
@partial(jax.jit, static_argnums=1, inline=True)
def _split(k: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_counted(k, shape), -1)


@partial(jax.jit, inline=True)
def _fold_in(k: jax.Array, data: int | jax.Array) -> jax.Array:
    low = jnp.asarray(data).astype(jnp.uint32)
    return jnp.stack(_threefry(k, jnp.zeros_like(low), low))


_IMPL: Hashable = define_prng_impl(
    key_shape=(2,),
    seed=threefry_prng_impl.seed,
    split=_split,
    random_bits=_bits,
    fold_in=_fold_in,
    name="threefry2x32, written out",
    tag="penchant",
)
