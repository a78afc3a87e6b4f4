"""What sessions draw beside stimuli: pages, the scale, the sides, marks."""

from typing import Any

from subject_clients.human.geometry import Layout
from subject_clients.human.paging import pages
from subject_clients.human.texts import TRUE_VALUE
from subject_clients.human.window import Screen

PAPER = "#f7f6f2"
INK = "#161616"
QUIET = "#3d3d3d"
BAR = "#b4b4b4"
ANSWER = "#ffffff"
TRUTH = "#ffd23f"
"""Of marks; shapes and words tell them apart too."""

FONT = "DejaVu Sans"


def text(screen: Screen, words: str, share: float, y: float = 0.0, **more: Any) -> Any:
    """Centred words; ``share`` is the height of letters in that of the window."""
    from psychopy import visual

    layout = screen.layout
    settings = {
        "color": INK,
        "wrapWidth": 0.9 * layout.width,
        "height": max(9.0, share * layout.unit),
        "font": FONT,
        "pos": (0.0, y),
    }
    return visual.TextStim(screen.window, text=words, **(settings | more))


def rect(screen: Screen, width: float, height: float, color: str, **more: Any) -> Any:
    """A filled rectangle, in pixels."""
    from psychopy import visual

    settings = {"lineWidth": 0, "fillColor": color, "lineColor": color}
    return visual.Rect(screen.window, width=width, height=height, **(settings | more))


def polygon(screen: Screen, corners: list[tuple[float, float]], color: str) -> Any:
    """A filled shape with a thin dark edge, in pixels."""
    from psychopy import visual

    return visual.ShapeStim(
        screen.window,
        vertices=corners,
        fillColor=color,
        lineColor=INK,
        lineWidth=1.5,
    )


class Page:
    """Words on paper, and below them the keys that count."""

    def __init__(self, screen: Screen, words: str, foot: str, title: str = "") -> None:
        """All on one page: long texts are cut by :func:`cut` first."""
        unit = screen.layout.unit
        wide = {"wrapWidth": _column(screen.layout)}
        body = _body(screen, words)
        head = 0.14 * unit if title else 0.09 * unit
        tall = max(head + body.boundingBox[1] + 0.17 * unit, 0.3 * unit)
        top = tall / 2
        body.pos = (-wide["wrapWidth"] / 2, top - head)
        rule = rect(screen, wide["wrapWidth"], 1, BAR, pos=(0, -top + 0.105 * unit))
        self._parts = [
            rect(screen, _paper(screen.layout), tall, PAPER),
            text(screen, title, 0.04, top - 0.075 * unit, bold=True, **wide),
            body,
            rule,
            text(screen, foot, 0.027, -top + 0.054 * unit, color=QUIET, **wide),
        ]

    def draw(self) -> None:
        """For the next flip."""
        for part in self._parts:
            part.draw()


def cut(screen: Screen, words: str) -> list[str]:
    """A text as pages of which each fits on the paper."""
    probe = _body(screen, "")
    room = 0.9 * screen.layout.height - 0.31 * screen.layout.unit

    def fits(piece: str) -> bool:
        probe.text = piece
        return bool(probe.boundingBox[1] <= room)

    return pages(words, fits)


def _body(screen: Screen, words: str) -> Any:
    """Words from the upper left, as wide as a column."""
    return text(
        screen,
        words,
        0.031,
        wrapWidth=_column(screen.layout),
        anchorVert="top",
        anchorHoriz="left",
        alignText="left",
    )


def _paper(layout: Layout) -> float:
    return min(0.9 * layout.width, 1.1 * layout.unit)


def _column(layout: Layout) -> float:
    return 0.82 * _paper(layout)


class Fixation:
    """A small cross in the middle."""

    def __init__(self, screen: Screen) -> None:
        """A third of a degree wide, but never too small to see."""
        size = max(14.0, 0.35 * screen.px_per_deg)
        self._parts = [
            rect(screen, size, size / 7, INK),
            rect(screen, size / 7, size, INK),
        ]

    def draw(self) -> None:
        """For the next flip."""
        for part in self._parts:
            part.draw()


class Progress:
    """How much of a session is done, as a thin bar at the top."""

    def __init__(self, screen: Screen) -> None:
        """Empty."""
        layout = screen.layout
        self._width, self._left = 0.3 * layout.unit, -0.15 * layout.unit
        at, thick = 0.47 * layout.height, max(4.0, 0.006 * layout.height)
        self._back = rect(screen, self._width, thick, "#6c6c6c", pos=(0, at))
        self._bar = rect(screen, 1, thick, BAR, pos=(0, at))
        self._at = at

    def set(self, done: int, of: int) -> None:
        """So many trials of so many."""
        length = self._width * done / max(of, 1)
        self._bar.width = max(length, 0.01)
        self._bar.pos = (self._left + length / 2, self._at)

    def draw(self) -> None:
        """For the next flip."""
        self._back.draw()
        self._bar.draw()


class Scale:
    """A line from left to right, with marks of the answer and of the truth."""

    def __init__(self, screen: Screen, left: str, right: str) -> None:
        """``left`` and ``right`` name the ends."""
        layout = screen.layout
        self.half, self.y = layout.scale_half, layout.scale_y
        self.reach = 0.07 * layout.height
        tick = 0.022 * layout.height
        line = max(3.0, 0.005 * layout.height)
        under = self.y - 0.052 * layout.height
        self._frame = [
            rect(screen, 2 * self.half + line, line, INK, pos=(0, self.y)),
            *(
                rect(screen, line, tick, INK, pos=(x, self.y))
                for x in (-self.half, 0, self.half)
            ),
            text(screen, left, 0.028, under, alignText="center"),
            text(screen, right, 0.028, under, alignText="center"),
        ]
        self._frame[-2].pos = (-self.half, under)
        self._frame[-1].pos = (self.half, under)
        size = 0.02 * layout.height
        self._answer = polygon(screen, _knob(size), ANSWER)
        self._truth = polygon(screen, _pointer_down(size), TRUTH)
        self._lift = 0.85 * size
        self._word = text(screen, TRUE_VALUE, 0.025, self.y + 3.7 * size)

    def draw(self, answer: float | None = None, truth: float | None = None) -> None:
        """For the next flip; marks are in [-1, 1]."""
        for part in self._frame:
            part.draw()
        if answer is not None:
            self._answer.pos = (answer * self.half, self.y)
            self._answer.draw()
        if truth is not None:
            self._truth.pos = (truth * self.half, self.y + self._lift)
            self._truth.draw()
            self._word.pos = (truth * self.half, self._word.pos[1])
            self._word.draw()


class Sides:
    """The two answers of a choice, with their keys."""

    def __init__(self, screen: Screen, names: tuple[str, str], keys: list[str]) -> None:
        """Left and right: what they are called, and the keys for them."""
        layout = screen.layout
        width, height = 0.34 * layout.unit, 0.11 * layout.unit
        self._boxes, self._words = [], []
        for side, name, key in zip((-1, 1), names, keys, strict=True):
            x = side * 0.62 * layout.scale_half
            self._boxes.append(
                rect(screen, width, height, BAR, pos=(x, layout.scale_y))
            )
            above, below = layout.scale_y + height / 5, layout.scale_y - height / 4
            self._words += [
                text(screen, name, 0.03, above, wrapWidth=width, bold=True),
                text(screen, key, 0.027, below, wrapWidth=width, color=QUIET),
            ]
            for word in self._words[-2:]:
                word.pos = (x, word.pos[1])
        up = layout.scale_y + 0.75 * height
        self._mark = polygon(screen, _pointer_down(0.02 * layout.height), TRUTH)
        self._mark_at = {s: (s * 0.62 * layout.scale_half, up) for s in (-1, 1)}

    def draw(self, answer: float | None = None, truth: float | None = None) -> None:
        """For the next flip; the side that was chosen, and the one that was right."""
        for side, box in zip((-1, 1), self._boxes, strict=True):
            box.fillColor = ANSWER if answer == side else BAR
            box.draw()
        for word in self._words:
            word.draw()
        if truth is not None:
            self._mark.pos = self._mark_at[1 if truth > 0 else -1]
            self._mark.draw()


def arrow(screen: Screen, length: float) -> Any:
    """An arrow that points up; turned by its ``ori``."""
    half, head, thick = length / 2, 0.35 * length, 0.09 * length
    outline = [
        (-thick, -half),
        (-thick, half - head),
        (-2.6 * thick, half - head),
        (0, half),
        (2.6 * thick, half - head),
        (thick, half - head),
        (thick, -half),
    ]
    return polygon(screen, outline, PAPER)


def _knob(size: float) -> list[tuple[float, float]]:
    return [(-size / 3, -size), (size / 3, -size), (size / 3, size), (-size / 3, size)]


def _pointer_down(size: float) -> list[tuple[float, float]]:
    return [(0, 0), (-0.9 * size, 1.5 * size), (0.9 * size, 1.5 * size)]
