"""One NWB file a session, of core types only, as DANDI wants them."""

import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pynwb import NWBHDF5IO, NWBFile
from pynwb.core import VectorData
from pynwb.epoch import TimeIntervals
from pynwb.event import EventsTable, TimestampVectorData
from pynwb.file import Subject

from analysis.dictionary import Column
from analysis.export_source import OneSession, Source, penchant_version
from analysis.labels import distinct
from analysis.nwb_events import Happening, happenings
from analysis.session_times import CLOCK, ORDINAL

KEYWORDS = ["inductive bias", "generalisation", "closed loop", "behaviour"]
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "penchant/session")

_FOLDED = 32
"""Features above which they are one column of vectors: pixels, say."""

_LEFT_OUT = {
    "session",
    "subject",
    "start_s",
    "stop_s",
    "recorded_at",
    "component",
    "generation",
    "candidate",
    "attempt",
    "group",
}
"""Columns of trials that are not columns here: of the session, or of time."""

_TAKEN = ("id", "start_time", "stop_time", "stimulus_features", "tags", "timeseries")
"""Names that NWB, or this, has given away."""


def write_nwb(source: Source, folder: Path) -> list[Path]:
    """Write every session that has trials; returns the files.

    What DANDI would miss is told by :func:`analysis.lacking.for_dandi`. Raises
    ``ValueError`` for a date of birth after a session.
    """
    happened = happenings(source)
    paths = []
    for one in source.each_session():
        subject = source.subject_labels[one.subject]
        session = source.session_labels[one.session]
        path = folder / f"sub-{subject}"
        path /= f"sub-{subject}_ses-{session}_behavior.nwb"
        path.parent.mkdir(exist_ok=True)
        file = _file(source, one, happened.get(one.session, []))
        with NWBHDF5IO(path, "w") as io:
            io.write(file)
        paths.append(path)
    return paths


def _file(source: Source, one: OneSession, happened: list[Happening]) -> NWBFile:
    study, opened, lab = source.record.study, source.record.opened, source.metadata.lab
    began: datetime = one.row.opened_at.to_pydatetime(warn=False)
    stream = f"{opened.sha256}/{study.name}/{opened.mode}/{source.record.events[0].at}"
    versions = [["penchant", penchant_version()]]
    versions += [[n, v] for n, v in opened.versions.items() if n != "penchant"]
    file = NWBFile(
        session_description=_description(source, one),
        identifier=str(uuid.uuid5(_NAMESPACE, f"{stream}/{one.session}")),
        session_start_time=began.astimezone(source.metadata.zone),
        session_id=source.session_labels[one.session],
        experiment_description=source.description,
        experimenter=lab.experimenters or None,
        institution=lab.institution,
        lab=lab.laboratory,
        protocol=lab.protocol,
        keywords=[*KEYWORDS, *source.metadata.dataset.keywords],
        related_publications=source.metadata.dataset.publications or None,
        notes=f"Study {study.name}, SHA-256 of its study file {opened.sha256}.",
        data_collection=_how(source),
        stimulus_notes=_stimuli(source),
        was_generated_by=[v for v in versions if v[1]],
        source_script=source.text,
        source_script_file_name="study.toml",
        subject=_subject(source, one, began),
    )
    file.trials = _trials(source, one)
    # Beside trials that are only counted their times would mean nothing.
    events = None if one.clock == ORDINAL else _events(one, happened)
    if events is not None:
        file.add_events_table(events)
    return file


def _description(source: Source, one: OneSession) -> str:
    row, study = one.row, source.record.study
    said = "SIMULATED subject. " if source.simulated else ""
    group = f", group {row.group}" if row.group else ""
    said += (
        f"Session {one.session} of study {study.name}{group}: a subject learnt labels "
        f"of stimuli and was tested on others. Component {row.component}, generation "
        f"{row.generation}, candidate {row.candidate}; sessions begun before: "
        f"{row.exposure}. It was {row.status}."
    )
    if np.isfinite(row.error):
        said += (
            f" Generalisation error {row.error:.4g} (standard error "
            f"{row.standard_error:.2g}), over the variance of labels "
            f"{row.relative_error:.4g}."
        )
    return said


def _how(source: Source) -> str:
    if source.record.imported:
        return "A table of trials from elsewhere, imported into a journal of Penchant."
    kind = "simulated" if source.simulated else "real"
    return (
        f"Run by Penchant with {kind} subjects: a server proposes labellings, assigns "
        "them to subjects and stores each answer in a journal, which this file is from."
    )


def _stimuli(source: Source) -> str:
    space = source.record.study.labeller.space
    names = ", ".join(
        f"{f.name} [{f.unit}]" if f.unit else f.name for f in space.features[:_FOLDED]
    )
    more = ", ..." if len(space.features) > _FOLDED else ""
    return f"Stimulus space {type(space).__name__} with features {names}{more}."


def _subject(source: Source, one: OneSession, began: datetime) -> Subject:
    known = source.known_of(one.subject)
    group = f"Group {one.row.group}. " if one.row.group else ""
    kind = "Simulated subject. " if source.simulated else ""
    said = f"{kind}{group}{known.description or ''}".strip()
    label = source.subject_labels[one.subject]
    if label != one.subject:
        said = f"Named {one.subject} in the study. {said}".strip()
    return Subject(
        subject_id=label,
        description=said or f"Subject of study {source.record.study.name}",
        species=known.species,
        sex=known.sex,
        age=source.age_at(one.subject, one.row.opened_at),
        strain=known.strain,
        genotype=known.genotype,
        weight=source.weight_at(one.subject, began.timestamp()),
    )


def _trials(source: Source, one: OneSession) -> TimeIntervals:
    trials, features = one.trials, source.features
    clock = CLOCK[one.clock]
    columns = [
        _data("start_time", f"When the trial began. {clock}", _plain(trials.start_s)),
        _data("stop_time", f"When the trial ended. {clock}", _plain(trials.stop_s)),
    ]
    left_out = set(_LEFT_OUT)
    if len(features) > _FOLDED:
        left_out |= set(features)
        said = f"The {len(features)} features of the stimulus: {', '.join(features)}"
        vectors = _smallest(trials[[*features]].to_numpy(float))
        columns.append(_data("stimulus_features", said, vectors))
    own = [name for name in source.columns if name not in left_out]
    for name, safe in distinct(own, _TAKEN).items():
        # What is said in no trial of the session is not a column of it.
        if not trials[name].isna().all():
            columns.append(_column(safe, source.columns[name], trials[name]))
    said = f"Trials of the session. {clock}"
    return TimeIntervals(name="trials", description=said, columns=columns)


def _column(name: str, said: Column, values: "pd.Series[Any]") -> VectorData:
    """A column of trials, with its unit and levels in the description."""
    description = said.description + (f" ({said.unit})" if said.unit else "")
    if said.levels:
        levels = (f"{level}: {what}" for level, what in said.levels.items())
        description += f". {' '.join(levels)}"
    if str(values.dtype) == "boolean":
        if not values.isna().any():
            return _data(f"is_{name}", description, values.to_numpy(bool))
        description += "; 1 yes, 0 no, -1 not said"  # a flag cannot be missing
        return _data(name, description, values.astype("Int8").fillna(-1).to_numpy("i1"))
    if pd.api.types.is_numeric_dtype(values.dtype):
        return _data(name, description, _smallest(values.to_numpy()))
    texts = values.astype("str").mask(values.isna(), "")
    return _data(name, description, texts.to_list())


def _smallest(values: Any) -> Any:
    """Numbers that happen to be 0 and 1 only take a byte each."""
    return values.astype("i1") if np.isin(values, (0, 1)).all() else values


def _data(name: str, description: str, data: Any) -> VectorData:
    return VectorData(name=name, description=description, data=data)


def _events(one: OneSession, happened: list[Happening]) -> EventsTable | None:
    """What happened besides trials; None where that is one thing or nothing."""
    if len(happened) < 2:
        return None
    began = one.row.opened_at.timestamp()
    stamps = TimestampVectorData(
        name="timestamp",
        description="Seconds on the server's clock since the session was opened.",
        data=np.array([event.at - began for event in happened]),
    )
    columns = [
        stamps,
        _data("what", "What happened", [event.what for event in happened]),
        _data("detail", "More of it", [event.detail for event in happened]),
    ]
    microlitre = np.array([event.microlitre for event in happened])
    if np.isfinite(microlitre).any():
        columns.append(_data("microlitre", "Volume of a reward (uL)", microlitre))
    return EventsTable(
        name="session_events",
        description="What happened besides trials, when the server was told of it.",
        columns=columns,
    )


def _plain(values: "pd.Series[float]") -> Any:
    return values.to_numpy(float)
