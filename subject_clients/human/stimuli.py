"""Stimuli by the names of their parameters, drawn or played by PsychoPy."""

import math
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from subject_clients.human.drawing import INK, PAPER
from subject_clients.human.geometry import (
    BIGGEST_BLOB,
    blob,
    fits,
    on_ring,
    psychopy_ori,
)
from subject_clients.human.window import Screen

CYCLES_PER_DEG = 1.0
"""Spatial frequency of gratings."""

CONTRAST = 0.9

GOLDEN = (math.sqrt(5) - 1) / 2

SAMPLE_RATE = 44_100

TONE_S = 0.6
RAMP_S = 0.02

LOUDNESS = 0.3

Stimulus = dict[str, Any]


class Context(NamedTuple):
    """Where stimuli are shown, how large, and where their files lie."""

    screen: Screen
    size_deg: float
    folder: Path | None

    @property
    def size_px(self) -> float:
        """The diameter of a stimulus."""
        return self.size_deg * self.screen.px_per_deg

    def fits(self, radius_px: float) -> None:
        """Raise ``ValueError`` for stimuli that would cover the scale."""
        fits(radius_px, self.size_deg, self.screen.layout)


class Shown(Protocol):
    """A kind of stimulus, made once for a session."""

    def __init__(self, context: Context) -> None:
        """Raises ``ValueError`` where it cannot be shown at all."""
        ...

    def prepare(self, stimulus: Stimulus, index: int) -> None:
        """Get ready to show one, in trial ``index``; may take longer than a frame."""
        ...

    def draw(self) -> None:
        """For the next flip."""
        ...

    def begin(self) -> None:
        """It is on the screen now."""
        ...

    def end(self) -> None:
        """It is no longer."""
        ...


class Still:
    """A stimulus that only has to be drawn."""

    def begin(self) -> None:
        """Nothing but a picture."""

    def end(self) -> None:
        """Nothing but a picture."""


class Gabor(Still):
    """``orientation_deg``: of the stripes, counter-clockwise from horizontal."""

    def __init__(self, context: Context) -> None:
        """The Gaussian ends, at three standard deviations, at the stimulus' edge."""
        from psychopy import visual

        context.fits(context.size_px / 2)
        self._grating: Any = visual.GratingStim(
            context.screen.window,
            tex="sin",
            mask="gauss",
            size=context.size_px,
            sf=CYCLES_PER_DEG / context.screen.px_per_deg,
            contrast=CONTRAST,
            texRes=512,
        )

    def prepare(self, stimulus: Stimulus, index: int) -> None:
        """Each trial has a phase of its own, so that no pixel tells the angle."""
        self._grating.ori = psychopy_ori(float(stimulus["orientation_deg"]))
        self._grating.phase = index * GOLDEN % 1

    def draw(self) -> None:
        """For the next flip."""
        self._grating.draw()


class Dot(Still):
    """``direction_deg``: a dot on a ring, counter-clockwise from the right."""

    def __init__(self, context: Context) -> None:
        """The ring is as wide as the stimulus."""
        from psychopy import visual

        window, self._radius = context.screen.window, context.size_px / 2
        dot = max(5.0, self._radius / 8)
        context.fits(self._radius + dot)
        self._ring: Any = visual.Circle(
            window,
            radius=self._radius,
            edges=128,
            fillColor=None,
            lineColor=INK,
            lineWidth=2,
        )
        self._dot: Any = visual.Circle(
            window, radius=dot, edges=48, fillColor=PAPER, lineColor=INK
        )

    def prepare(self, stimulus: Stimulus, index: int) -> None:  # noqa: ARG002
        """Move the dot."""
        self._dot.pos = on_ring(float(stimulus["direction_deg"]), self._radius)

    def draw(self) -> None:
        """For the next flip."""
        self._ring.draw()
        self._dot.draw()


class Blob(Still):
    """``parameters``: a closed shape for a point on the sphere."""

    def __init__(self, context: Context) -> None:
        """Its mean diameter is the stimulus' size."""
        self._window, self._radius = context.screen.window, context.size_px / 2
        context.fits(self._radius * BIGGEST_BLOB)
        self._shape: Any = None

    def prepare(self, stimulus: Stimulus, index: int) -> None:  # noqa: ARG002
        """Cut it out."""
        from psychopy import visual

        contour = blob([float(p) for p in stimulus["parameters"]], self._radius)
        self._shape = visual.ShapeStim(
            self._window,
            vertices=contour,
            fillColor=PAPER,
            lineColor=INK,
            lineWidth=2,
        )

    def draw(self) -> None:
        """For the next flip."""
        self._shape.draw()


class Picture(Still):
    """``file`` or ``image``: a picture, as large as fits the stimulus' size."""

    def __init__(self, context: Context) -> None:
        """Pictures lie in ``folder``."""
        from psychopy import visual

        self._folder, self._side = context.folder, context.size_px
        context.fits(self._side / 2)
        self._image: Any = visual.ImageStim(context.screen.window, interpolate=True)

    def prepare(self, stimulus: Stimulus, index: int) -> None:  # noqa: ARG002
        """Load it, and keep its proportions."""
        from PIL import Image, UnidentifiedImageError

        path = found(stimulus, self._folder)
        try:
            with Image.open(path) as opened:
                wide, high = opened.size
        except UnidentifiedImageError as error:
            raise ValueError(
                f"{path} cannot be shown: expected PNG, JPEG or the like"
            ) from error
        zoom = self._side / max(wide, high)
        self._image.image = str(path)
        self._image.size = (wide * zoom, high * zoom)

    def draw(self) -> None:
        """For the next flip."""
        self._image.draw()


class Sound:
    """What is heard; nothing but the fixation cross is seen."""

    def __init__(self, context: Context) -> None:
        """Raises ``ValueError`` where nothing can play it."""
        self._sound: Any = None
        self._folder = context.folder
        self._loaded()

    @staticmethod
    def _loaded() -> Any:
        try:
            from psychopy import sound

            sound.Sound(value="A", secs=0.05)  # only now is the device opened
        except Exception as error:  # each of PsychoPy's sound libraries has its own
            raise ValueError(
                "this study plays sounds, and this computer has no device for them "
                f"({error}): plug in headphones, and see docs/human.md"
            ) from error
        return sound

    def draw(self) -> None:
        """Nothing to see."""

    def begin(self) -> None:
        """Play it."""
        self._sound.play()

    def end(self) -> None:
        """Stop it."""
        self._sound.stop()


class Tone(Sound):
    """``frequency_hz``, ``phase_deg``: the right ear leads by the phase."""

    def prepare(self, stimulus: Stimulus, index: int) -> None:  # noqa: ARG002
        """Both ears' waves."""
        import numpy as np

        frequency_hz, phase_deg = stimulus["frequency_hz"], stimulus["phase_deg"]
        waves = np.array(stereo(float(frequency_hz), float(phase_deg)), np.float32)
        self._sound = self._loaded().Sound(
            value=waves, sampleRate=SAMPLE_RATE, stereo=True
        )


class Recording(Sound):
    """``file``: a sound."""

    def prepare(self, stimulus: Stimulus, index: int) -> None:  # noqa: ARG002
        """Load it."""
        self._sound = self._loaded().Sound(value=str(found(stimulus, self._folder)))


def stereo(frequency_hz: float, phase_deg: float) -> list[tuple[float, float]]:
    """Samples of the left and right ear, in [-1, 1], with soft ends.

    The ends are the same in both ears: only the phase tells the side.
    """
    count = round(TONE_S * SAMPLE_RATE)
    lead = math.radians(phase_deg)
    samples = []
    for n in range(count):
        t = n / SAMPLE_RATE
        edge = min(t, TONE_S - t) / RAMP_S
        loud = LOUDNESS * (math.sin(math.pi / 2 * edge) ** 2 if edge < 1 else 1.0)
        angle = 2 * math.pi * frequency_hz * t
        samples.append((loud * math.sin(angle), loud * math.sin(angle + lead)))
    return samples


def file_name(stimulus: Stimulus) -> str:
    """The file that a stimulus needs; images without one are numbered."""
    return str(stimulus.get("file") or f"{stimulus['image']}.png")


def found(stimulus: Stimulus, folder: Path | None) -> Path:
    """Where the file of a stimulus lies; raises ``ValueError`` if nowhere."""
    name = file_name(stimulus)
    if folder is None or not (folder / name).is_file():
        raise ValueError(
            f"the file {name!r} of a stimulus is missing: name its folder with "
            "--stimuli, or let the server have it"
        )
    return folder / name


KINDS: dict[str, type[Shown]] = {
    "file": Picture,
    "image": Picture,
    "orientation_deg": Gabor,
    "direction_deg": Dot,
    "parameters": Blob,
    "phase_deg": Tone,
}
"""What shows a stimulus that has a parameter of this name; the first that fits."""


def kind_of(stimulus: Stimulus) -> type[Shown]:
    """The class for a stimulus; raises ``ValueError`` if there is none."""
    if str(stimulus.get("file") or "").lower().endswith(".wav"):
        return Recording
    for name, kind in KINDS.items():
        if stimulus.get(name) is not None:
            return kind
    raise ValueError(
        f"no way is known to show a stimulus of {', '.join(stimulus) or 'nothing'}: "
        f"expected one of {', '.join(KINDS)}. Give the table of stimuli a column "
        "`file` with a picture or .wav for each, or show them in a script of your own "
        "with PenchantTrials (docs/human.md)"
    )


class Stimuli:
    """All kinds of stimuli of a session, each made when it is first needed."""

    def __init__(self, screen: Screen, size_deg: float, folder: Path | None) -> None:
        """At ``size_deg``; files lie in ``folder``."""
        self._context = Context(screen, size_deg, folder)
        self._made: dict[type[Shown], Shown] = {}

    def prepared(self, stimulus: Stimulus, index: int) -> Shown:
        """Ready to be drawn without delay.

        Raises ``ValueError`` for what cannot be shown, or not at this size.
        """
        kind = kind_of(stimulus)
        if kind not in self._made:
            self._made[kind] = kind(self._context)
        shown = self._made[kind]
        shown.prepare(stimulus, index)
        self._context.screen.warm_up(shown.draw)
        return shown
