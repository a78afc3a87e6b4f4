"""A lab's own rig as functions: replace the three by your hardware.

With ``callable.toml`` beside it:

    penchant subject rig --config callable.toml --check
    penchant subject rig --config callable.toml --name mouse-07
"""

import random
import time
from collections.abc import Sequence

from subject_clients.tasks.trial import Happened, Poke, RigTrial, Side

_script: Sequence[Poke] | None = None


def run_trial(trial: RigTrial) -> Happened:
    """Show the stimulus, wait for a poke, open the valve for what it brings."""
    start = time.monotonic()
    side, early = wait_for_poke(trial)
    if early or side is None:
        return Happened("premature" if early else "omission")
    seconds = time.monotonic() - start
    microlitre = trial.reinforcer(side).microlitre  # never more than is allowed
    return Happened(side=side, reaction_time_s=seconds, delivered_microlitre=microlitre)


def wait_for_poke(trial: RigTrial) -> tuple[Side | None, bool]:
    """Where the mouse pokes first, and whether it was before the stimulus.

    Here a script does it in a check, and a coin otherwise.
    """
    global _script
    script, _script = _script, None
    if script is None:
        print(f"  {trial.stimulus}")
        return random.choice(("left", "right")), False  # noqa: S311
    first = min(script, default=None)
    return (first.side, first.after_s < 0) if first else (None, False)


def play(pokes: Sequence[Poke]) -> None:
    """The self-check: these are the pokes of the next trial."""
    global _script  # noqa: PLW0603
    _script = pokes


def safe_state(reason: str) -> None:
    """Valves shut, lights out, from any thread and at any moment."""
    print(f"  safe: {reason}")
