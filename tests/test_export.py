"""Exports of tables, the folder they are in, names, metadata, the command."""

import json
import re
import tomllib
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from exported import COMPLETE, SESSION, complete, dry, live
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.dictionary import describe
from analysis.export import FORMATS, export
from analysis.export_cli import FORMS
from analysis.export_cli import export as command
from analysis.folder import whole
from analysis.frames import frames
from analysis.labels import distinct, labels, pseudonyms, read_key
from analysis.metadata import TEMPLATE, MetadataError, Subject, parse_metadata
from analysis.record import read
from analysis.tables import TablesError, read_tables
from server.journal import Journal
from server.scrub import scrub

NAMES = st.lists(st.text(max_size=80), max_size=12)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_come_back_as_they_were(form: str, tmp_path: Path) -> None:
    for i, events in enumerate((dry(), live())):
        out = tmp_path / str(i)
        export(events, out, form)
        back, record = read_tables(out), read(events)
        for there, here in zip(back.frames, frames(record), strict=True):
            pd.testing.assert_frame_equal(there, here)
        assert back.text == record.opened.text
        assert back.study["sha256"] == record.study.sha256


def test_every_column_is_described(tmp_path: Path) -> None:
    record = read(live())
    for table in describe(record, frames(record)).values():
        for column in table.values():
            assert len(column.description) > 5
    export(live(), tmp_path / "out", "csv")
    said = json.loads((tmp_path / "out" / "dictionary.json").read_text())
    trials = said["tables"]["trials"]["columns"]
    assert trials["reaction_time_s"]["unit"] == "s"
    assert "omission" in trials["outcome"]["levels"]


def test_a_damaged_table_says_row_and_column(tmp_path: Path) -> None:
    export(live(), tmp_path / "out", "csv")
    path = tmp_path / "out" / "trials.csv"
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace("training", "trainign")
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(TablesError, match="expected 4 rows, got 3"):
        read_tables(tmp_path / "out")
    faults: list[str] = []
    assert len(read_tables(tmp_path / "out", faults).frames.trials) == 2
    assert "row 2, column phase: expected category, got 'trainign'" in faults[1]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder, mark = tmp_path / "out", {"study": "a"}

    def write(text: str, mark: dict[str, str] = mark) -> None:
        with whole(folder, mark) as new:
            (new / "one").write_text(text)
            if text == "killed":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write("killed")
    assert list(tmp_path.iterdir()) == []
    write("first")
    write("second")
    with pytest.raises(KeyboardInterrupt):
        write("killed")
    assert (folder / "one").read_text() == "second"
    with pytest.raises(ValueError, match="another export, of study 'a' and not 'b'"):
        write("third", {"study": "b"})
    (folder / "mine").write_text("notes")
    with pytest.raises(ValueError, match="mine was not written by the last export"):
        write("third")
    (folder / "mine").unlink()
    (folder / "one").write_text("edited")
    with pytest.raises(ValueError, match="one was changed since the last export"):
        write("third")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds files that no export wrote"):
        export(live(), tmp_path, "alf")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@settings(deadline=None)
@given(NAMES)
def test_labels_are_of_letters_and_digits_and_told_apart(names: list[str]) -> None:
    given = labels(names)
    assert list(given) == list(dict.fromkeys(names))
    assert all(re.fullmatch("[A-Za-z0-9]+", label) for label in given.values())
    assert len({label.lower() for label in given.values()}) == len(given)
    assert labels(names[:-1]).items() <= given.items()  # kept when others join


@settings(deadline=None)
@given(NAMES)
def test_columns_are_told_apart(names: list[str]) -> None:
    given = [new.lower() for new in distinct(names, ["x", "trial"]).values()]
    assert len({*given, "x", "trial"}) == len(set(names)) + 2


def test_labels_that_would_clash() -> None:
    given = labels(["mouse-07", "mouse07", "Mouse 07", "ü", ""])
    assert given["mouse-07"] == "mouse07"
    assert len({label.lower() for label in given.values()}) == 5


def test_pseudonyms_hang_on_their_key(tmp_path: Path) -> None:
    key = read_key(tmp_path / "key")
    assert read_key(tmp_path / "key") == key
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert pseudonyms(["a", "b"], key)["a"] == pseudonyms(["a"], key)["a"]
    assert pseudonyms(["a"], key) != pseudonyms(["a"], b"another")
    (tmp_path / "bad").write_text("hello")
    with pytest.raises(ValueError, match="is no key for pseudonyms"):
        read_key(tmp_path / "bad")


@pytest.mark.parametrize("form", FORMATS)
def test_no_export_names_who_was_hidden(form: str, tmp_path: Path) -> None:
    export(live("zoe-91"), tmp_path / "out", form, key=b"secret")
    assert _holding(tmp_path / "out", "zoe-91", "zoe91") == []


def test_who_was_scrubbed_is_in_no_export(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lab.db", "small")
    journal.append([event.fact for event in live("zoe-91")], 1e9)
    journal.close()
    scrub(tmp_path / "lab.db", "small", "zoe-91", tmp_path / "clean.db")
    clean = Journal(tmp_path / "clean.db", "small")
    events = list(clean.read())
    clean.close()
    for form in FORMATS:
        export(events, tmp_path / form, form)
        assert _holding(tmp_path / form, "zoe-91", "zoe91") == []


def _holding(folder: Path, *words: str) -> list[Path]:
    """Files that hold a word, in their name or their bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [
        path
        for path in files
        for word in words
        if word in str(path.relative_to(folder)) or word.encode() in path.read_bytes()
    ]


# ---------------------------------------------------------------- metadata


def test_the_template_is_right_as_it_is_and_filled_in() -> None:
    assert parse_metadata(TEMPLATE).lab.institution is None
    lines = [re.sub(r"^# (?=[\[a-z])", "", line) for line in TEMPLATE.splitlines()]
    filled = parse_metadata("\n".join(lines[3:]))
    assert filled.of("mouse-07").sex == "F"
    assert filled.of("mouse-07").age is None  # it has a date of birth
    assert filled.of("mouse-08").age == "P90D"
    assert filled.zone.key == "Europe/London"


def test_every_fault_has_line_key_and_advice() -> None:
    text = """[lab]
experimenters = ["Marie Curie"]
timezone = "Mars"
town = "Paris"
[subject."m 1"]
species = "mouse"
age = "90 days"
"""
    with pytest.raises(MetadataError) as caught:
        parse_metadata(text)
    for line, words in (
        (2, 'experimenters.0: expected "Last, First"'),
        (3, "timezone: expected a time zone such as Europe/London"),
        (4, "town: no such key; known: institution"),
        (6, "species: expected a Latin name"),
        (7, "age: expected an ISO 8601 duration such as P90D"),
    ):
        assert re.search(rf"line {line}: .*{re.escape(words)}", str(caught.value))


def test_ages_are_of_the_day_and_of_people_in_years() -> None:
    born = date(2000, 1, 1)
    mouse = Subject(species="Mus musculus", date_of_birth=born)
    assert mouse.age_on(date(2000, 3, 31)) == "P90D"
    human = Subject(species="Homo sapiens", date_of_birth=born)
    assert human.age_on(date(2030, 6, 1)) == "P30Y"
    assert human.age_on(date(2095, 6, 1)) == "P90Y/"
    with pytest.raises(ValueError, match="after a session"):
        mouse.age_on(date(1999, 1, 1))


# ---------------------------------------------------------------- the command


def test_the_command_exports_and_tells_what_is_missing(tmp_path: Path) -> None:
    assert tuple(FORMATS) == FORMS
    journal = Journal(tmp_path / "lab.db", "small")
    journal.append([event.fact for event in live()], 1e9)
    journal.close()

    def run(*words: str) -> str:
        result = CliRunner().invoke(command, [str(tmp_path / "lab.db"), *words])
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.output

    where = ("--out", str(tmp_path / "out"))
    assert "DANDI asks for species; unknown of 1 subject: mouse-07" in run(
        "--format", "nwb", *where
    )
    assert "holds another export, of format 'nwb' and not 'csv'" in run(
        "--format", "csv", *where
    )
    lab = tmp_path / "lab.toml"
    assert "next: penchant export" in run("--metadata-template", str(lab))
    assert tomllib.loads(lab.read_text()).keys() >= {"dataset", "lab"}
    assert "exists: name a new file" in run("--metadata-template", str(lab))
    lab.write_text(COMPLETE + "[subject.nobody]\nsex = 'M'\n")
    said = run("--format", "nwb", *where, "--metadata", str(lab))
    assert "asks for" not in said
    assert "subject 'nobody', whom the study does not have" in said


def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        FORMATS, "nwb", FORMATS["nwb"]._replace(module="library_that_is_not_there")
    )
    with pytest.raises(ValueError, match=r"NWB files need .*pip install"):
        export(live(), tmp_path / "out", "nwb", complete())
    assert not (tmp_path / "out").exists()


def test_nothing_to_write_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no trials to write"):
        export(live(name=SESSION)[:2], tmp_path / "out", "bids")
