"""Keys give the numbers that JAX's own do: journals of old are replayed with them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stimuli import random_keys

DRAWS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "bits": lambda key: jax.random.bits(key, (5, 3)),
    "half a word": lambda key: jax.random.bits(key, (7,), jnp.uint16),
    "uniform": lambda key: jax.random.uniform(key, (4, 3, 2)),
    "normal": lambda key: jax.random.normal(key, (6, 3)),
    "scalar": jax.random.normal,
    "none": lambda key: jax.random.normal(key, (0, 3)),
    "split": lambda key: jax.random.normal(jax.random.split(key, 3)[2]),
    "split in a grid": lambda key: jax.random.key_data(jax.random.split(key, (2, 2))),
    "folded": lambda key: jax.random.normal(jax.random.fold_in(key, 2**32 - 5)),
    "permutation": lambda key: jax.random.permutation(key, 10),
    "choice": lambda key: jax.random.choice(key, 9, (4,), replace=False),
    "side by side": lambda key: jax.vmap(jax.random.normal)(jax.random.split(key, 3)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_drawn_is_the_same(
    draw: Callable[[jax.Array], jax.Array], seed: int
) -> None:
    ours, theirs = draw(random_keys.key(seed)), draw(jax.random.key(seed))
    assert ours.dtype == theirs.dtype
    # The last digit of a logarithm depends on what it is compiled with.
    assert jnp.allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_in_doubles_too() -> None:
    with jax.enable_x64(True):
        ours = jax.random.uniform(random_keys.key(3), (5,))
        theirs = jax.random.uniform(jax.random.key(3), (5,))
        assert ours.dtype == jnp.float64
        assert jnp.array_equal(ours, theirs)


def test_a_seed_may_be_traced() -> None:
    traced = jax.jit(lambda seed: jax.random.bits(random_keys.key(seed)))
    assert traced(jnp.uint32(7)) == jax.random.bits(jax.random.key(7))
