"""On what a labelling, or a subject's answers, depend: shares of features in them.

The views of the paper's figure 7: one input, an over-connected input, means of groups.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap

from analysis.grouping import grouped, independent, joined, keyed
from analysis.intervals import last_labels
from analysis.record import Record
from analysis.recovery import Recovered
from meta_learner.spectrum import orders_of

Floats = NDArray[np.float64]

Feature = Callable[[Floats], ArrayLike] | ArrayLike | str
"""Of stimuli (n, features): a function to (n,) or (n, k), such an array, or an
expression of feature names, as ``"(x + y) / 2"``."""

Features = Feature | Mapping[str, Feature]

DEGREE = 4
"""Of the polynomial of a feature that explains labels, as for the paper's figure 7."""

_RESAMPLES = 999


def projection(
    x: pd.DataFrame,
    values: ArrayLike,
    features: Features | None = None,
    degree: int = DEGREE,
    clusters: ArrayLike | None = None,
    level: float = 0.9,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of the variance of ``values`` (n,) that each feature explains by itself.

    ``x`` (n, features) are stimuli, a column per feature; without ``features`` each
    column is one. Explained by a polynomial of ``degree`` in the feature (of several
    columns together: all their products), corrected for its number of terms; 1 is
    all. With degree 1 and one column it is the squared correlation. ``sign`` is that
    of the slope, 0 for features of several columns. Intervals by bootstrap over
    ``clusters`` (n,), such as sessions; NaN without. Raises ``ValueError`` for a
    feature of another length or an expression that names no column.

    For basis functions give a function of ``x`` that returns them, or one each.
    """
    y = np.asarray(values, float)
    rows = []
    for name, columns in feature_columns(x, features).items():
        known = np.isfinite(columns).all(1) & np.isfinite(y)
        groups = None if clusters is None else np.asarray(clusters)[known]
        share, low, high = _share(columns[known], y[known], degree, groups, level, seed)
        rows.append((name, share, low, high, _sign(columns[known], y[known])))
    return pd.DataFrame(rows, columns=["feature", "share", "low", "high", "sign"])


def project_components(
    record: Record,
    recovered: Recovered,
    features: Features | None = None,
    degree: int = DEGREE,
    level: float = 0.9,
) -> pd.DataFrame:
    """:func:`projection` of each recovered component's labels on the space's grid.

    The labels are known exactly; the interval is that of the labellings which the
    search still proposed in its last tenth (``analysis.intervals``), the recovered
    one included; NaN where none are known.
    """
    x = grid_frame(record)
    parts = []
    for k, labels in enumerate(recovered.labels):
        table = projection(x, labels, features, degree)
        table.insert(0, "component", k)
        proposed = last_labels(record, k)
        if len(proposed) > 1:
            for i, feature in enumerate(feature_columns(x, features).values()):
                terms = _terms(feature, degree)
                shares = [_adjusted(terms, labels) for labels in proposed]
                low, high = np.quantile(shares, ((1 - level) / 2, (1 + level) / 2))
                own = table.loc[i, "share"]
                table.loc[i, ["low", "high"]] = min(low, own), max(high, own)
        parts.append(table)
    return joined(parts, ["component", "feature", "share", "low", "high", "sign"])


def project_answers(
    trials: pd.DataFrame,
    names: Sequence[str],
    features: Features | None = None,
    by: Sequence[str] = (),
    degree: int = DEGREE,
    level: float = 0.9,
    seed: int = 0,
) -> pd.DataFrame:
    """:func:`projection` of answers to test stimuli; ``names`` of stimulus features.

    Of trials on one labelling, such as those of a component's last generations or of
    its verification; of several labellings by columns ``by``. Noise of answers is
    variance that no feature explains. Intervals by bootstrap over subjects, or
    sessions (:func:`analysis.grouping.independent`).
    """
    tested = trials[(trials["phase"] == "test") & trials["response"].notna()]
    parts = []
    for key, own in grouped(tested, by):
        x, y = own[list(names)], own["response"].to_numpy(float)
        table = projection(x, y, features, degree, independent(own), level, seed)
        parts.append(keyed(table, by, key))
    return joined(parts, [*by, "feature", "share", "low", "high", "sign"])


def profile(
    x: pd.DataFrame,
    values: ArrayLike,
    features: Features | None = None,
    bins: int = 10,
) -> pd.DataFrame:
    """Labels, or answers, along each feature: the panels of the paper's figure 7.

    Mean, 5 % and 95 % quantile of ``values`` (n,) in bins of equally many stimuli;
    ``at`` is the middle of a bin. Features of several columns are left out.
    """
    y = np.asarray(values, float)
    parts = []
    for name, columns in feature_columns(x, features).items():
        if columns.shape[1] > 1:
            continue
        along = columns[:, 0]
        edges = np.unique(np.nanquantile(along, np.linspace(0, 1, bins + 1)))
        place = np.clip(np.searchsorted(edges, along, "right") - 1, 0, len(edges) - 2)
        own = pd.DataFrame({"at": along, "y": y}).groupby(place)
        part = pd.DataFrame({"at": own["at"].median(), "mean": own["y"].mean()})
        part["low"], part["high"] = own["y"].quantile(0.05), own["y"].quantile(0.95)
        part["n"] = own.size()
        part.insert(0, "feature", name)
        parts.append(part)
    return joined(parts, ["feature", "at", "mean", "low", "high", "n"])


def grid_frame(record: Record) -> pd.DataFrame:
    """Stimuli of the space's grid, a column per feature, as components are given on."""
    space = record.study.labeller.space
    names = [feature.name for feature in space.features]
    return pd.DataFrame(np.asarray(orders_of(space).x, float), columns=names)


def feature_columns(x: pd.DataFrame, features: Features | None) -> dict[str, Floats]:
    """Every feature as columns ``(n, k)``, by name."""
    if features is None:
        features = {str(name): x[name].to_numpy(float) for name in x.columns}
    if not isinstance(features, Mapping):
        name = features if isinstance(features, str) else _name(features)
        features = {name: features}
    return {str(name): _columns(x, name, one) for name, one in features.items()}


def _columns(x: pd.DataFrame, name: str, feature: Feature) -> Floats:
    if isinstance(feature, str):
        try:
            found: Any = x.eval(feature)
        except Exception as error:
            known = ", ".join(map(str, x.columns))
            raise ValueError(
                f"feature {name!r}: cannot work out {feature!r} from {known}: {error}"
            ) from error
    else:
        found = feature(x.to_numpy(float)) if callable(feature) else feature
    columns = np.asarray(found, float)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or len(columns) != len(x):
        raise ValueError(
            f"feature {name!r}: expected ({len(x)},) or ({len(x)}, k) values, "
            f"got {np.shape(found)}"
        )
    return columns


def _name(feature: Any) -> str:
    return str(getattr(feature, "__name__", "feature"))


def _share(
    columns: Floats,
    y: Floats,
    degree: int,
    clusters: Any,
    level: float,
    seed: int,
) -> tuple[float, float, float]:
    if len(y) < 3 or np.ptp(y) == 0:
        return np.nan, np.nan, np.nan
    terms = _terms(columns, degree)
    share = _adjusted(terms, y)
    if clusters is None or len(names := np.unique(clusters)) < 3:
        return share, np.nan, np.nan
    whole = np.column_stack([terms, y - y.mean()])
    size = whole.shape[1]
    products = np.zeros((len(names), size * size))
    place = np.searchsorted(names, clusters)
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place))
    for i, own in enumerate(np.split(whole[order], ends[:-1])):
        products[i] = (own.T @ own).ravel()

    def resampled(picked: NDArray[np.int64], axis: int) -> Floats:
        del axis
        rows = np.atleast_2d(picked)
        weight = np.stack([np.bincount(row, minlength=len(names)) for row in rows])
        sums: Floats = weight.astype(float) @ products
        shares = _from_products(sums.reshape(-1, size, size))
        return shares if picked.ndim > 1 else shares[0]

    interval = bootstrap(
        (np.arange(len(names)),),
        resampled,
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=100,
        method="percentile",
        confidence_level=level,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return share, float(interval.low), float(interval.high)


def _terms(columns: Floats, degree: int) -> Floats:
    """The constant, and all products of up to ``degree`` standardised columns."""
    spread = columns.std(0)
    z = (columns - columns.mean(0)) / np.where(spread > 0, spread, 1)
    places = range(z.shape[1])
    products = [
        z[:, list(which)].prod(1)
        for d in range(1, degree + 1)
        for which in combinations_with_replacement(places, d)
    ]
    return np.column_stack([np.ones(len(z)), *products])


def _adjusted(terms: Floats, y: Floats) -> float:
    """Share of variance explained, corrected for the number of terms."""
    whole = np.column_stack([terms, y - y.mean()])
    return float(_from_products((whole.T @ whole)[None])[0])


def _from_products(products: Floats) -> Floats:
    """Adjusted shares from sums of products (..., terms + 1, terms + 1), y last."""
    gram, cross = products[:, :-1, :-1], products[:, :-1, -1]
    n = gram[:, 0, 0]
    inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
    explained = np.einsum("bi,bij,bj->b", cross, inverse, cross)
    rest = products[:, -1, -1] - explained
    total = products[:, -1, -1] - cross[:, 0] ** 2 / n
    terms = np.linalg.matrix_rank(gram, hermitian=True)
    freedom = np.maximum(n - terms, 1)
    adjusted = 1 - rest / np.maximum(total, 1e-300) * (n - 1) / freedom
    share: Floats = np.clip(adjusted, 0.0, 1.0)
    return share


def _sign(columns: Floats, y: Floats) -> int:
    if columns.shape[1] > 1 or len(y) < 2:
        return 0
    slope = (columns[:, 0] - columns[:, 0].mean()) @ (y - y.mean())
    return int(np.sign(slope))
