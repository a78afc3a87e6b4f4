"""How well the subject model predicts sessions that it was not fitted to."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from analysis.recovery import Floats
from meta_learner.bias import CREDIBLE, missed
from meta_learner.subject_fit import COLD, fit_model, start
from meta_learner.subject_model import Evidence, SubjectModel
from server.evidence import Told

FOLDS = 5
"""Parts of the subjects, each predicted by a model fitted to all the others."""

_RESAMPLED = 1000
"""Bootstrap samples of subjects."""

_NOTICED = 0.05
"""Explainable share of variance that must be sure before anything is divided by it."""


class Misses(NamedTuple):
    """Sums over the answers of each session, ``(sessions,)`` each.

    ``missed`` squared by the model, ``whole`` by the session's mean answer, and
    ``noise``: what answers to one and the same stimulus differ by.
    """

    missed: Floats
    whole: Floats
    noise: Floats


class Skill(NamedTuple):
    """Share of what can be explained of held-out answers that the model explains.

    1 at best, 0 is as good as knowing each session's mean answer. ``low`` and
    ``high`` are a 90 % interval by bootstrap over subjects. ``explainable`` is the
    share of the variance of answers on which repeats of a stimulus agree; None
    where stimuli were not repeated or their repeats do not surely agree: then the
    skill is the share of all variance. ``prior`` is the skill of the model before
    any session, and ``gain_low`` how much more there surely is (5 % quantile);
    ``null`` (permutations,) the skill of models fitted to shuffled answers.
    """

    skill: float
    low: float
    high: float
    explainable: float | None
    prior: float
    gain_low: float
    null: tuple[float, ...]


def skill_of(
    held_out: Misses, prior: Misses, null: Sequence[Misses], subjects: Sequence[str]
) -> Skill:
    """The skill that misses of sessions amount to; ``subjects`` had the sessions."""
    _, of_subject = np.unique(subjects, return_inverse=True)
    n = int(of_subject.max()) + 1
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), _RESAMPLED)
    weight = times[:, of_subject].astype(float)
    resampled, prior_resampled = (
        Misses(*(weight @ part for part in misses)) for misses in (held_out, prior)
    )
    sure = np.quantile(_explainable(resampled), CREDIBLE[0]) > _NOTICED
    ceiling = bool(held_out.noise.any() and sure)

    def share(misses: Misses) -> Floats:
        scale = _explainable(misses) if ceiling else 1.0
        return _over(misses.whole - misses.missed, misses.whole) / scale

    low, high = np.quantile(share(resampled), CREDIBLE[::2])
    whole = _summed(held_out)
    return Skill(
        float(share(whole)),
        float(low),
        float(high),
        float(_explainable(whole)) if ceiling else None,
        float(share(_summed(prior))),
        float(np.quantile(share(resampled) - share(prior_resampled), CREDIBLE[0])),
        tuple(float(share(_summed(misses))) for misses in null),
    )


def cross_validated(
    model: SubjectModel,
    evidence: Evidence,
    told: Sequence[Told],
    subjects: Sequence[str],
) -> Misses:
    """What each session's answers are missed by, by a model that never saw its subject.

    Subjects are dealt out at random to :data:`FOLDS` parts; where there are fewer of
    them, as many parts; the sessions of a single subject are dealt out themselves.
    """
    units = np.unique(subjects, return_inverse=True)[1]
    if units.max() == 0:
        units = np.arange(len(told))
    n = int(units.max()) + 1
    part = np.random.default_rng(0).permutation(n)[units] % min(FOLDS, n)
    parts = np.full(len(evidence.counted), -1)
    parts[: len(told)] = part
    misses = np.zeros(len(told))
    for held_out in range(part.max() + 1):
        others = jnp.asarray(parts != held_out, jnp.float32) * evidence.counted
        fit = fit_model(model, evidence._replace(counted=others), start(model), COLD)
        now = misses_of(model, fit.parameters, evidence, told).missed
        misses = np.where(part == held_out, now, misses)
    return misses_of(model, fit.parameters, evidence, told)._replace(missed=misses)


def misses_of(
    model: SubjectModel,
    parameters: jax.Array,
    evidence: Evidence,
    told: Sequence[Told],
) -> Misses:
    """What a model misses of the sessions told, which come first in the evidence."""
    missing, whole = (
        np.asarray(part, float)[: len(told)]
        for part in missed(model, parameters, evidence)
    )
    choice = model.response == "choice"
    return Misses(missing, whole, np.array([_noise(one, choice) for one in told]))


def shuffled(evidence: Evidence, draws: np.random.Generator) -> Evidence:
    """Answers permuted among the test trials of each session that were answered."""
    answers = np.array(evidence.answers)
    for row, there in zip(answers, np.asarray(evidence.answered) > 0, strict=True):
        row[there] = draws.permutation(row[there])
    return evidence._replace(answers=jnp.asarray(answers))


def _noise(told: Told, choice: bool) -> float:
    """Sum over answers of their variance given the stimulus; 0 without repeats."""
    there = np.isfinite(told.answers)
    answers: Floats = told.answers[there]
    if choice:
        answers = (answers > 0).astype(float)
    which: NDArray[np.int64]
    which = np.unique(told.tested[there], axis=0, return_inverse=True)[1].ravel()
    if len(answers) == 0 or (repeated := len(answers) - which.max() - 1) == 0:
        return 0.0
    means = np.bincount(which, answers) / np.bincount(which)
    within = np.sum((answers - means[which]) ** 2) / repeated
    return float(within * len(answers))


def _explainable(misses: Misses) -> Floats:
    return _over(misses.whole - misses.noise, misses.whole)


def _summed(misses: Misses) -> Misses:
    return Misses(*(part.sum() for part in misses))


def _over(a: Floats, b: Floats) -> Floats:
    share: Floats = a / np.maximum(b, 1e-9)
    return share
