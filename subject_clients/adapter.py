"""What every adapter offers: how a trial is presented to one kind of subject."""

from typing import NamedTuple, Protocol

from server.protocol import Assignment, Outcome, Trial


class Answer(NamedTuple):
    """What happened in a trial; ``value`` as in the ``respond`` message."""

    value: float | None = None
    outcome: Outcome = "responded"
    reaction_time_s: float | None = None
    clocks: dict[str, float] | None = None


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
        """Show a trial, give its feedback if it has any, and return the answer."""
        ...
