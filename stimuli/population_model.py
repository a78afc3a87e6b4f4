"""A generative model of population responses."""

import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NARROWEST = 1e-3
"""Least variance of a part along any direction, in variances of a feature.

Repeated rows must not become a spike of endless likelihood.
"""


class Model(NamedTuple):
    """A mixture in the leading principal components, noise in the others.

    ``axes`` (features, features) are all components' directions, a column each,
    and ``scale`` (features,) their standard deviations; in units of those,
    ``weights`` (parts,), ``means`` (parts, kept) and Cholesky ``roots``
    (parts, kept, kept) are the mixture. ``covariance`` is the kind chosen.
    """

    axes: Floats
    scale: Floats
    weights: Floats
    means: Floats
    roots: Floats
    covariance: Literal["full", "tied", "diag", "spherical"]

    @property
    def kept(self) -> int:
        """Leading components."""
        return int(self.means.shape[1])


def fit(z_scores: Floats, variance_kept: float, most_parts: int) -> Model:
    """The model of z-scores ``(rows, features)``; the same whenever it is fitted."""
    variance, axes = np.linalg.eigh(z_scores.T @ z_scores / len(z_scores))
    variance, axes = np.maximum(variance[::-1], 0), axes[:, ::-1]
    # An axis' sign is arbitrary; here its largest entry is positive.
    largest = abs(axes).round(6).argmax(0)
    axes = axes * np.sign(np.take_along_axis(axes, largest[None], 0))
    reached = variance.cumsum() / variance.sum() >= variance_kept - 1e-9
    kept = int(reached.argmax()) + 1
    scale = np.sqrt(np.maximum(variance, NARROWEST))
    scores = z_scores @ axes[:, :kept]
    mixture = _mixture(scores, most_parts)
    means, covariances = mixture.means_, _covariances(mixture, kept)
    # Mean 0 and covariance 1 for the whole, as principal components have.
    means = means - mixture.weights_ @ means
    spread = np.einsum("p,pi,pj->ij", mixture.weights_, means, means)
    spread += np.einsum("p,pij->ij", mixture.weights_, covariances)
    shrink = np.linalg.inv(np.linalg.cholesky(spread))
    roots = shrink @ np.linalg.cholesky(covariances)
    return Model(
        axes,
        scale,
        mixture.weights_,
        means @ shrink.T,
        roots,
        mixture.covariance_type,
    )


def _mixture(scores: Floats, most_parts: int) -> Any:
    """The Gaussian mixture of the smallest Bayesian information criterion."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    most = min(most_parts, max(1, len(scores) // 10))
    fits = [
        GaussianMixture(
            parts, covariance_type=kind, reg_covar=NARROWEST, random_state=0
        )
        for kind in ("full", "tied", "diag", "spherical")
        for parts in range(1, most + 1)
    ]
    with warnings.catch_warnings():
        # A fit with too many parts does not converge, and is not chosen either.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return min((one.fit(scores) for one in fits), key=lambda one: one.bic(scores))


def _covariances(mixture: Any, kept: int) -> Floats:
    """Covariance of each part as a full matrix, ``(parts, kept, kept)``."""
    found, parts = mixture.covariances_, len(mixture.weights_)
    one = np.eye(kept)
    if mixture.covariance_type == "tied":
        return np.tile(found, (parts, 1, 1))
    if mixture.covariance_type == "diag":
        return np.asarray(found[:, :, None] * one)
    if mixture.covariance_type == "spherical":
        return np.asarray(found[:, None, None] * one)
    return np.asarray(found)
