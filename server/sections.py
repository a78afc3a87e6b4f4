"""Sections of a study file that stand for themselves."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """What every section is: checked to the letter, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudySection(Section):
    """What is asked: name of the study, seed, number of components."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    components: Annotated[int, Field(ge=1, le=64)] = 1
    exposure: Literal["naive", "carry_over"] = "naive"


class PsychometricSection(Section):
    """The fields of :class:`meta_learner.psychometric.Psychometric`."""

    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    side_bias: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    lapse: Annotated[float, Field(ge=0, lt=1)] = 0.0


class SessionSection(Section):
    """What one session is: stimuli, repeats, kind of response, lease.

    ``psychometric`` is how subjects turn labels into choices; without it they are
    taken to match.
    """

    training_stimuli: Annotated[int, Field(ge=1, le=10_000)] = 30
    test_stimuli: Annotated[int, Field(ge=2, le=10_000)] = 50
    training_repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    test_repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    response: Literal["graded", "choice"] = "graded"
    psychometric: PsychometricSection | None = None
    shared_stimuli: bool = True
    lease_s: Annotated[float, Field(gt=0)] = 30.0

    @model_validator(mode="after")
    def _psychometric_is_of_choices(self) -> "SessionSection":
        if self.psychometric and self.response != "choice":
            raise ValueError(
                'psychometric is of choices: expected response = "choice", or none'
            )
        return self

    @model_validator(mode="after")
    def _choices_need_repeats(self) -> "SessionSection":
        if self.response == "choice" and self.test_repeats < 2:
            raise ValueError(
                "choices need test_repeats of 2 or more: from one binary answer per "
                "stimulus the squared error cannot be told from choice noise"
            )
        return self
