"""Spiking network that hears the phase difference between the two ears."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from simulated_subjects.descent import descend
from simulated_subjects.stimulus_keys import stimulus_keys


class Trained(NamedTuple):
    """An individual after training: what it was born with and what it learnt."""

    offsets: jax.Array
    """Phase of each input neuron, left ear first; radians, ``(2 neurons_per_ear,)``."""
    inputs: jax.Array
    """Weights onto the hidden units, ``(2 neurons_per_ear, hidden)``."""
    readout: jax.Array
    """Weights of the hidden units in the readout, ``(hidden,)``."""
    key: jax.Array
    """Where the spikes behind its answers come from."""


@dataclass(frozen=True)
class SpikingNetwork:
    """Poisson neurons of two ears, a hidden layer that spikes, a leaky readout.

    Paper section 5.1 and figure 5, which modify the Cosyne 2022 tutorial of
    Goodman et al.; sizes are the tutorial's. Stimuli are ``(cos, sin)`` of a
    phase difference, as of the space ``phase_difference``; ``frequency_hz`` is
    that of the tone as this subject hears it. Input neurons fire as
    `spike_chances` says, with offsets drawn from 0 to ``offsets_deg``. Hidden
    units integrate with ``tau_ms`` and fire and reset at 1 (`membrane`). The
    prediction is the mean over time of a readout with the same ``tau_ms``: the
    paper's sum, in a unit that suits labels in [-1, 1].

    Each of ``steps`` full-batch steps of Adam on the squared error hears fresh
    spikes. Weights are learnt in units of 1 / sqrt(inputs), within which they
    are born: a hidden unit hears some 45 spikes per ms, and steps of the
    tutorial's .01 in raw weights drive the hidden layer to silence at once.
    """

    neurons_per_ear: int = 100
    hidden: int = 30
    steps: int = 50
    learning_rate: float = 0.03
    time_steps: int = 100
    dt_ms: float = 1.0
    tau_ms: float = 20.0
    rate_max_hz: float = 600.0
    frequency_hz: float = 20.0
    offsets_deg: float = 90.0

    def __post_init__(self) -> None:
        """Refuse sizes, times and rates for which there is no such network."""
        sizes = {"neurons_per_ear": 10_000, "hidden": 4096, "time_steps": 10_000}
        for name, most in sizes.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {self._got(name)}")
        if self.steps < 0:
            raise ValueError(f"steps must be 0 or more, got {self.steps}")
        positive = ("learning_rate", "dt_ms", "tau_ms", "rate_max_hz", "frequency_hz")
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                got = self._got(name)
                raise ValueError(f"{name} must be above 0 and finite, got {got}")
        if not 0 <= self.offsets_deg <= 360:
            raise ValueError(f"offsets_deg must be 0 to 360, got {self.offsets_deg}")
        if self.rate_max_hz * self.dt_ms > 1000:
            raise ValueError(
                f"rate_max_hz {self.rate_max_hz} with dt_ms {self.dt_ms} is more than "
                "one spike per time step: take a shorter dt_ms or a lower rate_max_hz"
            )

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> Trained:
        """Offsets at birth, weights learnt, and the key of all later answers."""
        offsets_key, inputs_key, readout_key, spikes_key, answers_key = (
            jax.random.split(key, 5)
        )
        neurons = 2 * self.neurons_per_ear
        widest = math.radians(self.offsets_deg)
        offsets = jax.random.uniform(offsets_key, (neurons,), maxval=widest)
        chances = self._chances(offsets, x)
        born = (
            jax.random.uniform(inputs_key, (neurons, self.hidden), minval=-1.0),
            jax.random.uniform(readout_key, (self.hidden,), minval=-1.0),
        )

        def error(weights: tuple[jax.Array, jax.Array], step: jax.Array) -> jax.Array:
            heard = _spikes(jax.random.fold_in(spikes_key, step), chances)
            return jnp.mean((self._read(*weights, heard) - y) ** 2)

        # Without eps_root the derivative of the square root in Adam is infinite
        # where a gradient is zero, as of a hidden unit that never fires.
        optimiser = optax.adam(self.learning_rate, eps_root=1e-8)
        inputs, readout = descend(error, born, optimiser, self.steps)
        return Trained(offsets, inputs, readout, answers_key)

    def predict(self, state: Trained, x: jax.Array) -> jax.Array:
        """Mean of the readout over time, shape ``(m,)``.

        Spikes follow from the individual and the stimulus to its sixth decimal:
        the same stimulus has the same answer alone or among others.
        """
        return self._read(state.inputs, state.readout, self._heard(state, x))

    def _heard(self, state: Trained, x: jax.Array) -> jax.Array:
        keys, chances = stimulus_keys(state.key, x), self._chances(state.offsets, x)
        return jax.vmap(_spikes, (0, 1), 1)(keys, chances)

    def _chances(self, offsets: jax.Array, x: jax.Array) -> jax.Array:
        if x.shape[1] != 2:
            raise ValueError(
                "the spiking network hears phase differences: stimuli of 2 features "
                f"(cos, sin), as of the space phase_difference; got {x.shape[1]}"
            )
        time_s = jnp.arange(self.time_steps) * (self.dt_ms / 1000)
        per_step = self.rate_max_hz * self.dt_ms / 1000
        return spike_chances(
            offsets, x, 2 * jnp.pi * self.frequency_hz * time_s, per_step
        )

    def _read(
        self, inputs: jax.Array, readout: jax.Array, heard: jax.Array
    ) -> jax.Array:
        decay = math.exp(-self.dt_ms / self.tau_ms)
        current = heard @ inputs / math.sqrt(inputs.shape[0])
        fired = spike(membrane(current, decay) - 1)
        # A leaky integrator is linear: what a spike adds to its mean over time is
        # known from when it came, and needs no loop.
        left = self.time_steps - jnp.arange(self.time_steps)
        mean_effect = (1 - decay**left) / (1 - decay) / self.time_steps
        counts = jnp.einsum("tnh,t->nh", fired, mean_effect)
        return counts @ readout / math.sqrt(self.hidden)

    def _got(self, name: str) -> float:
        value: float = getattr(self, name)
        return value


def spike_chances(
    offsets: jax.Array, x: jax.Array, phase: jax.Array, per_step: float
) -> jax.Array:
    """Chance that input neurons fire, ``(time steps, stimuli, neurons)``.

    ``per_step (0.5 (1 + sin(phase + offset [+ difference at the right ear])))^2``
    for ``offsets`` ``(neurons,)``, left ear first, stimuli ``x`` ``(stimuli, 2)``
    as (cos, sin) of the difference, and the tone's ``phase`` ``(time steps,)``.
    """
    angle = phase[:, None, None] + offsets[None, None, :]
    left, right = jnp.split(angle, 2, -1)
    cos, sin = x[None, :, :1], x[None, :, 1:]
    right_wave = jnp.sin(right) * cos + jnp.cos(right) * sin
    left_wave = jnp.broadcast_to(jnp.sin(left), right_wave.shape)
    wave = jnp.concatenate([left_wave, right_wave], -1)
    return per_step * (0.5 * (1 + wave)) ** 2


def membrane(current: jax.Array, decay: float) -> jax.Array:
    """Voltage of leaky integrate-and-fire units, shape of ``current``.

    ``current`` ``(time steps, ...)`` adds to the voltage, which starts at 0, is
    multiplied by ``decay`` from step to step, and is 0 in the step after one
    above the threshold of 1, by a factor ``1 - spike`` that has a derivative.
    """

    # Keep the voltage alone for the way back; the rest is quicker made again.
    @jax.checkpoint
    def step(voltage: jax.Array, drive: jax.Array) -> tuple[jax.Array, jax.Array]:
        voltage = (decay * voltage + drive) * (1 - spike(voltage - 1))
        return voltage, voltage

    voltages: jax.Array = jax.lax.scan(step, jnp.zeros_like(current[0]), current)[1]
    return voltages


def spike(excess: jax.Array) -> jax.Array:
    """1 where the voltage is above threshold, else 0; its derivative is `surrogate`'s.

    Neftci et al. 2019; derivatives of any order are those of `surrogate`.
    """
    # No jax.custom_jvp: lax.scan drops its rule from what it keeps for the way
    # back, which leaves second derivatives, hence meta-gradients, wrong.
    smooth = surrogate(excess)
    step = (excess > 0).astype(excess.dtype)
    return step + (smooth - jax.lax.stop_gradient(smooth))


def surrogate(excess: jax.Array) -> jax.Array:
    """Smooth step that stands for the spike in derivatives: sigmoid(5 v) / 5.

    The tutorial's derivative, s (1 - s) of a sigmoid of slope 5, lacks the
    factor 5 of the slope. Kept so: with the factor, gradients through the whole
    training came out up to eight times as large, and learning was no better.
    """
    return jax.nn.sigmoid(5.0 * excess) / 5.0


def _spikes(key: jax.Array, chances: jax.Array) -> jax.Array:
    return (jax.random.uniform(key, chances.shape) < chances).astype(chances.dtype)
