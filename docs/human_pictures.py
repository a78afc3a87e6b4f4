"""The pictures of docs/human.md, from real sessions on a virtual display.

    python docs/human_pictures.py

Needs .venv-human, Xvfb and xdotool.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from human_screen import (  # noqa: E402
    Display,
    display,
    ended,
    on_scale,
    output,
    page,
    stripes,
    truth,
    turn,
)
from live_server import serving  # noqa: E402
from small_study import open_desk  # noqa: E402

from server.journal import Journal  # noqa: E402
from server.study_file import Study  # noqa: E402

STUDY = """
[study]
name = "angles"
seed = 5
[stimuli]
{stimuli}
[session]
training_stimuli = 10
test_stimuli = 10
{session}
[search]
population = 4
generations = 1
[labelling]
family = "basis"
degree = 3
[human]
title = "Learn and guess"
left = "cool"
right = "warm"
size_deg = 6.5
break_every = 3
practice_trials = 1
feedback_s = 1.5
consent = '''
You are invited to take part in a study of how people learn from few examples. \
You will see pictures and answer with the mouse. It takes about ten minutes.

Taking part is voluntary. You can stop at any moment with the Escape key and need \
not say why. Your answers and their times are stored under a code, not your name.

If you have questions, please ask the experimenter now.
'''
"""


def keep(screen: Display, name: str) -> None:
    """What is on the screen becomes a picture of the docs."""
    path = ROOT / "docs" / "images" / f"human_{name}.png"
    Image.fromarray(screen.pixels().astype(np.uint8)).save(path, optimize=True)
    print(path.name)


def blob(picture: np.ndarray) -> bool:
    """Whether a bright shape is in the middle."""
    return not page(picture) and bool(picture[384, 512].min() > 230)


def leave(screen: Display) -> None:
    """Escape, and the pages that follow."""
    screen.press("Escape")
    turn(screen, "l")
    turn(screen, "space")


def graded(screen: Display, url: str, data: Path) -> None:
    """Gratings and a scale."""
    with ended(screen.human(url, data, "--name", "p01")) as program:
        screen.until(page)
        keep(screen, "consent")
        for key in ("y", "space", "space"):
            turn(screen, key)
        screen.do("mousemove", *map(round, on_scale(-0.35)), "sleep", 0.5)
        keep(screen, "practice")
        screen.click(*on_scale(-0.5))
        turn(screen, "space")
        for number in range(3):
            screen.until(stripes)
            screen.do("mousemove", *map(round, on_scale(0.1 * number)), "sleep", 0.3)
            if number == 1:
                keep(screen, "gabor")
            screen.click(*on_scale(0.3))
            screen.until(truth)
            if number == 1:
                keep(screen, "feedback")
        screen.until(page)
        keep(screen, "break")
        turn(screen, "space")
        screen.until(stripes)
        leave(screen)
        print(output(program))


def choice(screen: Display, url: str, data: Path) -> None:
    """Blobs and two keys."""
    with ended(screen.human(url, data, "--name", "p02")) as program:
        for key in ("y", "space", "space"):
            turn(screen, key)
        screen.do("sleep", 0.5)
        screen.press("j")
        turn(screen, "space")
        screen.until(blob)
        keep(screen, "blob")
        screen.press("j")
        screen.do("sleep", 0.4)
        keep(screen, "points")
        screen.until(blob)
        leave(screen)
        print(output(program))


def main() -> None:
    """Both kinds of answers."""
    kinds = {
        graded: ('space = "circle"', ""),
        choice: ('space = "sphere"', 'response = "choice"\ntest_repeats = 2'),
    }
    for play, (stimuli, session) in kinds.items():
        folder = Path(tempfile.mkdtemp())
        text = STUDY.format(stimuli=stimuli, session=session)
        journal = Journal(folder / "angles.db", "angles")
        desk = open_desk(journal, study=Study(text))
        with serving(desk) as url, display(folder / "display") as screen:
            play(screen, url, folder / "data")
        journal.close()


if __name__ == "__main__":
    main()
