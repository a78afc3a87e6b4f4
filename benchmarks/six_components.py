"""Six components by evolution: power per order against the number of sessions.

    python benchmarks/six_components.py [--seeds 5] [--most 96000] [--out FOLDER]

Subjects: the ReLU-feature kernel (true components: three of order 1, then order
2), the absolute-value-feature kernel (five of order 2), and no learner. Label
distribution and orthogonality by construction ("exact"), by the penalties of the
paper's figure 9 ("penalties") or with weights tuned for the second subject
("tuned penalties"), on the same budget: sessions are split equally over the
components. Power is energy, on a dense grid of the sphere.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import Design, draw_assignments
from meta_learner.engine import find_component
from meta_learner.evolution import Evolution
from meta_learner.families import MLP
from meta_learner.labelling import Component, Labeller, Series
from simulated_subjects.individual import run_sessions
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.responses import Graded
from stimuli.sphere import Sphere

COMPONENTS = 6
DEGREE = 6
BUDGETS = (96, 288, 960, 2976, 9600, 29_952, 96_000)
"""Sessions for all components together."""
SPACE = Sphere()
DESIGN = Design(training_stimuli=30, test_stimuli=50)
SUBJECTS = {
    "relu": KernelRidge(activation="relu"),
    "absolute": KernelRidge(activation="absolute"),
    "null": None,
}


class Objective(NamedTuple):
    """A labeller, weights of its two penalties beside a relative error of weight 1,
    and the search settings that suit them.
    """

    labeller: Labeller
    weights: tuple[float, float]
    population: int
    step_size: float


# Figure 9 of the paper weighs 1000 MSE against 10000 energy, and a squared error of
# 1 is 3 relative to the variance of uniform labels: 1 to 30. With that the
# absolute-value subject is not heard; 1 to 1 and a population of 64 were the first
# of eight settings tried (energy 30, 10, 3, 1; population 16, 64) under which it was.
# Penalties need the paper's small first step, since their search begins at a
# near-constant labelling; labels made uniform by construction know no scale.
PENALISED = Labeller(SPACE, MLP(output="cos"), "energy", "penalty")
OBJECTIVES = {
    "exact": Objective(Labeller(SPACE, MLP(), "exact"), (0.0, 0.0), 16, 1.0),
    "penalties": Objective(PENALISED, (30.0, 3.0), 16, 0.1),
    "tuned penalties": Objective(PENALISED, (1.0, 3.0), 64, 0.1),
}


def losses(
    objective: str, subject: str, series: Series, theta: jax.Array, key: jax.Array
) -> jax.Array:
    """Meta-losses of a generation of fresh individuals, (candidates,)."""
    labeller, weights, population, _ = OBJECTIVES[objective]
    learner = SUBJECTS[subject]
    total = 1e-6 * jax.random.uniform(key, (population,))  # equal losses: random order
    if any(weights):
        penalty = jax.vmap(labeller.penalties, (None, 0))(series, theta)
        total = total + penalty @ jnp.array(weights)
    if learner is None:
        return total
    stimuli_key, birth_key = jax.random.split(key)
    seed = jax.random.bits(stimuli_key)
    slots = jnp.stack([jnp.zeros(4, int).at[2].set(i) for i in range(population)])
    drawn = draw_assignments(labeller, DESIGN, series, theta, slots, seed)
    n = DESIGN.training_trials
    taught = jnp.take_along_axis(drawn.y, drawn.order[:, :n], 1)
    tested = jnp.take_along_axis(drawn.y, drawn.order[:, n:], 1)
    births = jax.random.split(birth_key, population)
    answers, _ = run_sessions(learner, Graded(), births, drawn.x, drawn.order, taught)
    error = jnp.mean((answers - tested) ** 2, 1) / jnp.var(tested, 1)
    return total + jnp.where(jnp.isfinite(error), error, 1e3)  # a constant labelling


@partial(jax.jit, static_argnums=(0, 1))
def next_component(
    objective: str,
    subject: str,
    series: Series,
    key: jax.Array,
    generations: jax.Array,
) -> Component:
    """The next component of one seed."""
    labeller, _, population, step_size = OBJECTIVES[objective]
    genes = labeller.family.genes(SPACE)
    search = Evolution("DES", population, genes, step_size)
    loss = partial(losses, objective, subject)
    return find_component(labeller, search, loss, series, key, generations)


@partial(jax.jit, static_argnums=0)
def powers(objective: str, series: Series) -> tuple[jax.Array, jax.Array]:
    """Share of energy per order (components, orders) and label variances."""
    labeller = OBJECTIVES[objective].labeller
    grid = SPACE.grid(4096)
    basis, orders = SPACE.basis(grid, DEGREE)
    y = labeller.component_labels(series, grid)
    energy = (y @ basis / len(grid)) ** 2
    share = (
        energy @ (orders[:, None] == jnp.arange(DEGREE + 1)) / (y**2).mean(1)[:, None]
    )
    return share, y.var(1)


def one_run(objective: str, subject: str, seed: int, budget: int) -> dict[str, Any]:
    """A series of six on one budget; its powers and the seconds it took."""
    start = time.perf_counter()
    generations = budget // (OBJECTIVES[objective].population * COMPONENTS)
    series: tuple[Component, ...] = ()
    for k in range(COMPONENTS):
        key = jax.random.fold_in(jax.random.key(seed), k)
        series = (
            *series,
            next_component(objective, subject, series, key, jnp.asarray(generations)),
        )
    share, variance = powers(objective, series)
    return {
        "objective": objective,
        "subject": subject,
        "seed": seed,
        "sessions": budget,
        "power": np.asarray(share).round(4).tolist(),
        "label_variance": np.asarray(variance).round(4).tolist(),
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    """Run everything and write one JSON line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=int, default=96_000)
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES))
    parser.add_argument("--subjects", nargs="+", default=list(SUBJECTS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "six_components.jsonl").open("w") as file:
        for budget in (b for b in BUDGETS if b <= options.most):
            for objective in options.objectives:
                if budget < OBJECTIVES[objective].population * COMPONENTS:
                    continue
                for subject in options.subjects:
                    for seed in range(options.seeds):
                        run = one_run(objective, subject, seed, budget)
                        file.write(json.dumps(run) + "\n")
                        file.flush()
                        first = np.array(run["power"])[:, 1:4].round(2).tolist()
                        print(
                            objective, subject, run["sessions"], seed, first, flush=True
                        )


if __name__ == "__main__":
    main()
