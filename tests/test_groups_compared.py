"""Groups compared, and what is left of a statistic when labels are permuted."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.group_spectra import compare_spectra
from analysis.groups import (
    cliffs_delta,
    compare_groups,
    corrected,
    hedges_g,
    measures_of,
    pooled,
)
from analysis.permutation import label_null


def sessions(n: int = 40, effect: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Two groups on the same labellings, a subject to each session."""
    draws = np.random.default_rng(seed)
    table = pd.DataFrame({"candidate": np.repeat(np.arange(n), 2)})
    table["group"] = ["control", "lesion"] * n
    table["session"] = table["subject"] = [f"s{i}" for i in range(2 * n)]
    table = table.assign(component=0, generation=0, status="finished")
    shared = np.repeat(draws.normal(0, 3, n), 2)
    lesioned = (table["group"] == "lesion").to_numpy()
    table["relative_error"] = shared + effect * lesioned + draws.normal(0, 0.5, 2 * n)
    return table


def trials_of(n: int = 12, follow: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Sessions of one generation that saw the same stimuli, and other labels."""
    draws = np.random.default_rng(seed)
    table = pd.DataFrame({"session": np.repeat([f"s{i}" for i in range(n)], 20)})
    table = table.assign(component=0, generation=0, phase="test")
    table["stimulus"] = np.tile(np.repeat(np.arange(10), 2), n)
    labels = draws.uniform(-1, 1, (n, 10))
    table["label"] = np.repeat(labels, 2, axis=1).ravel()
    table["response"] = follow * table["label"] + draws.normal(0, 0.5, len(table))
    table["reaction_time_s"] = 0.5
    return table


def slope(trials: pd.DataFrame) -> float:
    return float((trials["label"] * trials["response"]).mean())


def test_groups_on_the_same_labellings_are_compared_within_them() -> None:
    found = compare_groups(sessions(), ["relative_error"], resamples=499).iloc[0]
    assert found["unit"] == "sessions on one labelling"
    assert found["difference"] == pytest.approx(-1, abs=0.4)
    assert found["p_value"] < 0.01
    assert found["g_low"] <= found["hedges_g"] <= found["g_high"] < 0
    # Without labellings in common their differences hide the effect.
    apart = sessions().drop(columns="candidate")
    blind = compare_groups(apart, ["relative_error"], resamples=499).iloc[0]
    assert blind["unit"] == "sessions"
    assert blind["p_value"] > found["p_value"]


def test_repeated_sessions_of_a_subject_are_one_unit() -> None:
    table = sessions()
    table["subject"] = table["group"] + "-" + (table["candidate"] % 4).astype(str)
    found = compare_groups(table, ["relative_error"], resamples=499).iloc[0]
    assert (found["n"], found["n_other"], found["unit"]) == (4, 4, "subjects")


def test_generations_of_labellings_of_their_own_are_one_unit() -> None:
    table = sessions(effect=0.0)
    table["generation"] = table["candidate"] // 4 + 100 * (table["group"] == "lesion")
    found = compare_groups(table, ["relative_error"], resamples=99).iloc[0]
    assert (found["n"], found["n_other"], found["unit"]) == (10, 10, "generations")
    few = table.assign(generation=table["generation"] // 50)
    alone = compare_groups(few, ["relative_error"], resamples=99).iloc[0]
    assert alone["unit"] == "sessions"


def test_what_cannot_be_compared_says_why() -> None:
    table = sessions(2)
    few = compare_groups(table, ["relative_error"]).iloc[0]
    same = compare_groups(sessions().assign(relative_error=1.0), ["relative_error"])
    assert "fewer than 3" in few["note"]
    assert same.iloc[0]["note"] == "all values are the same"
    assert len(compare_groups(table.iloc[:0], ["relative_error"])) == 0
    with pytest.raises(ValueError, match="no column 'speed'"):
        compare_groups(table, ["speed"])


def test_two_studies_are_two_groups() -> None:
    one = sessions(5).assign(group="")
    both = pooled({"A": one, "B": one})
    assert set(both["group"]) == {"A", "B"}
    assert both["subject"].nunique() == 2 * one["subject"].nunique()


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 20), st.integers(3, 20), st.integers(0, 999))
def test_effect_sizes_turn_with_the_groups(n: int, m: int, seed: int) -> None:
    draws = np.random.default_rng(seed)
    a, b = draws.normal(1, 1, n), draws.normal(0, 1, m)
    pairs = np.sign(a[:, None] - b[None]).mean()
    assert cliffs_delta(a, b) == pytest.approx(pairs)
    assert cliffs_delta(a, b) == pytest.approx(-cliffs_delta(b, a))
    assert hedges_g(a, b) == pytest.approx(-hedges_g(b, a))
    assert hedges_g(3 * a + 2, 3 * b + 2) == pytest.approx(hedges_g(a, b))


def test_correction_leaves_out_what_is_unknown() -> None:
    found = corrected([0.01, np.nan, 0.04])
    assert found[0] == pytest.approx(0.02)
    assert np.isnan(found[1])


def test_spectra_differ_in_the_order_that_was_lesioned() -> None:
    draws = np.random.default_rng(4)
    table = sessions(60)
    power = np.repeat(draws.dirichlet(np.ones(3), 60), 2, axis=0)
    lesioned = (table["group"] == "lesion").to_numpy()
    missed = power @ [0.2, 0.5, 1.0] + 0.8 * lesioned * power[:, 1]
    table["error"] = 0.25 * (missed + draws.normal(0, 0.1, 120))
    powers = pd.DataFrame(power, columns=["power_1", "power_2", "power_above"])
    powers.insert(0, "session", table["session"])
    powers.insert(1, "variance", 0.25)
    found = compare_spectra(table, powers, resamples=199).set_index("order")
    assert found.loc["2", "difference"] == pytest.approx(-0.8, abs=0.2)
    assert found.loc["2", "low"] < -0.8 < found.loc["2", "high"]
    assert found.loc["2", "p_value"] < 0.02
    assert found.loc[["1", "above"], "p_value"].min() > 0.02
    none = compare_spectra(table.iloc[:4], powers)
    assert none["note"].str.contains("too few").all()


def test_measures_of_sessions_come_from_their_test_trials() -> None:
    trials = trials_of(4)
    trials.loc[trials["session"] == "s0", "response"] = np.nan
    found = measures_of(sessions(2), trials).set_index("session")
    assert found.loc["s0", "omissions"] == 1
    assert np.isnan(found.loc["s0", "side_bias"])
    assert found.loc["s1", "reaction_time_s"] == 0.5


@pytest.mark.parametrize("how", ["within", "between"])
def test_labels_that_answers_follow_are_not_chance(how: str) -> None:
    follows = label_null(trials_of(), slope, how, 99)  # type: ignore[arg-type]
    assert follows.p_value == pytest.approx(0.02)
    ignores = [
        label_null(trials_of(follow=0.0, seed=s), slope, how, 19).p_value  # type: ignore[arg-type]
        for s in range(20)
    ]
    # At 10 %: more than 6 of 20 are one in 400 by chance.
    assert sum(p <= 0.1 for p in ignores) <= 6
    again = label_null(trials_of(), slope, how, 99)  # type: ignore[arg-type]
    assert np.array_equal(follows.null, again.null)
    assert len(follows.null) == 99


def test_permuted_labels_are_the_same_labels() -> None:
    trials = trials_of(3)

    def spread(table: pd.DataFrame) -> float:
        repeats = table.groupby(["session", "stimulus"])["label"].nunique()
        assert (repeats == 1).all()
        return float(table["label"].var())

    for how in ("within", "between"):
        found = label_null(trials, spread, how, 9)
        assert np.allclose(found.null, found.statistic)


def test_nothing_to_permute_says_so() -> None:
    one = trials_of(1)
    assert "nothing" in label_null(one, slope, "between", 9).note
    assert "nothing" in label_null(one.iloc[:0], len, "within", 9).note
    with pytest.raises(ValueError, match="within or between"):
        label_null(one, slope, "sideways", 9)  # type: ignore[arg-type]
