"""Evolution helped by the subject model, as far as that has proved right.

The model screens what evolution proposes, and takes noise out of what it is told.
How far it is trusted is measured on predictions made before the sessions were seen
(prequential), within generations, since a search goes by order within a generation.
Without skill every weight is exactly 0: then this is evolution on its own.

One group of subjects, and errors relative to the variance of labels.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import Design
from meta_learner.evolution import Evolution, State
from meta_learner.labelling import Labeller, Series
from meta_learner.objective import Floats
from meta_learner.subject_model import NUISANCES, Evidence, SubjectModel

HELPED = ("CMA_ES", "DES", "LES", "Rm_ES", "SNES", "Sep_CMA_ES", "SimpleES")
"""Strategies that can be helped: they learn from candidates whichever these are.

Others remember what they drew for each, draw them in pairs, or compare each with its
parent.
"""

TIMES = 6
"""Generations proposed for one that is shown."""

MOST = 0.75
"""Share of a generation that is screened, at most: see :func:`screen`."""

RECENT = 12
"""Generations by which the model is judged: its past and the search move on."""

_SETS = 6
"""Draws of stimuli over which a prediction is averaged."""

_DOUBT = 2.0
"""Standard errors below which an effect counts as none."""


class Predictions(NamedTuple):
    """Measured and predicted of a generation, arrays (2, candidates), NaN for none.

    Rows are the error, relative to the variance of labels, and the gain, the slope of
    answers on labels. ``expected`` is predicted of the labelling
    (:func:`predicted_errors`), ``given`` of the session with its own stimuli
    (:func:`session_errors`), both before the session was seen.
    """

    measured: Floats
    standard_error: Floats
    expected: Floats
    given: Floats


class Judgement(NamedTuple):
    """What the model has earned: all 0 without skill.

    ``trust`` in [0, 1]: share of the true differences between labellings that it
    predicted; ``slope`` of true on predicted differences; ``beta`` that of measured
    ones on what the model ascribes to a session's own stimuli; ``weight`` in
    [0, 1] of its prediction against the measurement.
    """

    trust: float
    slope: float
    beta: float
    weight: float


UNTRIED = Judgement(0.0, 0.0, 0.0, 0.0)
"""Of a model that has predicted nothing yet."""


class _Effect(NamedTuple):
    """A slope and its standard error, what shrinks it, and what it explained.

    ``kept`` is 0 of a slope that is not clearly above 0; ``explained`` the sum of
    squares.
    """

    slope: float
    error: float
    kept: float
    explained: float


def proposals(
    search: Evolution, state: State, key: jax.Array, times: int = TIMES
) -> tuple[jax.Array, State]:
    """What several asks propose, ``(times * population, genes)``, and the new state.

    The first ``population`` rows and the state are those of ``search.ask``.
    """
    theta, after = search.ask(state, key)
    more = [search.ask(state, jax.random.fold_in(key, i))[0] for i in range(1, times)]
    return jnp.concatenate([theta, *more]), after


@partial(jax.jit, static_argnums=(0, 1, 2))
def predicted_errors(
    model: SubjectModel,
    labeller: Labeller,
    design: Design,
    parameters: jax.Array,
    series: Series,
    theta: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Error and gain expected of labellings ``(n, genes)``, shape ``(2, n)``.

    As they would be measured (:class:`Predictions`); averaged over draws of stimuli
    and feedback that follow from ``key`` and are common to all, so that labellings
    alone differ.
    """
    n, m = design.training_stimuli, design.test_stimuli
    stimulus_key, coin_key = jax.random.split(key)
    keys = jax.random.split(stimulus_key, _SETS)
    x = jax.vmap(lambda key: model.space.sample(key, n + m))(keys)
    flat = x.reshape(-1, x.shape[-1])
    y = jax.vmap(lambda one: labeller.labels(series, one, flat))(theta)
    y = y.reshape(len(theta), _SETS, n + m).swapaxes(0, 1)
    coins = jax.random.uniform(coin_key, (_SETS, design.training_repeats, n))
    # A sum with nothing orders the solvers of labels and model: batched ones must
    # not run at once on few cores.
    root = model.root(parameters) + 0 * jnp.nan_to_num(y.sum())
    repeats = jnp.full(n, float(design.training_repeats))

    def in_set(one: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        x, y, coin = one
        basis = model.basis(x)

        def of_labelling(y: jax.Array) -> jax.Array:
            taught = y[:n]
            if design.feedback == "reward":
                taught = jnp.where(coin < (1 + taught) / 2, 1.0, -1.0).mean(0)
            there = jnp.ones(m)
            seen = Evidence(
                basis[:n], taught, repeats, basis[n:], there, there, jnp.ones(())
            )
            return _outlook(model, root, parameters, seen, y[n:])

        both: jax.Array = jax.vmap(of_labelling, out_axes=1)(y)
        return both

    both: jax.Array = jax.lax.map(in_set, (x, y, coins)).mean(0)
    return both


@partial(jax.jit, static_argnums=0)
def session_errors(
    model: SubjectModel, parameters: jax.Array, evidence: Evidence, labels: jax.Array
) -> jax.Array:
    """Error and gain expected in sessions, given what is shown and taught.

    ``labels`` (sessions, test trials); returns (2, sessions). Of answers only whether
    there is one matters.
    """
    root = model.root(parameters)
    both: jax.Array = jax.vmap(
        lambda seen, y: _outlook(model, root, parameters, seen, y), out_axes=1
    )(evidence, labels)
    return both


def measured_gains(evidence: Evidence, labels: jax.Array) -> Floats:
    """Slopes of answers on labels (sessions, test trials), and their standard errors.

    Shape (2, sessions); NaN where there is none.
    """
    there = np.asarray(evidence.answered, bool)
    y, answers = np.asarray(labels, float), np.asarray(evidence.answers, float)
    y, answers = _centred(y, there), _centred(answers, there)
    power = np.square(y).sum(1)
    power = np.where(power > 0, power, np.nan)
    gain = (y * answers).sum(1) / power
    missed = y * (answers - gain[:, None] * y)
    return np.stack([gain, np.sqrt(np.square(missed).sum(1)) / power])


def screen(
    predicted: jax.Array, population: int, trust: float, key: jax.Array
) -> jax.Array:
    """Which proposals to show, ``(population,)`` indices.

    A share ``trust`` of the first ``population``, drawn by ``key``, makes way for the
    best predicted of all others; the rest stays in its place. With trust 0 all do,
    with 1 the best predicted are shown.
    """
    # Pre-selection (Ulmer, Streichert & Zell 2003) hands a strategy candidates that
    # are not drawn from its distribution: its mean overshoots where the model is
    # wrong, its step size follows (Hansen 2011 on injected solutions). So as many
    # are replaced as the model's order has proved right (as Loshchilov et al. 2012
    # do with the life of a surrogate), all by draws of the strategy itself, which
    # need no limit of length. Those that stay are drawn blindly: the worst predicted
    # stay as likely as others, without which neither the spread of the distribution
    # nor the skill of the model could be seen any more.
    leaves = jax.random.permutation(key, population) < jnp.round(trust * population)
    own = jnp.arange(population)
    outside = jnp.ones(len(predicted), bool).at[:population].set(leaves)
    ranked = jnp.argsort(jnp.where(outside, predicted, jnp.inf))
    return jnp.where(leaves, ranked[jnp.cumsum(leaves) - 1], own)


def judge(past: Sequence[Predictions]) -> Judgement:
    """What the model has earned in past generations, of as many candidates each.

    Differences of gain within generations are regressed on those predicted of the
    sessions. With slope b of standard error se, ``trust`` is (1 - (2 se / b)^2)+,
    0 of few sessions, times the predicted sum of squares over that of measured gains
    without their noise; what else differs by chance, as individuals do, counts
    against the model. The shrunk slope, which is ``beta``, bears the same factor
    (positive-part James-Stein). As labellings differ less than sessions, their own
    slope is less certain: two standard errors above it is the most that ``slope``
    may be, and ``trust`` is less by the same quotient. ``weight`` is noise over noise
    and model error (inverse variances, empirical Bayes): of the true differences of
    error the model accounts for ``trust``, and the rest is its error.
    """
    # By gains, since of a few choices a session's error is mostly the noise of a
    # square: with 20 stimuli asked twice its standard error is 1.2.
    if not past:
        return UNTRIED
    recent = Predictions(*np.stack(past[-RECENT:], axis=1).astype(float))
    there = np.isfinite(np.stack(recent)).all((0, 2))
    # Of one candidate alone nothing can be compared.
    there &= there.sum(-1, keepdims=True) > 1
    freedom = int(there.sum() - there.any(-1).sum())
    if freedom < 3:
        return UNTRIED
    measured, given, expected = (
        _centred(part[:, 1], there)
        for part in (recent.measured, recent.given, recent.expected)
    )
    noise, gain_noise = (
        float(np.square(recent.standard_error[:, i][there]).mean()) for i in (0, 1)
    )
    whole = _effect(measured, given, freedom - 1)
    beta = whole.kept * whole.slope
    if beta == 0:
        return UNTRIED
    alone = _effect(measured - whole.slope * (given - expected), expected, freedom - 1)
    borne = min(1.0, max(0.0, alone.slope + _DOUBT * alone.error) / whole.slope)
    true = np.square(measured).sum() - gain_noise * freedom
    trust = borne * whole.kept * whole.explained / max(true, whole.explained)
    if trust == 0:
        return Judgement(0.0, 0.0, beta, 0.0)
    spread = np.square(_centred(recent.expected[:, 0], there)).sum() / freedom
    missed = (1 / trust - 1) * whole.slope**2 * spread
    return Judgement(trust, borne * beta, beta, noise / max(noise + missed, 1e-12))


def reduced(judgement: Judgement, now: Predictions) -> Floats:
    """Errors (candidates,) to tell instead of those measured, NaN where none was.

    Less what the session's own stimuli explain (a control variate), then drawn
    towards the model's prediction of the labelling.
    """
    measured, _, expected, given = (np.asarray(part[0], float) for part in now)
    if judgement.beta > 0:
        ascribed = np.nan_to_num(given - expected)
        measured = measured - judgement.beta * ascribed
    there = np.isfinite(measured) & np.isfinite(expected)
    if judgement.weight == 0 or there.sum() < 2:
        return measured
    predicted = measured[there].mean() + judgement.slope * _centred(expected, there)
    drawn = measured + judgement.weight * (predicted - measured)
    return np.where(there, drawn, measured)


def shown_share(judgement: Judgement) -> float:
    """Share of a generation to screen: the trust up to :data:`MOST`."""
    return MOST * judgement.trust


def _centred(values: Floats, there: Any) -> Floats:
    """Less the mean of each generation; 0 where there is none."""
    known = np.where(there, values, 0.0)
    count = np.maximum(there.sum(-1, keepdims=True), 1)
    centred: Floats = np.where(there, known - known.sum(-1, keepdims=True) / count, 0.0)
    return centred


def _effect(y: Floats, x: Floats, freedom: int) -> _Effect:
    """Slope of centred ``y`` on ``x``."""
    power = max(float(np.square(x).sum()), 1e-12)
    slope = float((x * y).sum()) / power
    error = float(np.sqrt(np.square(y - slope * x).sum() / freedom / power))
    kept = max(0.0, 1 - (_DOUBT * error / slope) ** 2) if slope > 0 else 0.0
    return _Effect(slope, error, kept, slope**2 * power)


def _outlook(
    model: SubjectModel,
    root: jax.Array,
    parameters: jax.Array,
    seen: Evidence,
    y: jax.Array,
) -> jax.Array:
    """Expected error and gain of one session, (2,); labels ``y`` (test trials,)."""
    predicted = model.predict(root, seen)
    nuisance = parameters[-NUISANCES:]
    spreads = (predicted.individual, predicted.private)

    def answer(f: jax.Array, *spreads: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and variance of what estimates a label."""
        (first, second), (slope, _) = jax.jvp(
            lambda f: model.answer(f, nuisance, *spreads), (f,), (jnp.ones(()),)
        )
        if model.response == "graded":
            return first, second
        # A mean choice estimates the label; noise of choices is taken off where it
        # is measured, but individuals differ.
        individual, private = spreads
        spread = jnp.exp(2 * nuisance[3]) * individual
        spread += jnp.exp(2 * nuisance[4]) * private
        return 2 * first - 1, (2 * slope) ** 2 * spread

    mean, variance = jax.vmap(answer)(predicted.f, *spreads)
    share = seen.answered / jnp.maximum(seen.answered.sum(), 1)
    centred = y - share @ y
    power = jnp.maximum(share @ centred**2, 1e-6)
    missed = share @ ((mean - y) ** 2 + variance)
    return jnp.stack([missed, share @ (centred * mean)]) / power
