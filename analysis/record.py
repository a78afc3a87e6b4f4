"""A journal read once: its study, and its facts by kind."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from server.events import Event, Fact, StudyOpened
from server.study_file import Study

AFact = TypeVar("AFact", bound=Fact)


@dataclass(frozen=True)
class Record:
    """The events of one study, finished or not, and the study they belong to."""

    study: Study
    opened: StudyOpened
    events: tuple[Event, ...]

    def facts(self, kind: type[AFact]) -> list[AFact]:
        """The facts of one kind, in order."""
        return [e.fact for e in self.events if isinstance(e.fact, kind)]

    def times(self, kind: type[AFact]) -> list[float]:
        """When each of them happened, in seconds since 1970."""
        return [e.at for e in self.events if isinstance(e.fact, kind)]


def read(events: Iterable[Event]) -> Record:
    """Read a journal's events; the study is built from the first of them.

    Raises ``ValueError`` for a journal that is empty or begins otherwise.
    """
    read = tuple(events)
    first = read[0].fact if read else None
    if not isinstance(first, StudyOpened):
        raise ValueError(
            "expected a journal that begins with study_opened, "
            f"got {type(first).__name__ if read else 'an empty one'}"
        )
    study = Study(first.text, first.null)
    if study.sha256 != first.sha256:
        raise ValueError(
            "the stimulus table is not the one that the study was run with: "
            "put the old one back"
        )
    return Record(study, first, read)
