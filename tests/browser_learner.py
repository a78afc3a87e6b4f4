"""A participant who knows nothing but the pixels of the page, and has a known bias."""

import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from browser import Visit
from numpy.typing import NDArray

from simulated_subjects.fourier_ridge import FourierRidge

PAPER = (0xF7, 0xF6, 0xF2)
"""The dot on the ring."""

TRUTH = (0xFF, 0xD2, 0x3F)
"""The mark of the true value."""

ABOVE_PX = 30
"""How far above the scale marks are looked for."""

Brain = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]
"""From ``x`` (trained, 2), ``y`` and ``x`` (asked, 2) to answers (asked,)."""


def prefers(order: int, seed: int) -> Brain:
    """A brain that easily generalises waves of one order around the circle."""
    amplitudes = [0.2] * 5
    amplitudes[order] = 1.0
    learner, key = FourierRidge(tuple(amplitudes)), jax.random.key(seed)

    def answer(x: NDArray[Any], y: NDArray[Any], asked: NDArray[Any]) -> NDArray[Any]:
        state = learner.train(key, jax.numpy.asarray(x), jax.numpy.asarray(y))
        return np.asarray(learner.predict(state, jax.numpy.asarray(asked)))

    return answer


def guesses(seed: int) -> Brain:
    """A brain that learns nothing."""
    draws = np.random.default_rng(seed)
    return lambda _x, _y, asked: draws.uniform(-1, 1, len(asked))


class Seen(NamedTuple):
    """What a participant made out in a session: degrees, and labels in training."""

    angles_deg: list[float]
    labels: list[float]


class Learner:
    """Looks, answers, learns from the mark; one session of one visit."""

    def __init__(self, visit: Visit, brain: Brain) -> None:
        """``brain`` answers once training is over."""
        self._visit, self._page, self._brain = visit, visit.page, brain

    def run(self, training: int, test: int) -> Seen:
        """A whole session of so many trials, from the first page to the last."""
        self._visit.begin()
        seen = Seen([], [])
        for trial in range(training + test):
            self._visit.stimulus()
            seen.angles_deg.append(self._angle_deg())
            if trial < training:
                self._visit.point(0.0)  # it watches
                seen.labels.append(self._label())
            else:
                self._visit.point(self._answer(seen))
                self._visit.answered()
        ended = self._visit.end()
        assert ended == "finished", self._visit.words()
        return seen

    def _answer(self, seen: Seen) -> float:
        x = np.array([_on_circle(angle) for angle in seen.angles_deg])
        trained = len(seen.labels)
        (value,) = self._brain(x[:trained], np.array(seen.labels), x[-1:])
        return float(np.clip(value, -1, 1))

    def _angle_deg(self) -> float:
        """Of the dot around the middle of the canvas, counter-clockwise."""
        pixels = self._pixels(self._page.locator("#canvas").bounding_box())
        rows, columns = np.nonzero(_near(pixels, PAPER))
        assert len(rows), "there is no dot"
        height, width = pixels.shape[:2]
        up = height / 2 - rows.mean() - 0.5
        right = columns.mean() + 0.5 - width / 2
        return math.degrees(math.atan2(up, right)) % 360

    def _label(self) -> float:
        """Where the mark of the true value is on the scale."""
        self._visit.see("trial", "feedback")
        scale = self._page.locator("#scale").bounding_box()
        around = {
            "x": scale["x"] - ABOVE_PX,
            "y": scale["y"] - 2 * ABOVE_PX,
            "width": scale["width"] + 2 * ABOVE_PX,
            "height": scale["height"] + 2 * ABOVE_PX,
        }
        _, columns = np.nonzero(_near(self._pixels(around), TRUTH))
        assert len(columns), "there is no mark"
        from_left = columns.mean() + 0.5 - ABOVE_PX
        return float(2 * from_left / scale["width"] - 1)

    def _pixels(self, where: dict[str, float]) -> NDArray[np.uint8]:
        """A part of the screen, (rows, columns, 3)."""
        from PIL import Image

        shot = self._page.screenshot(clip=where, animations="allow")
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))


def _near(pixels: NDArray[np.uint8], color: tuple[int, int, int]) -> NDArray[Any]:
    far = abs(pixels.astype(int) - np.array(color)).max(-1)
    near: NDArray[Any] = far < 12
    return near


def _on_circle(angle_deg: float) -> tuple[float, float]:
    return math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
