"""A virtual display, and hands and eyes for it: real keys, real pixels."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-human" / "bin" / "python"
SIZE = (1024, 768)
HOLD_S = 0.1
"""How long a key or a button is down."""

NEEDS = ("Xvfb", "xdotool")


def missing() -> str:
    """Why windows cannot be tested here; empty if they can."""
    if not PYTHON.exists():
        return "no PsychoPy: see docs/human.md for .venv-human"
    absent = [name for name in NEEDS if shutil.which(name) is None]
    return f"apt-get install {' '.join(absent).lower()}" if absent else ""


needs_psychopy = pytest.mark.skipif(bool(missing()), reason=missing() or "it is there")


class Display:
    """An X server whose picture is a file; see :func:`display`."""

    def __init__(self, name: str, picture: Path, home: Path) -> None:
        self.environment = {
            **os.environ,
            "DISPLAY": name,
            "HOME": str(home),
            "PSYCHOPYNOPACKAGES": "1",
            "PYTHONPATH": str(ROOT),
        }
        self.environment.pop("PENCHANT_TOKEN", None)
        self._picture = picture

    def pixels(self) -> np.ndarray:
        """What is on the screen, ``(height, width, 3)``, red first."""
        raw = self._picture.read_bytes()
        header = np.frombuffer(raw[:100], ">u4")
        size, width, height, line, colours = header[[0, 4, 5, 12, 19]].tolist()
        start = size + 12 * colours
        rows = np.frombuffer(raw[start : start + line * height], np.uint8)
        return rows.reshape(height, line // 4, 4)[:, :width, 2::-1].astype(np.int16)

    def do(self, *words: object) -> None:
        """One command of xdotool."""
        subprocess.run(
            ["xdotool", *map(str, words)], env=self.environment, check=True, timeout=20
        )

    def press(self, key: str, hold_s: float = HOLD_S) -> None:
        """A key, as long as fingers take."""
        self.do("keydown", key, "sleep", hold_s, "keyup", key)

    def click(self, x: float, y: float, hold_s: float = HOLD_S) -> None:
        """The mouse, at pixels from the upper left."""
        place = ("mousemove", round(x), round(y))
        self.do(*place, "mousedown", 1, "sleep", hold_s, "mouseup", 1)

    def until(
        self, seen: Callable[[np.ndarray], Any], timeout_s: float = 60.0, what: str = ""
    ) -> Any:
        """Look until ``seen`` sees something in the picture; returns that."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = seen(self.pixels())
            if found is not None and found is not False:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"not on the screen: {what or seen.__name__}")
            time.sleep(0.03)  # a robot that stares leaves no time to draw

    def run(self, *command: object, **more: Any) -> subprocess.Popen[str]:
        """A program of PsychoPy's environment on this display."""
        return subprocess.Popen(
            [str(PYTHON), *map(str, command)],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **more,
        )

    def human(self, url: str, data: Path, *options: object) -> subprocess.Popen[str]:
        """``penchant subject human``, in a window as large as this display."""
        return self.run(
            *("-m", "penchant", "subject", "human", "--url", url, "--data", data),
            *("--windowed", "--size", f"{SIZE[0]}x{SIZE[1]}"),
            *("--width-cm", 30, "--distance-cm", 57, *options),
        )


@contextlib.contextmanager
def display(folder: Path) -> Iterator[Display]:
    """A virtual display of :data:`SIZE`; its files go to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    read, write = os.pipe()
    screen = f"{SIZE[0]}x{SIZE[1]}x24"
    server = subprocess.Popen(
        [
            *("Xvfb", "-displayfd", str(write), "-screen", "0", screen),
            *("-fbdir", str(folder), "-nolisten", "tcp"),
        ],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as told:
            name = f":{told.readline().strip()}"
        yield Display(name, folder / "Xvfb_screen0", folder)
    finally:
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def ended(program: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Whatever a test does, the program is over after it."""
    try:
        yield program
    finally:
        if program.poll() is None:
            program.kill()
        program.wait(20)
        if program.stdout is not None:
            program.stdout.close()


def output(program: subprocess.Popen[str], timeout_s: float = 60.0) -> str:
    """All that it said, once it is over."""
    said, _ = program.communicate(timeout=timeout_s)
    return said


# --- eyes -----------------------------------------------------------------------


def near(picture: np.ndarray, colour: str, tolerance: int = 12) -> np.ndarray:
    """Where a picture has a colour, as booleans ``(height, width)``."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.int16)
    return np.asarray(np.abs(picture - wanted).max(-1) <= tolerance)


def centre(where: np.ndarray) -> tuple[float, float] | None:
    """Mean column and row, of 12 pixels at least."""
    rows, columns = np.nonzero(where)
    if len(rows) < 12:
        return None
    return float(columns.mean()), float(rows.mean())


def page(picture: np.ndarray) -> bool:
    """Whether a page to be read is there."""
    return bool(near(picture[::8, ::8], "#f7f6f2").mean() > 0.15)


HALF, LINE = 0.36 * SIZE[1], 0.86 * SIZE[1]
"""Half the length of the scale, and its row."""


def on_scale(value: float) -> tuple[float, float]:
    """Where an answer in [-1, 1] is clicked."""
    return SIZE[0] / 2 + value * HALF, LINE


def truth(picture: np.ndarray) -> float | None:
    """The value under the yellow mark, if there is one."""
    mark = centre(near(picture[round(0.75 * SIZE[1]) :], "#ffd23f", 25))
    return None if mark is None else (mark[0] - SIZE[0] / 2) / HALF


def dot(picture: np.ndarray) -> float | None:
    """The direction of a dot on its ring, in degrees, if there is one."""
    if page(picture):
        return None
    rows = slice(SIZE[1] // 12, round(0.72 * SIZE[1]))
    place = centre(near(picture[rows], "#f7f6f2", 6))
    if place is None:
        return None
    x, y = place[0] - SIZE[0] / 2, SIZE[1] / 2 - place[1] - rows.start
    return float(np.degrees(np.arctan2(y, x)) % 360)


def stripes(picture: np.ndarray) -> float | None:
    """The orientation of a grating in the middle, in degrees, if there is one.

    Of the stripes, from horizontal: across them brightness changes most, which the
    structure tensor tells.
    """
    if page(picture):
        return None
    rows, columns = np.array(picture.shape[:2]) // 2
    patch = picture[rows - 60 : rows + 60, columns - 60 : columns + 60].mean(-1)
    if min((patch > 160).mean(), (patch < 96).mean()) < 0.05:
        return None  # letters are dark only, or bright only
    down, across = np.gradient(patch)
    up = -down
    angle = 0.5 * np.arctan2(2 * (across * up).mean(), (across**2 - up**2).mean())
    return float(np.degrees(angle + np.pi / 2) % 180)


def turn(screen: Display, key: str) -> None:
    """Read a page that is there, or comes, and press a key on it."""
    before = screen.until(lambda p: p if page(p) else None, what="a page")
    screen.press(key)
    screen.until(lambda p: bool((p != before).any()), what=f"what {key} leads to")
