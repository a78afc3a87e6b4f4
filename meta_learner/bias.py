"""What a fitted subject model says: components, errors, bias spectrum."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from meta_learner.assignment import Design
from meta_learner.label_distribution import STANDARD_STD
from meta_learner.subject_fit import start
from meta_learner.subject_model import Evidence, SubjectModel

_SETS = 16
"""Draws of stimuli over which an error is averaged."""

_WITHIN, _SETS_WITHIN = 32, 4
"""Random labellings of an order, and draws of stimuli for each: these differ less."""

CREDIBLE = (0.05, 0.5, 0.95)
"""Quantiles of a 90 % credible interval, with its median."""


class Interval(NamedTuple):
    """Median and 90 % credible interval, arrays of one shape."""

    low: jax.Array
    median: jax.Array
    high: jax.Array


def interval(draws: jax.Array) -> Interval:
    """Interval of draws with a leading axis."""
    return Interval(*jnp.quantile(draws, jnp.array(CREDIBLE), axis=0))


@partial(jax.jit, static_argnums=(0, 2))
def components(
    model: SubjectModel, parameters: jax.Array, k: int
) -> tuple[jax.Array, jax.Array]:
    """The k labellings of mean zero that the subject finds easiest.

    Eigenvalues ``(k,)``, largest first, and coefficients ``(k, functions - 1)`` in
    the basis without its constant, each of unit power: genes of the ``basis``
    family. They are eigenfunctions under p(x) of the kernel given the constant: of
    all functions of mean zero those of least norm in the subject's own space.
    """
    kernel = model.kernel(parameters)
    with_constant = kernel[1:, 0]
    given = kernel[1:, 1:] - jnp.outer(with_constant, with_constant) / kernel[0, 0]
    values, vectors = jnp.linalg.eigh(given)
    return values[::-1][:k], _signed(vectors[:, ::-1][:, :k].T)


@partial(jax.jit, static_argnums=(0, 1, 2))
def prior_components(
    model: SubjectModel, k: int, replicates: int, key: jax.Array
) -> jax.Array:
    """Components of models that no session has told anything.

    Shape ``(replicates, k, functions - 1)``: the no-learner null of a search that
    infers the subject.
    """
    noise = jax.random.normal(key, (replicates, model.parameters))
    spread = 1 / jnp.sqrt(model.precision(start(model).deviations))
    draws = jnp.asarray(model.centre) + noise * spread
    rows: jax.Array = jax.lax.map(lambda u: components(model, u, k)[1], draws)
    return rows


def space_overlap(a: jax.Array, b: jax.Array) -> jax.Array:
    """Overlap of two spaces spanned by rows ``(k, functions)`` of unit length.

    Mean squared cosine of their principal angles: 1 the same, 0 orthogonal.
    """
    return jnp.sum((a @ b.T) ** 2) / a.shape[0]


@partial(jax.jit, static_argnums=(0, 3, 5))
def expected_errors(
    model: SubjectModel,
    parameters: jax.Array,
    coefficients: jax.Array,
    design: Design,
    key: jax.Array,
    sets: int = _SETS,
) -> jax.Array:
    """Relative generalisation error of labellings ``(k, functions - 1)``, ``(k,)``.

    Of an individual that the model describes, in sessions of ``design``: squared
    difference of label and prediction over the variance of labels, averaged over
    ``sets`` draws of stimuli that follow from ``key``.
    """
    stimuli = _stimuli(model, design, key, sets)
    root, nuisance = model.root(parameters), parameters[-5:]

    def of_labelling(coefficients: jax.Array) -> jax.Array:
        each = jax.lax.map(
            lambda basis: _error(model, root, nuisance, coefficients, design, basis),
            stimuli,
        )
        mean: jax.Array = each.mean()
        return mean

    errors: jax.Array = jax.vmap(of_labelling)(coefficients)
    return errors


@partial(jax.jit, static_argnums=(0, 2))
def bias_spectrum(
    model: SubjectModel, draws: jax.Array, design: Design, key: jax.Array
) -> jax.Array:
    """Relative generalisation error per order, ``(draws, orders)``, the constant not.

    Of random labellings within each order, for parameters ``(draws, parameters)``.
    """
    order = jnp.asarray(model.order[1:])
    orders = jnp.arange(1, int(model.order.max()) + 1)
    label_key, stimulus_key = jax.random.split(key)
    within = (order[None] == orders[:, None]).astype(jnp.float32)
    random = jax.random.normal(label_key, (_WITHIN, 1, len(order))) * within
    random /= jnp.linalg.norm(random, axis=-1, keepdims=True)

    def one(parameters: jax.Array) -> jax.Array:
        flat = random.reshape(-1, len(order))
        errors = expected_errors(
            model, parameters, flat, design, stimulus_key, _SETS_WITHIN
        )
        means: jax.Array = errors.reshape(_WITHIN, -1).mean(0)
        return means

    spectra: jax.Array = jax.lax.map(one, draws)
    return spectra


def labels_of(basis: jax.Array, coefficients: jax.Array) -> jax.Array:
    """Standardised labels of coefficients (functions - 1,) at basis (n, functions)."""
    power = jnp.sqrt(jnp.maximum(jnp.sum(coefficients**2), 1e-12))
    return jnp.clip(STANDARD_STD * basis[:, 1:] @ coefficients / power, -1.0, 1.0)


@partial(jax.jit, static_argnums=0)
def missed(
    model: SubjectModel, parameters: jax.Array, evidence: Evidence
) -> tuple[jax.Array, jax.Array]:
    """What the model misses of each session's answers, and all there is to miss.

    Sums over answers ``(sessions,)`` of the squared difference from what the model
    expects, and of their variance within the session (unbiased: what one misses
    that knows the session's mean). Choices count 0 or 1. Padding has none.
    """

    def one(seen: Evidence) -> tuple[jax.Array, jax.Array]:
        predicted = model.predict(model.root(parameters), seen)
        each = jax.vmap(model.answer, (0, None, 0, 0))
        mean = each(
            predicted.f, parameters[-5:], predicted.individual, predicted.private
        )[:, 0]
        answers, there = seen.answers, seen.answered * seen.counted
        if model.response == "choice":
            answers = jnp.where(answers > 0, 1.0, 0.0)
        n = there.sum()
        level = jnp.sum(there * answers) / jnp.maximum(n, 1)
        unbiased = n / jnp.maximum(n - 1, 1)
        whole = jnp.sum(there * (answers - level) ** 2) * unbiased
        return jnp.sum(there * (answers - mean) ** 2), whole

    return jax.vmap(one)(evidence)


def _signed(rows: jax.Array) -> jax.Array:
    """Rows with their largest entry positive: an eigenfunction has no sign."""
    largest = jnp.take_along_axis(rows, jnp.abs(rows).argmax(1)[:, None], 1)
    return rows * jnp.sign(largest)


def _stimuli(
    model: SubjectModel, design: Design, key: jax.Array, sets: int
) -> jax.Array:
    """Basis at stimuli of several sessions, ``(sets, n, functions)``."""
    n = design.training_stimuli + design.test_stimuli
    keys = jax.random.split(key, sets)
    return jax.vmap(lambda key: model.basis(model.space.sample(key, n)))(keys)


def _error(
    model: SubjectModel,
    root: jax.Array,
    nuisance: jax.Array,
    coefficients: jax.Array,
    design: Design,
    basis: jax.Array,
) -> jax.Array:
    """Relative error of a labelling with one set of stimuli."""
    n = design.training_stimuli
    y = labels_of(basis, coefficients)
    repeats = jnp.full(n, float(design.training_repeats))
    there = jnp.ones(len(y) - n)
    seen = Evidence(basis[:n], y[:n], repeats, basis[n:], y[n:], there, jnp.ones(()))
    predicted = model.predict(root, seen)
    varied = jnp.exp(2 * nuisance[3]) * predicted.individual
    varied += jnp.exp(2 * nuisance[4]) * predicted.private
    if design.feedback == "reward":  # labels are taught by rewards drawn from them
        varied += predicted.smoother**2 @ ((1 - y[:n] ** 2) / repeats)
    missed = jnp.mean((predicted.f - y[n:]) ** 2 + varied)
    return missed / jnp.maximum(jnp.var(y[n:]), 1e-6)
