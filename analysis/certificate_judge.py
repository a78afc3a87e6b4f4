"""Whether a component is of a planted bias, beside what no learner would give."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.certificate import FINDS, MISSES, Blank, Planted, Range, Searched, rate
from analysis.page import number
from analysis.recovery import labels_at
from meta_learner.labelling import Labeller, Series, labels_of_each
from simulated_subjects.planted_family import Family

Floats = NDArray[np.float64]

SHARE = 0.5
"""Of the variance of a component's labels: a bias that has less is not found."""

LEVEL = 0.05
"""Of the test against searches without a learner."""


class Judged(NamedTuple):
    """What a study's components say of each bias, by its name.

    ``shares`` (components,) each; ``p_values`` of the first component, and
    ``found_later`` is what is found in any of them.
    """

    shares: dict[str, Floats]
    p_values: dict[str, float]
    found: list[str]
    found_later: list[str]


def share_in_span(labels: ArrayLike, functions: ArrayLike) -> Floats:
    """Share of the variance of labels ``(..., n)`` that functions ``(n, k)`` explain.

    By least squares with a constant: 1 for a mixture of the functions, 0 for what is
    orthogonal to all; 0 for labels without variance.
    """
    spanned, y = np.asarray(functions, np.float64), np.asarray(labels, np.float64)
    spanned = spanned - spanned.mean(0)
    left, size, _ = np.linalg.svd(spanned, full_matrices=False)
    unit = left[:, size > 1e-6 * max(float(size.max(initial=0.0)), 1e-12)]
    y = y - y.mean(-1, keepdims=True)
    whole = (y**2).sum(-1)
    explained = ((y @ unit) ** 2).sum(-1)
    there = whole > 1e-12 * y.shape[-1]
    share: Floats = np.where(there, explained / np.where(there, whole, 1.0), 0.0)
    return np.clip(share, 0.0, 1.0)


def shares_of(
    labeller: Labeller, series: Series, families: Mapping[str, Family]
) -> dict[str, Floats]:
    """Share of each bias in every component of a study, ``(components,)``."""
    return {
        name: share_in_span(labels_at(labeller, series, own.x), own.functions)
        for name, own in families.items()
    }


def null_shares(
    labeller: Labeller, series: Series, families: Mapping[str, Family]
) -> dict[str, Floats]:
    """Share of each bias in null series, ``(replicates, components)``."""
    every = {}
    for name, own in families.items():
        x: jax.Array = own.x
        every[name] = share_in_span(labels_of_each(labeller, series, x), own.functions)
    return every


def judge(shares: Mapping[str, Floats], null: Mapping[str, Floats]) -> Judged:
    """Which biases are found: a share of :data:`SHARE` or more, rare in the null.

    ``null`` (replicates, components) by bias. Of several components the largest share
    is compared with the largest of each replicate.
    """
    p_values = {name: rank(shares[name][0], null[name][:, 0]) for name in shares}
    later = {name: rank(shares[name].max(), null[name].max(1)) for name in shares}
    return Judged(
        dict(shares),
        p_values,
        [n for n in shares if shares[n][0] >= SHARE and p_values[n] <= LEVEL],
        [n for n in shares if shares[n].max() >= SHARE and later[n] <= LEVEL],
    )


def rank(value: float, null: Floats) -> float:
    """Share of values, this one included, that are as large: a p-value."""
    return float((1 + np.sum(null >= value - 1e-9)) / (1 + len(null)))


def outcome(bias: str | None, found: Sequence[str]) -> str:
    """What a study of subjects with a bias, or with none, came to."""
    if bias is None:
        return "alarm" if found else "quiet"
    if bias in found:
        return "found"
    return "mistaken" if found else "missed"


def planted(
    bias: str, studies: Sequence[Searched], null: Mapping[str, Floats]
) -> Planted:
    """What studies of subjects with one bias made of it."""
    own = [study for study in studies if study.bias == bias]
    n = len(own)
    found = rate(sum(study.outcome == "found" for study in own), n)
    word = "sometimes finds"
    if found.share >= FINDS:
        word = "finds"
    elif found.share <= MISSES:
        word = "misses"
    verified = [study.confirmed for study in own if study.confirmed is not None]
    return Planted.model_validate(
        {
            "bias": bias,
            "word": word,
            "found": found,
            "found_later": rate(sum(bias in s.found_later for s in own), n),
            "also": rate(
                sum(s.outcome == "found" and len(s.found) > 1 for s in own), n
            ),
            "mistaken": rate(sum(s.outcome == "mistaken" for s in own), n),
            "beyond_null": rate(sum(s.beyond_null for s in own), n),
            "confirmed": rate(sum(verified), len(verified)) if verified else None,
            "share": spread([study.shares[bias][0] for study in own]),
            "null": spread(null[bias][:, 0]),
        }
    )


def blank(studies: Sequence[Searched]) -> Blank:
    """What studies of subjects without any bias made of them."""
    own = [study for study in studies if study.bias is None]
    verified = [study.confirmed for study in own if study.confirmed is not None]
    n = len(own)
    return Blank(
        found=rate(sum(bool(study.found) for study in own), n),
        found_later=rate(sum(bool(study.found_later) for study in own), n),
        beyond_null=rate(sum(study.beyond_null for study in own), n),
        confirmed=rate(sum(verified), len(verified)) if verified else None,
    )


def spread(values: ArrayLike) -> Range:
    """Median, 5 % and 95 % quantile."""
    low, median, high = np.quantile(np.asarray(values, float), (0.05, 0.5, 0.95))
    return Range(
        median=number(median) or 0.0, low=number(low) or 0.0, high=number(high) or 0.0
    )
