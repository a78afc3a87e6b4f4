"""A Psych-DS data set: CSV files with key-value names, and JSON-LD that describes them.

After the published rules (psych-ds.github.io, schema 1.5): ``variableMeasured`` names
exactly the columns of all files under ``data``.
"""

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
from analysis.folder import MARK
from analysis.writing import write_csv, write_json, write_text

_README = """\
# {title}

{description}

| file | a row is |
| --- | --- |
| `data/subject-*/subject-*_session-*_data.csv` | a trial |
| `data/description-sessions_data.csv` | a session |
| `data/description-subjects_data.csv` | a subject |

Labels of subjects and sessions are letters and digits only; the tables of sessions and
subjects have their names in the study. An empty field is missing. Every column is
described in `dataset_description.json`. The study file, as it was run, is
`materials/study.toml` (SHA-256 {sha256}). Written by Penchant {version}.
"""

_LABELS = {
    "row_id": Column("Number of the row in its file, from 1"),
    "subject_id": Column("Label of the subject, of letters and digits"),
    "session_id": Column("Label of the session, of letters and digits"),
}


def write_psych_ds(source: Source, folder: Path) -> list[Path]:
    """Write a data set; returns the tables of trials.

    Raises ``ValueError`` for a date of birth after a session.
    """
    data, paths = folder / "data", []
    for one in source.each_session():
        subject = source.subject_labels[one.subject]
        session = source.session_labels[one.session]
        table = trial_table(source, one)
        table.insert(0, "subject_id", subject)
        table.insert(1, "session_id", session)
        name = f"subject-{subject}_session-{session}_data.csv"
        paths.append(data / f"subject-{subject}" / name)
        _write(paths[-1], table)
    _write(data / "description-sessions_data.csv", _sessions(source))
    people = people_table(source).rename_axis("subject_id").reset_index()
    _write(data / "description-subjects_data.csv", people)
    # Sessions first: a name in several tables is that of the widest meaning.
    said = session_columns(source) | people_columns() | trial_columns(source) | _LABELS
    write_json(folder / "dataset_description.json", _description(source, said))
    text = _README.format(
        title=source.title,
        description=source.description,
        sha256=source.record.opened.sha256,
        version=penchant_version(),
    )
    write_text(folder / "README.md", text)
    write_text(folder / "materials" / "study.toml", source.text)
    write_text(folder / ".psychds-ignore", f"{MARK}\n")
    return paths


def _sessions(source: Source) -> pd.DataFrame:
    table = session_table(source)
    table.insert(0, "subject_id", table.pop("subject").map(source.subject_labels))
    table.insert(1, "session_id", table["session"].map(source.session_labels))
    return table


def _write(path: Path, table: pd.DataFrame) -> None:
    table.insert(0, "row_id", range(1, len(table) + 1))
    write_csv(path, table)


def _description(source: Source, columns: dict[str, Column]) -> dict[str, Any]:
    dataset, lab = source.metadata.dataset, source.metadata.lab
    opened = source.record.opened
    said: dict[str, Any] = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": source.title,
        "description": source.description,
        "schemaVersion": "Psych-DS 1.5.1",
        "identifier": f"sha256:{opened.sha256}",
        "author": [_person(name) for name in dataset.authors],
        "license": dataset.license,
        "keywords": dataset.keywords,
        "citation": dataset.publications,
        "funder": [{"@type": "Organization", "name": n} for n in dataset.funding],
        "measurementTechnique": "Closed-loop behavioural experiment, by Penchant "
        + penchant_version(),
        "variableMeasured": [_variable(*item) for item in columns.items()],
    }
    if lab.institution:
        said["provider"] = {"@type": "Organization", "name": lab.institution}
    return {name: value for name, value in said.items() if value}


def _person(name: str) -> dict[str, str]:
    family, _, given = name.partition(", ")
    return {
        "@type": "Person",
        "name": f"{given} {family}",
        "givenName": given,
        "familyName": family,
    }


def _variable(name: str, column: Column) -> dict[str, Any]:
    said: dict[str, Any] = {
        "@type": "PropertyValue",
        "name": name,
        "description": column.description,
    }
    if column.unit:
        said["unitText"] = column.unit
    if column.levels:
        levels = "; ".join(f"{level}: {what}" for level, what in column.levels.items())
        said["description"] += f". Levels: {levels}"
    return said
