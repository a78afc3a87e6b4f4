"""What studies by the subject model recover, predict, and ask next."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meta_learner.adaptive_design import propose, training_sizes
from meta_learner.assignment import Design
from meta_learner.bias import (
    bias_spectrum,
    components,
    expected_errors,
    interval,
    missed,
)
from meta_learner.subject_fit import Fit, draw, precision_of, start
from meta_learner.subject_model import SubjectModel
from server.simulated_study import Progressing, Simulation, begin, run_batch
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.responses import Graded, TwoChoice
from simulated_subjects.unteachable import Unteachable
from stimuli.sphere import Sphere


def simulate(
    learner: Any, response: str, sessions: int, studies: int = 3, lost: float = 0.0
) -> tuple[Simulation, Progressing]:
    """Finished studies, each of subjects and stimuli of its own."""
    choice = response == "choice"
    design = Design(10, 25 if choice else 50, 1, 2 if choice else 1, response)  # type: ignore[arg-type]
    answers = TwoChoice(lapse=0.08) if choice else Graded()
    model = SubjectModel(Sphere(), 3, response)  # type: ignore[arg-type]
    simulation = Simulation(model, design, learner, answers, sessions, 10, lost)
    state = begin(simulation, studies)
    for i in range(sessions // 10):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(5), i), studies)
        state = run_batch(simulation, state, jnp.int32(10 * i), keys)
    return simulation, state


finished = cache(simulate)


def powers(simulation: Simulation, state: Progressing, order: int) -> np.ndarray:
    """Power in an order of each component, ``(studies, components)``."""
    model = simulation.model
    within = model.order[1:] == order
    each = [components(model, u, 8)[1] for u in state.fit.parameters]
    return np.stack([np.asarray(rows**2)[:, within].sum(1) for rows in each])


@pytest.mark.parametrize(
    "response", ["choice", pytest.param("graded", marks=pytest.mark.slow)]
)
def test_thirty_sessions_recover_a_kernel_and_its_diagnostic_control(
    response: str,
) -> None:
    relu = finished(KernelRidge(), response, 30)
    even = finished(KernelRidge(activation="absolute"), response, 30)
    # Medians over studies of the worst of each group of components.
    assert np.median(powers(*relu, 1)[:, :3].min(1)) >= 0.95
    assert np.median(powers(*relu, 2)[:, 3:8].min(1)) >= 0.90
    assert np.median(powers(*even, 2)[:, :5].min(1)) >= 0.90


def test_lost_sessions_count_for_nothing() -> None:
    _, whole = finished(KernelRidge(), "choice", 30)
    simulation, state = simulate(KernelRidge(), "choice", 30, lost=1.0)
    assert float(state.evidence.counted.sum()) == 0
    assert np.allclose(state.fit.parameters, start(simulation.model).parameters)
    assert float(whole.evidence.counted.sum()) == 90


def held_out_skill(learner: Any) -> list[float]:
    """Skill of models on the sessions of another study of the same learner."""
    simulation, state = finished(learner, "choice", 30)
    of_study = [
        jax.tree.map(lambda leaf, i=i: leaf[i], state.evidence) for i in range(3)
    ]
    found = []
    for i in range(3):
        other = of_study[(i + 1) % 3]
        missing, whole = missed(simulation.model, state.fit.parameters[i], other)
        found.append(1 - float(missing.sum() / whole.sum()))
    return found


def test_held_out_sessions_are_predicted_where_there_is_something_to_predict() -> None:
    # Of the variance of single choices, most of which is chance for any model.
    assert min(held_out_skill(KernelRidge())) > 0.03
    assert max(held_out_skill(Unteachable())) < 0.01


def test_predicted_errors_have_the_order_of_the_learner() -> None:
    simulation, state = finished(KernelRidge(), "choice", 30)
    model, design, key = simulation.model, simulation.design, jax.random.key(2)
    fit = jax.tree.map(lambda leaf: leaf[0], state.fit)
    precision = precision_of(model, jax.tree.map(lambda e: e[0], state.evidence), fit)
    draws = draw(fit, precision, 64, key)
    low, median, high = interval(bias_spectrum(model, draws, design, key))
    assert (low <= median).all()
    assert (median <= high).all()
    # A ReLU kernel without bias generalises order 1, then 2, and hardly order 3.
    assert median[0] < median[1] < median[2]
    assert high[0] < low[2]
    first = components(model, fit.parameters, 4)[1]
    errors = expected_errors(model, fit.parameters, first, design, key)
    assert (errors[:3] < errors[3]).all()


def test_proposals_are_labellings_with_a_number_of_training_stimuli() -> None:
    simulation, state = finished(KernelRidge(), "choice", 30)
    model, design = simulation.model, simulation.design
    fit: Fit = jax.tree.map(lambda leaf: leaf[0], state.fit)
    theta, trained = propose(
        model, design, fit, state.precision[0], 3, jax.random.key(0)
    )
    assert theta.shape == (3, model.functions - 1)
    assert np.allclose(jnp.linalg.norm(theta, axis=1), 1.0, atol=1e-4)
    assert set(np.asarray(trained).tolist()) <= set(training_sizes(design))
    again, _ = propose(model, design, fit, state.precision[0], 3, jax.random.key(0))
    assert np.array_equal(theta, again)
