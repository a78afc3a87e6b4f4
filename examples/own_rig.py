"""A lab's own rig as a subject: replace ``run_my_trial`` by your hardware.

Start a server first (a study with ``response = "choice"`` and ``test_repeats = 2``):

    penchant serve study.toml
    python examples/own_rig.py mouse-07
"""

import random
import sys
import time
from typing import Any

from server.protocol import Assignment, Grant, Reward, Trial
from subject_clients.adapter import Answer, GiveUp
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.transport import Socket

URL = "http://127.0.0.1:5000"
DROP = 4.0  # microlitres that a correct choice earns


def run_my_trial(stimulus: dict[str, Any], rewarded: str | None) -> tuple[float, float]:
    """Show a stimulus and wait for a poke.

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
        if assignment.response != "choice":
            raise GiveUp('this rig is for response = "choice" in the study file')
        print(f"session {assignment.session}: {assignment.training_trials} + ", end="")
        print(f"{assignment.test_trials} trials")

    def present(self, trial: Trial) -> Answer:
        """One trial, reward and all, without the server's help."""
        sent = time.monotonic()
        rewarded = trial.feedback["rewarded"] if trial.feedback else None
        choice, seconds = run_my_trial(trial.stimulus, rewarded)
        reward = None
        if rewarded == ("right" if choice > 0 else "left"):
            reward = self._reward(trial.grant, sent)
        return Answer(value=choice, reaction_time_s=seconds, reward=reward)

    def _reward(self, grant: Grant | None, sent: float) -> Reward | None:
        """What a correct choice earns, within the grant if the study gives any."""
        if grant is None:
            return None  # a study without limits keeps no ledger of rewards
        if time.monotonic() - sent > grant.valid_s:
            return None
        microlitre = min(DROP, grant.max_microlitre)
        print(f"  {microlitre:g} microlitres")  # here the valve opens
        return Reward(microlitre=microlitre)

    def give_reward(self, microlitre: float) -> None:
        """An operator gives one, at any moment. Leave this out without a valve."""
        print(f"  {microlitre:g} microlitres, free")

    def safe_state(self, reason: str) -> None:
        """An emergency stop, an error, no server: dry, dark and still, at once."""
        print(f"  safe state: {reason}")


if __name__ == "__main__":
    name = sys.argv[1]
    # What is said is on disk before it is sent: nothing is lost if the power fails.
    with Outbox(f"{name}.outbox", to=URL) as outbox:
        subject = Subject(name, TwoPorts(), Socket(URL), outbox=outbox)
        print(subject.run_session().reason)
