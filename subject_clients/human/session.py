"""A human session from consent to thanks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from server.human_task import HumanStudy
from server.protocol import Assignment, Done, Trial
from subject_clients.adapter import Answer
from subject_clients.handover import Handover, Runs
from subject_clients.human import texts
from subject_clients.human.records import DataFiles, Progressed
from subject_clients.human.screens import (
    Left,
    Practice,
    agrees,
    ask_to_leave,
    instruct,
    read,
)
from subject_clients.human.showing import Escaped, Stage, Timing
from subject_clients.human.stimuli import Stimuli
from subject_clients.human.window import Screen

FAREWELL_S = 30.0
"""How long a session that is left waits for the server to know."""

Capabilities = dict[str, str | float | bool]

Connect = Callable[[Handover, Capabilities], Runs]
"""Makes the session loop of an adapter, with what the server is to keep."""


class Participant(NamedTuple):
    """Who takes part, and where this computer keeps what they do."""

    name: str
    data: Path


class Session:
    """One participant in one window."""

    def __init__(
        self,
        screen: Screen,
        study: HumanStudy,
        participant: Participant,
        stimuli: Path | None,
        connect: Connect,
    ) -> None:
        """``stimuli`` is the folder of their files, if there are any."""
        self._screen, self._study, self._task = screen, study, study.task
        self._stimuli = Stimuli(screen, study.task.size_deg, stimuli)
        self._stage = Stage(screen, study.task, study.response)
        name, data = participant
        self._so_far = Progressed(data, name, study)
        self._files = DataFiles(data, name, study.study, self._about())
        self._connect = connect
        self._hand = Handover()
        self._here = 0
        """Trials shown in this run."""

    def run(self) -> str:
        """Everything, in order; returns how it ended.

        Raises ``OSError`` for a server that refuses or is gone, ``ValueError`` for
        stimuli that cannot be shown. The session can then be gone on with.
        """
        try:
            if not self._introduced():
                read(self._screen, texts.DECLINED, foot="Space bar: close")
                return "declined: no session was begun"
            self._hand.run(self._connect(self._hand, self._capabilities()))
            self._so_far.begin()
            done = self._trials()
        except Left as left:
            done = self._leave(str(left))
        finally:
            self._files.note(f"frames: {self._screen.frames.summary()}")
            self._files.close()
        self._so_far.end()
        self._thank(done)
        return done.reason

    def _introduced(self) -> bool:
        """Consent, instructions, practice; once for each session."""
        if self._so_far.ready:
            read(self._screen, texts.WELCOME_BACK, self._task.title)
            self._stage.warm_up()
            return True
        if not agrees(self._screen, self._task):
            return False
        self._so_far.agreed()
        self._files.note(f"consent: {self._so_far.capabilities() or 'not asked'}")
        instruct(self._screen, self._task, self._study.response)
        self._stage.warm_up()
        Practice(self._screen, self._task, self._study.response, self._stage.asks).run()
        trials = self._study.training_trials + self._study.test_trials
        read(self._screen, texts.PRACTISED.format(trials=trials), self._task.title)
        return True

    def _trials(self) -> Done:
        while True:
            if done := self._hand.done():
                return done
            trial, assignment = self._hand.trial(), self._hand.assignment
            if trial is None or assignment is None:
                self._wait()
            else:
                self._pause(trial, assignment)
                self._show(trial, assignment)

    def _wait(self) -> None:
        """A frame in which the server has nothing to show."""
        self._stage.idle()
        if any(press.key == "escape" for press in self._screen.presses()):
            ask_to_leave(self._screen, "between two trials")

    def _pause(self, trial: Trial, assignment: Assignment) -> None:
        """A break, where one is due."""
        every, total = self._task.break_every, _total(assignment)
        self._stage.progress.set(trial.index, total)
        if every and self._here and trial.index % every == 0:
            words = texts.BREAK.format(done=trial.index, trials=total)
            read(self._screen, words, "Break")

    def _show(self, trial: Trial, assignment: Assignment) -> None:
        shown = self._stimuli.prepared(trial.stimulus, trial.index)
        self._stage.idle(ready=True)
        timing = Timing()
        while True:
            try:
                answer = self._stage.ask(shown, timing)
                break
            except Escaped:
                ask_to_leave(self._screen, f"in trial {trial.index + 1}")
                timing.interrupted += 1
        try:
            self._hand.answer(answer)
        except ValueError:  # stopped in the meantime: done() tells
            return
        self._stage.progress.set(trial.index + 1, _total(assignment))
        self._stage.feedback(trial, answer)
        self._screen.frames.rest()
        self._here += 1
        self._files.row(_row(trial, assignment, answer, timing, self._stage.points))

    def _leave(self, why: str) -> Done:
        """Tell the server, if there is a session."""
        if not self._so_far.ready:
            return Done(study=False, reason=f"no session was begun: {why}")
        self._files.note(why)
        self._hand.leave(why)
        until = self._screen.now() + FAREWELL_S
        while (done := self._hand.done()) is None and self._screen.now() < until:
            self._stage.idle()
        return done or Done(study=False, reason=f"the server does not know yet: {why}")

    def _thank(self, done: Done) -> None:
        words = self._task.thanks
        if done.emergency:
            words = texts.STOPPED
        elif not done.study and "finished" not in done.reason:
            words = f"{texts.LEFT}\n\n{done.reason}"
        read(self._screen, words, foot="Space bar: close")

    def _about(self) -> dict[str, Any]:
        """Of the window, for files and server."""
        import psychopy

        screen, display = self._screen, self._screen.display
        width, height = screen.layout
        return {
            "psychopy": psychopy.__version__,
            "frame_rate_hz": round(1 / screen.frames.nominal_s, 3),
            "vsync": screen.vsync,
            "window": f"{width:.0f} x {height:.0f}",
            "units": display.units,
            "px_per_deg": round(screen.px_per_deg, 3),
            "full_screen": display.full_screen,
        }

    def _capabilities(self) -> Capabilities:
        return {**self._about(), **self._so_far.capabilities()}


def _total(assignment: Assignment) -> int:
    return assignment.training_trials + assignment.test_trials


def _row(
    trial: Trial,
    assignment: Assignment,
    answer: Answer,
    timing: Timing,
    points: int,
) -> dict[str, Any]:
    """A trial in the CSV."""
    return {
        "session": assignment.session,
        "uid": trial.uid,
        "trial": trial.index,
        "phase": trial.phase,
        **trial.stimulus,
        "outcome": answer.outcome,
        "response": answer.value,
        "reaction_time_s": answer.reaction_time_s,
        **(trial.feedback or {}),
        "points": points,
        "fixation_s": timing.fixation_s,
        "onset_s": timing.onset_s,
        "offset_s": timing.offset_s,
        "shown_s": timing.shown_s,
        "requested_s": timing.requested_s,
        "frames_dropped": timing.frames_dropped,
        "interrupted": timing.interrupted,
    }
