"""What every task is: pure, and told by numbers of a section of the rig's file."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from server.protocol import Trial
from subject_clients.tasks.trial import Happened, Poke, Reinforcer, RigTrial


class Section(BaseModel):
    """A section of a rig's file: checked to the letter, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Read(NamedTuple):
    """A trial read as an answer: ``value`` None is an omission."""

    value: float | None
    notes: dict[str, float]
    """Numbers to keep with the answer, such as a rate of licks."""


class Task(Protocol):
    """From label to reinforcement, and from behaviour to predicted label."""

    @property
    def response(self) -> Literal["graded", "choice"]:
        """The kind of study that it serves."""
        ...

    def lay_out(self, trial: Trial) -> RigTrial:
        """What the hardware is to do; draws follow from the trial's uid.

        Volumes are what the task wants: the rig's limits come after it.
        """
        ...

    def read(self, trial: RigTrial, happened: Happened) -> Read:
        """The answer that behaviour amounts to."""
        ...

    def earns(self, trial: RigTrial, pokes: Sequence[Poke]) -> Reinforcer:
        """What these responses of a subject bring in a trial that is laid out."""
        ...


def draw(uid: str) -> float:
    """A number in [0, 1) that follows from a trial's uid, for draws at the rig."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:6]) / 2**48


def label_of(trial: Trial) -> float | None:
    """The label of a training trial; of a draw of the server -1 or 1; else None."""
    if trial.feedback is None:
        return None
    if "rewarded" in trial.feedback:
        return 1.0 if trial.feedback["rewarded"] == "right" else -1.0
    return float(trial.feedback["label"])


def limited(trial: RigTrial, microlitre: float, valid_s: float) -> RigTrial:
    """The trial with no volume above ``microlitre``, nothing after ``valid_s``."""

    def within(what: Reinforcer) -> Reinforcer:
        return what._replace(microlitre=min(what.microlitre, microlitre))

    return replace(
        trial,
        left=within(trial.left),
        right=within(trial.right),
        automatic=within(trial.automatic),
        limit_microlitre=microlitre,
        valid_s=valid_s,
    )


def first_after_onset(pokes: Sequence[Poke]) -> Poke | None:
    """The response that counts; None where there is none, or one came too early."""
    if any(poke.after_s < 0 for poke in pokes):
        return None
    return min(pokes, default=None)
