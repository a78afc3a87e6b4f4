"""What every export format is made from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import pandas as pd

from analysis.dictionary import Column, describe_trials, feature_columns
from analysis.frames import (
    Frames,
    components_frame,
    generations_frame,
    sessions_frame,
    trials_frame,
)
from analysis.labels import labels, pseudonyms
from analysis.metadata import Metadata, Subject
from analysis.record import Record, read
from analysis.recovery import recover
from analysis.session_times import trial_times
from server.events import Event, Weighed


class OneSession(NamedTuple):
    """A session with trials: its row of the sessions table, and its trials.

    ``trials`` have ``start_s`` and ``stop_s`` besides their own columns; ``clock`` says
    whose they are, as in :mod:`analysis.session_times`.
    """

    subject: str
    session: str
    row: Any
    trials: pd.DataFrame
    clock: str


@dataclass(frozen=True)
class Source:
    """A study to export, and what is said of it beside the journal."""

    record: Record
    metadata: Metadata = field(default_factory=Metadata)
    key: bytes | None = None
    """Secret of pseudonyms; without one subjects keep the names of the journal."""

    @cached_property
    def trials(self) -> pd.DataFrame:
        """As :func:`analysis.frames.trials_frame`."""
        trials = trials_frame(self.record)
        if self.key is not None:
            trials["subject"] = trials["subject"].cat.rename_categories(self._renamed)
        return trials

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """As :func:`analysis.frames.sessions_frame`.

        Under pseudonyms without free texts, which may say who it was.
        """
        sessions = sessions_frame(self.record, self.trials)
        if self.key is not None:
            sessions["subject"] = sessions["subject"].map(self._renamed)
            sessions[["client", "reason"]] = ["{}", ""]
        return sessions

    @cached_property
    def tables(self) -> Frames:
        """All tables of the study."""
        generations = generations_frame(self.record, self.sessions)
        components = components_frame(self.record, generations, recover(self.record))
        return Frames(self.trials, self.sessions, generations, components)

    @cached_property
    def columns(self) -> dict[str, Column]:
        """What each column of the trials is."""
        return describe_trials(self.record, self.trials)

    @cached_property
    def features(self) -> dict[str, Column]:
        """What each column of the trials is that is a feature of the stimulus."""
        return feature_columns(self.record, self.trials)

    @cached_property
    def subject_labels(self) -> dict[str, str]:
        """Letters and digits for the name of each subject."""
        return labels(self.sessions["subject"])

    @cached_property
    def session_labels(self) -> dict[str, str]:
        """The same for the name of each session."""
        return labels(self.sessions["session"])

    @cached_property
    def _renamed(self) -> dict[str, str]:
        names = trials_frame(self.record)["subject"].cat.categories
        return pseudonyms(names, self.key or b"")

    def known_of(self, subject: str) -> Subject:
        """What the metadata file says of a subject, by its name in the study."""
        return self.metadata.of(self.name_of(subject))

    def age_at(self, subject: str, at: pd.Timestamp) -> str | None:
        """Age as an ISO 8601 duration; raises ``ValueError`` for a birth after then."""
        try:
            return self.known_of(subject).age_on(
                at.astimezone(self.metadata.zone).date()
            )
        except ValueError as error:
            raise ValueError(f"subject {subject!r}: {error}") from error

    def weight_at(self, subject: str, at: float) -> str | None:
        """Weight of a subject when it was last weighed before then, in kilograms."""
        name = self.name_of(subject)
        own = [w.grams for w, when in self._weights if w.subject == name and when <= at]
        return f"{own[-1] / 1000:.6g} kg" if own else None

    def name_of(self, subject: str) -> str:
        """The name in the journal, where that is a pseudonym."""
        return self._in_journal.get(subject, subject)

    @cached_property
    def _weights(self) -> list[tuple[Weighed, float]]:
        facts, times = self.record.facts(Weighed), self.record.times(Weighed)
        return list(zip(facts, times, strict=True))

    @cached_property
    def _in_journal(self) -> dict[str, str]:
        """The name behind each pseudonym."""
        return {v: k for k, v in self._renamed.items()} if self.key is not None else {}

    def each_session(self) -> Iterator[OneSession]:
        """Sessions that have trials, in order of opening.

        Raises ``ValueError`` where there is none.
        """
        if self.empty:
            null = (
                ": a no-learner null has no sessions" if self.record.study.null else ""
            )
            raise ValueError(
                f"study {self.record.study.name} has no trials to write{null}. "
                "`--format csv` writes its generations and components"
            )
        times = trial_times(self.trials, self.sessions)
        timed = pd.concat([self.trials, times], axis=1)
        rows = {row.session: row for row in self.sessions.itertuples(index=False)}
        for name, own in timed.groupby("session", observed=True, sort=True):
            row = rows[str(name)]
            trials = own.sort_values("trial").drop(columns="clock")
            yield OneSession(row.subject, str(name), row, trials, own["clock"].iloc[0])

    @property
    def empty(self) -> bool:
        """Whether there is no trial."""
        return len(self.trials) == 0

    @property
    def simulated(self) -> bool:
        """Whether nobody real took part."""
        return self.record.opened.mode == "dry-run"

    @property
    def title(self) -> str:
        """Of the data set, from the metadata file or by the study's name."""
        return self.metadata.dataset.title or f"Penchant study {self.record.study.name}"

    @property
    def description(self) -> str:
        """What the data set is, with the warning that simulated data needs."""
        said = self.metadata.dataset.description or (
            "Subjects learnt labels of a few stimuli and were tested on others. "
            "Labellings were chosen by a search for those that are generalised best."
        )
        if self.simulated:
            return f"SIMULATED: no subject was real. {said}"
        return said

    @property
    def text(self) -> str:
        """The study file as it was run."""
        return self.record.opened.text


def source_of(
    events: Iterable[Event],
    metadata: Metadata | None = None,
    key: bytes | None = None,
) -> Source:
    """What a journal's events give to export; raises ``ValueError`` as ``read``."""
    return Source(read(events), metadata or Metadata(), key)


def penchant_version() -> str:
    """Version of the program that exports."""
    try:
        return version("penchant")
    except PackageNotFoundError:  # a copy that was not installed
        return "unknown"
