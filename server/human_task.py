"""What a human is told and shown, the same in a PsychoPy window and in a browser.

Read by the server from the study file's section ``[human]``, and by clients from
``GET /api/v1/human``. Needs pydantic alone, as the protocol does.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Page = Annotated[str, Field(min_length=1, max_length=20_000)]
Short = Annotated[str, Field(min_length=1, max_length=40)]
Seconds = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9]+$", max_length=12)]


class HumanTask(BaseModel):
    """Texts, keys and times of the sessions of humans."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )

    title: Short = "Learn and guess"
    consent: Page | None = None
    """Shown first, to be agreed to; without it no consent is asked."""
    instructions: Annotated[list[Page], Field(max_length=20)] = []
    """One text a page; without any, clients say how to answer."""
    practice_trials: Annotated[int, Field(ge=0, le=100)] = 4
    """Answers to arrows, not to stimuli: they teach how to answer, and no label."""
    break_every: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Trials between two breaks; 0 for no breaks."""
    fixation_s: Seconds = 0.4
    stimulus_s: Seconds | None = None
    """How long a stimulus is there; without it until the answer."""
    answer_within_s: Annotated[Seconds, Field(gt=0)] | None = None
    """Counts from the onset of the stimulus; no answer by then is an omission."""
    feedback_s: Seconds = 0.8
    left: Short = "left"
    """What an answer of -1 is called."""
    right: Short = "right"
    """What an answer of 1 is called."""
    keys: Annotated[tuple[Key, Key], Field(strict=False)] = ("f", "j")
    """For choices, as PsychoPy names them: letters, digits, left, right."""
    size_deg: Annotated[float, Field(gt=0, le=60)] = 7.0
    """Diameter of a stimulus, in degrees of visual angle."""
    thanks: Page = "That was all. Thank you!"

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        if self.keys[0] == self.keys[1]:
            raise ValueError(f"keys: expected two, got {self.keys[0]!r} twice")
        return self

    @model_validator(mode="after")
    def _an_answer_takes_longer_than_nothing(self) -> Self:
        within, shown = self.answer_within_s, self.stimulus_s
        if within is not None and shown is not None and within < shown:
            raise ValueError(
                f"answer_within_s is {within:g}, expected at least stimulus_s, "
                f"{shown:g}: both count from the onset of the stimulus"
            )
        return self


class HumanStudy(BaseModel):
    """The reply of ``GET /api/v1/human``."""

    model_config = ConfigDict(frozen=True)

    study: str
    response: Literal["graded", "choice"]
    training_trials: int
    """At most: a search may ask for fewer."""
    test_trials: int
    task: HumanTask
