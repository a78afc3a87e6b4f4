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
    """

    f: jax.Array
    smoother: jax.Array
    individual: jax.Array
    private: jax.Array
    slope: jax.Array
    dual: jax.Array


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
        size = self.functions
        entries = parameters[self._orders : -NUISANCES]
        half = jnp.zeros((size, size)).at[self._entries].set(entries) / 8
        x = half + jnp.triu(half, 1).T
        # Exponential by its series and three squarings: it needs no solver, which
        # XLA on few cores may not run beside another.
        eye = jnp.eye(size)
        series = eye + x @ (eye + x @ (eye + x @ (eye + x / 4) / 3) / 2)
        for _ in range(3):
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
        gram = learnt @ learnt.T + jnp.diag(1 / seen.repeats)
        both = jnp.concatenate([seen.targets[:, None], learnt @ asked.T], 1)
        solved = jax.scipy.linalg.solve(gram, both, assume_a="pos")
        dual, smoother = solved[:, 0], solved[:, 1:].T
        weights = learnt.T @ dual
        unlearnt = asked - smoother @ learnt
        return _Predicted(
            f=smoother @ seen.targets,
            smoother=smoother,
            # A kernel that differs by a small symmetric random matrix (in units of
            # Lambda's root) moves predictions by these variances.
            individual=(weights @ weights) * jnp.sum(unlearnt**2, 1),
            private=jnp.sum(smoother**2 / seen.repeats, 1),
            slope=seen.tested - smoother @ seen.trained,
            dual=seen.trained.T @ dual,
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
        predicted = self.predict(self.root(parameters), seen)
        first, second = self._answers(predicted, parameters[-NUISANCES:]).T
        if self.response == "choice":
            each = jnp.log(jnp.where(seen.answers > 0, first, 1 - first))
        else:
            each = -0.5 * ((seen.answers - first) ** 2 / second + jnp.log(second))
        return each * seen.answered

    def scores(
        self, parameters: jax.Array, evidence: Evidence
    ) -> tuple[jax.Array, jax.Array]:
        """Standardised slopes (sessions, rows, parameters) and residuals of answers.

        Slopes' outer product is the Fisher information, and needs no answers;
        slopes' transpose times residuals is the score of each session.
        """
        root, nuisance = self.root(parameters), parameters[-NUISANCES:]
        d_kernel = jax.jacfwd(self.kernel)(parameters)[..., :-NUISANCES]

        def one(seen: Evidence) -> tuple[jax.Array, jax.Array]:
            predicted = self.predict(root, seen)
            # d f = (test basis - P train basis) dLambda (train basis)' dual.
            of_f = predicted.slope @ jnp.einsum("ijp,j->ip", d_kernel, predicted.dual)
            spreads = (predicted.individual, predicted.private)
            slopes_f, slopes = jax.vmap(
                jax.jacfwd(self.answer, argnums=(0, 1)), (0, None, 0, 0)
            )(predicted.f, nuisance, *spreads)
            answers = self._answers(predicted, nuisance)
            mean, second = answers.T
            variance = mean * (1 - mean) if self.response == "choice" else second
            sd = jnp.sqrt(variance)[:, None]
            of_mean = jnp.concatenate([slopes_f[:, :1] * of_f, slopes[:, 0]], 1) / sd
            seen_as = seen.answers > 0 if self.response == "choice" else seen.answers
            residual = (seen_as - mean) / sd[:, 0]
            there = seen.answered * seen.counted
            if self.response == "choice":
                return of_mean * there[:, None], residual * there
            of_variance = jnp.concatenate([0 * of_f, slopes[:, 1]], 1) / sd**2 / 2**0.5
            rows = jnp.concatenate([of_mean, of_variance])
            residuals = jnp.concatenate([residual, (residual**2 - 1) / 2**0.5])
            twice = jnp.concatenate([there, there])
            return rows * twice[:, None], residuals * twice

        return jax.vmap(one)(evidence)

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


def degree_for(space: StimulusSpace) -> int:
    """Highest order of a space that is modelled unless another is asked for."""
    return highest_degree(space, 30, 12)
