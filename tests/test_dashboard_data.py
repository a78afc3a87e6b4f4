"""What the dashboard is told: as the analysis counts it, after any start."""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import (
    Clock,
    facts,
    hello,
    open_desk,
    run_all,
    run_one,
    send,
    small_study,
    study_text,
)

from analysis.frames import generations_frame, sessions_frame, trials_frame
from analysis.record import read
from meta_learner.labelling import Series, freeze
from meta_learner.spectrum import (
    candidates_labelled,
    error_spectrum,
    orders_of,
)
from server.board import Board
from server.dashboard_data import DashboardData
from server.desk import Desk
from server.dry_run import dry_run
from server.events import (
    ClientSeen,
    ComponentFrozen,
    Event,
    GenerationAsked,
    SessionEnded,
    SessionOpened,
    StudyOpened,
)
from server.journal import Journal
from server.overview import overview, plain, subject_rows
from server.protocol import Ack, Done, Noted, ProtocolError, Refusal
from server.roles import LOCAL, Caller
from server.spectrum_so_far import SpectrumSoFar
from server.study_file import Study

SAFETY = """
[safety]
trial_microlitre = 3
session_microlitre = 10
day_microlitre = 12
weight_fraction = 0
"""


@cache
def played(components: int = 1) -> tuple[Event, ...]:
    """A study with its troubles, as the journal has it."""
    study = study_of(components)
    journal = Journal("sqlite://", "small")
    clock = Clock()
    desk = open_desk(journal, clock, study=study)
    lost = hello(desk, "mouse-1").session
    clock.now += 31.0
    desk.tick()
    send(desk, "heartbeat", session=lost)  # its place is still free: it comes back
    run_one(desk.handle, "mouse-1", study)
    asleep = hello(desk, "mouse-2").session
    send(desk, "abandon", session=asleep, reason="asleep")
    for number in range(100):
        clock.now += 600.0
        if run_one(desk.handle, f"sim-{number}", study).study:
            break
    return tuple(journal.read())


def study_of(components: int) -> Study:
    """The study that was played."""
    more = f"components = {components}" if components > 1 else ""
    return small_study(study_text(more))


def board_of(events: tuple[Event, ...]) -> Board:
    """A board of the played study after its events, as a server opens it."""
    board = Board(study_of(1))
    for event in events:
        board.restore(event)
    return board


def summary(board: Board) -> Any:
    """All that the past alone tells, comparable."""
    return board.read(
        lambda past: (
            past.cards,
            dict(past.ended),
            (past.begun, past.late, past.used, past.used_here, past.trials),
            list(past.finished_at),
            plain(past.ledger),
            past.generations.columns(),
        )
    )


def told(desk: Desk, caller: Caller = LOCAL) -> dict[str, Any]:
    """The overview of a desk, without what tells one server's process from another."""
    whole = DashboardData(desk).overview(caller)
    return {k: v for k, v in whole.items() if k not in ("epoch", "now")}


# --- as the analysis counts ------------------------------------------------------


def test_numbers_are_those_of_the_journals_tables() -> None:
    record, board = read(played()), board_of(played())
    trials = trials_frame(record)
    sessions = sessions_frame(record, trials)
    table = generations_frame(record, sessions)
    status = sessions["status"].value_counts()
    past = board.read(lambda past: past)
    assert past.ended == status.to_dict()
    assert past.ended["abandoned"] == 1
    assert past.begun == len(sessions)
    assert past.late == sessions["late"].sum() == 1
    assert past.used == sessions["used"].sum()
    assert past.trials == len(trials)
    by_subject = sessions.groupby("subject")
    assert {c.subject: c.begun for c in past.cards.values()} == dict(by_subject.size())
    rows = board.generations(0)
    for name in ("component", "generation", "sessions_so_far"):
        assert rows[name] == table[name].tolist()
    for name in ("best", "lower_quartile", "median", "upper_quartile", "mean"):
        expected = table[f"{name}_error"]
        assert rows["groups"][""][name] == pytest.approx(expected, abs=1e-6)
    assert rows["groups"][""]["scored"] == table["scored"].tolist()
    assert rows["told"] == [True] * 2
    assert board.generations(1)["generation"] == rows["generation"][1:]


def test_a_raster_has_every_trial_of_its_session(journal: Journal) -> None:
    desk = open_desk(journal)
    session = hello(desk, "mouse-1").session
    for i in range(7):
        answer: dict[str, Any] = {"value": 0.1 * i, "reaction_time_s": 0.5}
        if i == 2:
            answer = {"outcome": "omission"}
        send(desk, "respond", session=session, uid=f"{session}/{i}", **answer)
    drawn = DashboardData(desk).raster(session)
    own = trials_frame(read(journal.read()))
    columns = {"index": "trial", "outcome": "outcome", "phase": "phase"}
    columns |= {"value": "response", "label": "label"}
    columns |= {"reaction_time_s": "reaction_time_s"}
    for name, column in columns.items():
        expected = own[column].astype(object).where(own[column].notna(), None)
        assert drawn[name] == expected.tolist()
    assert (drawn["trials"], drawn["training_trials"]) == (12, 6)
    with pytest.raises(ProtocolError, match="c9"):
        DashboardData(desk).raster("c9")


@pytest.mark.parametrize("components", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_spectrum_is_that_of_every_finished_session(components: int) -> None:
    study, events = study_of(components), played(components)
    found = SpectrumSoFar()
    for event in events:
        found.note(event)
    series = series_of(study, events)
    assert found.answer(study.labeller, series, 0.0)["waiting"] > 0
    while (answer := found.answer(study.labeller, series, 0.0))["waiting"]:
        pass
    record = read(events)
    sessions = sessions_frame(record, trials_frame(record))
    sessions = sessions[sessions["status"] == "finished"]
    orders, powers, errors = orders_of(study.labeller.space), [], []
    asked = {
        (f.component, f.generation): f
        for f in (event.fact for event in events)
        if isinstance(f, GenerationAsked)
    }
    for place, own in sessions.groupby(["component", "generation"]):
        before = series[: place[0]]
        all_ = candidates_labelled(study.labeller, before, asked[place].theta, orders)
        powers += list(all_.power[own["candidate"]])
        errors += list(own["error"] / all_.variance[own["candidate"]])
    expected = error_spectrum(np.array(powers), errors)
    for name in ("error", "low", "high"):
        ours = np.array(answer[name], float)
        assert ours == pytest.approx(getattr(expected, name), abs=1e-4, nan_ok=True)
    assert answer["sessions"] == len(sessions)
    assert answer["null"]["low"][0] <= answer["null"]["median"][0]


def series_of(study: Study, events: tuple[Event, ...]) -> Series:
    """The components that a journal has frozen."""
    series: Series = ()
    for event in events:
        if isinstance(event.fact, ComponentFrozen):
            theta = jnp.asarray(np.array(event.fact.theta, np.float32))
            series = (*series, freeze(study.labeller, series, theta))
    return series


# --- a fold, however the events come -------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_split_and_any_order_of_commits_tells_the_same(data: Any) -> None:
    events = played()
    whole = summary(board_of(events))
    split = data.draw(st.integers(0, len(events)))
    board = board_of(events[:split])
    board.watch(data.draw(st.booleans()))
    rest = list(events[split:])
    while rest:  # commits overtake each other, a few events at a time
        size = data.draw(st.integers(1, 8))
        batch, rest = rest[:size], rest[size:]
        random.Random(data.draw(st.integers())).shuffle(batch)
        for event in batch:
            board.note(event)
        if data.draw(st.booleans()):
            board.take_changes()
    assert summary(board) == whole


def test_a_server_started_again_shows_the_same(
    open_journal: Callable[..., Journal],
) -> None:
    journal, clock = open_journal(), Clock()
    desk = open_desk(journal, clock)
    for number in range(3):
        clock.now += 100.0
        run_one(desk.handle, f"sim-{number}")
    session = hello(desk, "mouse-1").session
    send(desk, "respond", session=session, uid=f"{session}/0", value=0.5)
    send(desk, "pause", session=session, reason="look")
    clock.now += 1.0
    before, rows = told(desk), DashboardData(desk).generations(0)
    journal.close()
    again = open_desk(open_journal(), clock)
    assert told(again) == before
    assert DashboardData(again).generations(0) == rows
    mouse = next(r for r in before["subjects"] if r["subject"] == "mouse-1")
    assert (mouse["trial"], mouse["trials"], mouse["phase"]) == (1, 12, "training")
    assert (mouse["status"], mouse["paused"]) == ("running", True)
    assert mouse["last_seen_at"] == clock.now - 1.0


# --- progress ----------------------------------------------------------------------


def test_hours_that_are_left_follow_from_the_pace(journal: Journal) -> None:
    clock = Clock()
    desk = open_desk(journal, clock)
    assert told(desk)["hours_left"] is None
    for number in range(6):
        run_one(desk.handle, f"sim-{number}")
        clock.now += 1800.0
    now = told(desk)
    assert now["sessions"]["left"] == 2
    assert now["pace_per_hour"] == 1.7  # five more within three hours
    assert now["hours_left"] == 1.2
    clock.now += 9 * 3600.0  # nothing happens: it will take longer
    assert told(desk)["hours_left"] == 4.8
    run_all(desk)
    done = told(desk)
    assert (done["hours_left"], done["sessions"]["left"]) == (0.0, 0)


def test_silent_lost_and_left(journal: Journal) -> None:
    clock = Clock()
    desk = open_desk(journal, clock)

    def status(subject: str) -> str:
        rows = told(desk)["subjects"]
        return str(next(r["status"] for r in rows if r["subject"] == subject))

    session = hello(desk, "mouse-1").session
    assert status("mouse-1") == "running"
    clock.now += 16.0
    assert status("mouse-1") == "silent"
    send(desk, "heartbeat", session=session)
    assert status("mouse-1") == "running"
    clock.now += 31.0
    desk.tick()
    assert status("mouse-1") == "lost"
    assert told(desk)["sessions"]["lost"] == 1
    send(desk, "drop_out", subject="mouse-1", reason="ill")
    assert status("mouse-1") == "dropped"
    ledger = told(desk)["ledger"]
    assert [row["what"] for row in ledger] == ["drop_out", "abandoned", "lost"]


def test_an_operator_abandons_a_session_and_its_candidate_is_free(
    journal: Journal,
) -> None:
    clock = Clock()
    desk = open_desk(journal, clock)
    rig, boss = Caller("rig", "box"), Caller("operator", "anna")
    message = {"protocol": 1, "subject": "mouse-1"}
    first: Any = desk.handle("hello", message, rig)
    desk.handle("hello", message | {"subject": "mouse-2"}, rig)
    clock.now += 31.0
    desk.tick()
    order = {"session": first.session, "reason": "asleep"}
    other = Caller("rig", "another")
    assert isinstance(desk.handle("abandon", order, other), Refusal)
    assert isinstance(desk.handle("abandon", order, boss), Done)
    ended = facts(journal, SessionEnded)[-1]
    assert (ended.status, ended.reason) == ("abandoned", "abandoned by anna: asleep")
    assert not facts(journal, ClientSeen)  # its client has not come back
    again: Any = desk.handle("hello", message | {"subject": "mouse-3"}, rig)
    assert again.session == "c0-g0-i0-a1"
    assert desk.state.sessions[first.session].over


def test_the_largest_free_reward_is_what_the_server_allows(journal: Journal) -> None:
    study = small_study(study_text() + SAFETY)
    desk = open_desk(journal, study=study, mode="live")
    assert told(desk)["limits"]["day_microlitre"] == 12
    session = hello(desk, "mouse-1").session
    trial = send(desk, "next", session=session)
    for index in range(4):
        row = told(desk)["subjects"][0]
        most = row["free_microlitre"]
        ask = {"session": session, "reason": "calm"}
        more = send(desk, "give_reward", microlitre=most + 0.01, **ask)
        assert more.error == "cap"
        if most:
            uid = f"free-{index}"
            done = send(desk, "give_reward", microlitre=most, uid=uid, **ask)
            assert isinstance(done, Noted)
            given = {"microlitre": most, "how": "free"}
            send(desk, "rewarded", session=session, uid=uid, reward=given)
        reward = {"microlitre": 1.0, "how": "earned"} if trial.grant else None
        answer = {"session": session, "uid": trial.uid, "value": 0.5, "reward": reward}
        ack = send(desk, "respond", **answer)
        assert isinstance(ack, Ack)
        trial = ack.next
    row = told(desk)["subjects"][0]
    assert row["today_microlitre"] == row["session_microlitre"]
    assert row["today_microlitre"] == desk.state.sessions[session].microlitre


def test_viewers_see_and_operators_act(journal: Journal) -> None:
    desk = open_desk(journal)
    seen = told(desk, Caller("viewer", "screen"))
    assert (seen["role"], seen["may"]) == ("viewer", [])
    acts = {"pause", "resume", "stop", "emergency", "reward", "abandon"}
    assert acts < set(told(desk)["may"])


# --- what stays small -----------------------------------------------------------


def test_pushes_hold_what_is_new_and_nothing_else(journal: Journal) -> None:
    clock = Clock()
    desk = open_desk(journal, clock)
    data = DashboardData(desk, monotonic=clock)
    data.watch(True)
    sessions = [hello(desk, f"mouse-{i}").session for i in range(2)]
    first = data.push()
    assert first
    assert {row["subject"] for row in first["subjects"]} == {"mouse-0", "mouse-1"}
    assert data.push() is None
    for index in range(3):
        uid = f"{sessions[0]}/{index}"
        send(desk, "respond", session=sessions[0], uid=uid, value=0.5)
    clock.now += 0.25
    news = data.push()
    assert news
    assert news["trials"].keys() == {sessions[0]}
    assert news["trials"][sessions[0]]["index"] == [0, 1, 2]
    assert [row["subject"] for row in news["subjects"]] == ["mouse-0"]
    assert news["overview"] == {"trials": 3}
    assert news["revision"] == first["revision"] + 1
    assert "generations" not in news  # not so soon again
    send(desk, "abandon", session=sessions[1], reason="asleep")
    clock.now += 2.0
    news = data.push()
    assert news
    assert [row["what"] for row in news["ledger"]] == ["abandoned"]
    assert told(desk)["ledger"] == news["ledger"]
    data.watch(False)
    run_one(desk.handle, "mouse-2")
    data.watch(True)
    late = data.push()
    assert late
    assert "trials" not in late


def test_replies_stay_small_after_many_sessions() -> None:
    board = board_of(())
    study = small_study()
    desk = open_desk(Journal("sqlite://", "small"))
    first = [e.fact for e in played()]
    board.restore(Event(0, 0.0, next(f for f in first if isinstance(f, StudyOpened))))
    begin = next(f for f in first if isinstance(f, SessionOpened))
    for i in range(3000):
        name = f"s{i}"
        new = {**vars(begin), "session": name, "subject": f"m{i}", "rig": "box"}
        ended = SessionEnded(name, "abandoned", "x" * 60)
        board.restore(Event(2 * i + 1, float(i), SessionOpened(**new)))
        board.restore(Event(2 * i + 2, i + 0.5, ended))
    present = desk.present({})
    past = board.read(lambda past: past)
    whole = {
        "rows": subject_rows(study, past, present),
        "ledger": plain(past.ledger),
        **overview(study, past, present),
    }
    assert len(json.dumps(whole, separators=(",", ":"))) < 100_000
    assert whole["subjects_total"] == 3000
    assert whole["rows"][0]["subject"] == "m2999"


# --- labellings --------------------------------------------------------------


def test_the_labelling_shown_is_the_one_that_is_found(journal: Journal) -> None:
    study = small_study()
    desk = open_desk(journal)
    data = DashboardData(desk)
    with pytest.raises(ProtocolError, match="no generation has ended"):
        data.labelling(None)
    for number in range(4):
        run_one(desk.handle, f"sim-{number}")
    under_way = data.labelling(None)
    assert (under_way["provisional"], under_way["component"]) == (True, 0)
    run_all(desk)
    found = data.labelling(None)
    assert not found["provisional"]
    assert sum(found["power"]["share"]) == pytest.approx(1.0, abs=1e-4)
    pole = jnp.asarray([[0.0, 0.0, 1.0]])
    label = float(study.labeller.component_labels(desk.state.series, pole)[0, 0])
    assert found["label"][0] == round(100 * label)
    with pytest.raises(ProtocolError):
        data.labelling(1)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adam", "subject_model"])
def test_searches_of_every_kind_have_a_labelling(method: str) -> None:
    text = study_text().replace("[search]", f'[search]\nmethod = "{method}"')
    if method == "subject_model":
        text = text.replace('"linear"', '"basis"\ndegree = 1')
        text += "\n[verification]\nsessions = 0\n"
    study = small_study(text.replace("generations = 2", "generations = 1"))
    journal = Journal("sqlite://", "small")
    dry_run(study, journal)
    desk = open_desk(journal, study=study)
    data = DashboardData(desk)
    assert data.labelling(None)["view"] == "sphere"
    assert data.generations(0)["rows"] == 1
    assert data.overview(LOCAL)["sessions"]["left"] == 0
