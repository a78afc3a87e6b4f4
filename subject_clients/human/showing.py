"""One trial in the window: fixation, stimulus, answer, feedback."""

from dataclasses import dataclass
from typing import Any

from server.human_task import HumanTask
from server.protocol import Trial
from subject_clients.adapter import Answer
from subject_clients.human import texts
from subject_clients.human.answers import Given, way_to_answer
from subject_clients.human.drawing import Fixation, Progress, Scale, text
from subject_clients.human.screens import show_for
from subject_clients.human.stimuli import Shown
from subject_clients.human.window import Screen


class Escaped(Exception):
    """Escape was pressed before there was an answer."""


@dataclass
class Timing:
    """When things were on the screen, in seconds of the window's clock."""

    fixation_s: float = 0.0
    onset_s: float = 0.0
    offset_s: float | None = None
    requested_s: float | None = None
    """How long the stimulus was to be there; None until the answer."""
    answered_s: float | None = None
    frames_dropped: int = 0
    interrupted: int = 0

    def clocks(self) -> dict[str, float]:
        """For the server; what is not known is left out."""
        known: dict[str, float | None] = {
            "onset_s": round(self.onset_s, 5),
            "shown_s": self.shown_s,
            "requested_s": self.requested_s,
            "frames_dropped": self.frames_dropped,
            "interrupted": self.interrupted,
        }
        return {name: value for name, value in known.items() if value is not None}

    @property
    def shown_s(self) -> float | None:
        """How long the stimulus was there."""
        if self.offset_s is None:
            return None
        return round(self.offset_s - self.onset_s, 5)


class Stage:
    """Shows trials in a window, one after the other."""

    def __init__(self, screen: Screen, task: HumanTask, response: str) -> None:
        """Texts, keys and times are the task's."""
        self.screen, self._task, self._choice = screen, task, response == "choice"
        self.asks = way_to_answer(screen, task, response)
        self._scale = Scale(screen, task.left, task.right)
        self._fixation, self.progress = Fixation(screen), Progress(screen)
        unit = screen.layout.unit
        self._slow = text(screen, texts.TOO_SLOW, 0.04)
        self._points = text(screen, "", 0.05, 0.02 * unit, bold=True)
        self._sum = text(screen, "", 0.028, -0.06 * unit)
        self._wait = text(screen, texts.WAITING, 0.03, 0.1 * unit)
        self._waited = 0
        self.points = 0

    def warm_up(self) -> None:
        """Draw everything once: the first time takes long."""
        self._points.text = self._sum.text = "+1 Points: 0123456789"
        parts = (self._fixation, self.progress, self._slow, self._points, self._sum)

        def draw() -> None:
            for part in (*parts, self._wait):
                part.draw()
            self._scale.draw(0.0, 0.0)
            self.asks.draw(1.0, 1.0)

        self.screen.warm_up(draw)

    def idle(self, ready: bool = False) -> None:
        """A frame without a trial; from the second second on it says so."""
        self._waited = 0 if ready else self._waited + 1
        if self._waited * self.screen.frames.nominal_s > 1:
            self._wait.draw()
        self._rest()
        self.screen.flip()

    def ask(self, shown: Shown, timing: Timing) -> Answer:
        """Fixation and stimulus, until there is an answer or time is up.

        Raises :class:`Escaped`. Fills in ``timing``.
        """
        self._waited = 0
        self.screen.show_pointer(not self._choice)
        self.screen.frames.begin()
        self._fixate(timing)
        given = self._present(shown, timing)
        timing.frames_dropped = self.screen.frames.dropped()
        clocks = timing.clocks()
        if given is None:
            return Answer(outcome="omission", clocks=clocks)
        timing.answered_s = given.at_s
        reaction_time_s = round(max(given.at_s - timing.onset_s, 0.0), 5)
        return Answer(round(given.value, 4), "responded", reaction_time_s, clocks)

    def feedback(self, trial: Trial, answer: Answer) -> None:
        """What training tells, or that it was too slow."""
        told = trial.feedback or {}
        late = answer.outcome == "omission"
        if not told and not late:
            return
        if "rewarded" in told:
            self._pay(answer.value, 1.0 if told["rewarded"] == "right" else -1.0)

        def draw() -> None:
            self._tell(told, answer.value)
            if late:
                self._slow.draw()
            self.progress.draw()

        show_for(self.screen, self._task.feedback_s, draw)

    def _fixate(self, timing: Timing) -> None:
        frames = round(self._task.fixation_s / self.screen.frames.nominal_s)
        for frame in range(frames):
            self._rest()
            at_s = self.screen.flip()
            if frame == 0:
                timing.fixation_s = at_s

    def _present(self, shown: Shown, timing: Timing) -> Given | None:
        """Returns the answer, if one came in time."""
        self.screen.forget_input()
        self.asks.begin(self.screen.now())  # the mark of the trial before is gone
        self._frame(shown)
        timing.onset_s = now = self.screen.flip()
        timing.offset_s, timing.requested_s = None, self._task.stimulus_s
        shown.begin()
        self.asks.begin(now)
        try:
            while not self._over(self._task.answer_within_s, now - timing.onset_s):
                if given := self._given(now):
                    return given
                there = not self._over(self._task.stimulus_s, now - timing.onset_s)
                self._frame(shown if there else None)
                now = self.screen.flip()
                if not there and timing.offset_s is None:
                    timing.offset_s = now
            return None
        finally:
            shown.end()
            if timing.offset_s is None:
                self._frame(None)
                timing.offset_s = self.screen.flip()

    def _over(self, limit_s: float | None, passed_s: float) -> bool:
        """Whether the next frame is the first after a limit."""
        nominal_s = self.screen.frames.nominal_s
        return limit_s is not None and passed_s + nominal_s / 2 > limit_s - nominal_s

    def _given(self, now: float) -> Given | None:
        presses = self.screen.presses()
        if any(press.key == "escape" for press in presses):
            raise Escaped
        return self.asks.poll(presses, now)

    def _frame(self, shown: Shown | None) -> None:
        self.progress.draw()
        if shown is not None:
            shown.draw()
        self.asks.draw()

    def _rest(self) -> None:
        self.progress.draw()
        self._fixation.draw()

    def _tell(self, told: dict[str, Any], answer: float | None) -> None:
        if "label" in told:
            self._scale.draw(answer, float(told["label"]))
        elif "rewarded" in told:
            truth = 1.0 if told["rewarded"] == "right" else -1.0
            self.asks.draw(answer, truth)
            self._points.draw()
            self._sum.draw()
        else:
            self.asks.draw(answer)

    def _pay(self, answer: float | None, side: float) -> None:
        won = int(answer is not None and answer * side > 0)
        self.points += won
        self._points.text = "+1" if won else "0"
        self._sum.text = f"Points: {self.points}"
