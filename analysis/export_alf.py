"""Trials with the column names of the International Brain Laboratory (ALF).

One ``_ibl_trials.table.pqt`` a session, in ``subject/date/number/alf``. What has a name
there has it here, with the same sign and unit; what has none stands beside it under the
name of Penchant's own tables.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.dictionary import Column
from analysis.export_source import OneSession, Source, penchant_version
from analysis.labels import distinct
from analysis.session_times import CLOCK, ORDINAL, SERVER
from analysis.writing import write_csv, write_json, write_text

_README = """\
# {title}

{description}

One session a folder, `subject/date/number/alf/_ibl_trials.table.pqt`; dates are of the
zone {zone}. `sessions.csv` has the names of subject and session in the study, and
`columns.json` says what each column is. `choice` has the sign of the International
Brain Laboratory: 1 is left, -1 is right, 0 is no response; in Penchant's own tables it
is the other way round. There are no `goCue_times`, `firstMovement_times`,
`probabilityLeft` and contrasts: the study has nothing of the kind. The study file, as
it was run, is `study.toml` (SHA-256 {sha256}). Written by Penchant {version}.
"""

_IBL = {
    "intervals_0": Column(f"When the trial began. {CLOCK[SERVER]}", "s"),
    "intervals_1": Column("When the trial ended, as intervals_0", "s"),
    "stimOn_times": Column(
        "About when the stimulus came on: intervals_1 less the reaction time; missing "
        "without one. A rig has the answer when its trial is over: then it is later "
        "than in truth, by as long",
        "s",
    ),
    "response_times": Column(
        "About when the subject responded, as intervals_1; missing without response",
        "s",
    ),
    "choice": Column("Choice: 1 is left, -1 is right, 0 is no response"),
    "feedbackType": Column(
        "1: the side chosen was the one drawn to pay; -1: it was not, or there was no "
        "response; 0: no such feedback, as in test trials"
    ),
    "feedback_times": Column(
        "When the reward was given, as the client told; else missing", "s"
    ),
    "rewardVolume": Column("Volume of liquid given in the trial", "uL"),
}

_LEFT_OUT = ("session", "subject", "recorded_at", "reward_microlitre")


def write_alf(source: Source, folder: Path) -> list[Path]:
    """Write a table of trials a session, and what they are; returns the tables."""
    paths, rows = [], []
    numbers: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in source.each_session():
        label = source.subject_labels[one.subject]
        day = one.row.opened_at.astimezone(source.metadata.zone).date().isoformat()
        numbers[label, day] += 1
        where = Path(label, day, f"{numbers[label, day]:03d}", "alf")
        paths.append(folder / where / "_ibl_trials.table.pqt")
        paths[-1].parent.mkdir(parents=True)
        _table(source, one).to_parquet(paths[-1], index=False)
        rows.append((where.as_posix(), one.subject, one.session, one.row.status))
    columns = ["folder", "subject", "session", "status"]
    write_csv(folder / "sessions.csv", pd.DataFrame(rows, columns=columns))
    own = {new: source.columns[old] for old, new in _own(source).items()}
    said = {n: c._asdict() for n, c in (own | _IBL).items()}
    write_json(folder / "columns.json", said)
    text = _README.format(
        title=source.title,
        description=source.description,
        zone=source.metadata.zone.key,
        sha256=source.record.opened.sha256,
        version=penchant_version(),
    )
    write_text(folder / "README.md", text)
    write_text(folder / "study.toml", source.text)
    return paths


def _table(source: Source, one: OneSession) -> pd.DataFrame:
    """A session's trials; columns that IBL has no name for follow its own."""
    trials = one.trials.reset_index(drop=True)
    times = trials[["start_s", "stop_s"]]
    if one.clock == ORDINAL:  # trials that are only counted have no times
        times = times * np.nan
    columns: dict[str, Any] = {
        "intervals_0": times["start_s"],
        "intervals_1": times["stop_s"],
        "stimOn_times": times["stop_s"] - trials["reaction_time_s"],
        "response_times": times["stop_s"].where(trials["outcome"] == "responded"),
    }
    if source.record.study.design.response == "choice":
        columns["choice"] = -trials["response"].fillna(0).astype("int8")
        columns["feedbackType"] = _feedback(trials)
    if "reward_microlitre" in trials:
        columns["rewardVolume"] = trials["reward_microlitre"].fillna(0.0)
    if "clock_reward_after_s" in trials:
        columns["feedback_times"] = times["start_s"] + trials["clock_reward_after_s"]
    own = {new: trials[old] for old, new in _own(source).items()}
    return pd.DataFrame(columns | own)


def _own(source: Source) -> dict[str, str]:
    """Columns that IBL has no name for, and their names here."""
    return distinct([n for n in source.columns if n not in _LEFT_OUT], _IBL)


def _feedback(trials: pd.DataFrame) -> Any:
    """Whether the side chosen was the one that pays, in IBL's numbers."""
    if "right_rewarded" not in trials:
        return np.zeros(len(trials), "int8")
    pays = trials["right_rewarded"].map({True: 1.0, False: -1.0}).astype(float)
    kind = np.where(pays == trials["response"], 1, -1)
    return np.where(pays.isna(), 0, kind).astype("int8")
