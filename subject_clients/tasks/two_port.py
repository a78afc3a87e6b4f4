"""Two-port choice with stochastic reward."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from server.protocol import Trial
from subject_clients.tasks.task import Read, Section, draw, first_after_onset
from subject_clients.tasks.trial import (
    NOTHING,
    VALUES,
    Happened,
    Poke,
    Reinforcer,
    RigTrial,
)


class TwoPort(Section):
    """A poke left or right; P(reward | right) = (1 + label) / 2, left the rest.

    The server draws which side pays; where the study has ``feedback = "label"`` the
    rig does, from the trial's uid. In test trials either side gives
    ``test_microlitre``, so that nothing is taught: 0 by default.
    """

    reward_microlitre: Annotated[float, Field(gt=0, le=50)] = 3.0
    test_microlitre: Annotated[float, Field(ge=0, le=50)] = 0.0
    time_out_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    """After a choice of the side that does not pay."""

    @property
    def response(self) -> Literal["choice"]:
        """Choices."""
        return "choice"

    def lay_out(self, trial: Trial) -> RigTrial:
        """Liquid at the side that pays, a time-out at the other."""
        if trial.feedback is None:
            either = Reinforcer(self.test_microlitre)
            return _laid_out(trial, either, either)
        pays, does_not = Reinforcer(self.reward_microlitre), NOTHING
        if self.time_out_s:
            does_not = Reinforcer(aversive_s=self.time_out_s)
        if self._right_pays(trial):
            return _laid_out(trial, does_not, pays)
        return _laid_out(trial, pays, does_not)

    def _right_pays(self, trial: Trial) -> bool:
        assert trial.feedback is not None
        if "rewarded" in trial.feedback:
            return bool(trial.feedback["rewarded"] == "right")
        return draw(trial.uid) < (1 + float(trial.feedback["label"])) / 2

    def read(self, trial: RigTrial, happened: Happened) -> Read:
        """-1 for left, 1 for right."""
        value = None if happened.side is None else VALUES[happened.side]
        return Read(value, {"draw": draw(trial.uid)} if trial.training else {})

    def earns(self, trial: RigTrial, pokes: Sequence[Poke]) -> Reinforcer:
        """What the first poke brings; nothing after an early one."""
        poke = first_after_onset(pokes)
        return trial.reinforcer(poke.side) if poke else NOTHING


def _laid_out(trial: Trial, left: Reinforcer, right: Reinforcer) -> RigTrial:
    return RigTrial(
        uid=trial.uid,
        index=trial.index,
        training=trial.feedback is not None,
        stimulus=trial.stimulus,
        left=left,
        right=right,
    )
