"""A study with simulated subjects in process: whole generations at once."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import jax.numpy as jnp
import numpy as np

from server.descent import run_meta_steps
from server.desk import Desk
from server.events import Fact, Responded, SessionEnded, SessionOpened
from server.journal import Journal
from server.session import Session, apply_responded, finish
from server.steps import assign
from server.study import StudyState
from server.study_file import Study
from simulated_subjects.individual import individual_keys, run_sessions

Progress = Callable[[dict[str, Any]], None]


def dry_run(
    study: Study,
    journal: Journal,
    progress: Progress | None = None,
    sessions: int | None = None,
) -> float:
    """Run or continue a study to its end; the journal is that of a socket run.

    With ``sessions`` it stops after the generation that reaches that number.

    Returns the subjects trained and tested per second, the median over
    generations, so without compilation and journal (NaN if none was run).
    Raises :class:`StudyFileError` when nobody is named to stand in for a group.
    """
    if not study.null:
        study.stand_ins()
    desk = Desk(study, journal, mode="dry-run")
    _give_up_open_sessions(desk)
    if progress:
        progress(desk.summary())  # a null, and what was done before, is done by now
    rates = _run(desk, np.inf if sessions is None else sessions, progress)
    return float(np.nanmedian(rates)) if rates else float("nan")


def course(study: Study, sessions: Iterable[int]) -> Iterator[StudyState]:
    """The state of a study in process after each number of sessions, rising.

    For benchmarks: its journal is kept in memory, and lost. The state is one and the
    same, and moves on.
    """
    study.stand_ins()
    desk = Desk(study, Journal("sqlite://", study.name), mode="dry-run")
    for limit in sessions:
        _run(desk, limit)
        yield desk.state


def _run(desk: Desk, limit: float, progress: Progress | None = None) -> list[float]:
    """Generations until so many sessions or the end; the subjects a second of each."""
    rates = []
    run = run_meta_steps if desk.state.study.by_gradient else _run_generation
    while not desk.state.finished and desk.state.sessions_ended < limit:
        rates.append(run(desk))
        desk.advance()
        if progress:
            progress(desk.summary())
    return rates


def _run_generation(desk: Desk) -> float:
    """One session of each group on every free candidate, in one transaction.

    So a run that is killed is never within a generation. Returns the sessions
    drawn, trained and tested per second.
    """
    state = desk.state
    groups = [group for group in state.study.groups if state.free(group)]
    if not groups:
        return float("nan")
    start = time.perf_counter()
    state.drawn(0)
    seconds = time.perf_counter() - start
    facts: list[Fact] = []
    every = [
        _assign(state, candidate, group)
        for group in groups
        for candidate in state.free(group)
    ]

    def alike(opened: SessionOpened) -> tuple[int, int]:
        return state.study.groups.index(opened.group), opened.training_stimuli

    for _, together in groupby(sorted(every, key=alike), alike):
        opened = list(together)
        start = time.perf_counter()
        values, responded = _simulate(state.study, opened, len(state.scores.scored))
        seconds += time.perf_counter() - start
        for session, row, answered in zip(opened, values, responded, strict=False):
            told = _responses(session, row, answered)
            answered_all = apply_responded(Session(session), told)
            choice = state.study.design.response == "choice"
            ended = finish(answered_all, True, choice, state.study.psychometric)
            facts += [session, told, ended]
    desk.commit(facts)
    return len(facts) / 3 / seconds


def _assign(state: StudyState, candidate: int, group: str) -> SessionOpened:
    opened = assign(state, candidate, "", {"in_process": True}, group)
    return dataclasses.replace(opened, subject=f"sim-{opened.session}")


def _simulate(
    study: Study, opened: list[SessionOpened], population: int
) -> tuple[np.ndarray, np.ndarray]:
    """Responses and whether there was one, both (population, test trials).

    Of sessions of one group and size. Short generations are filled up with their
    first session: one compiled shape.
    """
    filled = opened + opened[:1] * (population - len(opened))
    values, responded = run_sessions(
        study.learners[opened[0].group],
        study.responses,
        individual_keys(study.seed, [o.session for o in filled]),
        jnp.array([o.x for o in filled]),
        jnp.array([o.trials for o in filled]),
        jnp.array([_targets(o) for o in filled]),
    )
    return np.asarray(values), np.asarray(responded)


def _targets(opened: SessionOpened) -> list[float]:
    if opened.right_rewarded:
        return [1.0 if right else -1.0 for right in opened.right_rewarded]
    return [opened.y[i] for i in opened.trials[: opened.training_trials]]


def _responses(
    opened: SessionOpened, values: np.ndarray, responded: np.ndarray
) -> Responded:
    n = len(values)
    rounded = np.round(values.astype(np.float64), 6).tolist()
    return Responded(
        session=opened.session,
        trials=list(range(opened.training_trials, len(opened.trials))),
        outcomes=["responded" if there else "omission" for there in responded],
        values=[
            v if there else None for v, there in zip(rounded, responded, strict=True)
        ],
        reaction_times_s=[None] * n,
        clocks=[None] * n,
    )


def _give_up_open_sessions(desk: Desk) -> None:
    """Sessions left by clients of an earlier socket run go back to the pool."""
    facts = [
        SessionEnded(name, "lost", "the study went on in process")
        for name, session in desk.state.sessions.items()
        if session.status == "open"
    ]
    if facts:
        desk.commit(facts)
