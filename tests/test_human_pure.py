"""The human client without a window: geometry, timing, texts, PenchantTrials."""

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_server import serving
from small_study import CHOICE, facts, open_desk, small_study

from server.events import Responded, SessionEnded
from server.human_task import HumanTask
from server.journal import Journal
from subject_clients.handover import Handover
from subject_clients.human import texts
from subject_clients.human.geometry import (
    BIGGEST_BLOB,
    Layout,
    blob,
    fits,
    on_ring,
    psychopy_ori,
    px_per_degree,
    value_at,
)
from subject_clients.human.paging import pages
from subject_clients.human.stimuli import (
    SAMPLE_RATE,
    Blob,
    Dot,
    Gabor,
    Picture,
    Recording,
    Tone,
    kind_of,
    stereo,
)
from subject_clients.human.task import Site, consent_sha256, inside
from subject_clients.human.timing import Frames, Pace, dropped, summarise
from subject_clients.human.trials import PenchantTrials, Trial
from subject_clients.human.window import Display

# --- geometry ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("angle_deg", "ori"), [(90, 0), (0, 90), (45, 45), (135, 315), (180, 270)]
)
def test_orientations_are_turned_into_those_of_psychopy(
    angle_deg: float, ori: float
) -> None:
    assert psychopy_ori(angle_deg) == ori


def test_directions_go_counter_clockwise_from_the_right() -> None:
    assert on_ring(0, 2) == pytest.approx((2, 0))
    assert on_ring(90, 2) == pytest.approx((0, 2))
    assert on_ring(180, 2) == pytest.approx((-2, 0))


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_blobs_are_as_different_as_their_points_on_the_sphere(
    numbers: list[float],
) -> None:
    a, b = numbers[:3], numbers[3:]
    contours = [np.hypot(*np.array(blob(p, 100.0, 360)).T) for p in (a, b)]
    apart = math.sqrt(float(np.mean((contours[0] - contours[1]) ** 2)))
    expected = 100 * 0.25 / math.sqrt(2) * math.dist(a, b)
    assert apart == pytest.approx(expected, abs=1e-6)


def test_no_blob_is_larger_than_said() -> None:
    points = np.random.default_rng(1).normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    radii = [max(math.hypot(*p) for p in blob(list(x), 1.0)) for x in points]
    assert 1.3 < max(radii) <= BIGGEST_BLOB


def test_a_stimulus_must_leave_the_scale_free() -> None:
    layout = Layout(1024, 768)
    fits(200, 6.0, layout)
    with pytest.raises(ValueError, match=r"expected at most 6\.5"):
        fits(300, 9.0, layout)


def test_a_degree_of_a_screen() -> None:
    # At 57.3 cm a centimetre is one degree.
    assert px_per_degree(1000, 50, 57.29) == pytest.approx(20, rel=1e-3)


@given(st.floats(-1e4, 1e4), st.floats(1, 1e4))
def test_a_place_on_the_scale_is_an_answer(x: float, half: float) -> None:
    assert -1 <= value_at(x, half) <= 1


# --- timing -----------------------------------------------------------------------


def test_late_frames_are_counted() -> None:
    nominal_s = 1 / 60
    intervals = [nominal_s] * 97 + [2 * nominal_s, 0.1, 1.4 * nominal_s]
    assert dropped(intervals, nominal_s) == 2
    summary = summarise(intervals, nominal_s)
    assert summary.frames == 100
    assert summary.dropped == 2
    assert summary.longest_ms == pytest.approx(100)
    assert summary.median_ms == pytest.approx(1000 / 60)


def test_frames_count_only_where_they_must_be_regular() -> None:
    frames = Frames(0.01)
    for at in (0.0, 0.01, 0.5):
        frames.note(at)
    assert frames.dropped() == 1
    frames.rest()
    frames.note(5.0)
    frames.begin()
    for at in (6.0, 6.01, 6.02):
        frames.note(at)
    assert frames.dropped() == 0
    assert frames.summary().frames == 4


def test_a_pace_is_kept_and_lateness_is_not_made_up_for() -> None:
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(0.1, lambda: now[0], sleep)
    pace.wait()
    now[0] += 0.03
    pace.wait()
    assert now[0] == pytest.approx(0.2)
    now[0] += 0.35  # late by more than three turns
    pace.wait()
    assert now[0] == pytest.approx(0.6)
    assert slept == pytest.approx([0.1, 0.07, 0.05])


# --- texts ------------------------------------------------------------------------


@given(st.text("ab \n", max_size=300), st.integers(1, 40))
def test_pages_hold_all_words_in_order_and_fit(words: str, room: int) -> None:
    cut = pages(words, lambda piece: len(piece) <= room)
    assert " ".join(cut).split() == words.split()
    assert all(len(page) <= room or len(page.split()) == 1 for page in cut)


@pytest.mark.parametrize("response", ["graded", "choice"])
def test_without_instructions_there_are_some(response: str) -> None:
    task = HumanTask(left="lake", right="hill", keys=("left", "j"))
    (page,) = texts.instructions(task, response)
    assert "lake" in page
    assert "hill" in page
    if response == "choice":
        assert "left arrow key" in page
    assert texts.instructions(HumanTask(instructions=["Do."]), response) == ["Do."]


def test_degrees_need_a_calibration() -> None:
    with pytest.raises(ValueError, match="--width-cm"):
        Display()
    with pytest.raises(ValueError, match="--distance-cm"):
        Display(width_cm=30)
    Display(width_cm=30, distance_cm=60)
    Display(monitor="office")
    Display(units="norm")


# --- stimuli ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stimulus", "kind"),
    [
        ({"orientation_deg": 3.0}, Gabor),
        ({"direction_deg": 3.0}, Dot),
        ({"parameters": [0.0, 0.6, 0.8], "azimuth_deg": 1.0}, Blob),
        ({"frequency_hz": 500.0, "phase_deg": 10.0}, Tone),
        ({"image": 7}, Picture),
        ({"image": 7, "file": "a.png"}, Picture),
        ({"id": "a", "weight (g)": 3, "file": "a.PNG"}, Picture),
        ({"id": "a", "file": "a.wav"}, Recording),
    ],
)
def test_a_stimulus_is_shown_by_what_its_parameters_say(
    stimulus: dict[str, Any], kind: type
) -> None:
    assert kind_of(stimulus) is kind


def test_what_cannot_be_shown_says_what_to_do() -> None:
    with pytest.raises(
        ValueError, match=r"glomerulus_1.*column `file`.*PenchantTrials"
    ):
        kind_of({"glomerulus_1": 0.3, "glomerulus_2": 0.1})


def test_the_right_ear_leads_by_the_phase() -> None:
    phase_deg = 60.0
    left, right = np.array(stereo(500.0, phase_deg)).T
    middle = slice(SAMPLE_RATE // 10, SAMPLE_RATE // 10 + SAMPLE_RATE // 5)
    turns = [np.angle(np.fft.rfft(ear[middle])[100]) for ear in (left, right)]
    assert math.degrees(turns[1] - turns[0]) % 360 == pytest.approx(phase_deg, abs=0.1)
    assert abs(left[0]) < 1e-9
    assert max(abs(left).max(), abs(right).max()) <= 0.3


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b", "", "c:\\a.png"])
def test_a_file_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the name"):
        inside(tmp_path, name)


def test_a_file_may_lie_in_a_folder_of_folders(tmp_path: Path) -> None:
    assert inside(tmp_path, "faces/1.png") == tmp_path / "faces" / "1.png"


# --- the server's pages -----------------------------------------------------------


def test_the_task_comes_from_the_server(journal: Journal) -> None:
    study = small_study(CHOICE + '\n[human]\nleft = "lake"\nconsent = "Agree?"\n')
    with serving(open_desk(journal, study=study)) as url:
        told = Site(url).study()
    assert told.response == "choice"
    assert told.task.left == "lake"
    assert consent_sha256(told.task) == consent_sha256(HumanTask(consent="Agree?"))
    assert consent_sha256(HumanTask()) is None


def test_no_server_is_an_error_that_says_so() -> None:
    with pytest.raises(ConnectionError, match="penchant serve"):
        Site("http://127.0.0.1:9").study()


# --- the handover -----------------------------------------------------------------


def test_whoever_leaves_while_waiting_needs_no_session() -> None:
    hand = Handover()

    class Waits:
        def run_session(self) -> Any:
            hand.sleep(60.0)

    hand.run(Waits())
    hand.leave("tired")
    done = None
    while done is None:
        done = hand.done()
    assert done.reason == "no session: tired"


# --- PenchantTrials ----------------------------------------------------------------


class Experiment:
    """What a trial handler sees of PsychoPy's ExperimentHandler."""

    def __init__(self) -> None:
        self.entry: dict[str, Any] = {}
        self.ended: list[Any] = []

    def addData(self, name: str, value: Any) -> None:  # noqa: N802
        self.entry[name] = value

    def updateEntryFromLoop(self, loop: Any) -> None:  # noqa: N802
        self.entry |= dict(loop.thisTrial.items())

    def loopEnded(self, loop: Any) -> None:  # noqa: N802
        self.ended.append(loop)


def answered(journal: Journal, column: str) -> list[Any]:
    """A column of all responses."""
    return [v for fact in facts(journal, Responded) for v in getattr(fact, column)]


def trials_at(url: str, tmp_path: Path, **more: Any) -> PenchantTrials:
    return PenchantTrials("p01", url, outbox=tmp_path / "p01.outbox", **more)


def test_a_script_of_ones_own_does_a_session(journal: Journal, tmp_path: Path) -> None:
    with serving(open_desk(journal)) as url:
        trials = trials_at(url, tmp_path)
        exp = Experiment()
        trials.setExp(exp)
        assert trials.nTotal == 12
        seen: list[float] = []
        for trial in trials:
            assert trial.parameters == trial["parameters"]
            assert trials.nRemaining == 12 - trials.thisN - 1
            assert (trial.label is None) == (trial.phase == "test")
            value = round(0.1 * len(seen) - 0.5, 2)
            if len(seen) % 2:
                trials.respond(value, rt=0.25, clocks={"onset_s": 1.5})
            else:  # as with any other handler
                trials.addData("response", value)
                trials.addData("rt", 0.25)
            assert exp.entry["trials.response"] == value
            seen.append(value)
    (ended,) = facts(journal, SessionEnded)
    assert ended.status == "finished"
    assert answered(journal, "values") == seen
    assert set(answered(journal, "reaction_times_s")) == {0.25}
    assert answered(journal, "clocks")[1]["onset_s"] == 1.5
    assert exp.ended == [trials]
    assert trials.reason == "session finished"


def test_a_trial_without_an_answer_is_an_omission(
    journal: Journal, tmp_path: Path
) -> None:
    with serving(open_desk(journal)) as url:
        trials = trials_at(url, tmp_path)
        next(trials)
        assert not trials.ready()  # this trial is not answered yet
        next(trials)
        trials.respond(None)
        next(trials)
        trials.close("that is enough")
    assert answered(journal, "outcomes") == ["omission", "omission"]
    (ended,) = facts(journal, SessionEnded)
    assert ended.status == "abandoned"
    assert "that is enough" in ended.reason


def test_finished_leaves_the_session(journal: Journal, tmp_path: Path) -> None:
    with serving(open_desk(journal)) as url:
        trials = trials_at(url, tmp_path)
        for trial in trials:
            trials.respond(0.0)
            trials.finished = trial.index == 2
    assert answered(journal, "values") == [0.0] * 3
    (ended,) = facts(journal, SessionEnded)
    assert ended.status == "abandoned"


def test_what_the_server_refuses_reaches_the_script(
    journal: Journal, tmp_path: Path
) -> None:
    with serving(open_desk(journal)) as url, pytest.raises(OSError, match="group"):
        trials_at(url, tmp_path, group="nobody")


def test_angles_are_those_of_psychopy_too() -> None:
    trial = Trial(orientation_deg=30.0, ori=60.0)
    assert trial.ori == trial["ori"] == 60.0
    with pytest.raises(AttributeError, match="no 'sf': this trial has orientation_deg"):
        _ = trial.sf


def test_a_handler_goes_into_a_psydat(journal: Journal, tmp_path: Path) -> None:
    with serving(open_desk(journal)) as url:
        trials = trials_at(url, tmp_path)
        next(trials)
        trials.addData("note", "blinked")
        kept = pickle.loads(pickle.dumps(trials))  # noqa: S301
        trials.close()
    assert kept.thisTrial["note"] == "blinked"
    assert kept.name == "trials"
    assert kept.getExp() is None
    json.dumps(kept.thisTrial)
