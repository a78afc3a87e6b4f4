"""From a journal to tables, distances from the null, figures and the report."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from small_study import CHOICE, played, small_study, study_text

from analysis.distance import distances_from_null
from analysis.export import export
from analysis.figures import comparison_figure, error_figure, map_figure, power_figure
from analysis.finding import Finding, find
from analysis.frames import frames
from analysis.record import read
from analysis.report import write_report
from meta_learner.assignment import named_key
from meta_learner.evolution import Evolution
from meta_learner.families import Basis, Linear
from meta_learner.labelling import Labeller, labels_of_each
from meta_learner.null import null_series
from meta_learner.objective import Objective
from meta_learner.spectrum import orders_of
from server.events import (
    ClientSeen,
    ComponentFrozen,
    Event,
    Fact,
    GenerationAsked,
    GenerationTold,
    Quarantined,
    Responded,
    SessionEnded,
    SessionOpened,
)
from server.steps import opening
from server.study_file import Study
from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere

SPACES = [Sphere(), Circle(), Hypercube(2), Hypercube(3, "gaussian")]
TWO = study_text("components = 2", responses="omission = 0.2")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """A finished study of two components."""
    return played(tmp_path_factory.mktemp("two"), TWO)


@pytest.fixture(scope="module")
def finding(events: list[Event]) -> Finding:
    """Its analysis."""
    return find("two", events, replicates=19)


def by_hand(study: Study, *facts: Any) -> list[Event]:
    """A live journal with some facts, a second apart."""
    every = [opening(study, "live"), *facts]
    return [Event(i, 1e9 + i, fact) for i, fact in enumerate(every)]


def a_session(name: str, **changes: Any) -> SessionOpened:
    """A session of two training and two test stimuli."""
    content: dict[str, Any] = {
        "session": name,
        "component": 0,
        "generation": 0,
        "candidate": 0,
        "attempt": 0,
        "subject": "ada",
        "exposure": 0,
        "client": {},
        "x": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]],
        "y": [0.1, 0.2, 0.3, -0.4],
        "training_stimuli": 2,
        "trials": [1, 0, 3, 2],
        "training_trials": 2,
        "right_rewarded": [],
    }
    return SessionOpened(**content | changes)


def a_response(name: str, trial: int, value: float | None = 0.5) -> Responded:
    """What a client sends after one trial."""
    outcome = "omission" if value is None else "responded"
    return Responded(name, [trial], [outcome], [value], [0.4], [{"sent": 1.0 + trial}])


# ---------------------------------------------------------------- power per order


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_a_basis_function_has_all_its_power_in_its_order(space: StimulusSpace) -> None:
    orders = orders_of(space)
    # Polynomials of a high order live in the tails of a Gaussian, where the grid
    # has few points.
    degree = 3 if space == SPACES[-1] else 6
    values, order = space.basis(orders.x, degree)
    power = orders.power(np.asarray(values.T[1:], float))
    own = power[np.arange(len(power)), np.asarray(order[1:]) - 1]
    assert own.min() > 0.98


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(SPACES),
    st.lists(st.floats(-1, 1), min_size=8, max_size=8),
    st.floats(-2, 2),
)
def test_powers_are_shares_of_variance(
    space: StimulusSpace, weights: list[float], offset: float
) -> None:
    orders = orders_of(space)
    functions = orders.functions[:, : len(weights)]
    weight = np.array(weights[: functions.shape[1]])
    power = orders.power(functions @ weight + offset)
    assert power.sum() == pytest.approx(1)
    assert power.min() > -1e-9
    if np.abs(weight).max() > 0.01:
        energy = np.bincount(orders.order[: len(weight)], weight**2)[1:]
        expected = energy / (weight**2).sum()
        np.testing.assert_allclose(power[: len(expected)], expected, atol=1e-6)


def test_what_lies_above_the_basis_is_a_remainder_not_lost() -> None:
    space = Circle()
    high = np.asarray(space.basis(orders_of(space).x, 9)[0][:, -1], float)
    assert orders_of(space).power(high)[-1] == pytest.approx(1, abs=1e-4)
    assert orders_of(space).power(np.full_like(high, 0.3))[-1] == pytest.approx(1)


def test_many_features_lower_the_degree_and_not_the_computer() -> None:
    assert orders_of(Hypercube(20)).order.max() == 2


# ---------------------------------------------------------------- the null


@pytest.mark.parametrize("method", ["DES", "SimpleGA"])
def test_the_null_drifts_with_any_kind_of_strategy(method: str) -> None:
    labeller = Labeller(Sphere(), Basis(2))
    search = Evolution(method, 8, labeller.family.genes(Sphere()))
    key = named_key(1)
    series = null_series(labeller, search, Objective(), (9, 3), key, 60)
    orders = orders_of(Sphere())
    labels = labels_of_each(labeller, series, orders.x)
    assert labels.shape == (60, 2, len(orders.x))
    # Three functions of order 1 and five of order 2, none of them favoured.
    power = orders.power(np.asarray(labels, float))[:, 0].mean(0)
    assert power[0] == pytest.approx(3 / 8, abs=0.1)
    assert power[1] == pytest.approx(5 / 8, abs=0.15)
    # Components of a null series are as orthogonal as those of a study.
    first, second = np.asarray(labels).transpose(1, 0, 2)
    assert np.abs((first * second).mean(-1)).max() < 0.05


def test_the_null_obeys_the_penalties_of_the_study() -> None:
    labeller = Labeller(Sphere(), Linear(), "energy", "penalty")
    search = Evolution("SNES", 16, 3, step_size=3.0)
    series = null_series(labeller, search, Objective(), (30, 30), named_key(2), 8)
    found = jax.vmap(labeller.penalties)(series[:1], series[1].theta)
    at_random = jax.random.normal(named_key(3), (8, 3)) * search.step_size
    drawn = jax.vmap(labeller.penalties)(series[:1], at_random)
    assert found.sum(1).mean() < 0.2 * drawn.sum(1).mean()


def draws(rng: np.random.Generator, n: int) -> Any:
    """Spectra such as those of nulls: order 1 leads in most, not in all."""
    return rng.dirichlet([1.6, 0.7, 0.3, 0.1], n)


def test_p_values_of_a_null_are_uniform() -> None:
    rng = np.random.default_rng(0)
    names = ["1", "2", "3", "above"]
    p = []
    for _ in range(2000):
        pool = draws(rng, 40)
        p.append(distances_from_null(pool[:1], pool[1:, None], names)[0].p_value)
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=0.03)


def test_a_planted_component_is_beyond_the_null() -> None:
    rng = np.random.default_rng(1)
    names = ["1", "2", "3", "above"]
    null = draws(rng, 99)[:, None]
    strong, weird, usual = (
        distances_from_null(np.array([row]), null, names)[0]
        for row in ([0.999, 0.001, 0, 0], [0.02, 0.03, 0.95, 0], [0.7, 0.25, 0.05, 0])
    )
    assert strong.beyond
    assert strong.order == "1"
    assert weird.beyond
    assert weird.order == "3"
    assert weird.null_high < weird.power
    assert not usual.beyond


# ---------------------------------------------------------------- tables


def test_tables_of_a_dry_run_agree_with_the_journal(events: list[Event]) -> None:
    tables = frames(read(events))
    trials, sessions, generations, components = tables
    assert len(sessions) == 2 * 2 * 4
    assert len(trials) == 16 * 6  # test trials only: it ran in process
    assert set(trials["phase"]) == {"test"}
    np.testing.assert_allclose(trials.x**2 + trials.y**2 + trials.z**2, 1, 1e-5)
    assert trials["response"].isna().equals(trials["outcome"] == "omission")
    assert (sessions["responded"] + sessions["omission"] == 6).all()
    assert (sessions["test_trials"] == sessions["responded"]).all()
    assert generations["sessions_so_far"].tolist() == [4, 8, 12, 16]
    assert components["sessions"].tolist() == [8, 8]
    powers = components.filter(like="power_")
    np.testing.assert_allclose(powers.sum(axis=1), 1)
    assert not components["provisional"].any()
    ended = [e.fact for e in events if isinstance(e.fact, SessionEnded)]
    assert ended[0].error is not None
    assert ended[0].label_variance is not None
    expected = ended[0].error / ended[0].label_variance
    assert sessions["relative_error"][0] == pytest.approx(expected)


def test_errors_can_be_computed_again_from_the_trials_table(
    events: list[Event],
) -> None:
    tables = frames(read(events))
    trials = tables.trials[tables.trials["outcome"] == "responded"]
    squared = (trials["label"] - trials["response"]) ** 2
    again = squared.groupby(trials["session"], observed=True).mean()
    found = tables.sessions.set_index("session")["error"]
    np.testing.assert_allclose(again.loc[found.index], found, atol=1e-9)


def test_trials_of_a_rig_one_response_at_a_time() -> None:
    facts = [
        a_session("a", right_rewarded=[True, False]),
        *(a_response("a", i, value) for i, value in enumerate([0.5, None, -1.0, 1.0])),
        Quarantined("a", {"uid": "a/3"}, "answered before"),
        SessionEnded("a", "finished", "", 0.5, 0.1, 0.25, 2, True),
    ]
    trials = frames(read(by_hand(small_study(CHOICE), *facts))).trials
    assert trials["phase"].tolist() == ["training"] * 2 + ["test"] * 2
    assert trials["stimulus"].tolist() == [1, 0, 3, 2]
    assert trials["label"].tolist() == [0.2, 0.1, -0.4, 0.3]
    assert trials["x"].tolist() == [0.0, 1.0, -1.0, 0.0]
    assert trials["outcome"].tolist()[1] == "omission"
    assert trials["reaction_time_s"].tolist() == [0.4] * 4
    assert trials["clock_sent"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert trials["right_rewarded"].tolist() == [True, False, pd.NA, pd.NA]


def test_sessions_that_did_not_go_well() -> None:
    facts = [
        a_session("gone"),
        SessionEnded("gone", "lost", "no sign of life"),
        a_session("back", attempt=1, exposure=1),
        SessionEnded("back", "lost", "no sign of life"),
        ClientSeen("back", "ada", "returned"),
        a_response("back", 0),
        SessionEnded("back", "finished", "", 0.5, 0.1, 0.25, 2, False),
        a_session("tired", attempt=2, exposure=2),
        SessionEnded("tired", "abandoned", "asleep"),
        a_session("now", attempt=3, exposure=3),
    ]
    sessions = frames(read(by_hand(small_study(), *facts))).sessions
    assert sessions["status"].tolist() == ["lost", "finished", "abandoned", "open"]
    assert sessions["late"].tolist() == [False, True, False, False]
    assert sessions["reason"].tolist()[2] == "asleep"
    assert sessions["relative_error"].tolist()[1] == pytest.approx(2)
    assert sessions["ended_at"].isna().tolist() == [False, False, False, True]


def test_a_hundred_thousand_trials_are_no_matter() -> None:
    many: list[Any] = [list(range(100)), ["responded"] * 100, [0.0] * 100]
    nothing: list[Any] = [[None] * 100, [None] * 100]
    facts: list[Fact] = []
    for i in range(1000):
        facts.append(a_session(f"s{i}", trials=[0] * 50 + [2, 3] * 25))
        facts.append(Responded(f"s{i}", *many, *nothing))
    trials = frames(read(by_hand(small_study(), *facts))).trials
    assert len(trials) == 100_000
    assert trials["session"].nunique() == 1000


def test_a_journal_must_begin_at_its_beginning() -> None:
    with pytest.raises(ValueError, match="begins with study_opened, got an empty one"):
        read([])
    with pytest.raises(ValueError, match="got SessionOpened"):
        read([Event(0, 0.0, a_session("a"))])


# ---------------------------------------------------------------- findings


def test_linear_labellings_are_of_order_1_with_and_without_a_subject(
    finding: Finding,
) -> None:
    assert finding.recovered.power[0, 0] == pytest.approx(1, abs=1e-3)
    found = finding.distances[0]
    assert found.order == "1"
    assert found.null_median == pytest.approx(1, abs=1e-3)
    assert abs(finding.recovered.overlap[0, 1]) < 0.02


def cuts(events: list[Event]) -> Iterator[int]:
    """Places where a journal may end: after the first event of each kind."""
    kinds = (SessionOpened, GenerationTold, GenerationAsked, ComponentFrozen)
    yield 1
    for kind in kinds:
        yield 1 + next(i for i, e in enumerate(events) if isinstance(e.fact, kind))


def test_unfinished_studies_can_be_analysed(events: list[Event]) -> None:
    for length in cuts(events):
        part = find("part", events[:length], replicates=3)
        told = sum(isinstance(e.fact, GenerationTold) for e in events[:length])
        frozen = sum(isinstance(e.fact, ComponentFrozen) for e in events[:length])
        assert len(part.distances) == (1 if told else 0)
        assert part.recovered.provisional == bool(told and not frozen)
        if told:
            assert isinstance(power_figure(part), Figure)


def test_where_the_search_stands_is_what_it_would_freeze(events: list[Event]) -> None:
    frozen = next(
        i for i, e in enumerate(events) if isinstance(e.fact, ComponentFrozen)
    )
    before = find("before", events[:frozen], replicates=3).recovered
    after = find("after", events[: frozen + 1], replicates=3).recovered
    np.testing.assert_allclose(before.labels, after.labels, atol=1e-6)


@pytest.mark.parametrize("draw", [power_figure, map_figure, error_figure])
def test_figures(finding: Finding, draw: Any) -> None:
    figure = draw(finding)
    figure.canvas.draw()
    assert figure.axes


@pytest.mark.parametrize("space", ["circle", "hypercube"])
def test_every_space_has_a_picture(space: str) -> None:
    study = Study(study_text().replace("sphere", space))
    theta = [1.0] * study.labeller.family.genes(study.labeller.space)
    facts = [ComponentFrozen(0, theta), GenerationTold(0, 0, [0.0])]
    one = find(space, by_hand(study, *facts), replicates=3)
    comparison_figure([one, one]).canvas.draw()


# ---------------------------------------------------------------- report, export


class Links(HTMLParser):
    """What a page loads or points to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses of a tag."""
        assert tag not in ("script", "link", "iframe", "object")
        self.found += [str(value) for name, value in attrs if name in ("src", "href")]


def test_report_of_a_study_its_null_and_a_live_one(
    events: list[Event], tmp_path: Path
) -> None:
    null = played(tmp_path, TWO, null=True)
    nothing = by_hand(Study(TWO.partition("[simulated_subject]")[0]))
    evil = "<script src=http://example.org>"
    page = write_report(
        [("subject", events), (evil, null), ("to come", nothing)],
        tmp_path / "out",
        replicates=19,
    )
    text = page.read_text()
    links = Links()
    links.feed(text)
    assert links.found
    assert all(link.startswith(("data:", "#")) for link in links.found)
    assert not re.search(r"@import|url\(", text)
    assert evil not in text
    for words in ("no-learner null", "unfinished", "says nothing about the subject"):
        assert words in text
    assert "Show a diagnostic subject" in text
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())["studies"]
    assert [n["null"] for n in numbers] == [False, True, False]
    assert [n["mode"] for n in numbers] == ["dry-run", "dry-run", "live"]
    assert numbers[0]["sessions"]["finished"] == 16
    assert numbers[0]["components"][0]["power"] == pytest.approx(1, abs=1e-3)
    assert numbers[0]["study_file"] == TWO
    assert numbers[2]["components"] == []
    pictures = {path.name for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert {"comparison.png", "small-null-map.png", "1-small-power.png"} <= pictures


def test_a_report_needs_a_study(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one study or more"):
        write_report([], tmp_path)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_export_round_trip(events: list[Event], tmp_path: Path, form: str) -> None:
    paths = export(events, tmp_path / "tables", form)
    reader = pd.read_parquet if form == "parquet" else pd.read_csv
    for path, (name, table) in zip(
        paths, frames(read(events))._asdict().items(), strict=True
    ):
        assert path.name == f"{name}.{form}"
        back = reader(path)
        assert list(back.columns) == list(table.columns)
        assert len(back) == len(table)
        for column in table.select_dtypes("number"):
            np.testing.assert_allclose(back[column], table[column])


def test_export_refuses_unknown_formats(events: list[Event], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="known: parquet, csv"):
        export(events, tmp_path, "xlsx")
