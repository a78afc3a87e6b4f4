"""Preference of a group of flies between two arms of an arena."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from server.protocol import Trial
from subject_clients.tasks.task import Read, Section, label_of
from subject_clients.tasks.trial import NOTHING, Happened, Poke, Reinforcer, RigTrial


class FlyGroup(Section):
    """An odour paired with sugar (label above 0) or shock (below) as often as its size.

    In training ``extra["paired_fraction"]`` of the odour's time is paired, with what
    ``extra["sign"]`` says. The answer is the preference index of those who chose
    between the odour's arm and the other, (n_plus - n_minus) / (n_plus + n_minus), from
    ``counts``. Fewer than ``least_flies`` in both arms together are an omission.
    """

    odour_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    """How long an odour is there in training."""
    choice_s: Annotated[float, Field(gt=0, le=600)] = 120.0
    """How long flies may choose in a test."""
    least_flies: Annotated[int, Field(ge=1, le=10_000)] = 5

    @property
    def response(self) -> Literal["graded"]:
        """An index is graded."""
        return "graded"

    def lay_out(self, trial: Trial) -> RigTrial:
        """How much of the odour is paired, and with what; no liquid."""
        label = label_of(trial)
        extra = {"seconds": self.choice_s}
        if label is not None:
            extra = {
                "seconds": self.odour_s,
                "paired_fraction": abs(label),
                "sign": float((label > 0) - (label < 0)),
            }
        return RigTrial(
            uid=trial.uid,
            index=trial.index,
            training=label is not None,
            stimulus=trial.stimulus,
            extra=extra,
        )

    def read(self, trial: RigTrial, happened: Happened) -> Read:
        """The preference index; a training trial is watched only."""
        del trial
        n_plus = happened.counts.get("n_plus", 0.0)
        n_minus = happened.counts.get("n_minus", 0.0)
        chose = n_plus + n_minus
        notes = {"n_plus": n_plus, "n_minus": n_minus}
        if happened.outcome != "responded" or chose < self.least_flies:
            return Read(None, notes)
        return Read((n_plus - n_minus) / chose, notes)

    def earns(self, trial: RigTrial, pokes: Sequence[Poke]) -> Reinforcer:
        """Nothing: what flies do changes nothing."""
        del trial, pokes
        return NOTHING
