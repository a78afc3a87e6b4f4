"""How a human answers: with two keys, or on a scale."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from server.human_task import HumanTask
from subject_clients.human.drawing import Scale, Sides
from subject_clients.human.geometry import value_at
from subject_clients.human.texts import key_name
from subject_clients.human.window import Press, Screen

STEP = 0.05
"""What a press of an arrow key moves the mark by."""

HOLD_S = 0.35
"""An arrow key that is down for longer keeps the mark moving ..."""

SPEED = 0.9
"""... by so much a second."""


class Given(NamedTuple):
    """An answer in [-1, 1], at a time of the window's clock."""

    value: float
    at_s: float


class Asks(Protocol):
    """A way to answer; marks of answer and truth are in [-1, 1]."""

    def begin(self, at_s: float) -> None:
        """Answers count from now."""
        ...

    def poll(self, presses: Sequence[Press], now: float) -> Given | None:
        """The answer, if it came by ``now``; once a frame, with keys since then."""
        ...

    def draw(self, answer: float | None = None, truth: float | None = None) -> None:
        """For the next flip: what an answer is given on, and marks."""
        ...


class Keys:
    """Choices: one key for each side."""

    def __init__(self, screen: Screen, task: HumanTask) -> None:
        """Keys and names of the sides are the task's."""
        self._values = dict(zip(task.keys, (-1.0, 1.0), strict=True))
        names = (task.left, task.right)
        self._sides = Sides(screen, names, [key_name(k) for k in task.keys])
        self._from = 0.0

    def begin(self, at_s: float) -> None:
        """Answers count from now."""
        self._from = at_s

    def poll(self, presses: Sequence[Press], now: float) -> Given | None:  # noqa: ARG002
        """The first key that was pressed."""
        for press in presses:
            if press.key in self._values and press.at_s >= self._from:
                return Given(self._values[press.key], press.at_s)
        return None

    def draw(self, answer: float | None = None, truth: float | None = None) -> None:
        """For the next flip."""
        self._sides.draw(answer, truth)


class Slider:
    """Graded answers: point and click, or arrow keys and Enter.

    There is no mark before it was moved, so that none suggests an answer.
    """

    def __init__(self, screen: Screen, task: HumanTask) -> None:
        """Names of the ends are the task's."""
        self._screen = screen
        self._scale = Scale(screen, task.left, task.right)
        self._pointer = (0.0, 0.0)
        self._value: float | None = None
        self._from = self._polled = 0.0
        self._pressed_at: dict[str, float] = {}

    def begin(self, at_s: float) -> None:
        """Answers count from now; the mark is gone."""
        self._value, self._from, self._polled = None, at_s, at_s
        self._pointer = self._screen.pointer()
        self._pressed_at.clear()

    def poll(self, presses: Sequence[Press], now: float) -> Given | None:
        """A click near the scale, or Enter once there is a mark."""
        presses = [press for press in presses if press.at_s >= self._from]
        self._follow_pointer()
        self._follow_arrows(presses, now)
        for click in self._screen.clicks():
            if click.at_s >= self._from and self._near(click.where):
                self._value = value_at(click.where[0], self._scale.half)
                return Given(self._value, click.at_s)
        for press in presses:
            if press.key in ("return", "space") and self._value is not None:
                return Given(self._value, press.at_s)
        return None

    def draw(self, answer: float | None = None, truth: float | None = None) -> None:
        """For the next flip; the mark under way where there is no answer yet."""
        self._scale.draw(self._value if answer is None else answer, truth)

    def _near(self, where: tuple[float, float]) -> bool:
        beyond = abs(where[0]) - self._scale.half
        return (
            abs(where[1] - self._scale.y) <= self._scale.reach
            and beyond <= self._scale.reach
        )

    def _follow_pointer(self) -> None:
        pointer = self._screen.pointer()
        if pointer != self._pointer:  # else it would undo what arrow keys did
            self._pointer = pointer
            if self._near(pointer):
                self._value = value_at(pointer[0], self._scale.half)

    def _follow_arrows(self, presses: Sequence[Press], now: float) -> None:
        elapsed, self._polled = now - self._polled, now
        for key, side in (("left", -1), ("right", 1)):
            for press in presses:
                if press.key == key:
                    self._pressed_at[key] = press.at_s
                    self._move(side * STEP)
            long = now - self._pressed_at.get(key, now) > HOLD_S
            if long and self._screen.held(key):
                self._move(side * SPEED * elapsed)

    def _move(self, by: float) -> None:
        self._value = min(max((self._value or 0.0) + by, -1.0), 1.0)


def way_to_answer(screen: Screen, task: HumanTask, response: str) -> Asks:
    """Keys for choices, else a scale."""
    return Keys(screen, task) if response == "choice" else Slider(screen, task)
