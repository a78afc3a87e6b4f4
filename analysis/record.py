"""A journal read once: its study, and its facts by kind."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from analysis.problem import Problem
from analysis.salvage import Sound
from server.events import Event, Fact, StudyOpened
from server.study import IMPORTED
from server.study_file import Study

AFact = TypeVar("AFact", bound=Fact)


@dataclass(frozen=True)
class Record:
    """The events of one study, finished or not, and the study they belong to.

    ``problems`` says what of its journal could not be read, and was left out.
    """

    study: Study
    opened: StudyOpened
    events: tuple[Event, ...]
    problems: tuple[Problem, ...] = ()

    def facts(self, kind: type[AFact]) -> list[AFact]:
        """The facts of one kind, in order."""
        return [e.fact for e in self._of(kind) if isinstance(e.fact, kind)]

    def times(self, kind: type[AFact]) -> list[float]:
        """When each of them happened, in seconds since 1970."""
        return [event.at for event in self._of(kind)]

    @property
    def imported(self) -> bool:
        """Whether it is a table of trials that was made elsewhere."""
        return self.opened.mode == IMPORTED

    def _of(self, kind: type[Any]) -> list[Event]:
        return self._by_kind.get(kind, [])

    @cached_property
    def _by_kind(self) -> dict[type[Any], list[Event]]:
        # Once, since a journal may have millions.
        kinds: dict[type[Any], list[Event]] = {}
        for event in self.events:
            kinds.setdefault(type(event.fact), []).append(event)
        return kinds


def read(events: Iterable[Event]) -> Record:
    """Read a journal's events; the study is built from the first of them.

    Raises ``ValueError`` for a journal that is empty or begins otherwise.
    """
    problems = events.problems if isinstance(events, Sound) else ()
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
    return Record(study, first, read, problems)
