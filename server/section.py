"""What every section of a study file is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What every section is: checked to the letter, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
