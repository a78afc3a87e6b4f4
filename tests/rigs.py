"""What tests of rigs share: a file, limits, trials, and rigs around a box."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripted import assignment
from scripted import trial as plain_trial
from small_study import study_text

from server.protocol import Grant, Trial
from subject_clients.rig.client import Rig
from subject_clients.rig.config import LimitsSection
from subject_clients.rig.ledger import Ledger
from subject_clients.rig.local import LocalControl
from subject_clients.rig.log import TrialLog
from subject_clients.tasks.two_port import TwoPort

LIMITS = LimitsSection(trial_microlitre=4, session_microlitre=20, day_microlitre=30)
TASK = TwoPort(reward_microlitre=3)
SAFE_STUDY = study_text(
    session='response = "choice"\ntest_repeats = 2\n\n[safety]\n'
    "trial_microlitre = 5\nsession_microlitre = 10\nday_microlitre = 50\n"
    "weight_fraction = 0"
)
RIG_FILE = """
[rig]
name = "box-3"
server = "{url}"
hardware = "callable"
task = "two_port"
folder = "box-3"
[limits]
trial_microlitre = 4
session_microlitre = 20
day_microlitre = 30
[task]
reward_microlitre = 3
[hardware]
run_trial = "box:run_trial"
play = "box:play"
give_reward = "box:give_reward"
"""


class Clock:
    """Seconds since 1970, as a test sets them: noon of a day."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


class Builder:
    """Builds rigs around boxes; their files stay from one to the next."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock, self._held = folder, clock, list[Any]()
        self.control = LocalControl(lambda _: None)

    def __call__(
        self, box: Any, limits: LimitsSection = LIMITS, task: Any = TASK
    ) -> Rig:
        """A rig in its session."""
        self.close()  # as when a program ends
        ledger = Ledger(self._folder / "ledger.jsonl", limits, self._clock)
        self._held.append(ledger)
        log = TrialLog(self._folder / "trials.jsonl")
        self._held.append(log)
        self.control = LocalControl(lambda _: None)
        rig = Rig("mouse-1", box, task, limits, ledger, log, self.control)
        rig.begin(assignment(response=task.response))
        return rig

    def close(self) -> None:
        """Let go of the files."""
        while self._held:
            self._held.pop().close()


def choice(index: int, most: float | None = 5.0, rewarded: str = "right") -> Trial:
    """A training trial; with a grant unless ``most`` is None."""
    grant = None if most is None else Grant(max_microlitre=most, valid_s=30.0)
    shown = plain_trial(index, 0.5)
    feedback = {"rewarded": rewarded}
    return shown.model_copy(update={"grant": grant, "feedback": feedback})


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something comes true within 20 s."""
    never = threading.Event()
    return any(holds() or never.wait(0.01) for _ in range(2000))
