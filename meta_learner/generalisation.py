"""Generalisation error of one session, from its test trials alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class GeneralisationError(NamedTuple):
    """Mean squared difference of label and predicted label, in label units squared.

    ``label_variance`` is that of the labels tested: ``error / label_variance``
    is the share of the labelling that the subject missed.
    """

    error: float
    standard_error: float
    label_variance: float
    test_trials: int


def generalisation_error(
    labels: Sequence[float], stimuli: Sequence[int], answers: Sequence[float]
) -> GeneralisationError | None:
    """Error from graded answers or choices (-1, +1) to test stimuli.

    ``labels`` (stimuli,); ``stimuli`` and ``answers`` (trials,), answered trials
    only. A stimulus answered n times gives an unbiased estimate: the square of
    label minus mean answer, less the variance of that mean. One answer per
    stimulus is taken at its word, which is right for graded answers only.
    The standard error treats stimuli as the sample. ``None`` when fewer than
    two stimuli can be scored, or their labels are all the same.
    """
    y, index = np.asarray(labels, float), np.asarray(stimuli, int)
    answer = np.asarray(answers, float)
    count = np.bincount(index, minlength=len(y))
    # Where stimuli were repeated, one answered once has no estimate of its noise.
    scored = count >= (2 if count.max(initial=0) > 1 else 1)
    if scored.sum() < 2 or np.ptp(y[scored]) == 0:
        return None
    n = count[scored]
    mean = np.bincount(index, answer, len(y))[scored] / n
    spread = np.bincount(index, answer**2, len(y))[scored] / n - mean**2
    noise = np.where(n > 1, spread / np.maximum(n - 1, 1), 0.0)
    squared = (y[scored] - mean) ** 2 - noise
    return GeneralisationError(
        error=float(squared.mean()),
        standard_error=float(squared.std(ddof=1) / np.sqrt(len(squared))),
        label_variance=float(y[scored].var()),
        test_trials=int(n.sum()),
    )
