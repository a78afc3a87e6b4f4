"""The spiking network against theory, and the phase differences it hears."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from simulated_subjects.spiking_network import (
    SpikingNetwork,
    membrane,
    spike,
    spike_chances,
    surrogate,
)
from stimuli.phase_difference import PhaseDifference

pytestmark = pytest.mark.usefixtures("strict_shapes")

KEY = jax.random.key(3)
FAST = SpikingNetwork(
    neurons_per_ear=40,
    hidden=20,
    steps=25,
    time_steps=50,
    dt_ms=2.0,
    rate_max_hz=300.0,
)
TINY = SpikingNetwork(neurons_per_ear=20, hidden=10, steps=6, time_steps=25, dt_ms=1.5)

Array = npt.NDArray[Any]


def at(phase: Any) -> jax.Array:
    return jnp.stack([jnp.cos(phase), jnp.sin(phase)], -1)


def drawn(seed: int, *shape: int) -> jax.Array:
    return jax.random.uniform(jax.random.key(seed), shape, maxval=2 * jnp.pi)


# Stimuli


def test_phase_difference_is_shown_in_degrees_of_lead_of_the_right_ear() -> None:
    space = PhaseDifference(500.0)
    for degrees in (0.0, 30.0, 180.0, 275.5, 359.9):
        shown = space.present(np.asarray(at(math.radians(degrees))))
        assert shown["frequency_hz"] == 500
        assert shown["phase_deg"] == pytest.approx(degrees, abs=1e-3)


def test_phase_differences_are_uniform_and_have_their_fourier_series() -> None:
    x = np.asarray(PhaseDifference().sample(KEY, 20_000))
    phase = np.arctan2(x[:, 1], x[:, 0])
    np.testing.assert_allclose(np.hypot(*x.T), 1, atol=1e-5)
    for order in (1, 2, 3):
        assert abs(np.exp(1j * order * phase).mean()) < 5 / math.sqrt(20_000)
    values, orders = PhaseDifference().basis(jnp.asarray(x[:50]), 2)
    assert orders.tolist() == [0, 1, 1, 2, 2]
    expected = np.sqrt(2) * np.cos(2 * phase[:50])
    np.testing.assert_allclose(values[:, 3], expected, atol=1e-4)


@pytest.mark.parametrize("frequency_hz", [0.0, -1.0, math.nan, math.inf])
def test_phase_difference_refuses(frequency_hz: float) -> None:
    with pytest.raises(ValueError, match=f"frequency_hz .* got {frequency_hz}"):
        PhaseDifference(frequency_hz)


# Membrane


def test_membrane_below_threshold_is_the_leaky_integrator() -> None:
    """Rise to a constant current and decay after an impulse, in closed form."""
    dt_ms, tau_ms, steps = 1.0, 20.0, 60
    decay = math.exp(-dt_ms / tau_ms)
    k = np.arange(steps)
    constant = np.full(steps, 0.9 * (1 - decay))
    impulse = np.zeros(steps)
    impulse[0] = 0.8
    current = jnp.asarray(np.stack([constant, impulse], 1), jnp.float32)
    rise, fall = np.asarray(jax.jit(membrane)(current, decay)).T
    np.testing.assert_allclose(rise, 0.9 * (1 - decay ** (k + 1)), atol=1e-5)
    np.testing.assert_allclose(fall, 0.8 * np.exp(-k * dt_ms / tau_ms), atol=1e-5)


def test_membrane_above_threshold_fires_at_the_rate_of_theory() -> None:
    """From reset to threshold in log(I / (I - 1)) time constants, one step to reset."""
    decay, limit = math.exp(-1 / 20), 1.6
    current = jnp.full((400,), limit * (1 - decay))
    voltage = np.asarray(jax.jit(membrane)(current, decay))
    fired = np.flatnonzero(voltage > 1)
    rising = math.ceil(20 * math.log(limit / (limit - 1)))
    assert set(np.diff(fired)) == {rising + 1}
    assert (voltage[fired + 1] == 0).all()


# Surrogate


def test_derivatives_of_a_spike_are_those_of_the_surrogate() -> None:
    excess = jnp.linspace(-1.5, 1.5, 31)
    np.testing.assert_array_equal(spike(excess), excess > 0)
    at_each = [spike, surrogate]
    for order in (1, 2, 3):
        at_each = [jax.grad(f) for f in at_each]
        found, expected = (jax.vmap(f)(excess) for f in at_each)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=f"order {order}")


def test_derivatives_of_a_spike_are_finite_differences_of_a_sigmoid() -> None:
    excess, h = np.linspace(-1.5, 1.5, 31), 1e-4

    def smooth(v: Array) -> Array:
        values: Array = 1 / (1 + np.exp(-5 * v)) / 5
        return values

    slope = (smooth(excess + h) - smooth(excess - h)) / (2 * h)
    bend = (smooth(excess + h) - 2 * smooth(excess) + smooth(excess - h)) / h**2
    single = jnp.asarray(excess, jnp.float32)
    np.testing.assert_allclose(jax.vmap(jax.grad(spike))(single), slope, atol=1e-5)
    found = jax.vmap(jax.grad(jax.grad(spike)))(single)
    np.testing.assert_allclose(found, bend, atol=1e-4)


def test_second_derivatives_through_time_are_those_of_the_smooth_chain() -> None:
    """Reverse over reverse; lax.scan loses a custom_jvp rule here."""
    decay, drive = 0.9, np.array([0.2, 0.3, 0.1])

    def answer(drive: jax.Array) -> jax.Array:
        fired: jax.Array = spike(membrane(drive, decay)[-1] - 1)
        return fired

    def sigmoid(v: float) -> float:
        return 1 / (1 + math.exp(-5 * v)) / 5

    before = [0.0, 0.2, 0.48]
    """Voltages before each drive, none above threshold."""

    def smooth(drive: Array) -> float:
        voltage = 0.0
        for now, last in zip(drive, before, strict=True):
            # The reset is 1 where it is, and has the slope of the sigmoid.
            reset = 1 - (sigmoid(voltage - 1) - sigmoid(last - 1))
            voltage = (decay * voltage + now) * reset
        return sigmoid(voltage - 1)

    h = 1e-4 * np.eye(3)
    expected = [
        [
            sum(a * b * smooth(drive + a * i + b * j) for a in (1, -1) for b in (1, -1))
            / 4e-8
            for j in h
        ]
        for i in h
    ]
    found = jax.jit(jax.jacrev(jax.grad(answer)))(jnp.asarray(drive, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-4)


# Input


def test_input_neurons_fire_at_the_rates_of_the_formula() -> None:
    offsets = np.array([0.0, 0.4, 1.2, 0.1, 0.9, 1.5])
    phase = np.linspace(0, 2 * np.pi, 7)
    difference = np.array([0.0, 1.0, 4.0])
    found = spike_chances(jnp.asarray(offsets), at(difference), jnp.asarray(phase), 0.6)
    shift = np.where(np.arange(6) < 3, 0, difference[:, None])
    angle = phase[:, None, None] + offsets + shift
    expected = 0.6 * (0.5 * (1 + np.sin(angle))) ** 2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_spikes_are_as_frequent_as_their_chances_and_fresh() -> None:
    """Weights of 1 and no leak count the spikes that answers are made of."""
    learner = SpikingNetwork(neurons_per_ear=10, hidden=1, steps=0)
    x = at(jnp.linspace(0.0, 6.0, 200))
    state = learner.train(KEY, x[:1], jnp.zeros(1))
    chances = np.asarray(learner._chances(state.offsets, x))
    heard = np.asarray(learner._heard(state, x))
    assert set(np.unique(heard)) == {0.0, 1.0}
    spread = 5 * np.sqrt((chances * (1 - chances)).sum(1)) + 3  # rare ones
    assert (abs(heard.sum(1) - chances.sum(1)) < spread).all()
    noise = (heard - chances).sum(0)
    together = np.corrcoef(noise) - np.eye(200)
    assert abs(together.mean()) < 5 / math.sqrt(20 * 200)
    assert 0.7 < together.std() * math.sqrt(20) < 1.3


# Learning


@partial(jax.jit, static_argnums=0)
def answers(
    learner: SpikingNetwork, key: jax.Array, x: jax.Array, y: jax.Array, test: jax.Array
) -> jax.Array:
    return learner.predict(learner.train(key, x, y), test)


def test_a_stimulus_has_one_answer_alone_or_among_others() -> None:
    x, test = at(drawn(0, 10)), at(drawn(1, 12))
    state = jax.jit(TINY.train)(KEY, x, x[:, 0])
    predict = jax.jit(TINY.predict)
    together = predict(state, test)
    alone = jnp.concatenate([predict(state, one[None]) for one in test])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(predict(state, test[::-1])[::-1], together, atol=1e-5)
    stored = np.round(np.asarray(test), 6).astype(np.float32)
    next_to = predict(state, np.nextafter(stored, np.float32(2)))
    np.testing.assert_allclose(next_to, predict(state, stored), atol=1e-4)
    both_zeros = jnp.array([[1.0, 0.0], [1.0, -0.0]])
    zero, minus_zero = predict(state, both_zeros)
    assert zero == minus_zero


@pytest.mark.slow
def test_low_frequencies_are_learnt_better_than_high_ones() -> None:
    """Paper, figure 5B. Relative test errors; 1 is what a constant would get."""
    keys, phase, test = jax.random.split(KEY, 8), drawn(2, 8, 30), drawn(4, 100)
    learn_all = jax.vmap(partial(answers, FAST), (0, 0, 0, None))
    error = []
    for order in (1, 2, 4):
        found = learn_all(keys, at(phase), jnp.cos(order * phase), at(test))
        wanted = jnp.cos(order * test)
        error.append(np.mean((found - wanted[None]) ** 2, 1) / float(wanted.var()))
    assert np.median(error[0]) < 0.4
    assert (error[0] < 0.8).all()
    assert (error[0] < 0.7 * np.minimum(error[1], error[2])).all()


@pytest.mark.slow
def test_meta_gradient_through_the_whole_training_is_finite() -> None:
    phase = drawn(5, 30)
    x, keys = at(phase), jax.random.split(KEY, 2)

    def test_error(labels: jax.Array) -> jax.Array:
        found = jax.vmap(partial(answers, TINY), (0, None, None, None))(
            keys, x[:12], labels[:12], x[12:]
        )
        return jnp.mean((found - labels[None, 12:]) ** 2)

    slope = jax.jit(jax.grad(test_error))(jnp.cos(phase))
    assert np.isfinite(slope).all()
    assert (abs(np.asarray(slope)) > 0).all()


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neurons_per_ear": 0}, "neurons_per_ear must be 1 to 10000, got 0"),
        ({"hidden": 5000}, "hidden must be 1 to 4096, got 5000"),
        ({"time_steps": 0}, "time_steps must be 1 to 10000, got 0"),
        ({"steps": -1}, "steps must be 0 or more, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and finite, got 0.0"),
        ({"tau_ms": math.nan}, "tau_ms must be above 0 and finite, got nan"),
        ({"frequency_hz": math.inf}, "frequency_hz must be above 0 .* got inf"),
        ({"offsets_deg": 361.0}, "offsets_deg must be 0 to 360, got 361.0"),
        ({"dt_ms": 2.0}, "rate_max_hz 600.0 with dt_ms 2.0 is more than one spike"),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpikingNetwork(**options)


def test_refuses_what_is_no_phase_difference() -> None:
    message = r"2 features \(cos, sin\), as of the space phase_difference; got 3"
    with pytest.raises(ValueError, match=message):
        TINY.train(KEY, jnp.ones((4, 3)), jnp.ones(4))
