"""What every simulated subject offers: the contract of this folder."""

from typing import Any, Protocol

import jax


class Learner(Protocol):
    """A subject that learns from examples, as two pure functions.

    Implementations are frozen dataclasses of hyperparameters, hashable so that
    they can be static arguments of jitted functions; both functions can be
    vmapped over labellings and over individuals (keys).
    """

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        """Learn from stimuli ``(n, features)`` and labels ``(n,)``.

        ``key`` is the individual: what differs between subjects at birth.
        """
        ...

    def predict(self, state: Any, x: jax.Array) -> jax.Array:
        """Labels predicted for stimuli ``(m, features)``, shape ``(m,)``."""
        ...


class UnsupervisedLearner(Protocol):
    """A subject that learns a representation of stimuli that have no labels.

    Implementations are as those of :class:`Learner`.
    """

    def train(self, key: jax.Array, x: jax.Array) -> Any:
        """Learn from stimuli ``(n, features)``; ``key`` is the individual."""
        ...

    def embed(self, state: Any, x: jax.Array) -> jax.Array:
        """Representation of stimuli ``(m, features)``, shape ``(m, dimensions)``."""
        ...
