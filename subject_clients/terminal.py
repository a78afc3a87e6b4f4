"""A human at a terminal: the simplest real subject."""

import math
import time
from typing import Any

import click

from server.protocol import Assignment, Trial
from subject_clients.adapter import Answer, GiveUp


class _Graded(click.FloatRange):
    """A number of a range, and not ``nan``, which is in none."""

    def convert(self, value: Any, *context: Any) -> Any:
        number = super().convert(value, *context)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", *context)
        return number


class Terminal:
    """Prints the stimulus, asks for an answer, and tells the feedback in training."""

    simulated = False

    def __init__(self) -> None:
        """Nothing is known before a session begins."""
        self._choice = False

    def begin(self, assignment: Assignment) -> None:
        """Explain the task."""
        self._choice = assignment.response == "choice"
        # Both ways to answer in words of both kinds of feedback, label and side.
        how = "a number from -1 (left) to 1 (right)"
        if self._choice:
            how = "l (left, label -1) or r (right, label 1)"
        click.echo(f"Session {assignment.session}. Answer each stimulus with {how}.")

    def present(self, trial: Trial) -> Answer:
        """Ask once; in training the feedback follows."""
        shown = ", ".join(f"{k} {v}" for k, v in trial.stimulus.items())
        start = time.monotonic()
        value = self._ask(f"{trial.index + 1:>3} {trial.phase:<8} {shown}")
        reaction_time_s = time.monotonic() - start
        if trial.feedback is not None:
            (name, truth), *_ = trial.feedback.items()
            click.echo(f"    {name}: {truth}")
        return Answer(value=value, reaction_time_s=reaction_time_s)

    def _ask(self, prompt: str) -> float:
        try:
            if not self._choice:
                return float(click.prompt(prompt, type=_Graded(-1, 1)))
            side = click.prompt(prompt, type=click.Choice(["l", "r"]))
        except click.Abort as interrupt:
            raise GiveUp("left at the terminal") from interrupt
        return 1.0 if side == "r" else -1.0
