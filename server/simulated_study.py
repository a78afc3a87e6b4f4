"""Whole subject-model studies in process, as arrays: no journal, many at once.

For power analyses and benchmarks: what a study does, session by session, with
simulated subjects, vmapped over studies.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from meta_learner.adaptive_design import propose, training_sizes
from meta_learner.assignment import Design
from meta_learner.bias import labels_of
from meta_learner.subject_fit import COLD, WARM, Fit, fit_model, precision_of, start
from meta_learner.subject_model import Evidence, SubjectModel
from simulated_subjects.individual import run_sessions
from simulated_subjects.learner import Learner
from simulated_subjects.responses import ResponseModel


@dataclass(frozen=True)
class Simulation:
    """Studies of ``sessions`` sessions in batches, of one simulated subject.

    ``lost`` is the probability that a session brings nothing; ``fixed`` trains with
    all training stimuli of the design in every session. Static argument.
    """

    model: SubjectModel
    design: Design
    learner: Learner
    responses: ResponseModel
    sessions: int
    batch: int
    lost: float = 0.0
    fixed: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of training stimuli to choose from."""
        whole = (self.design.training_stimuli,)
        return whole if self.fixed else training_sizes(self.design)


class Progressing(NamedTuple):
    """Studies under way, a leading axis of studies."""

    evidence: Evidence
    fit: Fit
    precision: jax.Array


def begin(simulation: Simulation, studies: int) -> Progressing:
    """Studies before their first session."""
    model, design = simulation.model, simulation.design
    trained = (simulation.sessions, design.training_stimuli)
    tested = (simulation.sessions, design.test_trials)
    evidence = Evidence(
        jnp.zeros((*trained, model.functions)),
        jnp.zeros(trained),
        jnp.ones(trained),
        jnp.zeros((*tested, model.functions)),
        jnp.ones(tested),
        jnp.zeros(tested),
        jnp.zeros(simulation.sessions),
    )
    fit = start(model)
    precision = jnp.diag(model.precision(fit.deviations))
    one = Progressing(evidence, fit, precision)
    many: Progressing = jax.tree.map(lambda leaf: jnp.stack([leaf] * studies), one)
    return many


def run_batch(
    simulation: Simulation, studies: Progressing, done: int, keys: jax.Array
) -> Progressing:
    """The next batch of each study: asked, simulated, and the model fitted again.

    ``done`` is the number of sessions before it; ``keys`` (studies,). Three compiled
    functions, not one: simulations of many subjects share the slow two.
    """
    told = tell_batch(simulation, studies.fit, studies.precision, keys)
    evidence = jax.tree.map(
        lambda whole, new: jax.lax.dynamic_update_slice_in_dim(whole, new, done, 1),
        studies.evidence,
        told,
    )
    after: Progressing
    after = learn(simulation.model, evidence, studies.fit, WARM if done else COLD)
    return after


def tell_batch(
    simulation: Simulation, fits: Fit, precisions: jax.Array, keys: jax.Array
) -> Evidence:
    """A batch of each study, asked and simulated: ``(studies, batch, ...)``.

    ``keys`` (studies,).
    """
    asking = simulation.model, simulation.design, simulation.sizes, simulation.batch
    ask_keys, session_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    rows, trained = _ask(*asking, fits, precisions, ask_keys)
    told: Evidence = _simulate(simulation, session_keys, rows, trained)
    return told


# Studies one after the other where large matrices are multiplied, which XLA does
# on all cores; subjects of all studies at once.
@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _ask(
    model: SubjectModel,
    design: Design,
    sizes: tuple[int, ...],
    batch: int,
    fits: Fit,
    precisions: jax.Array,
    keys: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    def one(study: tuple[Fit, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        fit, precision, key = study
        asked: tuple[jax.Array, jax.Array]
        asked = propose(model, design, fit, precision, batch, key, sizes)
        return asked

    asked: tuple[jax.Array, jax.Array] = jax.lax.map(one, (fits, precisions, keys))
    return asked


@partial(jax.jit, static_argnums=0)
def _simulate(
    simulation: Simulation, keys: jax.Array, rows: jax.Array, trained: jax.Array
) -> Evidence:
    each = jax.vmap(lambda key: jax.random.split(key, rows.shape[1]))(keys)
    told: Evidence = jax.vmap(jax.vmap(partial(simulate_session, simulation)))(
        each, rows, trained
    )
    return told


@partial(jax.jit, static_argnums=0)
def learn(
    model: SubjectModel, evidence: Evidence, fits: Fit, most: jax.Array | int
) -> Progressing:
    """The model of each study fitted to its evidence, from ``fits``, ``most`` steps."""

    def one(study: tuple[Evidence, Fit]) -> Progressing:
        evidence, before = study
        fit = fit_model(model, evidence, before, most)
        return Progressing(evidence, fit, precision_of(model, evidence, fit))

    after: Progressing = jax.lax.map(one, (evidence, fits))
    return after


def simulate_session(
    simulation: Simulation, key: jax.Array, row: jax.Array, trained: jax.Array
) -> Evidence:
    """One session on coefficients ``row`` with ``trained`` training stimuli."""
    model, design = simulation.model, simulation.design
    n, m = design.training_stimuli, design.test_stimuli
    stimulus_key, subject_key, lost_key = jax.random.split(key, 3)
    reward_key = jax.random.fold_in(key, 3)
    x = model.space.sample(stimulus_key, n + m)
    basis = model.basis(x)
    y = labels_of(basis, row)
    taught = jnp.tile(y[:n], (design.training_repeats, 1))
    if design.feedback == "reward":
        drawn = jax.random.uniform(reward_key, taught.shape)
        taught = jnp.where(drawn < (1 + taught) / 2, 1.0, -1.0)

    def answers(x: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        stimuli = jnp.concatenate([x[:size], x[n:]])
        order = jnp.concatenate(
            [
                jnp.tile(jnp.arange(size), design.training_repeats),
                size + jnp.tile(jnp.arange(m), design.test_repeats),
            ]
        )
        values, responded = run_sessions(
            simulation.learner,
            simulation.responses,
            subject_key[None],
            stimuli[None],
            order[None],
            taught[None, :, :size].reshape(1, -1),
        )
        return values[0], responded[0]

    sizes = simulation.sizes
    each = []
    for size in sizes:
        each.append(answers(x, size))
        # One after the other: XLA on few cores hangs where two solvers run at once.
        x = x + 0 * jnp.nan_to_num(each[-1][0].sum())
    which = jnp.argmin(jnp.abs(jnp.array(sizes) - trained))
    values, responded = (jnp.stack(part)[which] for part in zip(*each, strict=True))
    there = (jnp.arange(n) < trained).astype(jnp.float32)
    return Evidence(
        basis[:n] * there[:, None],
        taught.mean(0) * there,
        jnp.full(n, float(design.training_repeats)),
        jnp.tile(basis[n:], (design.test_repeats, 1)),
        values,
        responded.astype(jnp.float32),
        (jax.random.uniform(lost_key) >= simulation.lost).astype(jnp.float32),
    )
