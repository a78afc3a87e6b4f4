"""Generalisation error of one session, from its test trials alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from meta_learner.psychometric import Psychometric


class GeneralisationError(NamedTuple):
    """Mean squared difference of ideal and mean answer, in squared answer units.

    ``label_variance`` is that of the ideal answers, which are the labels tested
    where no psychometric function is given: ``error / label_variance`` is the
    share of the labelling that the subject missed.
    """

    error: float
    standard_error: float
    label_variance: float
    test_trials: int


def generalisation_error(
    labels: Sequence[float],
    stimuli: Sequence[int],
    answers: Sequence[float],
    psychometric: Psychometric | None = None,
    without_side: bool = False,
) -> GeneralisationError | None:
    """Error from graded answers or choices (-1, +1) to test stimuli.

    ``labels`` (stimuli,); ``stimuli`` and ``answers`` (trials,), answered trials
    only. A stimulus answered n times gives an unbiased estimate: the square of
    ideal minus mean answer, less the variance of that mean. One answer per
    stimulus is taken at its word, which is right for graded answers only.

    The ideal answer is the label itself, or of choices what ``psychometric``
    expects; a subject that knows every label then has error 0, and one whose
    answers do not depend on the labels has the label variance, and the square of
    the difference in means. ``without_side`` leaves that square out, unbiasedly:
    a preference for one side is not counted.

    The standard error treats stimuli as the sample. ``None`` when fewer than
    two stimuli can be scored, or their ideal answers are all the same.
    """
    y, index = np.asarray(labels, float), np.asarray(stimuli, int)
    answer = np.asarray(answers, float)
    count = np.bincount(index, minlength=len(y))
    # Where stimuli were repeated, one answered once has no estimate of its noise.
    scored = count >= (2 if count.max(initial=0) > 1 else 1)
    ideal = (y if psychometric is None else psychometric.expected(y))[scored]
    if scored.sum() < 2 or np.ptp(ideal) == 0:
        return None
    n = count[scored]
    mean = np.bincount(index, answer, len(y))[scored] / n
    spread = np.bincount(index, answer**2, len(y))[scored] / n - mean**2
    noise = np.where(n > 1, spread / np.maximum(n - 1, 1), 0.0)
    missed = ideal - mean
    if without_side:
        # The mean taken off holds some of the noise itself.
        missed, noise = missed - missed.mean(), noise * (1 - 1 / len(n))
    squared = missed**2 - noise
    return GeneralisationError(
        error=float(squared.mean()),
        standard_error=float(squared.std(ddof=1) / np.sqrt(len(squared))),
        label_variance=float(ideal.var()),
        test_trials=int(n.sum()),
    )


def shortfall(
    labels: ArrayLike,
    answers: ArrayLike,
    psychometric: Psychometric | None = None,
) -> float:
    """1 less the slope of answers on ideal answers, ``(trials,)`` each; answered only.

    0 where all of the labelling came back, 1 where nothing did, whatever the side
    bias. Other than the error it cannot tell noise from wrong answers, and is linear
    in answers: of a few choices it says far more. NaN without two different labels.
    """
    y, answer = np.asarray(labels, float), np.asarray(answers, float)
    ideal = y if psychometric is None else psychometric.expected(y)
    if len(ideal) < 2 or np.ptp(ideal) == 0:
        return float("nan")
    away = ideal - ideal.mean()
    return float(1 - away @ answer / (away @ away))
