"""Bias spectra: from sessions to the error, and the gain, of each basis order."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import CHOICE, small_study, study_text

from analysis.frames import Frames, frames
from analysis.intervals import component_intervals, last_labels
from analysis.record import Record, read
from analysis.recovery import recover
from analysis.session_labels import (
    label_parts,
    powers_from_trials,
    session_labelled,
    session_powers,
)
from analysis.spectrum import bias_spectrum, gain_spectrum, is_biased
from meta_learner.spectrum import (
    error_spectrum,
    labelled,
    labelled_from_stimuli,
    orders_of,
)
from server.dry_run import dry_run
from server.journal import Journal
from stimuli.circle import Circle
from stimuli.sphere import Sphere


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A dry run of two components."""
    return _run(tmp_path_factory.mktemp("two"), study_text("components = 2"))


@pytest.fixture(scope="module")
def tables(record: Record) -> Frames:
    """Its tables."""
    return frames(record)


def _run(folder: Path, text: str) -> Record:
    study = small_study(text)
    journal = Journal(folder / "journal.db", study.name)
    dry_run(study, journal)
    events = list(journal.read())
    journal.close()
    return read(events)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(20, 60),
    st.lists(st.floats(0.05, 3), min_size=3, max_size=3),
    st.integers(0, 2**16),
)
def test_errors_that_add_up_come_back_exactly(
    n: int, errors: list[float], seed: int
) -> None:
    draws = np.random.default_rng(seed)
    power = draws.dirichlet(np.ones(3), n)
    found = error_spectrum(power, power @ errors)
    shuffled = draws.permutation(n)
    again = error_spectrum(power[shuffled], (power @ errors)[shuffled])
    assert np.allclose(found.error, errors, atol=1e-6)
    assert np.allclose(found, again, atol=1e-6)


def test_an_order_that_was_never_shown_is_unknown_and_not_zero() -> None:
    draws = np.random.default_rng(0)
    power = np.zeros((50, 4))
    power[:, :2] = draws.dirichlet(np.ones(2), 50)
    found = error_spectrum(power, power @ [0.1, 1, 1, 1] + draws.normal(0, 0.1, 50))
    assert np.isnan(found.error[2:]).all()
    assert np.isnan(found.low[2:]).all()
    assert np.isfinite(found.error[:2]).all()


def test_one_mixture_alone_says_nothing_of_its_orders() -> None:
    power = np.full((50, 2), 0.5)
    found = error_spectrum(power, np.random.default_rng(0).normal(1, 0.1, 50))
    assert np.isnan(found).all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_sessions_say_nothing(n: int) -> None:
    found = error_spectrum(np.full((n, 3), 1 / 3), np.ones(n))
    assert np.isnan(found).all()


def test_sessions_without_an_error_are_left_out() -> None:
    draws = np.random.default_rng(1)
    power = draws.dirichlet(np.ones(3), 40)
    errors = power @ [0.1, 1, 2] + draws.normal(0, 0.1, 40)
    lost = np.concatenate([power, power[:5]]), np.concatenate([errors, [np.nan] * 5])
    assert np.allclose(error_spectrum(power, errors), error_spectrum(*lost))


def test_sessions_that_are_alike_make_intervals_wider() -> None:
    draws = np.random.default_rng(2)
    power = np.repeat(draws.dirichlet(np.ones(3), 20), 10, 0)
    errors = power @ [0.5, 1, 2] + np.repeat(draws.normal(0, 0.3, 20), 10)
    blind = error_spectrum(power, errors)
    told = error_spectrum(power, errors, np.repeat(np.arange(20), 10))
    assert ((told.high - told.low) > 1.5 * (blind.high - blind.low)).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.floats(-1, 1), st.floats(0.1, 2))
def test_power_does_not_depend_on_scale_or_offset(
    seed: int, offset: float, scale: float
) -> None:
    orders = orders_of(Circle())
    coefficients = np.random.default_rng(seed).normal(size=len(orders.order))
    labels = orders.functions @ coefficients
    one = labelled(orders, labels[None])
    other = labelled(orders, (offset + scale * labels)[None])
    assert np.allclose(one.power, other.power, atol=1e-6)
    assert np.allclose(one.power.sum(), 1)
    assert np.allclose(one.coefficients[0], coefficients)
    some = np.random.default_rng(seed).permutation(len(labels))[:60]
    few = labelled_from_stimuli(orders.functions[some], orders.order, labels[some])
    assert np.allclose(few.power, one.power, atol=1e-6)


def test_labels_of_too_few_stimuli_or_all_alike_are_unknown() -> None:
    orders = orders_of(Sphere())
    for labels in (np.array([0.1, 0.2, 0.3]), np.zeros(100)):
        found = labelled_from_stimuli(
            orders.functions[: len(labels)], orders.order, labels
        )
        assert np.isnan(found.power).all()


def test_the_labelling_of_every_session_is_known(
    record: Record, tables: Frames
) -> None:
    powers = session_powers(record)
    shares = powers.filter(like="power_").to_numpy()
    assert list(powers["session"]) == list(tables.sessions["session"])
    assert np.allclose(shares.sum(1), 1)
    assert powers["variance"].between(0.15, 0.26).all()
    parts = label_parts(record, tables.trials)
    assert np.allclose(parts.sum(1), tables.trials["label"])


def test_the_labels_of_some_stimuli_tell_their_power() -> None:
    x = np.asarray(Sphere().sample(jax.random.key(0), 120))
    trials = pd.DataFrame(x, columns=["x", "y", "z"])
    trials.insert(0, "session", np.repeat(["linear", "even"], 60))
    trials.insert(1, "stimulus", np.tile(np.arange(60), 2))
    trials["label"] = np.where(np.arange(120) < 60, 0.8 * x[:, 0], x[:, 1] ** 2)
    powers = powers_from_trials(trials, Sphere()).set_index("session")
    assert powers.loc["linear", "power_1"] == pytest.approx(1, abs=1e-3)
    assert powers.loc["even", "power_2"] == pytest.approx(1, abs=1e-3)
    assert powers.loc["linear", "variance"] == pytest.approx(0.64 / 3, abs=1e-3)
    few = powers_from_trials(trials.groupby("session").head(5), Sphere())
    assert few["variance"].isna().all()


def test_spectra_have_a_row_per_order_and_part(record: Record, tables: Frames) -> None:
    known = session_labelled(record)
    powers = session_powers(record, known)
    names = orders_of(record.study.labeller.space).names
    whole = bias_spectrum(tables.sessions, powers)
    each = bias_spectrum(tables.sessions, powers, by=("component",))
    gains = gain_spectrum(record, tables.trials, known=known)
    assert list(whole["order"]) == list(gains["order"]) == names
    assert len(each) == 2 * len(names)
    told = whole.dropna()
    assert ((told["low"] <= told["error"]) & (told["error"] <= told["high"])).all()
    shuffled = bias_spectrum(tables.sessions.sample(frac=1, random_state=1), powers)
    pd.testing.assert_frame_equal(whole, shuffled)


def test_a_side_bias_does_not_change_gains(record: Record, tables: Frames) -> None:
    moved = tables.trials.assign(response=tables.trials["response"] + 0.3)
    twice = tables.trials.assign(response=tables.trials["response"] * 2)
    gains = [gain_spectrum(record, t)["gain"] for t in (tables.trials, moved, twice)]
    assert np.allclose(gains[0], gains[1], equal_nan=True)
    assert np.allclose(2 * gains[0], gains[2], equal_nan=True)


def test_nothing_is_not_an_error(record: Record, tables: Frames) -> None:
    powers = session_powers(record)
    nobody = tables.sessions.iloc[:0]
    silent = tables.trials.assign(response=np.nan)
    for sessions in (nobody, tables.sessions.iloc[:1]):
        assert bias_spectrum(sessions, powers)["error"].isna().all()
        biased = is_biased(sessions, powers)
        assert np.isnan(biased.p_value)
        assert biased.note
    for trials in (silent, tables.trials.iloc[:0]):
        assert gain_spectrum(record, trials)["gain"].isna().all()


def test_a_bias_is_told_from_none() -> None:
    draws = np.random.default_rng(3)
    power = draws.dirichlet(np.ones(3), 160)
    sessions = pd.DataFrame({"session": [f"s{i}" for i in range(160)]})
    sessions = sessions.assign(component=0, generation=np.arange(160) // 8, group="")
    sessions = sessions.assign(subject=sessions["session"], status="finished")
    powers = pd.DataFrame(power, columns=["power_1", "power_2", "power_above"])
    powers.insert(0, "session", sessions["session"])
    powers.insert(1, "variance", 0.25)
    noise = draws.normal(0, 0.05, (40, 160))
    even = [is_biased(sessions.assign(error=0.2 + e), powers, 19) for e in noise]
    missed = power @ [0.05, 0.25, 0.4] + noise[0]
    odd = is_biased(sessions.assign(error=missed), powers, 199)
    again = is_biased(sessions.assign(error=missed), powers, 199)
    # At 5 %: more than 6 of 40 are one in 200 by chance.
    assert sum(one.p_value <= 0.05 for one in even) <= 6
    assert odd.p_value == 1 / 200
    assert odd == again
    assert odd.blocks == 20


def test_components_have_intervals_that_say_of_what(record: Record) -> None:
    found = recover(record)
    table = component_intervals(record, found)
    assert set(table["quantity"]) == {"error", "power"}
    assert (table["how"] != "").all()
    told = table.dropna()
    assert len(told)
    assert (told["low"] <= told["estimate"] + 1e-9).all()
    assert (told["estimate"] <= told["high"] + 1e-9).all()
    assert last_labels(record, 1).shape[1] == found.labels.shape[1]


def test_choices_have_spectra_too(tmp_path: Path) -> None:
    record = _run(tmp_path, CHOICE)
    tables = frames(record)
    gains = gain_spectrum(record, tables.trials)
    assert gains["gain"].notna().any()
    assert len(bias_spectrum(tables.sessions, session_powers(record)))
