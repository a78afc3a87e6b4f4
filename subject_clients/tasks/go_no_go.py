"""Go/no-go licking: a rate of licks before the outcome is the prediction."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from server.protocol import Trial
from subject_clients.tasks.task import Read, Section, draw, first_after_onset, label_of
from subject_clients.tasks.trial import (
    NOTHING,
    Happened,
    Poke,
    Reinforcer,
    RigTrial,
)


class GoNoGo(Section):
    """Licks (side ``right``) at a spout: reward for labels above 0, puffs below.

    By ``reinforce`` the label's size is the probability of its reinforcer or its size.
    ``pavlovian`` rewards come whatever the animal does, operant ones for a lick in the
    window of ``window_s`` after the stimulus. The predicted label is the rate of licks
    in that window, before any outcome, between ``low_hz`` (-1) and ``high_hz`` (1): the
    animal's own rates at stimuli that never and always pay. A trial without a lick is
    an answer, not an omission.
    """

    reward_microlitre: Annotated[float, Field(gt=0, le=50)] = 4.0
    puff_s: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of a mild air puff; 0 for nothing."""
    reinforce: Literal["probability", "size"] = "probability"
    pavlovian: bool = False
    window_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    low_hz: Annotated[float, Field(ge=0, le=20)] = 0.5
    high_hz: Annotated[float, Field(gt=0, le=20)] = 5.0

    @model_validator(mode="after")
    def _rates_differ(self) -> Self:
        if self.low_hz >= self.high_hz:
            raise ValueError(
                f"expected low_hz below high_hz, got {self.low_hz:g}, {self.high_hz:g}"
            )
        return self

    @property
    def response(self) -> Literal["graded"]:
        """A rate is graded."""
        return "graded"

    def lay_out(self, trial: Trial) -> RigTrial:
        """Reward or puff by sign and size of the label; none in a test trial."""
        brings = self._reinforcer(trial)
        earned, automatic = (NOTHING, brings) if self.pavlovian else (brings, NOTHING)
        return RigTrial(
            uid=trial.uid,
            index=trial.index,
            training=trial.feedback is not None,
            stimulus=trial.stimulus,
            right=earned,
            automatic=automatic,
            extra={"window_s": self.window_s},
        )

    def _reinforcer(self, trial: Trial) -> Reinforcer:
        label = label_of(trial)
        if not label:
            return NOTHING
        share = abs(label)
        if self.reinforce == "probability":
            share = float(draw(trial.uid) < share)
        if label > 0:
            return Reinforcer(self.reward_microlitre * share)
        return Reinforcer(aversive_s=self.puff_s * share)

    def read(self, trial: RigTrial, happened: Happened) -> Read:
        """The rate of licks in the window, on the scale of labels."""
        if happened.outcome != "responded":
            return Read(None, {})
        licks = happened.counts.get("licks", float(happened.side == "right"))
        rate_hz = licks / self.window_s
        share = (rate_hz - self.low_hz) / (self.high_hz - self.low_hz)
        notes = {"lick_rate_hz": rate_hz}
        if trial.training:
            notes["draw"] = draw(trial.uid)
        return Read(min(max(2 * share - 1, -1.0), 1.0), notes)

    def earns(self, trial: RigTrial, pokes: Sequence[Poke]) -> Reinforcer:
        """What comes anyway, or what a lick in the window brings."""
        if trial.automatic != NOTHING:
            return trial.automatic
        lick = first_after_onset([poke for poke in pokes if poke.side == "right"])
        return trial.right if lick and lick.after_s < self.window_s else NOTHING
