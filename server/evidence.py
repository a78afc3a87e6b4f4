"""From sessions in a journal to what the subject model learns from."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from meta_learner.subject_model import Evidence, SubjectModel
from server.events import Fact, Responded, SessionEnded, SessionOpened
from server.session import Session, apply_responded

Floats = NDArray[np.float64]


class Told(NamedTuple):
    """What one session tells: stimuli ``(n, features)`` and ``(m, features)``.

    The first were taught, the second asked about. ``targets`` (n,) is the mean of
    what was taught of each stimulus, ``repeats`` (n,) how often; ``answers`` (m,) of
    the test trials, NaN for none.
    """

    trained: Floats
    targets: Floats
    repeats: Floats
    tested: Floats
    answers: Floats


def told(session: Session) -> Told:
    """What a session tells so far; NaN where an answer is still to come."""
    opened = session.opened
    x, taught = np.array(opened.x), opened.trials[: opened.training_trials]
    if opened.right_rewarded:
        values = np.where(opened.right_rewarded, 1.0, -1.0)
    else:
        values = np.array(opened.y)[taught]
    repeats = np.bincount(taught, minlength=opened.training_stimuli)
    total = np.bincount(taught, values, minlength=opened.training_stimuli)
    answers = np.full(len(opened.trials) - opened.training_trials, np.nan)
    for i, answer in enumerate(session.answers[opened.training_trials :]):
        answers[i] = np.nan if answer.value is None else answer.value
    return Told(
        x[: opened.training_stimuli],
        total / np.maximum(repeats, 1),
        np.maximum(repeats, 1).astype(float),
        x[opened.trials[opened.training_trials :]],
        answers,
    )


def tested_labels(session: Session) -> Floats:
    """The label of each test trial, ``(m,)``, as the answers of :func:`told`."""
    opened = session.opened
    return np.array(opened.y)[opened.trials[opened.training_trials :]]


def finished_sessions(facts: Iterable[Fact]) -> list[Session]:
    """The finished sessions of a journal, in the order in which they ended."""
    open_: dict[str, Session] = {}
    finished = []
    for fact in facts:
        match fact:
            case SessionOpened():
                open_[fact.session] = Session(fact)
            case Responded():
                open_[fact.session] = apply_responded(open_[fact.session], fact)
            case SessionEnded(status="finished"):
                finished.append(open_[fact.session])
    return finished


def basis_at(model: SubjectModel, *stimuli: Floats) -> list[NDArray[np.float32]]:
    """Basis functions at several sets of stimuli, computed in one call."""
    whole = model.basis(jnp.asarray(np.concatenate(stimuli), jnp.float32))
    ends = np.cumsum([len(x) for x in stimuli])[:-1]
    return np.split(np.asarray(whole), ends)


def evidence_of(
    model: SubjectModel,
    sessions: Sequence[Told],
    at_least: tuple[int, int, int] = (1, 1, 1),
) -> Evidence:
    """Evidence of sessions, padded with what does not count.

    ``at_least`` are sessions, training stimuli and test trials to pad to: evidence
    of one size needs one compilation.
    """
    size = max(at_least[0], len(sessions))
    n = max([at_least[1], *(len(s.trained) for s in sessions)])
    m = max([at_least[2], *(len(s.tested) for s in sessions)])
    trained = np.zeros((size, n, model.functions), np.float32)
    tested = np.zeros((size, m, model.functions), np.float32)
    targets, repeats = np.zeros((size, n), np.float32), np.ones((size, n), np.float32)
    answers, answered = np.ones((size, m), np.float32), np.zeros((size, m), np.float32)
    counted = np.zeros(size, np.float32)
    for i, s in enumerate(sessions):
        k, asked = len(s.trained), len(s.tested)
        trained[i, :k], tested[i, :asked] = basis_at(model, s.trained, s.tested)
        targets[i, :k], repeats[i, :k] = s.targets, s.repeats
        there = np.isfinite(s.answers)
        answers[i, :asked] = np.where(there, s.answers, 1.0)
        answered[i, :asked], counted[i] = there, 1.0
    return Evidence(
        *map(
            jnp.asarray, (trained, targets, repeats, tested, answers, answered, counted)
        )
    )
