"""A BIDS data set of behaviour: one table a session, every column described."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.behaviour_table import (
    people_columns,
    people_table,
    session_columns,
    session_table,
    trial_columns,
    trial_table,
)
from analysis.dictionary import Column
from analysis.export_source import Source, penchant_version
from analysis.writing import write_json, write_text, write_tsv

BIDS_VERSION = "1.10.0"

_README = """\
# {title}

{description}

One behavioural table a session (`sub-*/ses-*/beh`); what its columns are is in
`task-{task}_beh.json`. What each session was, and its generalisation error, is in
`sub-*/sub-*_sessions.tsv`. Labels of subjects and sessions are letters and digits only;
`participants.tsv` has the name of each subject in the study, `session` of
`sub-*_sessions.tsv` that of each session.

The study file, as it was run, is `sourcedata/study.toml` (SHA-256 {sha256}). Written by
Penchant {version}.
"""


def write_bids(source: Source, folder: Path) -> list[Path]:
    """Write a data set; returns the tables of trials.

    Raises ``ValueError`` for a date of birth after a session.
    """
    task = re.sub(r"[^A-Za-z0-9]", "", source.record.study.name) or "penchant"
    lab, paths, shown = source.metadata.lab, [], set()
    for one in source.each_session():
        name = f"sub-{source.subject_labels[one.subject]}"
        name += f"_ses-{source.session_labels[one.session]}_task-{task}_beh.tsv"
        subject, session, *_ = name.split("_")
        paths.append(folder / subject / session / "beh" / name)
        write_tsv(paths[-1], trial_table(source, one))
        shown.add(one.session)
    _write_sessions(source, folder, shown)
    _write_participants(source, folder, shown)
    trials = {
        "TaskName": task,
        "TaskDescription": source.description,
        "Instructions": source.metadata.dataset.instructions,
        "InstitutionName": lab.institution,
        "InstitutionAddress": lab.address,
        "InstitutionalDepartmentName": lab.department,
    } | _sidecar(trial_columns(source))
    write_json(folder / f"task-{task}_beh.json", _known(trials))
    write_json(folder / "dataset_description.json", _description(source))
    said = _README.format(
        title=source.title,
        description=source.description,
        task=task,
        sha256=source.record.opened.sha256,
        version=penchant_version(),
    )
    write_text(folder / "README.md", said)
    write_text(folder / "sourcedata" / "study.toml", source.text)
    return paths


def _write_sessions(source: Source, folder: Path, shown: set[str]) -> None:
    """A table of sessions for each subject, of those that have trials."""
    columns = {
        "session_id": Column("Label of the session"),
        "acq_time": Column("When the session was opened, UTC"),
        **session_columns(source),
    }
    columns.pop("opened_at")
    table = session_table(source)
    table = table[table["session"].isin(shown)]
    table = table.assign(
        session_id=table["session"].map(source.session_labels).radd("ses-"),
        acq_time=_time(table["opened_at"]),
        ended_at=_time(table["ended_at"]),
    )
    for subject, own in table.groupby("subject", sort=False):
        name = f"sub-{source.subject_labels[str(subject)]}"
        path = folder / name / f"{name}_sessions.tsv"
        write_tsv(path, own[list(columns)])
        write_json(path.with_suffix(".json"), _sidecar(columns))


def _write_participants(source: Source, folder: Path, shown: set[str]) -> None:
    names = source.sessions["subject"][source.sessions["session"].isin(shown)]
    people = people_table(source).loc[
        [source.subject_labels[name] for name in names.unique()]
    ]
    people.insert(0, "participant_id", "sub-" + people.index.astype("str"))
    said = {"participant_id": Column("Label of the subject")} | people_columns()
    write_tsv(folder / "participants.tsv", people)
    write_json(folder / "participants.json", _sidecar(said))


def _time(times: "pd.Series[Any]") -> "pd.Series[str]":
    return times.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _sidecar(columns: dict[str, Column]) -> dict[str, Any]:
    """What a JSON file says of each column."""
    said = {}
    for name, column in columns.items():
        entry = {"Description": column.description, "Units": column.unit}
        said[name] = _known(entry | {"Levels": column.levels})
    return said


def _description(source: Source) -> dict[str, Any]:
    dataset, opened = source.metadata.dataset, source.record.opened
    said = {
        "Name": source.title,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "License": dataset.license,
        "Authors": dataset.authors,
        "Keywords": dataset.keywords,
        "Funding": dataset.funding,
        "EthicsApprovals": dataset.ethics_approvals,
        "ReferencesAndLinks": dataset.publications,
        "GeneratedBy": [{"Name": "Penchant", "Version": penchant_version()}],
        "SourceDatasets": [{"Version": f"study file SHA-256 {opened.sha256}"}],
    }
    return _known(said)


def _known(said: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody said."""
    return {name: value for name, value in said.items() if value}
