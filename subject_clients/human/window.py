"""A PsychoPy window with its keyboard and pointer, and a clock for all of them."""

import itertools
import logging
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from subject_clients.human.geometry import (
    NORM_HEIGHT_DEG,
    PX_PER_DEG,
    Layout,
    Point,
    px_per_degree,
)
from subject_clients.human.timing import UNPACED_S, Frames, Pace

_LOG = logging.getLogger(__name__)

BACKGROUND = "#808080"
"""Grey half-way between black and white, in between which gratings go."""

UNITS = ("deg", "px", "norm")

PACED_S = 1 / 60
"""A turn of the loop where no display holds it up."""

MEASURED_FLIPS = 40


@dataclass(frozen=True)
class Display:
    """Where the window opens and how large a degree is in it."""

    screen: int = 0
    full_screen: bool = True
    size: tuple[int, int] = (1024, 768)
    """In pixels, unless it fills the screen."""
    units: str = "deg"
    monitor: str | None = None
    """Name in PsychoPy's Monitor Center, which holds its width and distance."""
    width_cm: float | None = None
    distance_cm: float | None = None

    def __post_init__(self) -> None:
        """Refuse degrees without a calibration."""
        if self.units not in UNITS:
            raise ValueError(f"units: expected {', '.join(UNITS)}; got {self.units!r}")
        measured = self.width_cm and self.distance_cm
        if self.units == "deg" and not (measured or self.monitor):
            raise ValueError(
                "degrees of visual angle need the width of the screen and the distance "
                "of the eyes: give --width-cm and --distance-cm, or a --monitor of "
                "PsychoPy's Monitor Center. For a rehearsal without: --units norm"
            )


class Press(NamedTuple):
    """A key that went down, at a time of the window's clock."""

    key: str
    at_s: float


class Click(NamedTuple):
    """A mouse button that went down at a place, in pixels from the centre."""

    where: Point
    at_s: float


class Screen:
    """One window; only the thread that opened it may touch it.

    Everything is drawn in pixels from the centre, y upwards. All times are of
    PsychoPy's own clock, that of its log file.
    """

    def __init__(self, display: Display) -> None:
        """Open the window and measure its frame rate.

        Raises ``ValueError`` for a monitor without width or distance.
        """
        from psychopy import event, visual
        from psychopy import logging as psycho_log
        from psychopy.hardware import keyboard

        # It warns of a monitor that has no file, which ours never has.
        psycho_log.console.setLevel(psycho_log.ERROR)
        self.display = display
        monitor = _monitor(display)
        self.window: Any = visual.Window(
            size=display.size,
            fullscr=display.full_screen,
            screen=display.screen,
            monitor=monitor,
            units="pix",
            color=BACKGROUND,
            allowGUI=not display.full_screen,
            checkTiming=False,
            winType="pyglet",
        )
        self.layout = Layout(*map(float, self.window.size))
        self.px_per_deg = _px_per_deg(self.window, display, self.layout)
        self._clock = psycho_log.defaultClock
        self._keyboard: Any = keyboard.Keyboard(clock=self._clock)
        self._mouse: Any = event.Mouse(win=self.window)
        self._clicks: list[Click] = []
        self._down: set[str] = set()
        self._seen: set[tuple[str, float]] = set()
        self.window.winHandle.push_handlers(on_mouse_press=self._clicked)
        self._pace: Pace | None = None
        self.frames = Frames(self._measured())

    @property
    def vsync(self) -> bool:
        """Whether the display holds up a flip until it shows the frame."""
        return self._pace is None

    def now(self) -> float:
        """Seconds on the window's clock."""
        return float(self._clock.getTime())

    def flip(self) -> float:
        """Show what was drawn; returns when it was, in seconds."""
        if self._pace is not None:
            self._pace.wait()
        at_s = float(self.window.flip())
        self.frames.note(at_s)
        return at_s

    def presses(self) -> list[Press]:
        """Keys that went down since they were last asked for."""
        # PsychoPy hands a key out when it is down, and once more when it was let go.
        came = [
            *self._keyboard.getKeys(waitRelease=False),
            *self._keyboard.getKeys(waitRelease=True),
        ]
        new = []
        for key in came:
            name = _plain(key.name)
            up = getattr(key, "duration", None) is not None
            (self._down.discard if up else self._down.add)(name)
            if (name, key.rt) not in self._seen:
                self._seen.add((name, key.rt))
                new.append(Press(name, float(key.rt)))
        return new

    def held(self, key: str) -> bool:
        """Whether a key is down, as of the last ``presses``."""
        return key in self._down

    def clicks(self) -> list[Click]:
        """Mouse buttons that went down since they were last asked for."""
        clicks, self._clicks = self._clicks, []
        return clicks

    def pointer(self) -> Point:
        """Where the mouse is."""
        x, y = self._mouse.getPos()
        return float(x), float(y)

    def show_pointer(self, shown: bool) -> None:
        """Whether the arrow of the mouse is there."""
        self.window.mouseVisible = shown

    def forget_input(self) -> None:
        """Keys and clicks until now are of no account."""
        self.presses()
        self._clicks.clear()
        self._seen.clear()

    def warm_up(self, draw: Callable[[], object]) -> None:
        """Draw once without showing it: the first time takes long."""
        draw()
        self.window.clearBuffer()
        self.frames.rest()

    def close(self) -> None:
        """Close the window."""
        self.window.close()

    def _clicked(self, x: int, y: int, *_: int) -> None:
        handle = self.window.winHandle
        across = self.layout.width / handle.width
        up = self.layout.height / handle.height
        where = (x - handle.width / 2) * across, (y - handle.height / 2) * up
        self._clicks.append(Click(where, self.now()))

    def _measured(self) -> float:
        """Seconds between frames; where no display paces them, of a clock."""
        times = [float(self.window.flip()) for _ in range(MEASURED_FLIPS)]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        typical = statistics.median(gaps)
        if typical > UNPACED_S:
            return typical
        _LOG.warning("this display has no vertical sync: frames are paced by a clock")
        self._pace = Pace(PACED_S)
        return PACED_S


def _plain(key: str) -> str:
    """One name for a key wherever it is on the keyboard."""
    number = key.removeprefix("num_")
    return "return" if key in ("enter", "num_enter") else number


def _monitor(display: Display) -> Any:
    from psychopy import monitors

    if display.width_cm and display.distance_cm:
        return monitors.Monitor(
            "penchant", width=display.width_cm, distance=display.distance_cm
        )
    if display.monitor is None:
        return None
    if display.monitor not in monitors.getAllMonitors():
        raise ValueError(
            f"PsychoPy knows no monitor {display.monitor!r}: expected one of "
            f"{', '.join(monitors.getAllMonitors())}"
        )
    kept = monitors.Monitor(display.monitor)
    if not (kept.getWidth() and kept.getDistance() and kept.getSizePix()):
        raise ValueError(
            f"the monitor {display.monitor!r} has no width, distance or size in "
            "pixels: enter them in PsychoPy's Monitor Center"
        )
    return kept


def _px_per_deg(window: Any, display: Display, layout: Layout) -> float:
    if display.units == "norm":
        return layout.height / NORM_HEIGHT_DEG
    if display.units == "px":
        return PX_PER_DEG
    monitor = window.monitor
    if display.width_cm and display.distance_cm:
        screen = window.winHandle.screen
        monitor.setSizePix([screen.width, screen.height])
    return px_per_degree(
        monitor.getSizePix()[0], monitor.getWidth(), monitor.getDistance()
    )
