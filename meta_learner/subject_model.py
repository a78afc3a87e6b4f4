"""The subject model: which kernel makes a subject answer as it did.

A subject is modelled as a kernel machine. In the basis of its stimulus space, B,
its kernel is K = B Lambda B', and it answers a test stimulus with
K(test, train) (K(train, train) + I)^-1 y: amplitudes are in units of its ridge.
Lambda = S exp(2 W) S, with one amplitude per order in S and a symmetric W for
what differs within and between orders. Nothing but the geometry of the space is
assumed: amplitudes of orders are free, so no order is favoured, and W is shrunk
to zero (one eigenvalue per order) with a strength inferred from the data.

Every answer of every session counts. Individuals differ from the subject modelled
(hierarchical term) and perceive their training labels with private noise: both
widen the distribution of an answer in closed form. Each answer has
its likelihood; :mod:`meta_learner.subject_fit` sees to it that those of one session
are not independent.
For subjects that are no kernel machines it is a surrogate; how well it
predicts held-out sessions says how good a one.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from stimuli.space import StimulusSpace, highest_degree

CORRELATED = 36
"""Basis functions, of low order first, whose correlations in Lambda are modelled."""

NUISANCES = 5
"""Slope (or gain), side bias, lapse (or noise), individuality, private noise."""

_MOST_ENTRIES = 200_000_000
"""Numbers in the largest array of a fit, at most: 800 MB."""

_AMPLITUDE, _AMPLITUDE_SD = 0.5, 1.5
"""Prior of the log amplitude of an order: from e^-2.5 to e^3.5 of the ridge."""

_LEAST_VARIANCE = 1e-4
"""Of a graded answer: no model is better than to one part in a hundred."""

# Mean and standard deviation of the prior of each nuisance parameter, on its scale:
# log slope, side bias, logit lapse; log gain, side bias, log noise; log of the
# relative standard deviation of individual kernels; log private label noise.
_PRIORS = {
    "choice": ((np.log(2.0), 0.0, -2.5, -2.0, -5.0), (0.4, 0.3, 1.0, 1.0, 1.25)),
    "graded": ((0.0, 0.0, -2.0, -2.0, -5.0), (0.3, 0.3, 1.5, 1.0, 1.25)),
}


class Evidence(NamedTuple):
    """What sessions tell, a leading axis per session, padded to one size.

    ``trained`` (n, functions) is the basis at the training stimuli, with zero rows
    where there is none; ``targets`` (n,) the mean of what was taught there and
    ``repeats`` (n,) how often; ``tested`` (m, functions); ``answers`` (m,) graded
    or -1 / +1; ``answered`` (m,) 1 or 0; ``counted`` () 1 or 0.
    """

    trained: jax.Array
    targets: jax.Array
    repeats: jax.Array
    tested: jax.Array
    answers: jax.Array
    answered: jax.Array
    counted: jax.Array


class _Predicted(NamedTuple):
    """Of each test trial: prediction ``f``, and two variances of unit scale.

    ``smoother`` (test trials, training stimuli) makes predictions of what was taught.
    ``unlearnt`` (test trials, functions) and ``weights`` (functions,) are in units of
    the root of Lambda: what training left of a test stimulus, and what it made.
    """

    f: jax.Array
    smoother: jax.Array
    individual: jax.Array
    private: jax.Array
    unlearnt: jax.Array
    weights: jax.Array


@dataclass(frozen=True)
class SubjectModel:
    """Kernel machine on the basis of ``space`` up to ``degree``; static argument.

    Parameters are one vector: log amplitude of each order, entries of W, five
    nuisance parameters.
    """

    space: StimulusSpace
    degree: int
    response: Literal["graded", "choice"] = "graded"

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Order of each basis function, the constant first."""
        # Wherever it is asked for first: also where code is being compiled.
        with jax.ensure_compile_time_eval():
            order = self.space.basis(self.space.grid(64), self.degree)[1]
        return np.asarray(order, np.int64)

    def check(self) -> None:
        """Raise ``ValueError`` for a model that has too many functions to be fitted."""
        if self.fits:
            return
        degrees = range(1, self.degree)
        most = bisect_left(
            degrees, True, key=lambda degree: not replace(self, degree=degree).fits
        )
        raise ValueError(
            f"a subject model of degree {self.degree} has {self.functions} functions "
            f"and {self.parameters} parameters, too many to fit: expected a degree of "
            f"at most {most}"
        )

    @property
    def fits(self) -> bool:
        """Whether the slopes of its kernel, the largest array of a fit, have room."""
        return self.functions**2 * self.parameters <= _MOST_ENTRIES

    @property
    def functions(self) -> int:
        """Number of basis functions, with the constant."""
        return len(self.order)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return self._orders + len(self._entries[0]) + NUISANCES

    @cached_property
    def centre(self) -> NDArray[np.float32]:
        """Prior mean of each parameter: the model before any session."""
        mean = np.zeros(self.parameters, np.float32)
        mean[: self._orders] = _AMPLITUDE
        mean[-NUISANCES:] = _PRIORS[self.response][0]
        return mean

    def basis(self, x: jax.Array) -> jax.Array:
        """Basis functions at stimuli ``(..., n, features)``."""
        flat = x.reshape(-1, x.shape[-1])
        values = self.space.basis(flat, self.degree)[0]
        return values.reshape(*x.shape[:-1], self.functions)

    def root(self, parameters: jax.Array) -> jax.Array:
        """S exp(W), a root of Lambda: its rows are basis functions."""
        x = self._deviations(parameters) / 16
        # Exponential by its series and four squarings: it needs no solver, which
        # XLA on few cores may not run beside another.
        eye = jnp.eye(self.functions)
        series = eye + x @ (eye + x @ (eye + x @ (eye + x / 4) / 3) / 2)
        for _ in range(4):
            series = series @ series
        return jnp.exp(parameters[: self._orders])[self.order][:, None] * series

    def kernel(self, parameters: jax.Array) -> jax.Array:
        """Lambda, ``(functions, functions)``."""
        root = self.root(parameters)
        return root @ root.T

    def precision(self, deviations: jax.Array) -> jax.Array:
        """Prior precision of each parameter."""
        return jnp.asarray(self._fixed_precision) + self.shrunk @ (1 / deviations**2)

    def predict(self, root: jax.Array, seen: Evidence) -> _Predicted:
        """What the modelled subject predicts in the test trials of one session."""
        learnt, asked = seen.trained @ root, seen.tested @ root
        # As regression on functions, not stimuli: what is left needs no difference of
        # large numbers.
        taught = learnt.T * seen.repeats
        left = _inverse(jnp.eye(self.functions) + taught @ learnt)
        unlearnt = asked @ left
        weights = left @ (taught @ seen.targets)
        power = jnp.sum(unlearnt**2, 1)
        return _Predicted(
            f=asked @ weights,
            smoother=unlearnt @ taught,
            # A kernel that differs by a small symmetric random matrix (in units of
            # Lambda's root) moves predictions by these variances.
            individual=(weights @ weights) * power,
            private=jnp.sum(unlearnt * asked, 1) - power,
            unlearnt=unlearnt,
            weights=weights,
        )

    def answer(
        self,
        f: jax.Array,
        nuisance: jax.Array,
        individual: jax.Array,
        private: jax.Array,
    ) -> jax.Array:
        """Distribution of one answer: mean and variance, or P(right) twice."""
        spread = (
            jnp.exp(2 * nuisance[3]) * individual + jnp.exp(2 * nuisance[4]) * private
        )
        scale = jnp.exp(nuisance[0])
        if self.response == "choice":
            lapse = jax.nn.sigmoid(nuisance[2])
            # Logistic of a Gaussian, approximated (MacKay 1992).
            flatter = jnp.sqrt(1 + jnp.pi / 8 * scale**2 * spread)
            right = jax.nn.sigmoid(scale * (f + nuisance[1]) / flatter)
            p = lapse / 2 + (1 - lapse) * right
            return jnp.stack([p, p])
        variance = jnp.exp(2 * nuisance[2]) + _LEAST_VARIANCE + scale**2 * spread
        return jnp.stack([scale * f + nuisance[1], variance])

    def log_likelihood(self, parameters: jax.Array, seen: Evidence) -> jax.Array:
        """Of each answer of one session, ``(m,)``; 0 where there is none."""
        return self.told(self.root(parameters), parameters[-NUISANCES:], seen)

    def told(self, root: jax.Array, nuisance: jax.Array, seen: Evidence) -> jax.Array:
        """Log likelihood of each answer given a root of Lambda, whichever."""
        first, second = self._answers(self.predict(root, seen), nuisance).T
        if self.response == "choice":
            each = jnp.log(jnp.where(seen.answers > 0, first, 1 - first))
        else:
            each = -0.5 * ((seen.answers - first) ** 2 / second + jnp.log(second))
        return each * seen.answered

    def turned(self, parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A root of Lambda, and slopes of Lambda in its units.

        The root is R = S V exp(w), with W = V w V'. The slopes, R^-1 dLambda R'^-1,
        are symmetric: ``(functions, functions, parameters - NUISANCES)``.
        """
        values, vectors = jnp.linalg.eigh(self._deviations(parameters))
        apart = values[:, None] - values
        near = jnp.abs(apart) < 1e-2
        safe = jnp.where(near, 1.0, apart)
        # Slope of an exponential (Daleckii and Krein); of amplitudes, without it.
        of_entry = jnp.where(near, 1 + apart**2 / 6, jnp.sinh(safe) / safe)
        rows, columns = self._entries
        left, right = vectors[rows].T, vectors[columns].T
        pairs = left[:, None] * right + right[:, None] * left
        pairs *= jnp.where(jnp.asarray(rows == columns), 1.0, 2.0)
        orders = self.order[:, None] == np.arange(self._orders)
        within = jnp.einsum(
            "ia,ib,io->abo", vectors, vectors, jnp.asarray(orders, float)
        )
        slopes = jnp.concatenate(
            [2 * jnp.cosh(apart)[..., None] * within, of_entry[..., None] * pairs], -1
        )
        amplitude = jnp.exp(parameters[: self._orders])[self.order]
        return amplitude[:, None] * vectors * jnp.exp(values), slopes

    def scores(
        self,
        turned: tuple[jax.Array, jax.Array],
        nuisance: jax.Array,
        evidence: Evidence,
    ) -> tuple[jax.Array, jax.Array]:
        """Rows (sessions, rows, parameters), scores (sessions, parameters).

        The outer product of a session's rows is its Fisher information, which needs no
        answers; its score is the slope of its likelihood, but for the slopes of
        variances in the kernel. ``turned`` as from :meth:`turned`.
        """
        root, slopes = turned
        size = self.functions

        def one(seen: Evidence) -> tuple[jax.Array, jax.Array, jax.Array]:
            predicted = self.predict(root, seen)
            spreads = (predicted.individual, predicted.private)
            slopes_f, slopes = jax.vmap(
                jax.jacfwd(self.answer, argnums=(0, 1)), (0, None, 0, 0)
            )(predicted.f, nuisance, *spreads)
            mean, second = self._answers(predicted, nuisance).T
            choice = self.response == "choice"
            variance = mean * (1 - mean) if choice else second
            sd = jnp.sqrt(variance)[:, None]
            # d f = unlearnt (R^-1 dLambda R'^-1) weights.
            of_f = slopes_f[:, :1] * predicted.unlearnt
            rows = jnp.concatenate([of_f, slopes[:, 0]], 1) / sd
            seen_as = seen.answers > 0 if choice else seen.answers
            residuals = (seen_as - mean) / sd[:, 0]
            there = seen.answered * seen.counted
            if not choice:
                of_variance = jnp.concatenate([0 * of_f, slopes[:, 1]], 1)
                rows = jnp.concatenate([rows, of_variance / sd**2 / 2**0.5])
                more = (residuals**2 - 1) / 2**0.5
                residuals = jnp.concatenate([residuals, more])
                there = jnp.concatenate([there, there])
            rows *= there[:, None]
            return _fewer(rows), residuals @ rows, predicted.weights

        rows, scores, weights = jax.vmap(one)(evidence)
        both = jnp.concatenate([rows, scores[:, None]], 1)
        # As one matrix product, which leaves nothing to be put in order.
        of_kernel = weights @ slopes.reshape(size, -1)
        of_kernel = of_kernel.reshape(-1, size, slopes.shape[-1])
        whole = jnp.concatenate([both[..., :size] @ of_kernel, both[..., size:]], -1)
        return whole[:, :-1], whole[:, -1]

    def _deviations(self, parameters: jax.Array) -> jax.Array:
        """W, symmetric."""
        entries = parameters[self._orders : -NUISANCES]
        upper = jnp.zeros((self.functions,) * 2).at[self._entries].set(entries)
        return upper + jnp.triu(upper, 1).T

    def _answers(self, predicted: _Predicted, nuisance: jax.Array) -> jax.Array:
        each = jax.vmap(self.answer, (0, None, 0, 0))
        return each(predicted.f, nuisance, predicted.individual, predicted.private)

    @property
    def _orders(self) -> int:
        return int(self.order.max()) + 1

    @cached_property
    def _entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of W that are modelled: a triangle, then the diagonal."""
        least = int(np.count_nonzero(self.order <= 1))
        whole = [int(np.count_nonzero(self.order <= o)) for o in np.unique(self.order)]
        dense = max([n for n in whole if n <= CORRELATED], default=least)
        rows, columns = np.triu_indices(max(dense, least))
        rest = np.arange(max(dense, least), self.functions)
        return np.append(rows, rest), np.append(columns, rest)

    @cached_property
    def shrunk(self) -> NDArray[np.float32]:
        """Which scale shrinks a parameter, ``(parameters, orders + 1)``.

        Half for the diagonal: W's distribution is the same in any basis of an order.
        """
        rows, columns = self._entries
        shrunk = np.zeros((self.parameters, self._orders + 1), np.float32)
        same = self.order[rows] == self.order[columns]
        group = np.where(same, self.order[rows], self._orders)
        place = self._orders + np.arange(len(rows))
        shrunk[place, group] = np.where(rows == columns, 0.5, 1.0)
        return shrunk

    @cached_property
    def _fixed_precision(self) -> NDArray[np.float32]:
        precision = np.zeros(self.parameters, np.float32)
        precision[: self._orders] = 1 / _AMPLITUDE_SD**2
        precision[-NUISANCES:] = 1 / np.square(_PRIORS[self.response][1])
        return precision


@jax.custom_jvp
def _inverse(matrix: jax.Array) -> jax.Array:
    """Inverse of a symmetric positive definite matrix."""
    root = jnp.linalg.cholesky(matrix)
    half = jax.scipy.linalg.solve_triangular(root, jnp.eye(len(root)), lower=True)
    return half.T @ half


@_inverse.defjvp
def _inverse_jvp(
    at: tuple[jax.Array], towards: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    inverse = _inverse(*at)
    return inverse, -inverse @ towards[0] @ inverse


def _fewer(rows: jax.Array) -> jax.Array:
    """Rows of the same outer product, no more of them than columns."""
    n, columns = rows.shape
    if n <= columns:
        return rows
    outer = rows.T @ rows
    # Next to rounding, so that a root exists.
    least = 1e-5 * jnp.diag(outer) + 1e-20
    root: jax.Array = jnp.linalg.cholesky(outer + jnp.diag(least)).T
    return root


def degree_for(space: StimulusSpace) -> int:
    """Highest order of a space that is modelled unless another is asked for."""
    return highest_degree(space, 30, 12)
