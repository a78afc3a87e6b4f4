"""Hardware that is a Python function: a lab's own rig code."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.trial import Happened, Poke, RigTrial
from subject_clients.tasks.task import Section

_WHERE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class Function(Section):
    """Functions by ``module:name``, of the folder that the client is started in.

    ``run_trial(RigTrial) -> Happened`` does a whole trial. ``safe_state(reason)`` and
    ``give_reward(microlitre)`` may be called while it runs, from another thread.
    ``play(pokes)`` plays a script in the next trial, for the self-check.
    """

    run_trial: str = Field(pattern=_WHERE)
    safe_state: str | None = Field(None, pattern=_WHERE)
    give_reward: str | None = Field(None, pattern=_WHERE)
    play: str | None = Field(None, pattern=_WHERE)

    def open(self) -> "FunctionRig":
        """Import the functions; raises :class:`RigFault`."""
        run_trial = _found(self, "run_trial")
        assert run_trial is not None
        others = ("safe_state", "give_reward", "play")
        return FunctionRig(run_trial, *(_found(self, name) for name in others))


class FunctionRig:
    """Calls the lab's functions; has ``give_reward`` and ``play`` where they have."""

    give_reward: Callable[[float], None]
    play: Callable[[Sequence[Poke]], None]

    def __init__(
        self,
        run_trial: Callable[[RigTrial], Happened],
        safe_state: Callable[[str], object] | None = None,
        give_reward: Callable[[float], None] | None = None,
        play: Callable[[Sequence[Poke]], None] | None = None,
    ) -> None:
        """What is None the rig cannot do."""
        self._run_trial, self._safe_state = run_trial, safe_state
        if give_reward is not None:
            self.give_reward = give_reward
        if play is not None:
            self.play = play
        self._due: RigTrial | None = None

    def next_trial(self, trial: RigTrial) -> None:
        """Remember it: the function does all of a trial at once."""
        self._due = trial

    def what_happened(self) -> Happened:
        """Run the trial; what the function raises is a fault of the rig."""
        trial, self._due = self._due, None
        if trial is None:
            raise RigFault("there is no trial to run")
        try:
            happened = self._run_trial(trial)
        except Exception as error:
            raise RigFault(f"run_trial failed: {error!r}") from error
        if not isinstance(happened, Happened):
            raise RigFault(f"run_trial returned {happened!r:.80}, expected a Happened")
        return happened

    def safe_state(self, reason: str) -> None:
        """Hand it on."""
        if self._safe_state is not None:
            self._safe_state(reason)

    def close(self) -> None:
        """Leave it safe."""
        self.safe_state("the client ends")


def _found(section: Function, name: str) -> Callable[..., Any] | None:
    """The function that an option names, or None where it names none."""
    where: str | None = getattr(section, name)
    if where is None:
        return None
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - sys.path holds text
        sys.path.insert(0, here)
    module, _, function = where.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RigFault(f"hardware.{name} is {where}: {error}") from error
    if not callable(found):
        raise RigFault(f"hardware.{name} is {where}, which is no function")
    called: Callable[..., Any] = found
    return called
