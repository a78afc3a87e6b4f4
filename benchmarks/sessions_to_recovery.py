"""Sessions until a subject's biases are recovered: subject model beside evolution.

    python benchmarks/sessions_to_recovery.py [--subjects ...] [--conditions ...]
        [--methods ...] [--seeds 10] [--most 25600] [--out FOLDER]

Every subject meets every condition and method; a method's null is the same method with
a subject that answers at random. Each row of the results is one seed after so many
sessions: the share of each recovered component's power in its true space, and its
error on fresh individuals beside that of the true components (``best``). Rows that
are there already are not run again.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.helped import helped_study
from meta_learner.assignment import Design, draw_assignments
from meta_learner.bias import components, labels_of
from meta_learner.evolution import Evolution, State
from meta_learner.families import MLP, Basis, LabellingFamily
from meta_learner.labelling import Labeller
from meta_learner.subject_model import SubjectModel
from server.dry_run import course
from server.simulated_study import Progressing, Simulation, begin, run_batch
from simulated_subjects.fourier_ridge import FourierRidge
from simulated_subjects.gains import Gains
from simulated_subjects.individual import run_sessions
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.private_noise import PrivateNoise
from simulated_subjects.relu_network import ReluNetwork
from simulated_subjects.responses import Graded, ResponseModel, TwoChoice
from simulated_subjects.unteachable import Unteachable
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere

TRAINED = 20
"""Training stimuli of a session at most, and of the errors that are reported."""

GRID = 2048
"""Stimuli on which labellings are compared."""

POPULATION = 16
BUDGETS = (80, 320, 1280, 5120, 25_600, 102_400)
"""Sessions of evolution, for its first component alone."""

HYBRID, HYBRID_MOST = "hybrid", 5120
"""CMA_ES with the model's help, and its largest budget: it takes minutes a seed."""

TOGETHER = 5
"""Seeds in one compiled program; whatever their number, it is compiled once."""

STAGES = ((20, (4,) * 5), (80, (20,) * 3))
"""Room for sessions and the batches that fill it: small ones first."""


class Subject(NamedTuple):
    """A learner, its space, and the degree up to which it is modelled.

    ``leading`` are the sizes of its true leading spaces, best first; ``measured``
    says that these are not known but estimated from the learner.
    """

    space: StimulusSpace
    degree: int
    learner: Learner
    leading: tuple[int, ...]
    orders: tuple[int, ...] | None


SUBJECTS = {
    "relu_kernel": Subject(Sphere(), 4, KernelRidge(), (3, 5), (1, 2)),
    "absolute_kernel": Subject(
        Sphere(), 4, KernelRidge(activation="absolute"), (5,), (2,)
    ),
    "relu_network": Subject(Sphere(), 4, ReluNetwork(steps=1000), (3, 5), (1, 2)),
    # As the paper trains it: of 20 stimuli it learns nothing of order 2.
    "relu_network_200": Subject(Sphere(), 4, ReluNetwork(), (3, 5), (1, 2)),
    "anisotropic": Subject(
        Hypercube(5, "gaussian"),
        2,
        Gains((3.0, 1.0, 1.0, 1.0, 0.3), KernelRidge()),
        (1, 3),
        None,
    ),
    "ring": Subject(Circle(), 9, FourierRidge(), (2,), (5,)),
}


class Condition(NamedTuple):
    """What answers are like, and what befalls a session."""

    responses: ResponseModel
    repeats: int = 1
    lost: float = 0.0
    rewards: bool = False
    private: float = 0.0

    @property
    def design(self) -> Design:
        """Sessions of 50 test trials."""
        choice = isinstance(self.responses, TwoChoice)
        return Design(
            TRAINED,
            50 // self.repeats,
            training_repeats=4 if self.rewards else 1,
            test_repeats=self.repeats,
            response="choice" if choice else "graded",
            feedback="reward" if self.rewards else "label",
        )

    def learner(self, learner: Learner) -> Learner:
        """The learner as it hears its labels."""
        return PrivateNoise(self.private, learner) if self.private else learner


CHOICE = Condition(TwoChoice(lapse=0.08), repeats=2)
CONDITIONS = {
    "graded": Condition(Graded()),
    "graded_noise": Condition(Graded(noise=0.3)),
    "choice": CHOICE,
    "choice_lost": CHOICE._replace(lost=0.2),
    "rewards": CHOICE._replace(rewards=True, private=0.5),
}

EVOLUTION: dict[str, tuple[str, LabellingFamily]] = {
    "des_mlp": ("DES", MLP()),
    "cma_es_basis": ("CMA_ES", Basis(4)),
    "snes_basis": ("SNES", Basis(4)),
    "des_basis": ("DES", Basis(4)),
}

Recovered = Iterator[tuple[int, jax.Array]]
"""Sessions so far, and labels on the grid (seeds, components, GRID)."""


@cache
def model_of(
    subject: Subject, response: Literal["graded", "choice"] = "graded"
) -> SubjectModel:
    """The subject's model, its orders known before any of it is compiled."""
    model = SubjectModel(subject.space, subject.degree, response)
    _ = model.order
    return model


def grid_basis(subject: Subject) -> jax.Array:
    """Basis on the grid, orthonormal there, the constant first."""
    values = subject.space.basis(subject.space.grid(GRID), subject.degree)[0]
    q, r = np.linalg.qr(np.asarray(values, np.float64))
    return jnp.asarray(q * np.sign(np.diag(r)) * np.sqrt(GRID), jnp.float32)


@cache
def true_components(name: str) -> jax.Array:
    """Coefficients (components, functions - 1) of the true leading components.

    Whole orders where symmetry says so. Else the labellings of least expected error:
    predictions of these learners are linear in labels, so that the error is a
    quadratic form of coefficients, here averaged over individuals and stimuli.
    """
    subject = SUBJECTS[name]
    model = model_of(subject)
    if subject.orders is not None:
        chosen = [np.flatnonzero(model.order[1:] == o) for o in subject.orders]
        return jnp.eye(model.functions - 1)[np.concatenate(chosen)]

    def form(key: jax.Array) -> jax.Array:
        x = subject.space.sample(key, TRAINED + 50)
        basis = model.basis(x)[:, 1:]

        def predict(y: jax.Array) -> jax.Array:
            state = subject.learner.train(key, x[:TRAINED], y)
            return subject.learner.predict(state, x[TRAINED:])

        missed = jax.lax.map(predict, basis[:TRAINED].T).T - basis[TRAINED:]
        square: jax.Array = missed.T @ missed / 50
        return square

    forms = jax.lax.map(form, jax.random.split(jax.random.key(0), 2000))
    values, vectors = np.linalg.eigh(np.asarray(forms.mean(0), np.float64))
    print(name, "errors of the best labellings:", values[:6].round(3), flush=True)
    return jnp.asarray(vectors.T[: sum(subject.leading)], jnp.float32)


def powers(subject: Subject, true: jax.Array, labels: jax.Array) -> jax.Array:
    """Share of each component's power in its own true space, (..., components)."""
    along = (labels @ grid_basis(subject)[:, 1:] / GRID @ true.T) ** 2
    member = np.repeat(np.arange(len(subject.leading)), subject.leading)
    own = jnp.asarray(member[: labels.shape[-2], None] == member[None])
    share: jax.Array = jnp.sum(along * own, -1) / jnp.maximum(labels.var(-1), 1e-9)
    return share


@partial(jax.jit, static_argnums=(0, 1))
def fresh_errors(subject: Subject, individuals: int, rows: jax.Array) -> jax.Array:
    """Relative errors of labellings (k, functions - 1) on fresh individuals, (k,).

    The same individuals and stimuli for every labelling: differences are not luck.
    """
    model = model_of(subject)

    def one(key: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = subject.space.sample(key, TRAINED + 50)
        y = labels_of(model.basis(x), row)
        state = subject.learner.train(
            jax.random.fold_in(key, 1), x[:TRAINED], y[:TRAINED]
        )
        tested = y[TRAINED:]
        missed = subject.learner.predict(state, x[TRAINED:]) - tested
        return jnp.mean(missed**2), jnp.mean(tested**2) - jnp.mean(tested) ** 2

    keys = jax.random.split(jax.random.key(1), individuals)
    missed, spread = jax.lax.map(lambda row: jax.vmap(one, (0, None))(keys, row), rows)
    errors: jax.Array = missed.mean(1) / spread.mean(1)
    return errors


def subject_model(
    subject: Subject, condition: Condition, seeds: list[int], most: int
) -> Recovered:
    """Components of the subject model, refitted after growing batches."""
    model = model_of(subject, condition.design.response)
    simulation = Simulation(
        model,
        condition.design,
        condition.learner(subject.learner),
        condition.responses,
        sessions=0,
        batch=0,
        lost=condition.lost,
    )
    best = jax.jit(
        jax.vmap(
            lambda parameters: components(model, parameters, sum(subject.leading))[1]
        )
    )
    studies, done = begin(simulation, len(seeds)), 0
    for room, batches in STAGES:
        studies = with_room(replace(simulation, sessions=room), studies)
        for batch in batches:
            if done + batch > most:
                return
            keys = jnp.stack(
                [jax.random.fold_in(jax.random.key(seed), done) for seed in seeds]
            )
            studies = run_batch(replace(simulation, batch=batch), studies, done, keys)
            done += batch
            rows = best(studies.fit.parameters)
            labels = jax.vmap(jax.vmap(labels_of, (None, 0)), (None, 0))
            yield done, labels(grid_basis(subject), rows)


def with_room(simulation: Simulation, studies: Progressing) -> Progressing:
    """Studies with room for more sessions: small refits do not pay for large ones."""
    wide = begin(simulation, studies.fit.weight.shape[0])
    evidence = jax.tree.map(
        lambda whole, old: whole.at[:, : old.shape[1]].set(old),
        wide.evidence,
        studies.evidence,
    )
    return studies._replace(evidence=evidence)


def evolution(
    method: str, subject: Subject, condition: Condition, seeds: list[int], most: int
) -> Recovered:
    """First component of a search, where the mean of its distribution stands."""
    strategy, family = EVOLUTION[method]
    labeller = Labeller(subject.space, family, "standardised")
    search = Evolution(strategy, POPULATION, family.genes(subject.space))
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    states = jax.vmap(search.init)(keys)
    grid, begun = subject.space.grid(GRID), 0
    show = jax.jit(
        jax.vmap(lambda state: labeller.labels((), search.best(state), grid)[None])
    )
    for budget in (b for b in BUDGETS if b <= most):
        # A lost session is given again, and counts.
        generations = round(budget * (1 - condition.lost)) // POPULATION
        states = advance(
            labeller,
            search,
            subject.learner,
            condition,
            states,
            keys,
            begun,
            generations,
        )
        begun = generations
        yield budget, show(states)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def advance(
    labeller: Labeller,
    search: Evolution,
    learner: Learner,
    condition: Condition,
    states: State,
    keys: jax.Array,
    first: int,
    last: int,
) -> State:
    """Searches of all seeds from one generation to another."""

    def one(state: State, key: jax.Array) -> State:
        def generation(i: jax.Array, state: State) -> State:
            ask_key, loss_key = jax.random.split(jax.random.fold_in(key, i))
            theta, state = search.ask(state, ask_key)
            told = losses(labeller, learner, condition, theta, loss_key)
            return search.tell_all(state, theta, told)

        end: State = jax.lax.fori_loop(first, last, generation, state)
        return end

    after: State = jax.vmap(one)(states, keys)
    return after


def losses(
    labeller: Labeller,
    learner: Learner,
    condition: Condition,
    theta: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Relative errors (candidates,) of fresh individuals, freed of choice noise."""
    stimuli_key, birth_key = jax.random.split(key)
    design, count = condition.design, len(theta)
    slots = jnp.zeros((count, 4), int).at[:, 2].set(jnp.arange(count))
    seed = jax.random.bits(stimuli_key)
    drawn = draw_assignments(labeller, design, (), theta, slots, seed)
    n = design.training_trials
    taught = jnp.take_along_axis(drawn.y, drawn.order[:, :n], 1)
    if condition.rewards:
        taught = jnp.where(drawn.right_rewarded, 1.0, -1.0)
    births = jax.random.split(birth_key, count)
    answers, _ = run_sessions(
        condition.learner(learner),
        condition.responses,
        births,
        drawn.x,
        drawn.order,
        taught,
    )
    by_stimulus = jnp.argsort(drawn.order[:, n:], axis=1)
    grouped = jnp.take_along_axis(answers, by_stimulus, 1)
    grouped = grouped.reshape(count, design.test_stimuli, condition.repeats)
    tested = drawn.y[:, design.training_stimuli :]
    error = (grouped.mean(2) - tested) ** 2
    if condition.repeats > 1:
        error -= grouped.var(2) / (condition.repeats - 1)
    relative: jax.Array = error.mean(1) / jnp.maximum(tested.var(1), 1e-6)
    return relative


def hybrid(
    subject: Subject, condition: Condition, seeds: list[int], most: int
) -> Recovered:
    """First component of evolution that the model helps, on the subject's basis."""
    search = {
        "strategy": "CMA_ES",
        "population": POPULATION,
        "generations": HYBRID_MOST // POPULATION + 1,
    }
    who = condition.learner(subject.learner), condition.responses
    studies = [
        helped_study(subject.space, condition.design, search, subject.degree, who, seed)
        for seed in seeds
    ]
    budgets = [b for b in BUDGETS if b <= min(most, HYBRID_MOST)]
    # A lost session is given again, and counts.
    done = [round(budget * (1 - condition.lost)) for budget in budgets]
    grid = subject.space.grid(GRID)
    for budget, *states in zip(
        budgets, *(course(s, done) for s in studies), strict=True
    ):
        best = [s.study.search.best(s.search) for s in states]
        labels = [studies[0].labeller.labels((), theta, grid) for theta in best]
        yield budget, jnp.stack(labels)[:, None]


METHODS: dict[str, Callable[[Subject, Condition, list[int], int], Recovered]] = {
    "subject_model": subject_model,
    HYBRID: hybrid,
    **{name: partial(evolution, name) for name in EVOLUTION},
}
"""A method: the labels it stands at after more and more sessions."""

NULL = "_null"


def rows_of(
    name: str, condition: str, method: str, seeds: list[int], most: int
) -> Iterator[dict[str, Any]]:
    """Rows of one subject, condition and method, all seeds together."""
    subject, start = SUBJECTS[name], time.perf_counter()
    true = true_components(name)
    best = fresh_errors(subject, 200, true)
    heard = subject
    if method.endswith(NULL):
        heard = subject._replace(learner=Unteachable())
    run = METHODS[method.removesuffix(NULL)]
    for sessions, labels in run(heard, CONDITIONS[condition], seeds, most):
        power = np.asarray(powers(subject, true, labels))
        rows = labels @ grid_basis(subject)[:, 1:] / GRID
        errors = [fresh_errors(subject, 200, each) for each in rows]
        for i, seed in enumerate(seeds):
            yield {
                "subject": name,
                "condition": condition,
                "method": method,
                "seed": seed,
                "sessions": sessions,
                "power": decimals(power[i]),
                "error": decimals(errors[i]),
                "best": decimals(best),
                "seconds": round(time.perf_counter() - start, 1),
            }


def decimals(values: Any) -> list[float]:
    """Four decimals."""
    rounded: list[float] = np.asarray(values, np.float64).round(4).tolist()
    return rounded


KEY = ("subject", "condition", "method", "seed", "sessions")


def main() -> None:
    """Run what is missing, one JSON line per seed and number of sessions."""
    parser = argparse.ArgumentParser(description=__doc__)
    methods = [m + null for m in METHODS for null in ("", NULL)]
    for name, known in (
        ("subjects", SUBJECTS),
        ("conditions", CONDITIONS),
        ("methods", methods),
    ):
        parser.add_argument(f"--{name}", nargs="+", default=list(known), choices=known)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--most", type=int, default=25_600)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "sessions_to_recovery.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    there = {tuple(json.loads(line)[k] for k in KEY) for line in lines}
    for condition in options.conditions:
        for method in options.methods:
            for name in options.subjects:
                last = last_sessions(method, options.most)
                missing = [
                    seed
                    for seed in range(options.seeds)
                    if (name, condition, method, seed, last) not in there
                ]
                for i in range(0, len(missing), TOGETHER):
                    seeds = missing[i : i + TOGETHER]
                    for row in rows_of(name, condition, method, seeds, options.most):
                        if tuple(row[k] for k in KEY) not in there:
                            add(path, row)


def add(path: Path, row: dict[str, Any]) -> None:
    """Append a row to the results, and show it."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(*(row[k] for k in (*KEY, "power", "error", "seconds")), flush=True)


def last_sessions(method: str, most: int) -> int:
    """Number of sessions at which a method is done."""
    if method.removesuffix(NULL) == HYBRID:
        return max(b for b in BUDGETS if b <= min(most, HYBRID_MOST))
    if method.removesuffix(NULL) in EVOLUTION:
        return max(b for b in BUDGETS if b <= most)
    ends = np.cumsum([b for _, batches in STAGES for b in batches])
    return int(ends[ends <= most].max())


if __name__ == "__main__":
    main()
