"""Are the subject model's intervals honest, and how long does a refit take?

    python -m benchmarks.calibration [--studies 40] [--sessions 40] [--subjects ...]

Many simulated studies of two-choice answers with lapses; of each the nominal 90 %
intervals of the bias spectrum and of the components' expected errors, and how often
they hold the truth, measured on fresh individuals. Then the seconds of one refit
after one more session at 300 sessions, with the load of the machine.
"""

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from benchmarks.sessions_to_recovery import (
    CONDITIONS,
    SUBJECTS,
    Subject,
    fresh_errors,
    model_of,
)
from meta_learner.bias import bias_spectrum, components, expected_errors, interval
from meta_learner.posterior import posterior_draws
from meta_learner.subject_fit import COLD, WARM, fit_model, precision_of, start
from server.simulated_study import (
    Progressing,
    Simulation,
    begin,
    run_batch,
    simulate_session,
)

DRAWS = 60
TOGETHER = 5
BATCH = 20
INDIVIDUALS = 2000
OUT = Path("benchmarks/results/calibration.jsonl")


def simulation_of(subject: Subject, sessions: int, batch: int = BATCH) -> Simulation:
    """Two-choice studies of a subject."""
    condition = CONDITIONS["choice"]
    model = model_of(subject, "choice")
    return Simulation(
        model,
        condition.design,
        subject.learner,
        condition.responses,
        sessions=sessions,
        batch=batch,
    )


def run_studies(simulation: Simulation, first: int) -> Progressing:
    """Some studies, from seed ``first`` on."""
    studies = begin(simulation, TOGETHER)
    for done in range(0, simulation.sessions, BATCH):
        keys = [
            jax.random.fold_in(jax.random.key(first + i), done) for i in range(TOGETHER)
        ]
        studies = run_batch(simulation, studies, done, jnp.stack(keys))
    return studies


def true_spectrum(subject: Subject) -> jax.Array:
    """Error per order on fresh individuals, of random labellings within it."""
    order = jnp.asarray(model_of(subject).order[1:])
    orders = jnp.arange(1, int(order.max()) + 1)
    random = jax.random.normal(jax.random.key(2), (64, 1, len(order)))
    random *= order[None] == orders[:, None]
    errors = fresh_errors(subject, INDIVIDUALS // 10, random.reshape(-1, len(order)))
    means: jax.Array = errors.reshape(64, -1).mean(0)
    return means


def intervals(simulation: Simulation, study: Any, key: jax.Array) -> dict[str, Any]:
    """Intervals of one study, and its components."""
    model, (evidence, fit, _) = simulation.model, study
    drawn = posterior_draws(model, evidence, fit, DRAWS, key)
    spectrum = interval(bias_spectrum(model, drawn, simulation.design, key))
    rows = components(model, fit.parameters, 5)[1]
    of_rows = partial(expected_errors, model)
    errors = jax.lax.map(lambda p: of_rows(p, rows, simulation.design, key), drawn)
    return {"spectrum": spectrum, "errors": interval(errors), "rows": rows}


def coverage(name: str, subject: Subject, studies: int, sessions: int) -> None:
    """Write, for every study, which intervals hold the truth."""
    simulation, truth = simulation_of(subject, sessions), true_spectrum(subject)
    for first in range(0, studies, TOGETHER):
        many = run_studies(simulation, first)
        for i in range(TOGETHER):
            study = jax.tree.map(lambda leaf, i=i: leaf[i], many)
            said = intervals(simulation, study, jax.random.key(first + i))
            errors = fresh_errors(subject, INDIVIDUALS // 4, said["rows"])
            row = {"subject": name, "sessions": sessions, "seed": first + i}
            for what, true in (("spectrum", truth), ("errors", errors)):
                low, median, high = said[what]
                inside = (low <= true) & (true <= high)
                row |= {what: np.asarray(inside).astype(int).tolist()}
                row |= {f"{what}_median": np.asarray(median).round(3).tolist()}
                row |= {f"{what}_true": np.asarray(true).round(3).tolist()}
                row |= {f"{what}_width": np.asarray(high - low).round(3).tolist()}
            add(row)


def refit_seconds(sessions: int = 300) -> None:
    """Wall time of a warm refit with one session more, labellings at random."""
    simulation = simulation_of(SUBJECTS["relu_kernel"], sessions)
    model, most = simulation.model, simulation.design.training_stimuli
    keys = jax.random.split(jax.random.key(0), sessions)
    rows = jax.random.normal(jax.random.key(1), (sessions, model.functions - 1))
    simulate = jax.jit(jax.vmap(partial(simulate_session, simulation)))
    evidence = simulate(keys, rows, jnp.full(sessions, most))
    before = evidence._replace(counted=evidence.counted.at[-1].set(0.0))
    old = fit_model(model, before, start(model), COLD)
    for _ in range(3):
        begun, cpu = time.perf_counter(), time.process_time()
        fit = fit_model(model, evidence, old, WARM)
        precision_of(model, evidence, fit).block_until_ready()
        add(
            {
                "refit_at": sessions,
                "seconds": round(time.perf_counter() - begun, 2),
                "processor_seconds": round(time.process_time() - cpu, 2),
                "load": os.getloadavg()[0],
                "processors": os.cpu_count(),
            }
        )


def add(row: dict[str, Any]) -> None:
    """Append a row to the results, and show it."""
    with OUT.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


def summarise() -> None:
    """Print the coverage of all studies so far: by order, and by component."""
    rows = pd.read_json(OUT, lines=True)
    rows = rows[rows.get("spectrum", pd.Series(dtype=object)).notna()]
    for (name, sessions), some in rows.groupby(["subject", "sessions"]):
        print(name, "after", sessions, "sessions,", len(some), "studies")
        for what in ("spectrum", "errors"):
            covered = np.stack(some[what])
            print(" ", what, covered.mean(0).round(2), "all:", covered.mean().round(3))


def main() -> None:
    """Coverage, then the refit."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = [*SUBJECTS]
    parser.add_argument("--subjects", nargs="*", default=known, choices=known)
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--refit", action="store_true")
    options = parser.parse_args()
    for name in options.subjects:
        coverage(name, SUBJECTS[name], options.studies, options.sessions)
    summarise()
    if options.refit:
        refit_seconds()


if __name__ == "__main__":
    main()
