"""A subject that learns nothing: the control for every claim."""

from dataclasses import dataclass

import jax

from simulated_subjects.stimulus_keys import stimulus_keys


@dataclass(frozen=True)
class Unteachable:
    """Answers at random, whatever it was taught: there is no bias to find.

    Each individual (key) has a random function of its own, independent and
    uniform on [-1, 1] at every stimulus. So its expected squared error, 1/3 +
    mean(y^2), says nothing of a labelling but the second moment of its labels,
    which standardised labels share, and no component of its may ever be
    confirmed. Uniform and not a coin: answers of -1 or 1 would raise the error
    to 1 + mean(y^2), and its noise, to no end.
    """

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """The individual itself, a key; stimuli and labels leave no trace."""
        del x, y
        return key

    def predict(self, state: jax.Array, x: jax.Array) -> jax.Array:
        """Its random function at ``(m, features)``, shape ``(m,)``."""
        keys = stimulus_keys(state, x)
        return jax.vmap(lambda key: jax.random.uniform(key, minval=-1.0))(keys)
