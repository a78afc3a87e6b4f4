"""A session's trials as one behavioural table, for BIDS and Psych-DS."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.dictionary import Column, describe_sessions
from analysis.export_source import OneSession, Source
from analysis.labels import distinct
from analysis.metadata import years_in
from analysis.session_times import CLOCK, ORDINAL, SERVER

_TIMES = {
    "start_time": Column(
        "When the trial began; missing where times were not measured, as in "
        f"in-process dry runs. {CLOCK[SERVER]}",
        "s",
    ),
    "stop_time": Column("When the trial ended, as start_time", "s"),
}

_RESPONSE_TIME = Column(
    "Reaction time, a difference on one clock of the client. Negative: premature, so "
    "much after the trial began. Missing: no response, or not measured",
    "s",
)

_LEFT_OUT = ("session", "subject", "group", "recorded_at")
_LABELS = ("row_id", "subject_id", "session_id", "participant_id")
_OF_SESSION = ("component", "generation", "candidate", "attempt")
_PEOPLE = {
    "group": Column("Group of the subject; missing in a study without groups"),
    "species": Column("Latin name of the species; missing if nobody said it"),
    "sex": Column("Sex", levels={"M": "male", "F": "female", "O": "other"}),
    "age": Column("Age at the first session; 89 stands for 89 and above", "year"),
    "strain": Column("Strain"),
    "name": Column("Pseudonym of the subject in the study"),
}


def trial_columns(source: Source) -> dict[str, Column]:
    """What each column of :func:`trial_table` is, in its order."""
    named = {new: source.columns[old] for old, new in _names(source).items()}
    first = {"trial": named.pop("trial")} | _TIMES
    return first | named | {"response_time": _RESPONSE_TIME}


def trial_table(source: Source, one: OneSession) -> pd.DataFrame:
    """The trials of a session, a row each."""
    names = _names(source)
    trials = one.trials[list(names)].rename(columns=names)
    times = one.trials[["start_s", "stop_s"]].to_numpy()
    trials[["start_time", "stop_time"]] = times if one.clock != ORDINAL else np.nan
    premature = trials["outcome"] == "premature"
    sign = premature.map({True: -1.0, False: 1.0})
    trials["response_time"] = trials["response_time"] * sign
    return trials[list(trial_columns(source))].reset_index(drop=True)


def session_columns(source: Source) -> dict[str, Column]:
    """What each column of :func:`session_table` is."""
    said = describe_sessions(source.record, source.sessions)
    return {k: v for k, v in said.items() if k not in ("subject", "client")}


def session_table(source: Source) -> pd.DataFrame:
    """The sessions table without what else is said of subjects and clients."""
    return source.sessions[["subject", *session_columns(source)]]


def people_columns() -> dict[str, Column]:
    """What each column of :func:`people_table` is."""
    return dict(_PEOPLE)


def people_table(source: Source) -> pd.DataFrame:
    """A row a subject, in order of coming, by its label."""
    rows = {}
    first = source.sessions.drop_duplicates("subject")
    for row in first.itertuples(index=False):
        rows[source.subject_labels[row.subject]] = _person(source, row)
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(_PEOPLE))


def _person(source: Source, row: Any) -> list[Any]:
    known = source.known_of(row.subject)
    age = source.age_at(row.subject, row.opened_at)
    years = None if age is None else round(min(years_in(age), 89.0), 3)
    sex = None if known.sex == "U" else known.sex
    return [row.group or None, known.species, sex, years, known.strain, row.subject]


def _names(source: Source) -> dict[str, str]:
    """Names as the standards have them, of columns of trials that are columns here.

    A feature has none that means something else in another table of the data set.
    """
    left_out = (*_LEFT_OUT, *_OF_SESSION)
    own = [n for n in source.columns if n not in (*left_out, "reaction_time_s")]
    kept = [n for n in own if n not in source.features]
    taken = {*_PEOPLE, *_TIMES, *_LABELS, *source.sessions, *kept, "response_time"}
    features = distinct([n for n in own if n in source.features], taken)
    plain = distinct(kept)
    return {n: features.get(n) or plain[n] for n in own} | {
        "reaction_time_s": "response_time"
    }
