"""Noisy errors of candidates drawn towards their mean, the noisier the more."""

import numpy as np

from meta_learner.objective import Floats

LEAST = 0.01
"""Of the noise, what candidates are taken to differ by at least: keeps their order."""


def shrunk(errors: Floats, standard_errors: Floats) -> Floats:
    """Empirical-Bayes estimates of errors (candidates, groups), in each group alone.

    An error stays at its distance from the mean of all by the share
    ``true variance / (true variance + standard_errors ** 2)``; the true variance of
    the candidates is that of their errors less the mean noise (Hedges). NaN stays
    NaN. Equal standard errors leave the order as it is.
    """
    estimates = errors.copy()
    for column in range(errors.shape[1]):
        known = ~np.isnan(errors[:, column])
        if known.sum() > 1:
            error, noise = errors[known, column], standard_errors[known, column] ** 2
            true = max(error.var(ddof=1) - noise.mean(), LEAST * noise.mean())
            share = np.divide(
                true, true + noise, out=np.ones_like(noise), where=noise > 0
            )
            estimates[known, column] = error.mean() + share * (error - error.mean())
    return estimates
