"""What every kind of rig hardware offers: two hooks, and a way to be safe."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from subject_clients.tasks.trial import Happened, Poke, RigTrial


class RigFault(OSError):
    """The hardware does not do what it should; says what, and what to look at."""


class RigAdapter(Protocol):
    """Hardware of one rig, open. All calls come from one thread but ``safe_state``."""

    def next_trial(self, trial: RigTrial) -> None:
        """Start a trial; returns once the hardware has it.

        The hardware holds its limits itself: one reward at most, of at most
        ``limit_microlitre``, not after ``valid_s``, whatever becomes of this computer.
        Raises :class:`RigFault`.
        """
        ...

    def what_happened(self) -> Happened:
        """Wait until the trial is over, by its ``valid_s`` at the latest.

        Raises :class:`RigFault`, also when ``safe_state`` ended the trial.
        """
        ...

    def safe_state(self, reason: str) -> None:
        """Dry, dark and still, at once and until the next ``next_trial``.

        From any thread, at any moment, as often as you like; ends a trial under way.
        """
        ...

    def close(self) -> None:
        """Let go of the hardware, safe."""
        ...


@runtime_checkable
class HasFreeReward(Protocol):
    """A rig that can give liquid beside a trial."""

    def give_reward(self, microlitre: float) -> None:
        """Give it now, from any thread; raises :class:`RigFault`."""
        ...


@runtime_checkable
class CanPlay(Protocol):
    """A rig whose inputs can be driven by a script, to check it without a subject."""

    def play(self, pokes: Sequence[Poke]) -> None:
        """In the next trial these are the responses, as if a subject made them.

        They go the way of real ones through as much of the rig as can be.
        """
        ...


Opens = Callable[[], AbstractContextManager[RigAdapter]]
"""Takes hardware, once nobody else may, and lets go of it in the end."""
