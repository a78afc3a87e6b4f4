"""Two studies, or two groups of one, side by side: what differs, and how surely."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from analysis.behaviour import chronometric, learning_curve, reaction_times
from analysis.distance import null_of
from analysis.finding import Finding
from analysis.group_spectra import compare_spectra
from analysis.groups import MEASURES, compare_groups, measures_of, pooled
from analysis.recovery import Floats
from analysis.session_labels import session_powers
from analysis.spectrum import bias_spectrum
from analysis.spectrum_null import spectrum_null
from meta_learner.labelling import labels_of_each

_GROUP = ("group",)
_APART = 1_000_000
"""Added to generations of the second study: its labellings are none of the first's."""


class Overlap(NamedTuple):
    """How alike the components of two studies are.

    ``correlations`` (components, components) of labels; ``shared`` is the mean squared
    cosine between the spaces that they span, of 0 to 1; ``null_*`` are quantiles of
    that of searches without a learner, and ``p_value`` the share of these, the
    observed one included, that are as alike.
    """

    correlations: Floats
    shared: float
    null_low: float
    null_median: float
    null_high: float
    p_value: float


class Compared(NamedTuple):
    """Tables of a comparison; ``names`` are the two sides, ``groups`` all shown.

    Differences are of the first group in the alphabet less the other, as the tables
    say. ``overlap`` is None for groups of one study, whose components are the same,
    and where a side has none.
    """

    names: tuple[str, str]
    findings: list[Finding]
    groups: list[str]
    spectrum: pd.DataFrame
    differences: pd.DataFrame
    effects: pd.DataFrame
    learning: pd.DataFrame
    times: pd.DataFrame
    chronometric: pd.DataFrame
    sessions: pd.DataFrame
    overlap: Overlap | None


def compare_studies(one: Finding, other: Finding) -> Compared:
    """Two studies on the same stimulus space.

    Raises ``ValueError`` where their stimulus spaces differ.
    """
    spaces = [f.record.study.labeller.space for f in (one, other)]
    if spaces[0] != spaces[1]:
        raise ValueError(
            f"{one.title} has the stimulus space {spaces[0]}, {other.title} has "
            f"{spaces[1]}: only studies on the same space can be compared"
        )
    names = _named(one, other)
    both = dict(zip(names, (one, other), strict=True))
    sessions = pooled({name: f.frames.sessions for name, f in both.items()})
    trials = pooled({name: f.frames.trials for name, f in both.items()})
    for table in (sessions, trials):
        table.loc[table["study"] == names[1], "generation"] += _APART
    powers = pd.concat(
        [
            table.assign(session=f"{name}/" + table["session"].astype(str))
            for name, table in ((n, session_powers(f.record)) for n, f in both.items())
        ],
        ignore_index=True,
    )
    return _compared(
        names, [one, other], sessions, trials, powers, _overlap(one, other)
    )


def compare_two_groups(finding: Finding, groups: Sequence[str]) -> Compared:
    """Two groups of one study.

    Raises ``ValueError`` for groups that it does not have.
    """
    one, other = groups
    known = [group for group in finding.record.study.groups if group]
    if one == other or not {one, other} <= set(known):
        raise ValueError(
            f"{finding.title} has "
            + (f"the groups {', '.join(known)}" if known else "no groups")
            + f"; two of them are needed, got {one!r} and {other!r}"
        )
    sessions, trials = finding.frames.sessions, finding.frames.trials
    sessions = sessions[sessions["group"].isin(groups)].reset_index(drop=True)
    trials = trials[trials["group"].isin(groups)].reset_index(drop=True)
    trials = trials.assign(group=trials["group"].astype(str))
    powers = session_powers(finding.record).astype({"session": "str"})
    return _compared((one, other), [finding], sessions, trials, powers, None)


def _compared(
    names: tuple[str, str],
    findings: list[Finding],
    sessions: pd.DataFrame,
    trials: pd.DataFrame,
    powers: pd.DataFrame,
    overlap: Overlap | None,
) -> Compared:
    spectrum = bias_spectrum(sessions, powers, _GROUP)
    null = spectrum_null(sessions, powers, _GROUP)
    measured = measures_of(sessions, trials)
    told = [name for name in MEASURES if measured[name].notna().any()]
    learnt = learning_curve(trials, by=_GROUP)
    finished = sessions[sessions["status"] == "finished"]
    counts = finished.groupby("group", observed=True).agg(
        sessions=("session", "size"),
        subjects=("subject", "nunique"),
        test_trials=("test_trials", "sum"),
    )
    return Compared(
        names=names,
        findings=findings,
        groups=sorted(sessions["group"].astype(str).unique()),
        spectrum=spectrum.merge(null, how="left", on=["group", "order"]),
        differences=compare_spectra(sessions, powers),
        effects=compare_groups(measured, told),
        learning=learnt[learnt["phase"] == "training"],
        times=reaction_times(trials, _GROUP),
        chronometric=chronometric(trials, by=_GROUP),
        sessions=counts.reset_index(),
        overlap=overlap,
    )


def _named(one: Finding, other: Finding) -> tuple[str, str]:
    if one.title != other.title:
        return one.title, other.title
    return f"{one.title} (1)", f"{other.title} (2)"


def _overlap(one: Finding, other: Finding) -> Overlap | None:
    """Overlap of components, beside that of the two nulls."""
    if not (one.distances and other.distances):
        return None
    mine, theirs = (_unit(f.recovered.labels) for f in (one, other))
    shared = _shared(mine, theirs)
    first, second = (_null_labels(f) for f in (one, other))
    n = len(first)
    # Where both studies have the same search and seed, so have their nulls: replicates
    # are paired with the next one, which is independent.
    null = [_shared(_unit(first[i]), _unit(second[(i + 1) % n])) for i in range(n)]
    low, median, high = np.quantile(null, (0.05, 0.5, 0.95))
    p = (1 + np.sum(np.array(null) >= shared)) / (1 + n)
    return Overlap(mine @ theirs.T, shared, low, median, high, float(p))


def _null_labels(finding: Finding) -> Floats:
    series = null_of(finding.record, finding.recovered.generations, len(finding.null))
    x: jax.Array = finding.orders.x
    return np.asarray(labels_of_each(finding.record.study.labeller, series, x), float)


def _unit(labels: Floats) -> Floats:
    """Labels (components, stimuli) with mean zero and length one."""
    centred = labels - labels.mean(-1, keepdims=True)
    length = np.sqrt((centred**2).sum(-1, keepdims=True))
    unit: Floats = centred / np.maximum(length, 1e-12)
    return unit


def _shared(mine: Floats, theirs: Floats) -> float:
    """Mean squared cosine between two spaces, over the smaller one's dimensions."""
    bases = [np.linalg.qr(labels.T)[0] for labels in (mine, theirs)]
    cosines = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    return float(np.mean(np.clip(cosines, 0, 1) ** 2))
