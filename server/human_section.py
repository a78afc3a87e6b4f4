"""What a study file says of its human participants."""

import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from server.human_task import HumanTask

FIELD = re.compile(r"\{([A-Za-z0-9][A-Za-z0-9_.:-]{0,63})\}")
"""A field of ``completion_url``: the name of a parameter, in braces."""


class HumanSection(HumanTask):
    """The task, and what only those hear who have finished it.

    ``completion_code`` is shown in the end, and ``completion_url``, in which
    ``{code}`` stands for it, is where the browser goes, as Prolific and SONA want it.
    Fields of its address in braces, as in ``{survey_code}``, are filled with the
    parameters that the participant came with.
    """

    completion_code: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = (
        None
    )
    completion_url: Annotated[str, Field(max_length=1000)] | None = None

    @model_validator(mode="after")
    def _leads_to_a_page(self) -> Self:
        if self.completion_url is not None:
            parts = urlsplit(self.completion_url)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise ValueError(
                    "completion_url: expected an address with https://, got "
                    f"{self.completion_url!r:.80}"
                )
            if FIELD.search(parts.netloc):  # it would lead wherever a visitor wants
                raise ValueError(
                    "completion_url: expected fields in braces after the host only, "
                    f"got {self.completion_url!r:.80}"
                )
            if "{code}" in self.completion_url and self.completion_code is None:
                raise ValueError("completion_url has {code}: expected completion_code")
        return self

    def task(self) -> HumanTask:
        """What every participant may know from the start."""
        public = self.model_dump(exclude={"completion_code", "completion_url"})
        return HumanTask.model_validate(public)
