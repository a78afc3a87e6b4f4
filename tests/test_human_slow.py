"""Slow checks of the human client: declining, Builder, pictures, a psydat, no sound."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from human_screen import (
    ROOT,
    Display,
    display,
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
from PIL import Image
from small_study import facts, open_desk
from test_human_window import CHOICE, answered, gone, rows, see, served

from server.events import Responded, SessionEnded, SessionOpened
from server.journal import Journal
from server.study_file import Study

pytestmark = [needs_psychopy, pytest.mark.slow]

BUILDER = """
import sys
sys.path.insert(0, {folder!r})
import orientation_builder as made

info = dict(made.expInfo, participant="p05", url={url!r})
info = {{key.partition("|")[0]: value for key, value in info.items()}}
exp = made.setupData(expInfo=info, dataDir={folder!r})
made.setupLogging(filename=exp.dataFileName)
window = made.setupWindow(expInfo=info)
made.setupDevices(expInfo=info, thisExp=exp, win=window)
made.run(expInfo=info, thisExp=exp, win=window, globalClock="float")
made.saveData(thisExp=exp)
made.quit(thisExp=exp, win=window)
"""

IMAGES = """
[study]
name = "small"
[stimuli]
space = "images"
path = "{folder}"
side = 24
[session]
training_stimuli = 4
test_stimuli = 2
[search]
population = 4
generations = 1
[labelling]
family = "linear"
[human]
practice_trials = 0
fixation_s = 0.3
feedback_s = 0.5
size_deg = 6.0
"""

TONES = """
[study]
name = "small"
[stimuli]
space = "phase_difference"
[session]
training_stimuli = 4
test_stimuli = 2
[search]
population = 4
generations = 1
[labelling]
family = "basis"
degree = 2
[human]
practice_trials = 0
"""


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    with display(tmp_path_factory.mktemp("display")) as shown:
        yield shown


def test_whoever_does_not_agree_opens_no_session(
    journal: Journal, screen: Display, tmp_path: Path
) -> None:
    with (
        served(journal, "direction") as url,
        ended(screen.human(url, tmp_path / "data", "--name", "p03")) as program,
    ):
        see(screen, program, lambda p: 1.0 if page(p) else None)
        turn(screen, "n")
        turn(screen, "space")
        said = output(program)
    assert "declined" in said
    assert not facts(journal, SessionOpened)


def test_the_builder_example_loads_compiles_and_runs(
    journal: Journal, screen: Display, tmp_path: Path
) -> None:
    """From the .psyexp to a session, as Builder itself would."""
    (tmp_path / "data").mkdir()
    example = ROOT / "examples" / "psychopy" / "orientation.psyexp"
    made = tmp_path / "orientation_builder.py"
    load = (
        "from psychopy.experiment import Experiment\n"
        f"Experiment().loadFromXML({str(example)!r})\n"
        "from psychopy.scripts.psyexpCompile import compileScript\n"
        f"compileScript(infile={str(example)!r}, outfile={str(made)!r})"
    )
    with ended(screen.run("-c", load)) as program:
        said = output(program, 120)
    assert made.exists(), said
    seen = []
    with served(journal, "orientation", CHOICE) as url:
        drive = BUILDER.format(folder=str(tmp_path), url=url)
        with ended(screen.run("-c", drive, cwd=tmp_path)) as program:
            screen.until(lambda p: words(p) or program.poll() is not None)
            screen.press("space")
            for number in range(10):
                seen.append(see(screen, program, stripes))
                gone(screen, stripes)
                screen.press("fj"[number % 2])
            said = output(program)
    (session,) = facts(journal, SessionEnded)
    assert session.status == "finished", said
    assert answered(journal, "values") == [-1, 1] * 5
    table = [row for row in rows(tmp_path / "data") if row["penchant.response"]]
    shown = [float(row["orientation_deg"]) for row in table]
    errors = [abs((a - b + 90) % 180 - 90) for a, b in zip(seen, shown, strict=True)]
    assert max(errors) < 3


def words(picture: np.ndarray) -> bool:
    """Whether white letters are on the grey of a Builder window."""
    white = (picture[::2, ::2].min(-1) > 240).mean()
    grey = (abs(picture[::2, ::2] - 128).max(-1) < 6).mean()
    return bool(0.002 < white < 0.2 and grey > 0.5)


def test_pictures_come_from_the_server(
    journal: Journal, screen: Display, tmp_path: Path
) -> None:
    """Each has a brightness of its own, by which it is known on the screen."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    levels = dict(zip("abcdefgh", range(30, 255, 30), strict=True))
    levels["d"] = 200  # not that of the background
    for name, level in levels.items():
        picture = np.full((24, 24), level, np.uint8)
        picture[:3] = 255 - level
        Image.fromarray(picture).save(folder / f"{name}.png")
    seen = []

    def bright(picture: np.ndarray) -> float | None:
        if page(picture):
            return None
        patch = picture[384 - 40 : 384 + 40, 512 - 40 : 512 + 40].mean(-1)
        # The fixation cross is not a picture, and neither is the background.
        even = patch.std() < 2 and abs(patch.mean() - 128) > 8
        return float(patch.mean()) if even else None

    study = Study(IMAGES.format(folder=folder))
    with (
        serving(open_desk(journal, study=study)) as url,
        ended(screen.human(url, tmp_path / "data", "--name", "p06")) as program,
    ):
        see(screen, program, lambda p: 1.0 if page(p) else None)
        turn(screen, "space")
        turn(screen, "space")
        for number in range(6):
            seen.append(see(screen, program, bright))
            screen.click(*on_scale(0.25))
            if number < 4:
                see(screen, program, truth)
            gone(screen, bright)
        turn(screen, "space")
        said = output(program)
    assert "session finished" in said
    table = rows(tmp_path / "data")
    shown = [levels[Path(row["file"]).stem] for row in table]
    assert seen == pytest.approx(shown, abs=3)


def test_without_a_sound_device_nothing_is_lost(
    journal: Journal, screen: Display, tmp_path: Path
) -> None:
    """The error comes before the first trial, and the session is still there."""
    with (
        serving(open_desk(journal, study=Study(TONES))) as url,
        ended(screen.human(url, tmp_path / "data", "--name", "p07")) as program,
    ):
        see(screen, program, lambda p: 1.0 if page(p) else None)
        turn(screen, "space")
        screen.press("space")
        said = output(program)
    assert "no device for them" in said
    assert "Traceback" not in said
    assert len(facts(journal, SessionOpened)) == 1
    assert not facts(journal, SessionEnded)
    assert not facts(journal, Responded)


def test_a_psydat_can_be_read(
    screen: Display, journal: Journal, tmp_path: Path
) -> None:
    """With PsychoPy, as its users do."""
    script = ROOT / "examples" / "psychopy" / "own_script.py"
    with (
        served(journal, "orientation", CHOICE) as url,
        ended(screen.run(script, "p08", url, tmp_path)) as program,
    ):
        for _ in range(2):
            see(screen, program, stripes)
            screen.press("j")
            gone(screen, stripes)
        see(screen, program, stripes)
        screen.press("Escape")
        output(program)
    (psydat,) = tmp_path.glob("*.psydat")
    ask = (
        "from psychopy.tools.filetools import fromFile\n"
        f"exp = fromFile({str(psydat)!r})\n"
        "print('read', len(exp.entries), exp.loops[0].participant)"
    )
    with ended(screen.run("-c", ask)) as program:
        assert "read 3 p08" in output(program, 120)
    (session,) = facts(journal, SessionEnded)
    assert session.status == "abandoned"
