"""Evolution strategies of evosax as searches."""

from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import evosax.algorithms as evosax
import jax
import jax.numpy as jnp
import numpy as np
from evosax.algorithms.distribution_based.base import DistributionBasedAlgorithm
from numpy.typing import NDArray

Numbers = NDArray[Any]

_UNSUITED = {
    "RandomSearch": "it needs a sampling function",
    "SV_CMA_ES": "it needs several populations",
    "SV_Open_ES": "it needs several populations",
    "LGA": "its network is not part of a study file",
    "DiffusionEvolution": "it needs to know its number of generations",
}
_ALIASES = {"DiscoveredES": "DES", "LearnedES": "LES"}


def strategy_names() -> list[str]:
    """Names that ``method`` may have: evosax's own, and its class names."""
    return sorted((set(evosax.algorithms) | set(_ALIASES)) - set(_UNSUITED))


class State(NamedTuple):
    """``inner`` is evosax's own state, absent until a population-based strategy
    has seen its first results; ``key`` feeds the draws of the next tell.
    """

    inner: Any
    key: jax.Array


@dataclass(frozen=True)
class Evolution:
    """Any evosax strategy by its name, such as ``DES``, ``CMA_ES`` or ``SNES``.

    The paper's black-box search is ``DES`` (section 5.4, Lange et al. 2022).
    ``step_size`` is the initial standard deviation of each gene where the
    strategy has one.
    """

    method: str
    population: int
    genes: int
    step_size: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a strategy that is unknown or cannot have this population."""
        if self.method not in strategy_names():
            raise ValueError(
                f"unknown method {self.method!r}; known: {', '.join(strategy_names())}"
            )
        if self.population < 4:
            raise ValueError(
                f"{self.method} needs a population of 4 or more, got {self.population}"
            )
        try:
            _ = self._params
        except AssertionError as error:
            raise ValueError(
                f"{self.method} cannot have a population of {self.population}: {error}"
            ) from error

    def init(self, key: jax.Array) -> State:
        """State before the first generation, centred on zero."""
        start, later = jax.random.split(key)
        if not self._has_mean:
            return State(None, later)
        mean = jnp.zeros(self.genes)
        return State(self._strategy.init(start, mean, self._params), later)

    def ask(self, state: State, key: jax.Array) -> tuple[jax.Array, State]:
        """Propose ``(population, genes)``."""
        if state.inner is None:
            shape = (self.population, self.genes)
            return self.step_size * jax.random.normal(key, shape), state
        theta, inner = self._strategy.ask(key, state.inner, self._params)
        return theta, state._replace(inner=inner)

    def tell(self, state: State, theta: jax.Array, results: jax.Array) -> State:
        """Learn results; unscored candidates (NaN) have no pull.

        The strategies want exactly one result per candidate. Missing rows and
        NaN get the median of the finite results, whose weight is zero or the
        mean weight in every rank-based strategy; surplus rows beyond the
        population drop the oldest. Without a finite result nothing changes.
        """
        # Without JAX, which would compile a program for each step.
        whole, losses = self._complete(
            np.asarray(theta),
            np.asarray(results, np.float32),
            np.asarray(self.best(state)),
        )
        if not np.isfinite(losses).any():
            return state
        return self.tell_scored(state, jnp.asarray(whole), jnp.asarray(losses))

    def tell_scored(self, state: State, theta: jax.Array, results: jax.Array) -> State:
        """Learn a whole generation of which one at least is scored; may be traced."""
        centre = self.best(state) if self._has_mean else None
        return self.tell_all(state, *_filled(theta, results, centre))

    def tell_all(self, state: State, theta: jax.Array, results: jax.Array) -> State:
        """Learn one finite result for each candidate; may be traced."""
        now, later = jax.random.split(state.key)
        if state.inner is None:
            inner = self._strategy.init(now, theta, results, self._params)
        else:
            inner, _ = self._strategy.tell(
                now, theta, results, state.inner, self._params
            )
        return State(inner, later)

    def best(self, state: State) -> jax.Array:
        """Mean of the search distribution, or the best candidate where none is kept."""
        if state.inner is None:
            return jnp.zeros(self.genes)
        inner = state.inner
        best: jax.Array = inner.mean if self._has_mean else inner.best_solution
        return best

    @property
    def _class(self) -> Any:
        return evosax.algorithms[_ALIASES.get(self.method, self.method)]

    @property
    def _has_mean(self) -> bool:
        return issubclass(self._class, DistributionBasedAlgorithm)

    @property
    def _strategy(self) -> Any:
        return _strategy_of(self._class, self.population, self.genes)

    @cached_property
    def _params(self) -> Any:
        params = self._strategy.default_params
        if hasattr(params, "std_init"):
            params = params.replace(std_init=self.step_size)
        return params

    def _complete(
        self, theta: Numbers, results: Numbers, centre: Numbers
    ) -> tuple[Numbers, Numbers]:
        """Exactly ``population`` rows: the newest, then unscored ones at the centre."""
        if theta.shape != (results.shape[0], self.genes):
            raise ValueError(
                f"expected candidates of shape ({results.shape[0]}, {self.genes}), "
                f"one per result, got {theta.shape}"
            )
        theta, results = theta[-self.population :], results[-self.population :]
        missing = self.population - results.shape[0]
        return (
            np.concatenate([theta, np.tile(centre, (missing, 1))]),
            np.concatenate([results, np.full(missing, np.nan, results.dtype)]),
        )


@partial(jax.jit, inline=True)
def _filled(
    theta: jax.Array, results: jax.Array, centre: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Unscored candidates at the centre, or else at the best, with the median result.

    Ties among many unscored ones are ranked by index, and some would else weigh with
    their own place.
    """
    finite = jnp.isfinite(results)
    if centre is None:
        centre = theta[jnp.nanargmin(results)]
    fair = jnp.nanmedian(jnp.where(finite, results, jnp.nan))
    filled = jnp.where(finite[:, None], theta, centre)
    return filled, jnp.where(finite, results, fair)


# evosax compiles for an object, and not again for one that equals it.
@cache
def _strategy_of(of: Any, population: int, genes: int) -> Any:
    """The strategy of a class of evosax's, one for all searches that are alike."""
    return of(population_size=population, solution=jnp.zeros(genes))
