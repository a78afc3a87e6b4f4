"""What every adapter offers: how a trial is presented to one kind of subject."""

from typing import NamedTuple, Protocol, runtime_checkable

from server.protocol import Assignment, Outcome, Reward, Trial


class Answer(NamedTuple):
    """What happened in a trial; ``value`` as in the ``respond`` message.

    ``reward`` is what was given in it, under the trial's ``grant``.
    """

    value: float | None = None
    outcome: Outcome = "responded"
    reaction_time_s: float | None = None
    clocks: dict[str, float] | None = None
    reward: Reward | None = None


class GiveUp(Exception):
    """Raised by an adapter whose subject will not go on; says why."""


class Adapter(Protocol):
    """Presents trials to a subject. One adapter serves one subject."""

    simulated: bool

    def begin(self, assignment: Assignment) -> None:
        """A session begins, or goes on at ``assignment.next_trial``.

        May raise :class:`GiveUp`, as ``present`` may.
        """
        ...

    def present(self, trial: Trial) -> Answer:
        """Show a trial, give its feedback if it has any, and return the answer.

        With ``trial.grant`` give at most one reward, of at most so much, in time.
        """
        ...


@runtime_checkable
class GivesRewards(Protocol):
    """An adapter that can give what an operator wishes."""

    def give_reward(self, microlitre: float) -> None:
        """Give it now; called from another thread than ``present``."""
        ...


@runtime_checkable
class LimitsRewards(Protocol):
    """An adapter with limits of its own for what an operator wishes."""

    def allowed(self, microlitre: float) -> float:
        """How much of it may be given now; it counts as given from here on."""
        ...


@runtime_checkable
class CanHold(Protocol):
    """An adapter at which somebody can pause."""

    def hold(self) -> bool:
        """Wait while it is paused; returns whether it was.

        Called before a trial is shown, which is asked for anew after a pause: its
        grant has grown old.
        """
        ...


@runtime_checkable
class HasSafeState(Protocol):
    """An adapter of a rig that can harm: dry, dark and still."""

    def safe_state(self, reason: str) -> None:
        """At once, whatever ``present`` is doing, and until ``begin``.

        Called from any thread, after an emergency stop or an error and when the
        server is lost. A ``present`` under way may return or raise ``GiveUp``.
        """
        ...
