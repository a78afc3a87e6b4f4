"""A box that writes what it does into a file of its own, and takes its time over it.

The file (``WORLD``) is the truth about valve and safe state, whoever dies.
"""

import os
import threading
import time

from subject_clients.rig.adapter import RigFault
from subject_clients.tasks.trial import Happened, RigTrial

_safe = threading.Event()
STEP_S = 0.15
"""Before the valve opens, and after it."""


def world(what: str, *details: object) -> None:
    """A line: when, what."""
    line = " ".join(map(str, (time.monotonic(), what, *details)))
    file = os.open(os.environ["WORLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode() + b"\n")
    os.close(file)


def run_trial(trial: RigTrial) -> Happened:
    """Always right."""
    _safe.clear()
    world("trial", trial.uid, trial.valid_s, trial.limit_microlitre)
    _pass()
    given = trial.right.microlitre
    if given:
        world("valve", trial.uid, given)
    _pass()
    return Happened(side="right", reaction_time_s=STEP_S, delivered_microlitre=given)


def _pass() -> None:
    if _safe.wait(STEP_S):
        raise RigFault("made safe within a trial")


def safe_state(reason: str) -> None:
    """Dry and dark."""
    _safe.set()
    world("safe", reason.replace(" ", "_"))
