"""Searches: every evosax strategy behind one contract."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta_learner.evolution import Evolution, State, strategy_names

GENES, POPULATION = 5, 16


@cache
def evolution(name: str) -> Evolution:
    """One search of each name for all tests, since each compiles anew."""
    return Evolution(name, POPULATION, GENES)


def generations(search: Evolution, count: int) -> State:
    """Minimise the distance to 1 in every gene."""
    state = search.init(jax.random.key(0))
    for i in range(count):
        theta, state = search.ask(state, jax.random.key(i))
        state = search.tell(state, theta, ((theta - 1) ** 2).sum(1))
    return state


NAMED = ["DES", "CMA_ES", "Sep_CMA_ES", "SNES", "CR_FM_NES"]
"""The strategies that the documentation names."""


def named_and_slow_others() -> list[Any]:
    """Every strategy, of which those that nobody named are for `make validate`."""
    slow = pytest.mark.slow  # each compiles for seconds
    names = strategy_names()
    return [n if n in NAMED else pytest.param(n, marks=slow) for n in names]


@pytest.mark.parametrize("name", named_and_slow_others())
def test_every_strategy_keeps_the_contract(name: str) -> None:
    search = evolution(name)
    state = generations(search, 3)
    theta, state = search.ask(state, jax.random.key(9))
    again, _ = search.ask(generations(search, 3), jax.random.key(9))
    assert theta.shape == (POPULATION, GENES)
    np.testing.assert_array_equal(theta, again)  # pure: same past, same proposals
    partial = jnp.full(POPULATION, jnp.nan).at[1].set(0.5)
    for some, losses in (
        (theta, partial),  # most unscored
        (theta[:2], jnp.array([0.3, 0.4])),  # rows missing
        (jnp.tile(theta, (2, 1)), jnp.arange(2.0 * POPULATION)),  # late ones too
    ):
        told = search.tell(state, some, losses)
        assert search.best(told).shape == (GENES,)
        assert bool(jnp.isfinite(search.best(told)).all())


@pytest.mark.parametrize("name", NAMED)
def test_the_strategies_we_name_find_a_minimum(name: str) -> None:
    search = evolution(name)
    best = search.best(generations(search, 60))
    assert float(((best - 1) ** 2).sum()) < 0.5  # it starts at 5


def test_a_generation_without_any_result_changes_nothing() -> None:
    search = evolution("CMA_ES")
    state = generations(search, 2)
    theta, state = search.ask(state, jax.random.key(1))
    told = search.tell(state, theta, jnp.full(POPULATION, jnp.nan))
    assert told is state


@pytest.mark.parametrize("name", ["DES", "CMA_ES", "Sep_CMA_ES", "SNES"])
@settings(max_examples=10, deadline=None)
@given(lost=st.integers(0, POPULATION - 1))
def test_an_unscored_candidate_is_neither_bad_nor_good(name: str, lost: int) -> None:
    search = evolution(name)
    theta, state = search.ask(generations(search, 1), jax.random.key(1))
    losses = ((theta - 1) ** 2).sum(1).at[lost].set(jnp.nan).at[0].set(jnp.nan)

    def told(theta: jax.Array) -> jax.Array:
        return search.best(search.tell(state, theta, losses))

    elsewhere = theta.at[lost].add(5.0).at[0].add(-3.0)
    np.testing.assert_array_equal(told(theta), told(elsewhere))


def test_bad_searches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown method 'CMAES'; known: .*CMA_ES"):
        Evolution("CMAES", 8, 3)
    with pytest.raises(ValueError, match="cannot have a population of 9"):
        Evolution("CR_FM_NES", 9, 3)
    search = Evolution("DES", 4, 3)
    with pytest.raises(ValueError, match=r"expected candidates of shape \(4, 3\)"):
        search.tell(search.init(jax.random.key(0)), jnp.zeros((4, 2)), jnp.zeros(4))
