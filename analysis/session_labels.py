"""The labelling of every session, in the basis of its stimulus space."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.record import Record
from meta_learner.labelling import Series, freeze
from meta_learner.spectrum import (
    Floats,
    Labelled,
    Orders,
    candidates_labelled,
    labelled_from_stimuli,
    orders_of,
)
from server.events import ComponentFrozen, GenerationAsked, SessionOpened
from stimuli.space import StimulusSpace

_CHUNK = 50_000
"""Stimuli whose basis functions are computed together."""


def session_powers(record: Record, known: Labelled | None = None) -> pd.DataFrame:
    """The labelling of every session in the basis of its space, a row per session.

    ``variance`` of the ideal answers over p(x), and share of power in each order,
    ``power_1`` to ``power_above``. From the candidate's ``theta`` on a dense grid;
    where that is not known (imported trials, verification, damaged journals) by least
    squares from the labels of the session's own stimuli, NaN where these are too few.
    ``known`` is :func:`session_labelled`, where that has been worked out before.
    """
    orders = orders_of(record.study.labeller.space)
    sessions = [fact.session for fact in record.facts(SessionOpened)]
    return _powers_table(sessions, orders, known or session_labelled(record))


def powers_from_trials(trials: pd.DataFrame, space: StimulusSpace) -> pd.DataFrame:
    """As :func:`session_powers`, from the labels of stimuli in a table of trials."""
    shown = trials.drop_duplicates(["session", "stimulus"])
    x = feature_values(shown, space)
    sizes = shown.groupby("session", observed=True, sort=False).size()
    codes = shown["session"].map({name: i for i, name in enumerate(sizes.index)})
    inverse = np.argsort(codes.to_numpy(), kind="stable")
    label = shown["label"].to_numpy(float)[inverse]
    found = _from_stimuli(space, x[inverse], label, sizes.to_numpy())
    return _powers_table(list(sizes.index), orders_of(space), found)


def session_labelled(record: Record) -> Labelled:
    """The labelling of every session opened, a row each; NaN where it is not known."""
    opened, study = record.facts(SessionOpened), record.study
    orders = orders_of(study.labeller.space)
    found = _unknown(len(opened), orders)
    for rows, part in _from_candidates(record, orders):
        for into, values in zip(found, part, strict=True):
            into[rows] = values
    rest = np.flatnonzero(np.isnan(found.variance))
    if len(rest):
        x = [row for i in rest for row in opened[i].x]
        y = np.array([value for i in rest for value in opened[i].y], float)
        sizes = np.array([len(opened[i].y) for i in rest])
        part = _from_stimuli(study.labeller.space, np.array(x, float), y, sizes)
        for into, values in zip(found, part, strict=True):
            into[rest] = values
    return found


def label_parts(
    record: Record, trials: pd.DataFrame, known: Labelled | None = None
) -> Floats:
    """Part of each trial's label in each order and above: ``(trials, orders + 1)``.

    The parts add up to the label; its mean over p(x) counts as above.
    """
    space = record.study.labeller.space
    orders = orders_of(space)
    coefficients = (known or session_labelled(record)).coefficients
    place = {fact.session: i for i, fact in enumerate(record.facts(SessionOpened))}
    session = trials["session"].map(place).to_numpy(np.int64)
    highest = int(orders.order.max())
    within = orders.order[:, None] == np.arange(1, highest + 1)
    parts = np.empty((len(trials), highest + 1))
    for chunk, functions in _functions_at(space, feature_values(trials, space)):
        parts[chunk, :-1] = (functions * coefficients[session[chunk]]) @ within
    parts[:, -1] = trials["label"].to_numpy(float) - parts[:, :-1].sum(1)
    return parts


def feature_values(trials: pd.DataFrame, space: StimulusSpace) -> Floats:
    """Features of the stimulus of each trial, which are the columns after it."""
    first = int(trials.columns.get_loc("stimulus")) + 1
    values: Floats
    values = trials.iloc[:, first : first + len(space.features)].to_numpy(float)
    return values


def _from_candidates(
    record: Record, orders: Orders
) -> Iterator[tuple[list[int], Labelled]]:
    """Sessions of each component's search, and what their candidates say."""
    study, opened = record.study, record.facts(SessionOpened)
    theta = {
        (asked.component, asked.generation, i): one
        for asked in record.facts(GenerationAsked)
        for i, one in enumerate(asked.theta)
    }
    frozen = {fact.component: fact.theta for fact in record.facts(ComponentFrozen)}
    series: Series = ()
    for k in range(study.file.study.components):
        own = [
            (i, slot)
            for i, fact in enumerate(opened)
            if (slot := (fact.component, fact.generation, fact.candidate)) in theta
            and fact.component == k
        ]
        if own:
            slots = list(dict.fromkeys(slot for _, slot in own))
            row = {slot: j for j, slot in enumerate(slots)}
            genes = [theta[slot] for slot in slots]
            part = candidates_labelled(
                study.labeller, series, genes, orders, study.psychometric
            )
            pick = [row[slot] for _, slot in own]
            yield [i for i, _ in own], Labelled(*(values[pick] for values in part))
        if k not in frozen:  # what comes after it cannot be told without it
            return
        found = jnp.asarray(np.array(frozen[k], np.float32))
        series = (*series, freeze(study.labeller, series, found))


def _from_stimuli(
    space: StimulusSpace, x: Floats, y: Floats, sizes: NDArray[np.int64]
) -> Labelled:
    """Labellings of sessions from labels of their stimuli, which follow each other."""
    orders = orders_of(space)
    functions = np.empty((len(x), len(orders.order)))
    for chunk, values in _functions_at(space, x):
        functions[chunk] = values
    ends = np.cumsum(sizes)
    rows = [
        labelled_from_stimuli(functions[end - n : end], orders.order, y[end - n : end])
        for n, end in zip(sizes, ends, strict=True)
    ]
    if not rows:
        return _unknown(0, orders)
    return Labelled(*map(np.concatenate, zip(*rows, strict=True)))


def _functions_at(space: StimulusSpace, x: Floats) -> Iterator[tuple[slice, Floats]]:
    """The functions of the space's orders at stimuli (n, features), in chunks."""
    hashable: Any = space
    degree, mixing = _mixing(hashable)
    basis = jax.jit(space.basis, static_argnums=1)
    size = min(_CHUNK, len(x))
    for start in range(0, len(x), size or 1):
        chunk = x[start : start + size].astype(np.float32)
        filled = np.concatenate([chunk, np.repeat(chunk[:1], size - len(chunk), 0)])
        values = np.asarray(basis(jnp.asarray(filled), degree)[0], np.float64)
        yield slice(start, start + len(chunk)), values[: len(chunk)] @ mixing


@cache
def _mixing(space: Any) -> tuple[int, Floats]:
    """Degree of the orders, and how their functions come from the space's basis."""
    orders = orders_of(space)
    degree = int(orders.order.max())
    values, _ = jax.jit(space.basis, static_argnums=1)(orders.x, degree)
    grid = np.asarray(values, np.float64)
    mixing: Any = np.linalg.lstsq(grid, orders.functions, rcond=None)[0]
    return degree, mixing


def _unknown(n: int, orders: Orders) -> Labelled:
    shapes = (n, len(orders.order)), (n, len(orders.names)), (n,)
    return Labelled(*(np.full(shape, np.nan) for shape in shapes))


def _powers_table(
    sessions: Sequence[Any], orders: Orders, found: Labelled
) -> pd.DataFrame:
    table = pd.DataFrame({"session": list(sessions), "variance": found.variance})
    names = [f"power_{name}" for name in orders.names]
    return table.join(pd.DataFrame(found.power, columns=names))
