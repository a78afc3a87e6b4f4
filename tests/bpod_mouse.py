"""A mouse in a virtual Bpod: a learner with a bias, which sees, pokes and drinks.

It gets what the rig's stimulus function shows and the water that a valve gives, and
nothing of labels, study or server.
"""

import math
from typing import Any

import jax
import numpy as np
from bpod_rig import LEFT, RIGHT, VALVE, poke
from virtual_bpod import Pokes, VirtualBpod

from simulated_subjects.individual import answer, individual_keys, learn
from simulated_subjects.learner import Learner
from simulated_subjects.responses import TwoChoice
from subject_clients.rig.valve import Calibration

TRAINING = 10
"""Trials after which it learns no more: tests never pay."""

CHOICES = TwoChoice(slope=4.0, lapse=0.05)


class Mouse:
    """Pokes by chance while it learns from water, then by what it has learnt."""

    def __init__(self, learner: Learner, seed: int) -> None:
        """A new individual for each session: see :meth:`into_the_box`."""
        self._learner, self._seed = learner, seed
        self._sees: list[float] = []
        self._key: Any = None
        self.water_microlitre = 0.0
        self.box: VirtualBpod | None = None

    def into_the_box(self, name: str) -> None:
        """It begins a session, and has learnt nothing yet."""
        self._key = individual_keys(self._seed, [name])[0]
        self._chance = np.random.default_rng([self._seed, *name.encode()])
        self._shown: list[list[float]] = []
        self._pays: list[float] = []
        self._state, self._chose, self._trial = None, 0.0, 0

    def see(self, stimulus: dict[str, Any]) -> None:
        """What the rig's stimulus function shows: a bar of some orientation."""
        angle = math.radians(2 * stimulus["orientation_deg"])
        self._drink()
        self._sees = [math.cos(angle), math.sin(angle)]

    def __call__(self, outputs: dict[str, int]) -> Pokes:
        """The stimulus is there (a soft code): it goes to a port."""
        if outputs.get("SoftCode") != 1:
            return []
        self._chose = self._choice()
        self._trial += 1
        return poke(RIGHT if self._chose > 0 else LEFT, 0.3)

    def _choice(self) -> float:
        if self._trial < TRAINING:
            return 1.0 if self._chance.random() < 0.5 else -1.0
        if self._state is None:
            x, y = np.array(self._shown), np.array(self._pays)
            self._state = learn(self._learner, self._key, x, y)
        x, trial = np.array(self._sees), np.array(self._trial)
        value, _ = answer(self._learner, CHOICES, self._key, self._state, x, trial)
        return float(value)

    def _drink(self) -> None:
        """What the last trial taught: water here, or it would have been there."""
        assert self.box is not None
        rewards, self.box.valves[:] = self.box.rewards, []
        drunk = sum(Calibration.of(VALVE).microlitre(ms / 1000) for _, ms in rewards)
        self.water_microlitre += drunk
        if 0 < self._trial <= TRAINING and len(self._shown) < self._trial:
            self._shown.append(self._sees)
            self._pays.append(self._chose if drunk else -self._chose)


class Chance:
    """A learner that learns nothing, for a mouse that answers at random."""

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """Nothing."""
        del key, y
        return x[:0]

    def predict(self, state: jax.Array, x: jax.Array) -> jax.Array:
        """Neither side."""
        del state
        return 0 * x[:, 0]
