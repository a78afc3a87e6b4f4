"""What goes to a rig's hardware and what comes back, whatever the hardware."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from server.protocol import Outcome

Side = Literal["left", "right"]

VALUES: dict[Side, float] = {"left": -1.0, "right": 1.0}
"""What a response at a side is in the protocol; in go/no-go a lick is ``right``."""


class Reinforcer(NamedTuple):
    """What follows a response at one side."""

    microlitre: float = 0.0
    """Liquid; 0 for none."""
    aversive_s: float = 0.0
    """Air puff, shock or time-out, as the rig has it; 0 for none."""


NOTHING = Reinforcer()


@dataclass(frozen=True)
class RigTrial:
    """One trial as the hardware needs it. Times count from ``next_trial``."""

    uid: str
    index: int
    training: bool
    """Whether the task tells anything of the label in it."""
    stimulus: dict[str, Any]
    """Physical parameters, as the stimulus space of the study names them."""
    left: Reinforcer = NOTHING
    right: Reinforcer = NOTHING
    automatic: Reinforcer = NOTHING
    """What comes whatever the subject does (Pavlovian); never beside a reward."""
    limit_microlitre: float = 0.0
    """Most that may be given in this trial, all in all; volumes above are within it."""
    valid_s: float = 60.0
    """Nothing is given later than this, and the trial is over."""
    extra: dict[str, float] = field(default_factory=dict)
    """Numbers of the task that only some hardware knows: ``paired_fraction``."""

    def reinforcer(self, side: Side) -> Reinforcer:
        """What a response at a side brings."""
        return self.left if side == "left" else self.right


@dataclass(frozen=True)
class Happened:
    """What the hardware says of a trial; times in seconds on its own clock."""

    outcome: Outcome = "responded"
    side: Side | None = None
    """The first response after the stimulus; None where the task counts instead."""
    counts: dict[str, float] = field(default_factory=dict)
    """What else was measured: ``licks``, ``n_plus``, ``n_minus``."""
    reaction_time_s: float | None = None
    """From stimulus to the first sign of a response: leaving the centre."""
    response_time_s: float | None = None
    """From stimulus to the response itself."""
    delivered_microlitre: float = 0.0
    """By the valve's own record, not by what was ordered."""
    delivered_how: Literal["earned", "automatic"] = "earned"
    delivered_after_s: float | None = None
    """From ``next_trial`` to the reward."""
    rig_clock_s: float | None = None
    """The hardware's clock at the stimulus."""


class Poke(NamedTuple):
    """A response that a scripted subject makes: a poke, a lick, a key."""

    after_s: float
    """From the stimulus; negative is before it."""
    side: Side
