"""Habits of simulated subjects, clocks of all, and sessions at a window's own pace."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from live_server import serving
from rigs import SAFE_STUDY
from scripted import Script, ack, assignment, whole_session
from scripted import Watcher as Person
from scripted import trial as plain_trial
from small_study import facts, open_desk, small_study

from penchant import main
from server.events import ClientSeen, Responded
from server.journal import Journal
from server.protocol import Alive, Done
from subject_clients.adapter import Answer, GiveUp
from subject_clients.handover import Handover
from subject_clients.lifelike import Habits, Lifelike
from subject_clients.loop import Subject

# --- habits of simulated subjects -------------------------------------------------


def lifelike(**habits: float) -> Lifelike:
    """A person with habits."""
    return Lifelike(Person(), Habits(**habits), seed=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["omission", "premature"])
def test_habits_happen_as_often_as_they_should(kind: str) -> None:
    person = lifelike(**{kind: 0.3})
    answers = [person.present(plain_trial(i)) for i in range(1000)]
    share = sum(answer.outcome == kind for answer in answers) / 1000
    assert share == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 1000) ** 0.5)
    assert all((a.value is None) == (a.outcome == kind) for a in answers)
    again = lifelike(**{kind: 0.3})
    assert [again.present(plain_trial(i)) for i in range(1000)] == answers


def test_reaction_times_have_the_median_asked_for() -> None:
    person = lifelike(reaction_time_s=0.6)
    times = sorted(
        person.present(plain_trial(i)).reaction_time_s or 0 for i in range(1001)
    )
    assert times[500] == pytest.approx(0.6, rel=0.06)
    assert times[50] < 0.45 < 0.8 < times[950]


def test_a_lapse_is_an_answer_at_random() -> None:
    person = lifelike(lapse=1.0)
    person.begin(assignment(response="choice"))
    sides = [person.present(plain_trial(i)).value for i in range(400)]
    assert set(sides) == {-1.0, 1.0}
    assert abs(sum(side or 0 for side in sides)) < 4 * 400**0.5


def test_losing_the_connection_loses_nothing() -> None:
    cut: list[bool] = []
    habits = Habits(disconnect=1.0)
    person = Lifelike(Person(), habits, hang_up=lambda: cut.append(True))
    assert person.present(plain_trial(0)).value == 0.25
    assert cut == [True]
    with pytest.raises(GiveUp, match="had enough"):
        lifelike(abandon=1.0).present(plain_trial(0))


@pytest.mark.parametrize(
    "habits",
    [{"lapse": 1.5}, {"omission": -0.1}, {"reaction_time_s": 0}, {"waits": True}],
)
def test_impossible_habits_are_refused(habits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"probability|above 0|needs a reaction time"):
        lifelike(**habits)


def test_simulated_subjects_with_habits_finish_a_study(
    journal: Journal, tmp_path: Path
) -> None:
    study = tmp_path / "small.toml"
    study.write_text(SAFE_STUDY)
    desk = open_desk(journal, study=small_study(SAFE_STUDY))
    habits = ("--reaction-time", ".5", "--omission", ".1", "--lapse", ".1")
    more = ("--disconnect", ".1", "--abandon", ".01")
    with serving(desk) as url:
        ran = CliRunner().invoke(
            main,
            ["subject", "simulated", "--study", str(study), "--url", url,
             *habits, *more],
        )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert desk.state.finished
    outcomes = [o for fact in facts(journal, Responded) for o in fact.outcomes]
    assert 0 < outcomes.count("omission") < len(outcomes) / 4
    times = [t for f in facts(journal, Responded) for t in f.reaction_times_s if t]
    assert len(times) == len(outcomes) - outcomes.count("omission")
    assert any(f.what == "disconnected" for f in facts(journal, ClientSeen))


# --- clocks, and windows with a pace of their own -----------------------------------


def test_an_answer_tells_what_clocks_said() -> None:
    """The server's clock is known from a heartbeat, within half a round trip."""
    beat = Alive(lease_s=40.0, at=1_000_000.0)
    script = Script(*whole_session(), beats=(beat,))

    class Slow(Person):
        def present(self, _: object) -> Answer:
            assert script.beats.acquire(timeout=20)
            time.sleep(0.01)  # the reply to that beat
            return Answer(value=0.25, clocks={"frame_s": 1.0})

    script._replies[0] = assignment(heartbeat_s=0.01)
    Subject("p01", Slow(), script).run_session()
    (clocks, _) = [m["clocks"] for kind, m in script.heard if kind == "respond"]
    assert clocks["frame_s"] == 1.0
    assert abs(clocks["host_utc_s"] - time.time()) < 60
    assert 0 <= clocks["server_utc_s"] - 1_000_000.0 < 60
    assert 0 <= clocks["round_trip_s"] < 60


def handed_over(*replies: object) -> tuple[Handover, Script]:
    """A session that runs in a thread of its own."""
    handover = Handover()
    script = Script(*replies)  # type: ignore[arg-type]
    handover.run(Subject("p01", handover, script))
    return handover, script


def _soon(value: Callable[[], object]) -> object:
    """What a function returns, once it is something, within 20 s."""
    for _ in range(2000):
        if (found := value()) is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("nothing came")


def test_a_window_takes_trials_at_its_own_pace() -> None:
    handover, script = handed_over(*whole_session())
    for index in range(2):
        due = _soon(handover.trial)
        assert due == handover.trial()  # the same until it is answered
        assert handover.done() is None
        handover.answer(Answer(value=0.5))
        assert handover.trial() != due
        with pytest.raises(ValueError, match="no trial is due"):
            handover.answer(Answer(value=0.5))
        assert index < 2
    done = _soon(handover.done)
    assert isinstance(done, Done)
    assert done.reason == "session finished"
    assert script.kinds == ["hello", "next", "respond", "respond"]


def test_whoever_leaves_a_window_gives_the_session_up() -> None:
    end = Done(study=False, reason="session abandoned")
    handover, script = handed_over(assignment(), plain_trial(0, 0.5), end)
    _soon(handover.trial)
    handover.leave("Escape")
    _soon(handover.done)
    assert script.heard[-1] == (
        "abandon",
        {"session": assignment().session, "reason": "Escape"},
    )
    assert handover.trial() is None


def test_a_window_learns_of_an_emergency_and_of_a_fault() -> None:
    handover, script = handed_over(assignment(), plain_trial(0, 0.5), ack(0))
    _soon(handover.trial)
    script.push("emergency")
    done = _soon(handover.done)
    assert isinstance(done, Done)
    assert done.emergency
    assert handover.safe == "emergency stop"
    handover, _ = handed_over(ConnectionError("no server"))
    with pytest.raises(ConnectionError, match="no server"):
        _soon(handover.done)
