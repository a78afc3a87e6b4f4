"""How often is a component confirmed that is none, and how often one that is?

    python -m benchmarks.false_alarms [--studies 200] [--sessions 8]

Studies of two-choice answers with lapses by the subject model, each of which may stop:
when its interval is narrow, or when its own sessions so far look best for it. Then the
verdict of their verification, of a subject that answers at random, where any
confirmation is a false alarm, and of two that have a bias. Beside it the same test on
the exploring sessions themselves, at the moment at which they look best: what optional
stopping does to a test that does not start afresh.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.calibration import simulation_of
from benchmarks.sessions_to_recovery import SUBJECTS
from meta_learner.bias import components, labels_of, prior_components
from meta_learner.generalisation import shortfall
from meta_learner.subject_model import Evidence
from meta_learner.verification import (
    Measured,
    compare,
    matched_controls,
    verdicts,
)
from server.simulated_study import (
    Simulation,
    begin,
    learn,
    simulate_session,
    tell_batch,
)
from simulated_subjects.unteachable import Unteachable

K, BATCH, BATCHES, TOGETHER = 3, 5, 4, 20
RULES = ("never", "narrow", "best")
OUT = Path("benchmarks/results/false_alarms.jsonl")


def shortfalls(evidence: Evidence, rows: jax.Array) -> np.ndarray:
    """Of sessions (n, ...) on labellings (n, functions - 1), ``(n,)``."""
    labels = np.asarray(jax.vmap(labels_of)(evidence.tested, rows))
    return np.array(
        [shortfall(y, a) for y, a in zip(labels, evidence.answers, strict=True)]
    )


def sessions_on(simulation: Simulation, rows: jax.Array, key: jax.Array) -> np.ndarray:
    """Shortfalls of one fresh session on each labelling."""
    keys = jax.random.split(key, len(rows))
    most = jnp.full(len(rows), simulation.design.training_stimuli)
    return shortfalls(_simulate(simulation, keys, rows, most), rows)


@partial(jax.jit, static_argnums=0)
def _simulate(simulation: Simulation, keys: Any, rows: Any, most: Any) -> Evidence:
    told: Evidence = jax.vmap(partial(simulate_session, simulation))(keys, rows, most)
    return told


def verify(simulation: Simulation, rows: jax.Array, n: int, key: jax.Array) -> int:
    """Confirmed components of a study that froze ``rows``."""
    model, (null_key, match_key, key) = simulation.model, jax.random.split(key, 3)
    null = prior_components(model, K, n, null_key)[:, 0]
    alike = [
        matched_controls(row, model.order[1:], n, jax.random.fold_in(match_key, k))
        for k, row in enumerate(np.asarray(rows))
    ]
    every = jnp.concatenate([jnp.repeat(rows, n, 0), *alike, null])
    each = sessions_on(simulation, every, key).reshape(2 * K + 1, n)
    measured = [Measured(values, values) for values in each]
    found = verdicts(measured[:K], measured[-1], measured[K:-1])
    return sum(verdict.confirmed for verdict in found)


def naive(evidence: Evidence, rows: jax.Array) -> bool:
    """Whether the exploring sessions alone look better than what answers at random."""
    there = np.asarray(evidence.counted) > 0
    chosen = jax.tree.map(lambda leaf: leaf[there], evidence)
    along = (np.asarray(chosen.answers)[:, :, None] * chosen.tested[:, :, 1:]).mean(1)
    own = np.abs(along @ np.asarray(rows[0]))
    other = np.abs(np.delete(along, 0, 1)).ravel()
    return compare(Measured(-own, -own), Measured(-other, -other)).easier


def of_study(evidence: Evidence, i: int) -> Evidence:
    """The evidence of one study of many."""
    return Evidence(*(leaf[i] for leaf in evidence))


def run(name: str, studies: int, sessions: int) -> None:
    """Verdicts of many studies of one subject, for each rule of stopping."""
    silent = SUBJECTS["relu_kernel"]._replace(learner=Unteachable())
    simulation = simulation_of(SUBJECTS.get(name, silent), BATCH * BATCHES, BATCH)
    confirmed: dict[str, list[int]] = {rule: [] for rule in RULES}
    fooled = []
    for first in range(0, studies, TOGETHER):
        keys = [jax.random.key(1000 + first + i) for i in range(TOGETHER)]
        course = list(explore(simulation, keys))
        for i, key in enumerate(keys):
            looks = [naive(of_study(e, i), rows[i]) for rows, _, e in course]
            fooled.append(any(looks))
            spread = [float(s[i]) for _, s, _ in course]
            narrow = next((j for j, s in enumerate(spread) if s < 0.9 * spread[0]), -1)
            stops = {"never": -1, "narrow": narrow}
            stops["best"] = looks.index(True) if any(looks) else -1
            for rule, stop in stops.items():
                rows, again = course[stop][0][i], jax.random.fold_in(key, 99)
                confirmed[rule].append(verify(simulation, rows, sessions, again))
    for rule, counts in confirmed.items():
        row = {"subject": name, "stopped": rule, "studies": len(counts)}
        row |= {"verification_sessions": sessions}
        row |= {"any_confirmed": float(np.mean(np.array(counts) > 0))}
        row |= {"mean_confirmed": float(np.mean(counts)), "of": K}
        row |= {"naive_test_fooled": float(np.mean(fooled))}
        with OUT.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def explore(simulation: Simulation, keys: list[jax.Array]) -> Any:
    """After each batch: components, spread of the leading eigenvalue, evidence."""
    studies = begin(simulation, len(keys))
    best = jax.jit(jax.vmap(lambda u: components(simulation.model, u, K)[1]))
    for done in range(0, BATCH * BATCHES, BATCH):
        now = jnp.stack([jax.random.fold_in(key, done) for key in keys])
        told = tell_batch(simulation, studies.fit, studies.precision, now)
        evidence = jax.tree.map(
            lambda whole, new, at=done: jax.lax.dynamic_update_slice_in_dim(
                whole, new, at, 1
            ),
            studies.evidence,
            told,
        )
        studies = learn(simulation.model, evidence, studies.fit, 15)
        spread = 1 / jnp.sqrt(studies.precision[:, 1, 1])
        yield best(studies.fit.parameters), spread, studies.evidence


def main() -> None:
    """The subject without bias, then two with one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument(
        "--subjects", nargs="*", default=["unteachable", "absolute_kernel", "ring"]
    )
    options = parser.parse_args()
    for name in options.subjects:
        run(name, options.studies, options.sessions)


if __name__ == "__main__":
    main()
