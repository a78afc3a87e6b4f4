"""What every search offers: the contract between a study and its strategy."""

from typing import Any, Protocol

import jax


class Search(Protocol):
    """Proposes candidates and learns from their meta-losses. Pure: state in, state out.

    NaN means "not evaluated", never "bad"; a result may come late, for a
    candidate of an earlier generation, or not at all.
    """

    def init(self, key: jax.Array) -> Any:
        """State before the first generation."""
        ...

    def ask(self, state: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        """Candidates ``(candidates, genes)`` and the new state."""
        ...

    def tell(self, state: Any, theta: jax.Array, results: jax.Array) -> Any:
        """Learn the meta-losses ``(n,)`` of candidates ``(n, genes)``, lower better."""
        ...

    def best(self, state: Any) -> jax.Array:
        """Where the search stands, ``(genes,)``: what is frozen as a component."""
        ...
