"""The human client in a real window, by real keys and a real mouse."""

import contextlib
import csv
import hashlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from human_screen import (
    ROOT,
    Display,
    display,
    dot,
    ended,
    needs_psychopy,
    on_scale,
    output,
    page,
    stripes,
    truth,
    turn,
)
from live_server import serving
from small_study import facts, open_desk

from server.events import Responded, SessionEnded, SessionOpened
from server.journal import Journal
from server.study_file import Study

pytestmark = needs_psychopy

CHOICE = 'response = "choice"\ntest_repeats = 2'

CONSENT = "You may stop at any time."

STUDY = """
[study]
name = "small"
[stimuli]
space = "circle"
shown_as = "{shown_as}"
[session]
training_stimuli = 4
test_stimuli = 3
{session}
[search]
population = 4
generations = 1
[labelling]
family = "basis"
degree = 2
[human]
consent = "{consent}"
practice_trials = 1
fixation_s = 0.3
feedback_s = 0.5
size_deg = 7.0
{human}
"""


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    with display(tmp_path_factory.mktemp("display")) as shown:
        yield shown


@contextlib.contextmanager
def served(
    journal: Journal, shown_as: str, session: str = "", human: str = ""
) -> Iterator[str]:
    """A study of the circle at a real server."""
    text = STUDY.format(
        shown_as=shown_as, session=session, human=human, consent=CONSENT
    )
    with serving(open_desk(journal, study=Study(text))) as url:
        yield url


def answered(journal: Journal, column: str) -> list[Any]:
    """A column of all responses."""
    return [v for fact in facts(journal, Responded) for v in getattr(fact, column)]


def rows(data: Path) -> list[dict[str, str]]:
    """All CSVs of PsychoPy, oldest first."""
    files = sorted(data.glob("*.csv"))
    texts = [file.read_text(encoding="utf-8-sig").splitlines() for file in files]
    return [row for text in texts for row in csv.DictReader(text)]


def see(
    screen: Display,
    program: "subprocess.Popen[str]",
    eye: Callable[[Any], float | None],
) -> float:
    """Wait for what an eye sees; a program that is over says why."""

    def look(picture: Any) -> float | None:
        assert program.poll() is None, output(program)
        return eye(picture)

    return float(screen.until(look, what=eye.__name__))


def gone(screen: Display, eye: Callable[[Any], float | None]) -> None:
    """Wait until it is not there any more."""
    screen.until(lambda picture: eye(picture) is None, what=f"no {eye.__name__}")


def introduce(screen: Display, program: "subprocess.Popen[str]") -> None:
    """Consent, instructions, one arrow of practice with the mouse."""
    see(screen, program, lambda p: 1.0 if page(p) else None)
    turn(screen, "y")
    turn(screen, "space")
    turn(screen, "space")
    screen.click(*on_scale(-0.5))
    turn(screen, "space")


def apart(a: float, b: float) -> float:
    """Difference of two directions, in degrees."""
    return abs((a - b + 180) % 360 - 180)


def test_a_killed_session_goes_on_where_it_was(
    journal: Journal, screen: Display, tmp_path: Path
) -> None:
    """The dot is seen on the screen, the label by its mark, answers by the mouse."""
    data, values = tmp_path / "data", [-0.8, 0.35, 0.9, -0.1, 0.6, 0.05, -0.45]
    seen, marks = list[float](), list[float]()

    def trial(program: "subprocess.Popen[str]") -> None:
        seen.append(see(screen, program, dot))
        screen.click(*on_scale(values[len(seen) - 1]))
        if len(seen) <= 4:
            marks.append(see(screen, program, truth))
        gone(screen, dot)

    with served(journal, "direction", human="break_every = 6") as url:
        with ended(screen.human(url, data, "--name", "p01")) as program:
            introduce(screen, program)
            for _ in range(3):
                trial(program)
            due = see(screen, program, dot)
            program.kill()
        with ended(screen.human(url, data, "--name", "p01")) as program:
            see(screen, program, lambda p: 1.0 if page(p) else None)
            turn(screen, "space")  # welcome back: neither consent nor practice
            assert apart(see(screen, program, dot), due) < 2
            for _ in range(3):
                trial(program)
            turn(screen, "space")  # a break
            trial(program)
            turn(screen, "space")  # thanks
            said = output(program)
    assert "session finished" in said, said
    (opened,) = facts(journal, SessionOpened)
    (session,) = facts(journal, SessionEnded)
    assert session.status == "finished"
    told = opened.client
    assert told["consent_sha256"] == hashlib.sha256(CONSENT.encode()).hexdigest()
    assert told["consent_at"].endswith("+00:00")
    assert told["units"] == "deg"
    assert told["px_per_deg"] == pytest.approx(1024 / 30 * 57 * 0.01745506, rel=1e-3)
    assert answered(journal, "values") == pytest.approx(values, abs=0.01)
    assert all(0 < t < 30 for t in answered(journal, "reaction_times_s"))
    for clocks in answered(journal, "clocks"):
        assert clocks["shown_s"] > 0
        assert clocks["frames_dropped"] >= 0
    table = rows(data)
    assert [int(row["trial"]) for row in table] == list(range(7))
    shown = [float(row["direction_deg"]) for row in table]
    assert max(map(apart, seen, shown)) < 2
    labels = [float(row["label"]) for row in table[:4]]
    assert marks == pytest.approx(labels, abs=0.02)
    assert len(list(data.glob("*.psydat"))) == 1  # the run that was killed left none
    assert len(list(data.glob("*.log"))) == 2
    assert not list(data.glob("*.unfinished.json"))


def test_choices_by_keys_and_leaving_by_escape(
    journal: Journal, screen: Display, tmp_path: Path
) -> None:
    human = 'keys = ["f", "j"]\nstimulus_s = 0.5\nanswer_within_s = 2.0'
    data, seen = tmp_path / "data", list[float]()
    with (
        served(journal, "orientation", CHOICE, human) as url,
        ended(screen.human(url, data, "--name", "p02")) as program,
    ):
        see(screen, program, lambda p: 1.0 if page(p) else None)
        for key in ("y", "space", "space"):
            turn(screen, key)
        screen.press("f")  # the arrow points right: this is wrong, and shown again
        screen.until(lambda p: not page(p))
        screen.do("sleep", 0.8)
        screen.press("j")
        turn(screen, "space")
        for key in ("f", "j"):
            seen.append(see(screen, program, stripes))
            screen.press(key)
            gone(screen, stripes)
        seen.append(see(screen, program, stripes))  # no answer
        gone(screen, stripes)
        see(screen, program, stripes)  # the fourth
        screen.press("Escape")
        turn(screen, "space")  # go on: it is shown again
        seen.append(see(screen, program, stripes))
        screen.press("j")
        gone(screen, stripes)
        see(screen, program, stripes)
        screen.press("Escape")
        turn(screen, "l")
        turn(screen, "space")
        said = output(program)
    assert "left by Escape in trial 5" in said
    (session,) = facts(journal, SessionEnded)
    assert (session.status, session.reason) == (
        "abandoned",
        "left by Escape in trial 5",
    )
    assert answered(journal, "values") == [-1, 1, None, 1]
    assert answered(journal, "outcomes")[2] == "omission"
    table = rows(data)
    shown = [float(row["orientation_deg"]) for row in table]
    assert max(apart(2 * a, 2 * b) / 2 for a, b in zip(seen, shown, strict=True)) < 2
    assert [row["interrupted"] for row in table] == ["0", "0", "0", "1"]
    # Frames of a virtual display on a busy computer come late, never early.
    unanswered = float(table[2]["shown_s"])
    assert 0.48 < unanswered < 0.9
    assert table[2]["requested_s"] == "0.5"
    pays = [row["rewarded"] for row in table]
    sides = {"left": -1, "right": 1}
    won = [sides[p] == v for p, v in zip(pays, [-1, 1, None, 1], strict=True)]
    assert int(table[-1]["points"]) == sum(won)


@pytest.mark.slow
def test_a_script_of_ones_own(
    journal: Journal, screen: Display, tmp_path: Path
) -> None:
    """The Coder example, with every grating answered by a key."""
    script = ROOT / "examples" / "psychopy" / "own_script.py"
    seen = []
    with (
        served(journal, "orientation", CHOICE) as url,
        ended(screen.run(script, "p04", url, tmp_path)) as program,
    ):
        for number in range(10):
            seen.append(see(screen, program, stripes))
            screen.press("fj"[number % 2])
            gone(screen, stripes)
        said = output(program)
    assert "session finished" in said, said
    (session,) = facts(journal, SessionEnded)
    assert session.status == "finished"
    assert answered(journal, "values") == [-1, 1] * 5
    table = rows(tmp_path)
    assert [int(row["trials.thisN"]) for row in table] == list(range(10))
    shown = [float(row["orientation_deg"]) for row in table]
    assert max(apart(2 * a, 2 * b) / 2 for a, b in zip(seen, shown, strict=True)) < 3
    assert [float(row["trials.response"]) for row in table] == [-1, 1] * 5
