"""How sure recovered components are: intervals of their errors and powers.

An interval is always *of* something, told in the column ``how``. A search is not
fitted again: what a bootstrap of a frozen labelling would be is not known. So powers
have the range of labellings that the search still proposed at its end, or that a
posterior allows; run several seeds for the spread of the search as a whole.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap

from analysis.record import Record
from analysis.recovery import Recovered, recover
from analysis.subject import FEWEST, reanalyse
from meta_learner.labelling import Series
from meta_learner.spectrum import LEVEL, candidate_labels, labelled, orders_of
from meta_learner.spectrum import orders_of as grid_orders
from server.events import (
    GenerationAsked,
    SessionEnded,
    SessionOpened,
    VerificationAsked,
)

Floats = NDArray[np.float64]

LAST = 0.1
"""Share of a component's generations that count as its end."""

_FEWEST = 3
"""Values below which there is no interval."""

PROPOSED = "labellings proposed in the last tenth of the search, and the one found"
POSTERIOR = "credible interval of the subject model (no-U-turn draws)"
DESCENT = "a descent proposes one labelling: for an interval run several seeds"
SESSIONS = "bootstrap over the sessions of the last tenth of the search"
VERIFIED = "bootstrap over the fresh sessions of verification"


def component_intervals(
    record: Record, recovered: Recovered | None = None, level: float = LEVEL
) -> pd.DataFrame:
    """Errors and powers of each recovered component with their intervals.

    Columns: component, quantity (``error``: relative generalisation error, of a study
    with groups ``error_`` and the group; ``power``: share of the labels' variance),
    order (of a power), estimate, low, high, how (what the interval is of).
    """
    found = recovered or recover(record)
    rows: list[tuple[Any, ...]] = []
    modelled = _modelled(record, found)
    for k in range(len(found.power)):
        for group in record.study.groups:
            quantity = f"error_{group}" if group else "error"
            rows.append((k, quantity, "", *_error(record, k, group, level)))
        rows += modelled.get(k) or _powers(record, found, k, level)
    columns = ["component", "quantity", "order", "estimate", "low", "high", "how"]
    return pd.DataFrame(rows, columns=columns)


def last_labels(record: Record, component: int) -> Floats:
    """Labels on the grid by candidates of the last tenth of a component's search.

    Shape ``(candidates, stimuli)``, signs turned to the component's; empty where
    there are none, as of a descent or a model.
    """
    study = record.study
    grid = grid_orders(study.labeller.space)
    nothing: Floats = np.zeros((0, len(grid.functions)))
    if study.by_gradient or study.by_model:
        return nothing
    asked = [f for f in record.facts(GenerationAsked) if f.component == component]
    series = recover(record).series[:component] if component else ()
    last = asked[-max(1, round(LAST * len(asked))) :]
    theta = [one for fact in last for one in fact.theta]
    if not theta:
        return nothing
    before: Series = series
    return np.concatenate(list(candidate_labels(study.labeller, before, theta, grid.x)))


def _powers(
    record: Record, found: Recovered, k: int, level: float
) -> list[tuple[Any, ...]]:
    names = orders_of(record.study.labeller.space).names
    low = high = np.full(len(names), np.nan)
    how = DESCENT if record.study.by_gradient else PROPOSED
    proposed = last_labels(record, k)
    if len(proposed) >= _FEWEST:
        powers = labelled(grid_orders(record.study.labeller.space), proposed).power
        ends = np.quantile(powers, ((1 - level) / 2, (1 + level) / 2), axis=0)
        # What is frozen is the mean of the search, smoother than what it proposes.
        low, high = (
            np.minimum(ends[0], found.power[k]),
            np.maximum(ends[1], found.power[k]),
        )
    return [
        (k, "power", name, *map(float, row), how)
        for name, *row in zip(names, found.power[k], low, high, strict=True)
    ]


def _modelled(record: Record, found: Recovered) -> dict[int, list[tuple[Any, ...]]]:
    """Powers of components of a subject model, by its posterior."""
    study = record.study
    ended = [f for f in record.facts(SessionEnded) if f.status == "finished"]
    if not study.by_model or study.null or len(ended) < FEWEST * len(study.groups):
        return {}
    table = reanalyse(record, max(len(found.power), 1), permutations=0)[0].power
    return {
        int(k) - 1: [
            (
                int(k) - 1,
                "power",
                str(row.order),
                row.power,
                row.low,
                row.high,
                POSTERIOR,
            )
            for row in own.itertuples()
        ]
        for k, own in table.groupby("component")
    }


def _error(
    record: Record, k: int, group: str, level: float
) -> tuple[float, float, float, str]:
    """Median relative error of a component's sessions, with its interval."""
    opened = {fact.session: fact for fact in record.facts(SessionOpened)}
    asked = record.facts(VerificationAsked)
    roles = asked[0] if asked else None
    verification = record.study.file.study.components
    last = [f.generation for f in record.facts(GenerationAsked) if f.component == k]
    since = last[-max(1, round(LAST * len(last)))] if last else 0
    late, fresh = [], []
    for fact in record.facts(SessionEnded):
        if fact.error is None or not fact.label_variance or not fact.used:
            continue
        of = opened[fact.session]
        error = fact.error / fact.label_variance
        if of.group != group:
            continue
        if of.component == k and of.generation >= since and k < verification:
            late.append(error)
        elif roles and of.component == verification:
            role = roles.roles[of.candidate], roles.components[of.candidate]
            fresh += [error] if role == ("component", k) else []
    values, how = (fresh, VERIFIED) if len(fresh) >= _FEWEST else (late, SESSIONS)
    return (*median_interval(values, level), how)


def median_interval(
    values: Any, level: float = LEVEL, seed: int = 0
) -> tuple[float, float, float]:
    """Median of values (n,), and its interval by bootstrap; NaN of too few."""
    there = np.asarray(values, float)
    there = there[np.isfinite(there)]
    if not len(there):
        return np.nan, np.nan, np.nan
    median = float(np.median(there))
    if len(there) < _FEWEST:
        return median, np.nan, np.nan
    if np.ptp(there) == 0:
        return median, median, median
    interval = bootstrap(
        (there,),
        np.median,
        confidence_level=level,
        n_resamples=999,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return median, float(interval.low), float(interval.high)
