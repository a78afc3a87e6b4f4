"""On which features labels and answers depend."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.projection import (
    Feature,
    feature_columns,
    profile,
    project_answers,
    projection,
)
from reproduction.mushroom_body import group_means, one_input

NAMES = ["a", "b", "c", "d", "e"]


def odours(n: int = 2000, seed: int = 0) -> pd.DataFrame:
    draws = np.random.default_rng(seed)
    return pd.DataFrame(draws.normal(size=(n, 5)), columns=NAMES)


def test_the_one_input_that_matters_has_all_of_the_variance() -> None:
    x = odours()
    table = projection(x, np.tanh(-x["b"])).set_index("feature")
    assert table.loc["b", "share"] > 0.97
    assert table.loc["b", "sign"] == -1
    assert (table["share"].drop("b") < 0.02).all()
    assert table["low"].isna().all()


def test_group_means_and_expressions_are_features() -> None:
    x = odours()
    y = x["a"] + x["b"]
    means: dict[str, Feature] = {
        "first pair": "(a + b) / 2",
        "the rest": lambda x: x[:, 2:].mean(1),
        "both": lambda x: np.stack([x[:, :2].mean(1), x[:, 2:].mean(1)], 1),
    }
    share = projection(x, y, means).set_index("feature")["share"]
    assert share["first pair"] == pytest.approx(1)
    assert share["the rest"] < 0.02
    assert share["both"] == pytest.approx(1)


def test_it_agrees_with_the_reproduction_of_figure_7() -> None:
    x = odours(4000)
    y = np.tanh(x["a"] + 0.5 * x["b"] + 0.2 * x["c"] ** 2).to_numpy()
    values = x.to_numpy()
    assert projection(x, y)["share"].max() == pytest.approx(
        one_input(values, y), abs=0.01
    )
    means = {"means": lambda x: np.stack([x[:, :2].mean(1), x[:, 2:].mean(1)], 1)}
    assert projection(x, y, means)["share"][0] == pytest.approx(
        group_means(values, y), abs=0.01
    )


@settings(max_examples=15, deadline=None)
@given(st.floats(0.1, 10), st.floats(-5, 5), st.integers(0, 999))
def test_units_and_order_do_not_matter(scale: float, offset: float, seed: int) -> None:
    x = odours(200, seed)
    y = x["a"] + 0.5 * x["c"] ** 2
    one = projection(x, y)["share"]
    other = projection(scale * x + offset, offset + scale * y)["share"]
    shuffled = np.random.default_rng(seed).permutation(200)
    again = projection(x.iloc[shuffled], y.iloc[shuffled])["share"]
    assert np.allclose(one, other, atol=1e-6)
    assert np.allclose(one, again, atol=1e-9)


def test_intervals_over_sessions_hold_the_share_and_are_the_same_again() -> None:
    x = odours(600)
    draws = np.random.default_rng(5)
    trials = x.assign(
        session=np.repeat([f"s{i}" for i in range(30)], 20),
        subject=np.repeat([f"s{i}" for i in range(30)], 20),
        phase="test",
        response=x["a"] + draws.normal(size=600),
    )
    table = project_answers(trials, NAMES)
    assert table["low"][0] < 0.5 < table["high"][0]
    pd.testing.assert_frame_equal(table, project_answers(trials, NAMES))
    silent = project_answers(trials.assign(response=np.nan), NAMES)
    assert silent["share"].isna().all()


def test_a_profile_shows_the_labels_along_a_feature() -> None:
    x = odours()
    table = profile(x, x["a"] ** 3, {"a": "a"}, bins=8)
    assert len(table) == 8
    assert table["n"].sum() == len(x)
    assert (table["mean"].diff().dropna() > 0).all()


def test_features_that_cannot_be_are_refused_by_name() -> None:
    x = odours(50)
    with pytest.raises(ValueError, match=r"'up'.*'height'.*a, b, c, d, e"):
        feature_columns(x, {"up": "height"})
    with pytest.raises(ValueError, match=r"expected \(50,\)"):
        feature_columns(x, {"short": np.zeros(3)})
