"""Evolution helped by the subject model against evolution on its own.

    python benchmarks/hybrid.py kernel basis [--strategy CMA_ES] [--seeds 8]

Sphere, 30 training stimuli shown four times and 20 test stimuli asked twice, choices
with 8 % lapses, 32 candidates a generation, first component. Both find it from the
same seeds, as dry runs; printed is the relative generalisation error, without response
noise, of 256 fresh individuals on the labelling that would be frozen after so many
sessions, and at the end the paired difference with its standard error.

Subjects: a kernel of absolute-value features and penalty .1, which the model can
describe; one that answers as its nearest training stimulus; one born with its
answers.
"""

import argparse
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.evolution import Evolution
from meta_learner.hybrid import HELPED, judge
from meta_learner.labelling import Labeller
from server.dry_run import course
from server.study_file import Study
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.responses import TwoChoice
from stimuli.sphere import Sphere

STUDY = """
[study]
name = "hybrid"
seed = {seed}
[stimuli]
space = "sphere"
[session]
training_stimuli = 30
test_stimuli = 20
training_repeats = 4
test_repeats = 2
response = "choice"
[search]
{search}
population = 32
generations = {generations}
[labelling]
family = "{family}"
[simulated_subject]
learner = "kernel_ridge"
[simulated_responses]
lapse = 0.08
"""

SPACE = Sphere()
RESPONSES = TwoChoice(lapse=0.08)
TRAINED, REPEATS, POPULATION = 30, 4, 32
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
    n, repeats = TRAINED, REPEATS

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


def searched(
    given: argparse.Namespace, seed: int, helped: bool
) -> tuple[list[float], list[float]]:
    """Errors after each number of sessions, and the trust that the model then has."""
    named = f'method = "hybrid"\nstrategy = "{given.strategy}"'
    text = STUDY.format(
        seed=seed,
        search=named if helped else f'method = "{given.strategy}"',
        # One more: in the end a search is frozen, and begins anew.
        generations=max(given.sessions) // POPULATION + 1,
        family=given.family,
    )
    study = Study(text)
    # Not all of them can be named in a study file.
    learner = study.learners[""] = SUBJECTS[given.subject]
    errors, trusts = [], []
    for state in course(study, given.sessions):
        assert isinstance(study.search, Evolution)
        best, key = study.search.best(state.search), jax.random.key(seed)
        errors.append(float(true_error(study.labeller, learner, best, key)))
        trusts.append(judge(state.help.past).trust if state.help else 0.0)
    return errors, trusts


def main() -> None:
    """Print the error of each seed with and without help."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("family", choices=["basis", "mlp"])
    parser.add_argument("--strategy", default="CMA_ES", choices=HELPED)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sessions", type=int, nargs="+", default=[96, 192, 384, 640])
    given = parser.parse_args()
    print("sessions", given.sessions)
    gains = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        (alone, _), (helped, trust) = (searched(given, seed, h) for h in (False, True))
        gains.append(np.subtract(alone, helped))
        print(seed, "alone ", np.round(alone, 3), flush=True)
        print(seed, "hybrid", np.round(helped, 3), "trust", np.round(trust, 2))
    spread = np.std(gains, 0, ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    print("gain", np.mean(gains, 0).round(3), "standard error", np.round(spread, 3))


if __name__ == "__main__":
    main()
