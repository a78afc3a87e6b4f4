"""How far a component lies from what the search finds without any subject."""

from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np

from analysis.record import Record
from analysis.recovery import Floats
from meta_learner.assignment import named_key
from meta_learner.bias import prior_components
from meta_learner.evolution import Evolution
from meta_learner.gradient import Gradient
from meta_learner.labelling import Labeller, Series, labels_of_each
from meta_learner.null import null_series
from meta_learner.objective import Objective
from meta_learner.spectrum import orders_of
from meta_learner.subject_search import SubjectSearch

REPLICATES = 99
"""Null series drawn: the smallest p-value is one in a hundred."""

_FLOOR = 1e-3
"""Added to powers before their odds are taken: one part in a thousand is nothing."""


class Distance(NamedTuple):
    """How far a component lies from what the no-learner null finds.

    ``order`` is where most of its power is and ``power`` how much; ``null_*``
    are median, 5 % and 95 % of the null's power in that order; ``odds_ratio``
    is odds of ``power`` against odds of the null's median.
    """

    order: str
    power: float
    null_median: float
    null_low: float
    null_high: float
    odds_ratio: float
    p_value: float

    @property
    def beyond(self) -> bool:
        """Whether the component lies beyond the null, at a level of 5 %."""
        return self.p_value <= 0.05


def null_power(
    record: Record, generations: tuple[int, ...], replicates: int = REPLICATES
) -> Floats:
    """Power of :func:`null_of`, ``(replicates, components, orders + 1)``."""
    labeller = record.study.labeller
    orders = orders_of(labeller.space)
    if not generations:
        return np.zeros((replicates, 0, len(orders.names)))
    series = null_of(record, generations, replicates)
    return orders.power(
        np.asarray(labels_of_each(labeller, series, orders.x), np.float64)
    )


def null_of(
    record: Record, generations: tuple[int, ...], replicates: int = REPLICATES
) -> Series:
    """The study's null series, every array with a leading axis of replicates.

    The same search for as many generations, without learner or sessions; of a
    search that infers the subject, what its model says before any session.
    """
    study = record.study
    if isinstance(study.search, SubjectSearch):
        key = named_key(study.seed, "no-learner null")
        model, k = study.search.model, len(generations)
        rows = prior_components(model, k, replicates, key)
        prior: Series = _frozen(study.labeller, rows)
        return prior
    blind = replace(study.objective, generalisation_weight=0.0)
    return _null_series(
        study.labeller, study.search, blind, generations, study.seed, replicates
    )


def distances_from_null(
    power: Floats, null: Floats, names: list[str]
) -> list[Distance]:
    """How unusual each component is among those of the null.

    ``power`` (components, orders + 1), ``null`` (replicates, components,
    orders + 1). The statistic is the log-odds of a component's power in *its
    own* leading order, less the median log-odds there; the p-value is the
    share of components, the observed one included, for which it is as large.
    Every null component is judged by its own leading order too, as the choice
    of order would otherwise double the rate of false alarms (measured: about
    10 % at a level of 5 %, against 5 % so). Odds, since powers crowd below 1:
    after 500 sessions the ReLU-kernel subject (power 1.00 in order 1, null .82)
    is beyond the null in every draw by its odds, and in none by the
    total-variation distance to the mean null spectrum, because null spectra
    spread further than that.
    """
    return [_distance(power[i], null[:, i], names) for i in range(len(power))]


def _distance(power: Floats, null: Floats, names: list[str]) -> Distance:
    pool = np.concatenate([power[None], null])
    odds = np.log((pool + _FLOOR) / (1 - pool + _FLOOR))
    odds -= np.median(odds, axis=0)
    leading = pool.argmax(1)
    excess = np.take_along_axis(odds, leading[:, None], 1)[:, 0]
    low, median, high = np.quantile(null[:, leading[0]], (0.05, 0.5, 0.95))
    return Distance(
        order=names[leading[0]],
        power=float(power[leading[0]]),
        null_median=float(median),
        null_low=float(low),
        null_high=float(high),
        odds_ratio=float(np.exp(excess[0])),
        p_value=float(np.mean(excess >= excess[0])),
    )


@partial(jax.jit, static_argnums=0)
def _frozen(labeller: Labeller, rows: jax.Array) -> Series:
    """Series of components (replicates, k, genes), frozen one after the other."""

    def one(rows: jax.Array) -> Series:
        series: Series = ()
        for theta in rows:
            series = (*series, labeller.freeze(series, theta))
        return series

    frozen: Series = jax.lax.map(one, rows)
    return frozen


@cache
def _null_series(
    labeller: Labeller,
    search: Evolution | Gradient,
    blind: Objective,
    generations: tuple[int, ...],
    seed: int,
    replicates: int,
) -> Series:
    key = named_key(seed, "no-learner null")
    return null_series(labeller, search, blind, generations, key, replicates)
