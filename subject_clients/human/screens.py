"""What is read before, between and after trials, and the question on Escape."""

from collections.abc import Callable, Sequence
from typing import Any

from server.human_task import HumanTask
from subject_clients.human import texts
from subject_clients.human.answers import Asks
from subject_clients.human.drawing import Page, arrow, cut, text
from subject_clients.human.geometry import psychopy_ori
from subject_clients.human.window import Screen

CLOSE = 0.25
"""How near the arrow a mark must be in practice."""

SIDES = (1.0, -1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0)
PLACES = (-0.5, 0.75, 0.1, -0.9, 0.4, -0.25, 0.95, -0.7)
"""Where the arrows of practice point, over and over."""

SHOWN_S = 0.6
"""How long practice says whether it was right."""


class Left(Exception):
    """The participant leaves; says where."""


def turn(screen: Screen, page: Page, keys: Sequence[str]) -> str:
    """Show a page until one of the keys is pressed; returns it.

    Raises :class:`Left`.
    """
    screen.frames.rest()
    screen.forget_input()
    since = screen.now()
    while True:
        page.draw()
        screen.flip()
        for press in screen.presses():
            if press.at_s < since:
                continue
            if press.key == "escape":
                ask_to_leave(screen, "while reading")
                since = screen.now()
            elif press.key in keys:
                return press.key


def ask_to_leave(screen: Screen, where: str) -> None:
    """Go on, or raise :class:`Left`."""
    screen.frames.rest()
    page = Page(screen, texts.LEAVE, texts.LEAVE_KEYS, "Leave?")
    screen.forget_input()
    while True:
        page.draw()
        screen.flip()
        for press in screen.presses():
            if press.key == "l":
                raise Left(f"left by Escape {where}")
            if press.key == "space":
                screen.forget_input()
                return


def read(
    screen: Screen,
    words: str,
    title: str = "",
    foot: str = texts.GO_ON,
    keys: Sequence[str] = ("space",),
) -> str:
    """Show a text, on as many pages as it needs; returns the key that ended it."""
    first = cut(screen, words)
    for piece in first[:-1]:
        turn(screen, Page(screen, piece, texts.GO_ON, title), ["space"])
    return turn(screen, Page(screen, first[-1], foot, title), keys)


def agrees(screen: Screen, task: HumanTask) -> bool:
    """Whether the participant consents; asked only where there is a text."""
    if task.consent is None:
        return True
    key = read(screen, task.consent, task.title, texts.AGREE, ("y", "n"))
    return key == "y"


def instruct(screen: Screen, task: HumanTask, response: str) -> None:
    """The pages of the task."""
    for page in texts.instructions(task, response):
        read(screen, page, task.title)


class Practice:
    """Arrows to answer to, without stimuli, until each was answered rightly."""

    def __init__(
        self, screen: Screen, task: HumanTask, response: str, asks: Asks
    ) -> None:
        """``asks`` is how trials are answered too."""
        self._screen, self._task, self._asks = screen, task, asks
        self._choice = response == "choice"
        self._arrow = arrow(screen, 0.2 * screen.layout.unit)
        unit = screen.layout.unit
        self._verdicts = {
            right: text(screen, words, 0.035, 0.2 * unit)
            for right, words in ((True, "Good"), (False, "Not there: try again"))
        }

    def run(self) -> None:
        """As many arrows as the task asks for; raises :class:`Left`."""
        if not self._task.practice_trials:
            return
        page = texts.PRACTICE_CHOICE if self._choice else texts.PRACTICE_GRADED
        read(self._screen, texts.filled(page, self._task), "Practice")
        targets = SIDES if self._choice else PLACES
        for number in range(self._task.practice_trials):
            target = targets[number % len(targets)]
            while not self._answered(target):
                pass

    def _answered(self, target: float) -> bool:
        self._screen.show_pointer(not self._choice)
        self._point_at(target)
        self._screen.forget_input()
        self._asks.begin(self._screen.now())
        value = self._value()
        right = abs(value - target) <= CLOSE
        verdict = self._verdicts[right]

        def draw() -> None:
            self._asks.draw(value)
            self._arrow.draw()
            verdict.draw()

        show_for(self._screen, SHOWN_S, draw)
        return right

    def _point_at(self, target: float) -> None:
        """Sideways from the middle, or down on a place of the scale."""
        layout = self._screen.layout
        if self._choice:
            self._arrow.ori = psychopy_ori(0.0 if target > 0 else 180.0)
            return
        self._arrow.ori = psychopy_ori(270.0)
        at = target * layout.scale_half
        self._arrow.pos = (at, layout.scale_y + 0.17 * layout.unit)

    def _value(self) -> float:
        now = self._screen.now()
        while True:
            presses = self._screen.presses()
            if any(press.key == "escape" for press in presses):
                ask_to_leave(self._screen, "in practice")
                self._asks.begin(self._screen.now())
                presses = []
            if given := self._asks.poll(presses, now):
                return given.value
            self._arrow.draw()
            self._asks.draw()
            now = self._screen.flip()


def show_for(screen: Screen, seconds: float, draw: Callable[[], Any]) -> None:
    """The same picture for some time, to the nearest frame."""
    for _ in range(max(1, round(seconds / screen.frames.nominal_s))):
        draw()
        screen.flip()
