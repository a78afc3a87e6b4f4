"""Learning curves, reaction times, side bias, lapses and covariates."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.behaviour import (
    chronometric,
    learning_curve,
    reaction_times,
    side_bias,
)
from analysis.covariates import covariates
from analysis.intervals import median_interval


def trials(n: int = 12, choice: bool = False, seed: int = 0, **about: Any) -> Any:
    """Sessions of 40 trials; ``about`` sets side, fatigue and others of a subject."""
    draws = np.random.default_rng(seed)
    table = pd.DataFrame({"session": np.repeat([f"s{i}" for i in range(n)], 40)})
    table["session"] = table["session"].astype("category")
    table["subject"] = table["session"]
    table["group"] = ""
    table["trial"] = np.tile(np.arange(40), n)
    table["phase"] = np.where(table["trial"] < 20, "training", "test")
    table["label"] = draws.uniform(-1, 1, len(table))
    signal = table["label"] + about.get("side", 0.0)
    if choice:
        right = draws.random(len(table)) < 1 / (1 + np.exp(-3 * signal))
        table["response"] = np.where(right, 1.0, -1.0)
    else:
        noise = 0.1 + about.get("fatigue", 0.0) * table["trial"] / 100
        table["response"] = signal + draws.normal(0, noise)
    normal, slow = (
        draws.normal(0.4, 0.05, len(table)),
        draws.exponential(0.2, len(table)),
    )
    table["reaction_time_s"] = normal + slow - 0.1 * table["label"].abs()
    return table


def sessions_of(table: pd.DataFrame, exposure: int = 0) -> pd.DataFrame:
    names = table["session"].astype(str).unique()
    return pd.DataFrame({"session": names, "exposure": exposure})


def effects(table: pd.DataFrame) -> pd.DataFrame:
    return covariates(table, sessions_of(table)).set_index("term")


def test_a_learning_curve_falls_as_a_subject_learns() -> None:
    table = trials()
    late = table["trial"] / 40
    table["response"] = late * table["label"]
    curve = learning_curve(table, bins=4)
    training = curve[curve["phase"] == "training"]
    assert (training["error"].diff().dropna() < 0).all()
    assert (curve["error_low"] <= curve["error"]).all()
    assert curve["trials"].sum() == len(table)
    assert (curve["sessions"] == 12).all()
    shuffled = learning_curve(table.sample(frac=1, random_state=0), bins=4)
    pd.testing.assert_frame_equal(curve, shuffled)


def test_reaction_times_come_back_as_they_were_made() -> None:
    found = reaction_times(trials(40)).iloc[0]
    assert found["median"] == pytest.approx(0.48, abs=0.04)
    assert found["low"] <= found["median"] <= found["high"]
    assert found["tau"] == pytest.approx(0.2, abs=0.05)
    few = reaction_times(trials(1).iloc[:5]).iloc[0]
    assert "fewer" in few["note"]
    assert few["low"] <= few["median"] <= few["high"]


def test_strong_labels_are_answered_faster() -> None:
    table = chronometric(trials(40))
    assert table["median"].iloc[-1] < table["median"].iloc[0]
    assert (table["low"] <= table["high"]).all()


def test_a_side_bias_is_found_and_none_is_not() -> None:
    biased = side_bias(trials(30, side=0.2), by=())
    even = side_bias(trials(30), by=())
    assert biased["low"][0] < 0.2 < biased["high"][0]
    assert biased["p_value"][0] < 0.001
    assert even["p_value"][0] > 0.01
    assert len(side_bias(trials(3))) == 3


def test_trials_of_one_subject_are_no_more_subjects() -> None:
    table = trials(30)
    table["subject"] = (table["session"].cat.codes // 5).astype(str)
    habit = table["subject"].map({str(i): (-1) ** i * 0.5 for i in range(6)})
    table["response"] = table["label"] + habit.astype(float) + 0.1
    found = side_bias(table, by=()).iloc[0]
    # As unsure as six subjects of whom three lean to each side.
    assert found["side_bias"] == pytest.approx(0.1)
    assert found["high"] - found["low"] > 0.8
    assert found["n"] == 600
    curve = learning_curve(table, bins=1)
    apart = learning_curve(table.assign(subject=table["session"]), bins=1)
    wide = curve["error_high"] - curve["error_low"]
    assert (wide > apart["error_high"] - apart["error_low"]).all()
    assert (curve["sessions"] == 30).all()


def test_fatigue_is_a_covariate_of_squared_errors() -> None:
    tired = effects(trials(60, fatigue=2.0))
    fresh = [effects(trials(20, seed=s)).loc["fatigue", "p_value"] for s in range(20)]
    assert tired.loc["fatigue", "low"] > 0
    # At 10 %: more than 6 of 20 are one in 400 by chance.
    assert sum(p <= 0.1 for p in fresh) <= 6
    assert "exposure" in tired["note"].iloc[0]
    assert "exposure" not in tired.index


def test_side_and_label_are_covariates_of_choices() -> None:
    found = effects(trials(60, choice=True, side=0.3))
    assert found.loc["label", "low"] < 3 < found.loc["label", "high"] + 0.5
    assert found.loc["intercept", "low"] > 0.5
    assert found.loc["previous_side", "p_value"] > 0.001


@pytest.mark.parametrize("choice", [False, True])
def test_what_cannot_be_fitted_says_why(choice: bool) -> None:
    table = trials(8, choice)
    silent = table.assign(response=np.nan)
    alike = table.assign(response=1.0 if choice else table["label"])
    for part in (table.iloc[:0], table.iloc[:40], silent, alike):
        found = covariates(part, sessions_of(part))
        assert len(found) == 1
        assert found["note"][0]
        assert np.isnan(found["effect"][0])


def test_choices_without_error_are_told_and_not_a_crash() -> None:
    table = trials(8, choice=True)
    found = covariates(
        table.assign(response=np.where(table["label"] > 0, 1.0, -1.0)),
        sessions_of(table),
    )
    assert "no fit" in found["note"][0]


def test_nothing_is_not_an_error() -> None:
    nothing = trials(2).iloc[:0]
    silent = trials(2).assign(response=np.nan, reaction_time_s=np.nan)
    for table in (nothing, silent):
        for of in (learning_curve, reaction_times, chronometric, side_bias):
            found = of(table)
            assert found.select_dtypes("number").isna().to_numpy().any() or (
                len(found) == 0 or "n" in found
            )


def test_a_median_of_few_has_no_interval() -> None:
    assert np.isnan(median_interval([])[0])
    assert median_interval([1.0, 3.0])[0] == 2
    assert np.isnan(median_interval([1.0, 3.0])[1])
    low, median, high = np.sort(median_interval(np.arange(30.0)))
    assert low < median < high
