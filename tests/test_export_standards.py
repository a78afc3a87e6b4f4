"""Exports as standards of the field have them, and as their validators want them."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exported import SESSION, answered, complete, dry, live, played
from nwbinspector import inspect_all, load_config
from pynwb import NWBHDF5IO, validate
from small_study import small_study
from test_analysis import a_session, by_hand

from analysis.export import export
from analysis.frames import sessions_frame, trials_frame
from analysis.record import read
from analysis.session_times import ORDINAL, SERVER, trial_times
from server.events import Event, Fact, SessionEnded

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


# ---------------------------------------------------------------- times


def _times(events: list[Event]) -> pd.DataFrame:
    record = read(events)
    trials = trials_frame(record)
    return trial_times(trials, sessions_frame(record, trials))


def test_trials_follow_each_other_on_the_servers_clock() -> None:
    times = _times(live())
    assert times["start_s"].tolist() == [0, 1, 2, 3]
    assert times["stop_s"].tolist() == [1, 2, 3, 4]
    assert set(times["clock"]) == {SERVER}


def test_answers_that_came_late_have_the_time_of_the_client() -> None:
    def told(trial: int, *after_s: float) -> Any:
        clocks: list[Any] = [{"server_utc_s": 1e9 + 1 + s} for s in after_s]
        trials = list(range(trial, trial + len(after_s)))
        many = len(trials)
        return replace(
            answered(0, 1.0),
            trials=trials,
            outcomes=["responded"] * many,
            values=[1.0] * many,
            reaction_times_s=[0.2] * many,
            clocks=clocks,
        )

    # Three seconds of silence, then an outbox is delivered at once.
    events = by_hand(small_study(), a_session(SESSION), told(0, 0.5, 1.5, 2.5, 2.9))
    events[-1] = replace(events[-1], at=1e9 + 5)
    assert _times(events)["stop_s"].round(6).tolist() == [0.5, 1.5, 2.5, 2.9]
    # Without these readings nobody knows when they were.
    plain = replace(told(0, 1, 2, 3, 4), clocks=[None] * 4)
    times = _times(by_hand(small_study(), a_session(SESSION), plain))
    assert times["stop_s"].tolist() == [1, 2, 3, 4]
    assert set(times["clock"]) == {ORDINAL}


# ---------------------------------------------------------------- NWB


def _issues(folder: Path) -> list[Any]:
    found = inspect_all(folder, config=load_config("dandi"))
    return [(m.check_function_name, m.message, m.location) for m in found]


def test_nwb_files_of_real_and_simulated_subjects_have_no_issue(tmp_path: Path) -> None:
    (real,) = export(live(), tmp_path / "nwb" / "live", "nwb", complete())
    paths = export(dry(), tmp_path / "nwb" / "dry", "nwb", complete())
    assert real.name == "sub-mouse07_ses-c0g0i0a0_behavior.nwb"
    assert len(paths) == 2
    assert _issues(tmp_path / "nwb") == []
    assert validate(path=str(real)) == []
    with NWBHDF5IO(real, "r") as opened:
        file = opened.read()
        subject, trials = file.subject, file.trials.to_dataframe()
        assert subject.subject_id == "mouse07"
        assert "mouse-07" in subject.description
        assert (subject.sex, subject.age, subject.weight) == ("F", "P100D", "0.0215 kg")
        assert file.experimenter == ("Curie, Marie",)
        assert file.session_start_time.utcoffset().total_seconds() == 3600
        assert trials["stop_time"].tolist() == [1, 2, 3, 4]
        assert trials["response"].tolist()[::2] == [1, -1]
        assert np.isnan(trials["response"][3])
        assert "(uL)" in file.trials["reward_microlitre"].description
        happened = file.get_events_table("session_events").to_dataframe()
        assert happened["what"].tolist() == [
            "session opened",
            "reward beside a response",
            "order: pause",
            "client disconnected",
            "session ended",
        ]
        assert happened["timestamp"].tolist() == [0, 5, 6, 7, 8]
    with NWBHDF5IO(paths[0], "r") as opened:
        file = opened.read()
        assert file.session_description.startswith("SIMULATED")
        assert "Not measured" in file.trials["start_time"].description
        assert not file.events


def test_nwb_says_only_what_is_known(tmp_path: Path) -> None:
    (path,) = export(live(), tmp_path / "out", "nwb")
    with NWBHDF5IO(path, "r") as opened:
        file = opened.read()
        assert (file.subject.species, file.subject.sex, file.subject.age) == (None,) * 3
        assert (file.institution, file.experimenter) == (None, None)


# ---------------------------------------------------------------- BIDS


def _errors(folder: Path) -> list[Any]:
    told = subprocess.run(
        [VALIDATOR, folder, "--json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(told.stdout)["issues"]["issues"]
    odd = ("JSON_KEY_RECOMMENDED", "SIDECAR_KEY_RECOMMENDED")  # of what we cannot know
    return [i for i in issues if i["severity"] == "error" or i["code"] not in odd]


def test_bids_data_set_is_valid(tmp_path: Path) -> None:
    (path,) = export(live(), tmp_path / "bids", "bids", complete())
    assert _errors(tmp_path / "bids") == []
    where = path.relative_to(tmp_path / "bids").as_posix()
    name = "sub-mouse07_ses-c0g0i0a0_task-small_beh.tsv"
    assert where == f"sub-mouse07/ses-c0g0i0a0/beh/{name}"
    table = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
    sidecar = json.loads((tmp_path / "bids" / "task-small_beh.json").read_text())
    assert set(table) <= set(sidecar)
    assert sidecar["response_time"]["Units"] == "s"
    assert table["response_time"].tolist()[:3] == [0.4, -0.4, 0.4]  # premature
    assert np.isnan(table["response_time"][3])  # omission


def test_bids_names_can_be_traced_back(tmp_path: Path) -> None:
    one, other = live("mouse-07"), live("Mouse_07", "c0-g0-i1-a0")[2:]
    events = one + [replace(e, seq=len(one) + e.seq, at=e.at + 100) for e in other]
    export(events, tmp_path / "bids", "bids")
    people = pd.read_csv(tmp_path / "bids" / "participants.tsv", sep="\t")
    assert people["name"].tolist() == ["mouse-07", "Mouse_07"]
    assert people["participant_id"].nunique() == 2
    for label in people["participant_id"]:
        assert (tmp_path / "bids" / label).is_dir()


# ---------------------------------------------------------------- Psych-DS


def _faults(folder: Path) -> list[str]:
    """What is against the published rules of Psych-DS."""
    said = json.loads((folder / "dataset_description.json").read_text())
    faults = [k for k in ("@context", "name", "description") if not said.get(k)]
    if said["@type"] != "Dataset":
        faults.append("@type")
    seen = set()
    for path in (folder / "data").rglob("*.csv"):
        pattern = r"([a-z]+-[a-zA-Z0-9]+)(_[a-z]+-[a-zA-Z0-9]+)*_data\.csv"
        if not re.fullmatch(pattern, path.name):
            faults.append(f"name {path.name}")
        header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
        if len(set(header)) != len(header) or not all(header):
            faults.append(f"header of {path.name}")
        if any(len(row) != len(header) for row in rows):
            faults.append(f"length of a row in {path.name}")
        ids = [row[header.index("row_id")] for row in rows]
        if len(set(ids)) != len(ids):
            faults.append(f"row_id in {path.name}")
        seen |= set(header)
    described = [variable["name"] for variable in said["variableMeasured"]]
    faults += [f"variable {v}" for v in seen.symmetric_difference(described)]
    if len(described) != len(set(described)):
        faults.append("a variable twice")
    return faults


def test_psych_ds_follows_the_published_rules(tmp_path: Path) -> None:
    for name, events in (("live", live()), ("dry", dry())):
        paths = export(events, tmp_path / name, "psych-ds", complete())
        assert _faults(tmp_path / name) == []
    # A dry run has no times.
    assert pd.read_csv(paths[0])["start_time"].isna().all()
    column = tmp_path / "dry" / "data" / "description-sessions_data.csv"
    column.write_text(column.read_text().replace("rig", "rog", 1))
    assert _faults(tmp_path / "dry") != []  # the rules would find it


# ---------------------------------------------------------------- ALF


def test_alf_has_the_signs_of_the_international_brain_laboratory(
    tmp_path: Path,
) -> None:
    (path,) = export(live(), tmp_path / "alf", "alf", complete())
    where = path.relative_to(tmp_path / "alf").as_posix()
    assert where == "mouse07/2001-09-09/001/alf/_ibl_trials.table.pqt"
    table = pd.read_parquet(path)
    assert table["choice"].tolist() == [-1, 0, 1, 0]  # right, none, left, none
    # Right was drawn to pay and chosen; left and too early; then tests.
    assert table["feedbackType"].tolist() == [1, -1, 0, 0]
    assert table["rewardVolume"].tolist() == [3, 0, 0, 0]
    assert table["intervals_1"].tolist() == [1, 2, 3, 4]
    assert table["stimOn_times"].round(6).tolist()[:1] == [0.6]
    assert table["response_times"].notna().tolist() == [True, False, True, False]
    said = json.loads((tmp_path / "alf" / "columns.json").read_text())
    assert set(table) <= set(said)
    times = pd.read_parquet(export(dry(), tmp_path / "dry", "alf")[0])["intervals_0"]
    assert times.isna().all()


# ---------------------------------------------------------------- slow


@pytest.mark.slow
def test_a_played_study_passes_every_validator(tmp_path: Path) -> None:
    export(played(), tmp_path / "nwb", "nwb", complete())
    assert _issues(tmp_path / "nwb") == []
    export(played(), tmp_path / "bids", "bids", complete())
    assert _errors(tmp_path / "bids") == []
    export(played(), tmp_path / "psych", "psych-ds", complete())
    assert _faults(tmp_path / "psych") == []
    (tmp_path / "bids" / "stray.txt").write_text("the validator is awake")
    assert _errors(tmp_path / "bids") != []
    shutil.rmtree(tmp_path / "nwb")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["bids", "alf", "psych-ds"])
def test_many_sessions_take_seconds(form: str, tmp_path: Path) -> None:
    opened = [a_session(f"c0-g{i}-i0-a0", subject=f"m{i % 20}") for i in range(500)]
    facts: list[Fact] = []
    for session in opened:
        name = session.session
        facts += [session]
        facts += [replace(answered(t, 1.0), session=name) for t in range(4)]
        facts += [SessionEnded(name, "finished", "", 0.1, 0.02, 0.3, 2)]
    paths = export(by_hand(small_study(), *facts), tmp_path / "out", form)
    assert len(paths) == 500
