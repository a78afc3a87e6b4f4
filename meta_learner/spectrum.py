"""Bias spectrum: the generalisation error of a subject on labels of each basis order.

What a session misses is, on the average over stimuli and individuals, the sum of what
it misses of each order: ``error = sum_k power_k error_k``. That is exact for learners
that are linear in the labels (ridge and kernel regression, however their features were
drawn) and favour no direction within an order; for others it is the best linear
account. So the spectrum is the regression, without intercept, of the relative errors
of sessions on the shares of power of their labellings.

Measured beside errors on labels purely of an order (90 % intervals, 200 studies of 120
sessions): they hold the true error in .86 to .95 of studies of subjects that do not
overshoot. One that does, and whose answers are cut off at -1 and 1, does not add up: a
kernel of 100 ReLU features and penalty .001 after 10 stimuli missed .06, .31, 2.4, 2.3
of orders 1 to 4, and mixtures said .24, .48, 2.6, 2.4; after 30 stimuli .04, .04, 1.9,
.40, and they said .06, .07, 2.0, .44.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from meta_learner.labelling import Labeller, Series
from meta_learner.psychometric import Psychometric
from stimuli.space import StimulusSpace, highest_degree

Floats = NDArray[np.float64]

GRID = 4096
"""Stimuli on which labels are compared with basis functions."""

DEGREE = 6
"""Highest order that is told apart; what lies above is one remainder."""

SHOWN = 0.1
"""Share of power that an order must have in some session, to be told of."""

LEVEL = 0.9
"""Of confidence intervals, unless another one is asked for."""

_MOST_FUNCTIONS = 300
"""Basis functions that :data:`GRID` stimuli can tell apart with ease."""

_CHUNK = 64
"""Labellings evaluated on the grid together."""

_LEAST_INFORMATION = 1e-6
"""Of the mean squared share, below which a mixture of orders was never varied."""


@dataclass(frozen=True)
class Orders:
    """The basis of a stimulus space, orthonormal on a dense grid.

    ``x`` (stimuli, features), ``functions`` (stimuli, functions) without the
    constant, ``order`` (functions,). ``names`` are those of the columns of
    :meth:`power`: one per order, and one for all that lies above.
    """

    x: jax.Array
    functions: Floats
    order: NDArray[np.int64]

    @property
    def names(self) -> list[str]:
        """Orders 1 to the highest, and ``above``."""
        return [*map(str, range(1, self.order.max() + 1)), "above"]

    def power(self, labels: Floats) -> Floats:
        """Share of the variance of labels ``(..., stimuli)`` in each order.

        Energy, not amplitude. Shape ``(..., orders + 1)``; the last column is
        the remainder above, so that each row sums to 1. Labels that are all the
        same have no variance: all of it counts as remainder.
        """
        return labelled(self, labels).power


class Labelled(NamedTuple):
    """Labellings in the basis of a space, a row each.

    ``coefficients`` (n, functions) without the constant, ``power`` (n, orders + 1)
    as of :meth:`Orders.power`, ``variance`` (n,) of the labels.
    """

    coefficients: Floats
    power: Floats
    variance: Floats


class Spectrum(NamedTuple):
    """Relative generalisation error per order and above, each ``(orders + 1,)``.

    ``low`` and ``high`` are a confidence interval. NaN where the sessions say
    nothing of an order: no labelling had it, or all had it in the same mixture.
    """

    error: Floats
    low: Floats
    high: Floats


def orders_of(space: StimulusSpace) -> Orders:
    """The orders of a stimulus space, as many as its grid can tell apart."""
    hashable: Any = space
    return _orders(hashable)


@cache
def _orders(space: Any) -> Orders:
    x = space.grid(GRID)
    degree = highest_degree(space, min(_MOST_FUNCTIONS, len(x)), DEGREE)
    values, order = map(np.asarray, jax.jit(space.basis, static_argnums=1)(x, degree))
    # Orthonormal under p(x), and so on the grid, save for what the grid is coarse:
    # Gram-Schmidt, low orders first, makes powers add up to 1.
    functions = np.linalg.qr(values.astype(np.float64))[0] * np.sqrt(len(values))
    return Orders(x, functions[:, 1:], order[1:])


def labelled(orders: Orders, labels: ArrayLike) -> Labelled:
    """Labels ``(..., stimuli)`` on the grid of ``orders``, in their basis."""
    values = np.asarray(labels, np.float64)
    centred = values - values.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1)
    coefficients = centred @ orders.functions / len(orders.functions)
    return _with_power(coefficients, orders.order, variance)


def labelled_from_stimuli(
    functions: ArrayLike, order: NDArray[np.int64], labels: ArrayLike
) -> Labelled:
    """A labelling of which only labels ``(stimuli,)`` of some stimuli are known.

    ``functions`` (stimuli, functions) without the constant and ``order`` of each. By
    least squares, in as many orders as leave two stimuli for each function; what
    they do not explain, corrected for their number, lies above. A row of NaN where
    there are too few stimuli for order 1, or labels that are all the same.
    """
    y, basis = np.asarray(labels, float), np.asarray(functions, float)
    highest = int(order.max())
    sizes = [1 + int((order <= k).sum()) for k in range(1, highest + 1)]
    kept = sum(2 * size <= len(y) for size in sizes)
    coefficients = np.zeros(len(order))
    if not kept or np.ptp(y) == 0:
        nothing = np.full((1, highest + 1), np.nan)
        return Labelled(np.full((1, len(order)), np.nan), nothing, np.full(1, np.nan))
    low = order <= kept
    design = np.column_stack([np.ones(len(y)), basis[:, low]])
    solution, *_ = np.linalg.lstsq(design, y, rcond=None)
    coefficients[low] = solution[1:]
    rest = np.sum((y - design @ solution) ** 2) / (len(y) - design.shape[1])
    variance = np.array([np.sum(coefficients**2) + rest])
    return _with_power(coefficients[None], order, variance)


def candidate_labels(
    labeller: Labeller, series: Series, theta: ArrayLike, x: jax.Array
) -> Iterator[Floats]:
    """Labels of stimuli ``x`` by candidates ``(n, genes)`` after ``series``.

    In chunks ``(at most 64, stimuli)``: all at once would fill the memory.
    """
    genes = np.asarray(theta, np.float32)
    for start in range(0, len(genes), _CHUNK):
        chunk = genes[start : start + _CHUNK]
        filled = np.concatenate([chunk, np.repeat(chunk[:1], _CHUNK - len(chunk), 0)])
        labels = _labels(labeller, series, jnp.asarray(filled), x)
        yield np.asarray(labels, np.float64)[: len(chunk)]


@partial(jax.jit, static_argnums=0)
def _labels(
    labeller: Labeller, series: Series, theta: jax.Array, x: jax.Array
) -> jax.Array:
    return jax.vmap(lambda theta: labeller.labels(series, theta, x))(theta)


def candidates_labelled(
    labeller: Labeller,
    series: Series,
    theta: ArrayLike,
    orders: Orders,
    psychometric: Psychometric | None = None,
) -> Labelled:
    """The labellings of candidates ``(n, genes)``, in the basis of their space.

    ``variance`` is that of the ideal answers where a ``psychometric`` function
    tells what they are: what an error is relative to.
    """
    parts = []
    for labels in candidate_labels(labeller, series, theta, orders.x):
        part = labelled(orders, labels)
        if psychometric is not None:
            part = part._replace(variance=psychometric.expected(labels).var(-1))
        parts.append(part)
    return Labelled(*map(np.concatenate, zip(*parts, strict=True)))


def error_spectrum(
    power: ArrayLike,
    errors: ArrayLike,
    clusters: ArrayLike | None = None,
    level: float = LEVEL,
) -> Spectrum:
    """Relative error per order, from one relative error per session.

    ``power`` (sessions, orders + 1), shares that sum to 1; ``errors`` (sessions,)
    over the variance of the labelling. Least squares, unweighted: low errors come
    with low standard errors, and weights would favour the lucky. Intervals are
    robust to unequal noise (HC3), and to sessions that are alike where ``clusters``
    (sessions,) names what they share: a subject, or its stimuli. An error is
    never below 0, so an estimate or an end of an interval there is 0.

    Sessions without an error are left out. Orders that no session had a tenth of
    its power in are not told of; the little power there counts as the rest does.
    """
    shares, y = np.asarray(power, float), np.asarray(errors, float)
    known = np.isfinite(y) & np.isfinite(shares).all(1)
    groups = None if clusters is None else np.asarray(clusters)[known]
    shares, y = shares[known], y[known]
    found = np.full((3, shares.shape[1]), np.nan)
    told = shares.max(0, initial=0.0) >= SHOWN
    if len(y) <= told.sum() or not told.any():
        return Spectrum(*found)
    design = shares[:, told] / shares[:, told].sum(1, keepdims=True)
    apart = _estimable(design)
    if not apart.any():
        return Spectrum(*found)
    # Orders that cannot be told from each other count together.
    left, sizes, _ = np.linalg.svd(design[:, ~apart], full_matrices=False)
    rest = left[:, sizes**2 > _LEAST_INFORMATION * len(y)]
    fit = _fitted(np.concatenate([design[:, apart], rest], 1), y, groups, level)
    found[:, np.flatnonzero(told)[apart]] = np.maximum(fit, 0.0)[:, : apart.sum()]
    return Spectrum(*found)


def _fitted(
    design: Floats, y: Floats, clusters: Any, level: float
) -> tuple[Floats, Floats, Floats]:
    # Loaded when it is asked for: a server would start a second later.
    from statsmodels.regression.linear_model import OLS

    model = OLS(y, design)
    if clusters is None:
        fit = model.fit(cov_type="HC3", use_t=True)
    else:
        codes = np.unique(clusters, return_inverse=True)[1]
        if codes.max() < 1:  # of one subject nothing is said of others
            nothing = np.full(design.shape[1], np.nan)
            return np.asarray(model.fit().params, float), nothing, nothing
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)
    low, high = fit.conf_int(1 - level).T
    return np.asarray(fit.params, float), low, high


def _estimable(design: Floats) -> NDArray[np.bool_]:
    """Which coefficients the design says anything of, ``(columns,)``."""
    values, vectors = np.linalg.eigh(design.T @ design / len(design))
    unknown = vectors[:, values < _LEAST_INFORMATION]
    within: NDArray[np.bool_] = (unknown**2).sum(1) < 1e-3
    return within


def _with_power(
    coefficients: Floats, order: NDArray[np.int64], variance: Floats
) -> Labelled:
    within = order[:, None] == np.arange(1, order.max() + 1)
    share = coefficients**2 / np.maximum(variance, 1e-12)[..., None]
    each = share @ within
    power = np.concatenate([each, 1 - each.sum(-1, keepdims=True)], -1)
    return Labelled(coefficients, power, variance)
