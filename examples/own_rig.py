"""A lab's own rig as a subject: replace ``run_my_trial`` by your hardware.

Start a server first (a study with ``response = "choice"`` and ``test_repeats = 2``):

    penchant serve study.toml
    python examples/own_rig.py mouse-07
"""

import random
import sys
import time
from typing import Any

from server.protocol import Assignment, Trial
from subject_clients.adapter import Answer
from subject_clients.loop import Subject
from subject_clients.transport import Socket


def run_my_trial(stimulus: dict[str, Any], rewarded: str | None) -> tuple[float, float]:
    """Show a stimulus, wait for a poke, reward it if ``rewarded`` is its side.

    Returns the choice, -1 (left) or 1 (right), and the reaction time in seconds
    on the rig's own clock. ``rewarded`` is None in a test trial: no reward.
    """
    print(f"  {stimulus}, rewarded: {rewarded}")
    start = time.monotonic()
    choice = random.choice([-1.0, 1.0])  # noqa: S311 - here the mouse decides
    return choice, time.monotonic() - start


class TwoPorts:
    """Two-port choice with stochastic reward."""

    simulated = False

    def begin(self, assignment: Assignment) -> None:
        """A session begins: fill the valves, open the log."""
        print(f"session {assignment.session}: {assignment.training_trials} + ", end="")
        print(f"{assignment.test_trials} trials")

    def present(self, trial: Trial) -> Answer:
        """One trial, reward and all, without the server's help."""
        rewarded = trial.feedback["rewarded"] if trial.feedback else None
        choice, seconds = run_my_trial(trial.stimulus, rewarded)
        return Answer(value=choice, reaction_time_s=seconds)


if __name__ == "__main__":
    subject = Subject(sys.argv[1], TwoPorts(), Socket("http://127.0.0.1:5000"))
    print(subject.run_session().reason)
