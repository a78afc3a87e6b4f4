"""Evolution helped by the subject model against evolution on its own.

    python benchmarks/hybrid.py kernel basis [--method CMA_ES] [--seeds 4]

Sphere, 30 training stimuli shown four times and 20 test stimuli asked twice, choices
with 8 % lapses, 32 candidates a generation, first component. Both find it from the
same seeds; printed is the relative generalisation error, without response noise, of
256 fresh individuals on the labelling that would be frozen after so many sessions.

Subjects: a kernel of absolute-value features and penalty .1, which the model can
describe; one that answers as its nearest training stimulus; one born with its
answers.
"""

import argparse
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import Design
from meta_learner.evolution import Evolution
from meta_learner.families import FAMILIES
from meta_learner.labelling import Labeller
from meta_learner.subject_model import SubjectModel, degree_for
from server.simulated_hybrid import HybridStudy, run_component
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.responses import TwoChoice
from stimuli.sphere import Sphere

SPACE = Sphere()
DESIGN = Design(30, 20, 4, 2, "choice")
RESPONSES = TwoChoice(lapse=0.08)
POPULATION = 32
INDIVIDUALS = 256


@dataclass(frozen=True)
class Nearest:
    """Answers what it was taught about the most similar stimulus."""

    def train(
        self, key: jax.Array, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Remember all that was taught."""
        del key
        return x, y

    def predict(self, state: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        """Mean of what was taught of the nearest stimulus."""
        known, taught = state
        similar = x @ known.T
        nearest = similar >= similar.max(1, keepdims=True) - 1e-6
        return (nearest @ taught) / nearest.sum(1)


@dataclass(frozen=True)
class Innate:
    """Answers by a function of the stimulus that no training changes."""

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        """Nothing is learnt."""
        del key, x, y
        return jnp.zeros(())

    def predict(self, state: jax.Array, x: jax.Array) -> jax.Array:
        """A function of orders 2 and 3."""
        del state
        basis = SPACE.basis(x, 3)[0]
        return 0.4 * (basis[:, 5] + basis[:, 10])


SUBJECTS: dict[str, Learner] = {
    "kernel": KernelRidge(activation="absolute", penalty=0.1),
    "nearest": Nearest(),
    "innate": Innate(),
}


@partial(jax.jit, static_argnums=(0, 1))
def true_error(
    labeller: Labeller, learner: Learner, theta: jax.Array, key: jax.Array
) -> jax.Array:
    """Relative error of fresh individuals, without response noise."""
    n, repeats = DESIGN.training_stimuli, DESIGN.training_repeats

    def one(key: jax.Array) -> jax.Array:
        stimulus_key, coin_key, born = jax.random.split(key, 3)
        x = SPACE.sample(stimulus_key, n + 100)
        y = labeller.labels((), theta, x)
        shown, labels = jnp.tile(x[:n], (repeats, 1)), jnp.tile(y[:n], repeats)
        coin = jax.random.uniform(coin_key, labels.shape)
        taught = jnp.where(coin < (1 + labels) / 2, 1.0, -1.0)
        predicted = learner.predict(learner.train(born, shown, taught), x[n:])
        # The mean choice, by which choices are scored.
        answers = (1 - RESPONSES.lapse) * jnp.tanh(RESPONSES.slope / 2 * predicted)
        return jnp.mean((answers - y[n:]) ** 2) / jnp.var(y[n:])

    errors: jax.Array = jax.lax.map(one, jax.random.split(key, INDIVIDUALS))
    return errors.mean()


def main() -> None:
    """Print the error of each seed with and without help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("family", choices=["basis", "mlp"])
    parser.add_argument("--method", default="CMA_ES")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sessions", type=int, nargs="+", default=[96, 192, 384, 640])
    given = parser.parse_args()
    family = FAMILIES[given.family]()
    study = HybridStudy(
        Labeller(SPACE, family),
        DESIGN,
        Evolution(given.method, POPULATION, family.genes(SPACE)),
        SUBJECTS[given.subject],
        RESPONSES,
        SubjectModel(SPACE, degree_for(SPACE), "choice"),
        window=128,
    )
    readings = [sessions // POPULATION for sessions in given.sessions]
    print("sessions", given.sessions)
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for helped in (False, True):
            run = run_component(replace(study, helped=helped), (), seed, max(readings))
            reached = list(run)
            errors = [
                float(
                    true_error(
                        study.labeller,
                        study.learner,
                        reached[i - 1].best,
                        jax.random.key(seed),
                    )
                )
                for i in readings
            ]
            trust = np.mean([generation.judgement.trust for generation in reached])
            weight = np.mean([generation.judgement.weight for generation in reached])
            print(
                seed,
                "hybrid" if helped else "alone ",
                np.round(errors, 3),
                f"trust {trust:.2f} weight {weight:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
