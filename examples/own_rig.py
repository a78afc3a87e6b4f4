"""A lab's own rig as a subject: replace ``run_my_trial`` by your hardware.

Start a server first (a study with ``response = "choice"`` and ``test_repeats = 2``):

    penchant serve study.toml
    python examples/own_rig.py mouse-07

The server is at PENCHANT_URL, this computer by default, and PENCHANT_TOKEN lets in.
"""

import os
import random
import sys
import threading
import time
from typing import Any

from server.protocol import Assignment, Grant, Reward, Trial
from subject_clients.adapter import Answer, GiveUp
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.transport import Socket

URL = os.environ.get("PENCHANT_URL", "http://127.0.0.1:5000")
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

    def __init__(self) -> None:
        """Nothing is to be given until a session begins."""
        self._safe = threading.Event()  # orders come from another thread
        self._safe.set()

    def begin(self, assignment: Assignment) -> None:
        """A session begins: fill the valves, open the log."""
        self._safe.clear()
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
        if self._safe.is_set() or grant is None:
            return None  # dry; or a study without limits, which keeps no ledger
        microlitre = min(DROP, grant.max_microlitre)
        if microlitre == 0 or time.monotonic() - sent > grant.valid_s:
            return None  # a cap is spent, or the trial took too long
        print(f"  {microlitre:g} microlitres")  # here the valve opens
        return Reward(microlitre=microlitre)

    def give_reward(self, microlitre: float) -> None:
        """An operator gives one, at any moment. Leave this out without a valve."""
        if not self._safe.is_set():
            print(f"  {microlitre:g} microlitres, free")

    def safe_state(self, reason: str) -> None:
        """An emergency stop, an error, no server: dry, dark and still, at once."""
        self._safe.set()
        print(f"  safe state: {reason}")


if __name__ == "__main__":
    name, token = sys.argv[1], os.environ.get("PENCHANT_TOKEN")
    try:
        # What is said is on disk before it is sent: nothing is lost if power fails.
        with Outbox(f"{name}.outbox", to=URL) as outbox:
            rig = TwoPorts()
            subject = Subject(name, rig, Socket(URL), token=token, outbox=outbox)
            print(subject.run_session().reason)
    except OSError as error:  # refused, no server, or the outbox is in use
        sys.exit(str(error))
