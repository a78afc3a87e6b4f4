"""What beside the labels moves answers: fatigue, exposure, side, reaction time."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.genmod.families import Binomial, Gaussian
from statsmodels.genmod.generalized_linear_model import GLM

from analysis.grouping import FEWEST_CLUSTERS, independent

TERMS = {
    "label": "label of the stimulus, -1 to 1",
    "strength": "distance of the label from 0",
    "fatigue": "hundreds of trials into the session",
    "exposure": "sessions that the subject had before",
    "previous_side": "side of the answer before, -1 or 1",
    "reaction_time": "logarithm of the reaction time in seconds",
    "label_x_fatigue": "how the pull of the label changes by fatigue",
    "label_x_exposure": "how the pull of the label changes by exposure",
}
"""What effects are of; a term that does not vary, or is mostly missing, is left out."""

_COLUMNS = ["term", "effect", "low", "high", "z", "p_value", "model", "n", "note"]
_PER_TERM = 10
"""Trials that each term needs at least."""

_ANSWERED = 0.9
"""Share of trials that must have a covariate, for it to count."""


def covariates(
    trials: pd.DataFrame, sessions: pd.DataFrame, level: float = 0.9
) -> pd.DataFrame:
    """Effects of covariates on the answers of test trials, a row per term.

    Of choices on the log-odds of right (a binomial model, where the intercept is a
    side bias); of graded answers on their squared difference from the label (a linear
    model). Standard errors allow for what trials of a subject share, or of a session
    where subjects have one each. :data:`TERMS` tells the unit of each; all are
    centred but for label, so that an intercept is of an average trial.

    Never raises for data that cannot be fitted: then there is one row without
    numbers, and ``note`` says why. Covariates left out are noted as well.
    """
    answered = trials[(trials["phase"] == "test") & trials["response"].notna()]
    choice = bool(answered["response"].isin([-1.0, 1.0]).all())
    model = "binomial, log-odds of right" if choice else "linear, squared error"
    if not len(answered):
        return _unfitted(model, 0, "no answers to test trials")
    table = _terms(answered, sessions, choice)
    kept, left_out = _varying(table)
    known = table[kept].notna().all(axis=1)
    answered, table = answered[known], table.loc[known, kept]
    clusters = independent(answered)
    enough = len(np.unique(clusters)) >= FEWEST_CLUSTERS
    outcome = _outcome(answered, choice)
    n = len(answered)
    if not enough:
        note = f"fewer than {FEWEST_CLUSTERS} subjects or sessions"
        return _unfitted(model, n, note)
    if n < _PER_TERM * (len(kept) + 1):
        return _unfitted(model, n, f"{n} trials are too few for {len(kept)} terms")
    if np.ptp(outcome) == 0:
        return _unfitted(model, n, "all answers are alike")
    centred = table - table.mean().where(table.columns != "label", 0.0)
    design = centred.assign(intercept=1.0)
    family = Binomial() if choice else Gaussian()
    fit = _fitted(GLM(outcome, design.to_numpy(float), family=family), clusters)
    if isinstance(fit, str):
        return _unfitted(model, n, fit)
    return _tidy(fit, list(design.columns), level, model, n, left_out)


def _terms(answered: pd.DataFrame, sessions: pd.DataFrame, choice: bool) -> Any:
    exposure = sessions.set_index("session")["exposure"]
    of_session = answered["session"].astype(str)
    before = answered.groupby("session", observed=True)["response"].shift()
    times = answered["reaction_time_s"].where(answered["reaction_time_s"] > 0)
    table = pd.DataFrame(
        {
            "label": answered["label"],
            "strength": answered["label"].abs(),
            "fatigue": answered["trial"] / 100,
            "exposure": of_session.map(exposure).astype(float),
            # Before the first answer there is no side: neither pulls.
            "previous_side": np.sign(before).fillna(0.0),
            "reaction_time": np.log(times),
        }
    )
    if choice:
        table = table.drop(columns="strength")
        for name in ("fatigue", "exposure"):
            away = table[name] - table[name].mean()
            table[f"label_x_{name}"] = table["label"] * away
    return table


def _varying(table: pd.DataFrame) -> tuple[list[str], str]:
    """Terms that can be told, and what is to be said of the others."""
    missing = table.isna().mean() > 1 - _ANSWERED
    constant = table.std(ddof=0).fillna(0.0) < 1e-9
    dropped = missing | constant
    kept = [name for name in table.columns if not dropped[name]]
    if not dropped.any():
        return kept, ""
    names = ", ".join(table.columns[dropped])
    return kept, f"left out, missing or always the same: {names}"


def _outcome(answered: pd.DataFrame, choice: bool) -> NDArray[np.float64]:
    response = answered["response"].to_numpy(np.float64)
    if choice:
        return np.where(response > 0, 1.0, 0.0)
    away: NDArray[np.float64] = response - answered["label"].to_numpy(np.float64)
    return away**2


def _fitted(model: Any, clusters: NDArray[np.int64]) -> Any:
    """The fit, or in words why there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": clusters})
        except (ArithmeticError, ValueError, Warning, np.linalg.LinAlgError) as error:
            return f"no fit: {error}".splitlines()[0]
        except Exception as error:  # PerfectSeparationError derives from Exception
            return f"no fit: {type(error).__name__}"
    if not np.isfinite(fit.bse).all():
        return "no fit: terms cannot be told apart"
    return fit


def _tidy(
    fit: Any, names: list[str], level: float, model: str, n: int, note: str
) -> pd.DataFrame:
    low, high = np.asarray(fit.conf_int(1 - level)).T
    table = pd.DataFrame({"term": names, "effect": fit.params, "low": low})
    table = table.assign(high=high, z=fit.tvalues, p_value=fit.pvalues)
    return table.assign(model=model, n=n, note=note)[_COLUMNS]


def _unfitted(model: str, n: int, note: str) -> pd.DataFrame:
    row: dict[str, Any] = dict.fromkeys(_COLUMNS, np.nan)
    row |= {"term": "", "model": model, "n": n, "note": note}
    return pd.DataFrame([row], columns=_COLUMNS)
