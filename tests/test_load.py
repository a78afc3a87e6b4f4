"""Data from wherever it is, also where it is damaged."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from small_study import small_study, study_text

from analysis.export import export
from analysis.load import Log, load, load_all
from penchant import main
from server.dry_run import dry_run
from server.journal import Journal, JournalError
from server.study import replay

TWO = study_text("components = 2", responses="omission = 0.2")
SESSIONS = 16


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a finished study, in one file without a log beside it."""
    path = tmp_path_factory.mktemp("whole") / "small.db"
    journal = Journal(path, "small")
    dry_run(small_study(TWO), journal)
    journal.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture(scope="module")
def log(whole: Path) -> Log:
    """What is in it."""
    return load(whole)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A journal to damage."""
    return Path(shutil.copy(whole, tmp_path / "torn.db"))


def change(path: Path, statement: str, *values: object) -> None:
    """Alter the rows of a journal by hand."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


def rows_of(path: Path, kind: str) -> list[tuple[int, dict[str, Any]]]:
    """Number and payload of the events of a kind."""
    connection = sqlite3.connect(path)
    query = "select seq, payload from events where kind = ? order by seq"
    rows = [(seq, json.loads(text)) for seq, text in connection.execute(query, [kind])]
    connection.close()
    return rows


def reasons(log: Log) -> str:
    """All problems as one text."""
    return "\n".join(log.problems["reason"])


def test_a_sound_journal_has_no_problems(log: Log) -> None:
    """All tables are there, and what it says of itself."""
    assert (len(log.sessions), len(log.components), len(log.problems)) == (
        SESSIONS,
        2,
        0,
    )
    assert repr(log).splitlines()[0] == "Log of study 'small' (dry-run)"
    assert log.study
    assert log.record
    assert log.record.problems == ()


def test_a_url_and_an_export_give_the_same(
    whole: Path, log: Log, tmp_path: Path
) -> None:
    """By whichever way it comes, the tables are equal to the dtype."""
    assert log.record
    logs = [load(f"sqlite:///{whole}"), *load_all(whole)]
    for form in ("csv", "parquet"):
        export(log.record.events, tmp_path / form, form)
        logs.append(load(tmp_path / form))
    for other in logs:
        assert other.name == "small"
        assert other.study
        for table in ("trials", "sessions", "generations", "components"):
            assert_frame_equal(getattr(other, table), getattr(log, table))


def test_what_is_no_journal_is_said_so(tmp_path: Path, whole: Path) -> None:
    """One clear sentence each."""
    (tmp_path / "text.db").write_text("trial,response\n1,2\n" * 100)
    (tmp_path / "empty.db").touch()
    faults: list[tuple[Any, str]] = [
        (tmp_path / "none.db", "there is no journal"),
        (tmp_path / "text.db", "file is not a database"),
        (tmp_path / "empty.db", "holds no journal"),
        (tmp_path, "holds no tables"),
        ("http://127.0.0.1:5000", "name the journal that it writes"),
        ("sqlite://", "in the memory of another process"),
    ]
    for where, message in faults:
        with pytest.raises(JournalError, match=message):
            load(where)
    with pytest.raises(ValueError, match="has no study 'other'; it has small"):
        load(whole, "other")


def test_a_study_is_taken_before_its_null(copy: Path) -> None:
    """With two studies that are no null, a name is needed."""
    change(
        copy,
        "insert into events select 'small-null', seq, at, kind, payload from events "
        "where seq = 0",
    )
    assert load(copy).name == "small"
    change(copy, "update events set study = 'other' where study = 'small-null'")
    with pytest.raises(ValueError, match="holds several studies, name one"):
        load(copy)


def test_reading_changes_nothing(whole: Path, log: Log) -> None:
    """Not even the time of the file; nothing is left beside it."""
    del log
    before = whole.stat().st_mtime_ns, sorted(whole.parent.iterdir())
    load(whole)
    assert (whole.stat().st_mtime_ns, sorted(whole.parent.iterdir())) == before


def test_a_broken_row_is_left_out_with_its_number(copy: Path, log: Log) -> None:
    """The session whose responses are gone stays, with the error stored at its end."""
    seq, payload = rows_of(copy, "responded")[3]
    change(copy, "update events set payload = '{\"session\":' where seq = ?", seq)
    torn = load(copy)
    assert list(torn.problems["row"].dropna()) == [seq]
    assert "Invalid JSON" in reasons(torn)
    assert f"session {payload['session']} has lost its responses" in reasons(torn)
    assert len(torn.sessions) == SESSIONS
    assert_frame_equal(
        torn.sessions[["session", "error"]], log.sessions[["session", "error"]]
    )
    lost = log.trials["session"] == payload["session"]
    assert len(torn.trials) == int((~lost).sum())


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda p: p | {"trials": "all"}, "responded is damaged: trials"),
        (lambda p: p | {"values": [0.5]}, "columns of other lengths"),
        (lambda p: p | {"session": "nobody"}, "which was never opened"),
        (lambda p: p | {"trials": [t + 9 for t in p["trials"]]}, "to trial 20 of 0"),
        (lambda p: p | {"outcomes": ["?"] * len(p["trials"])}, "came out '?'"),
        (lambda p: {k: v for k, v in p.items() if k != "values"}, "required"),
    ],
)
def test_an_event_that_does_not_fit_is_left_out(
    copy: Path, alter: Callable[[dict[str, Any]], dict[str, Any]], reason: str
) -> None:
    """Each with what is wrong with it; all other sessions are analysed."""
    seq, payload = rows_of(copy, "responded")[0]
    change(
        copy,
        "update events set payload = ? where seq = ?",
        json.dumps(alter(payload)),
        seq,
    )
    torn = load(copy)
    assert reason in reasons(torn)
    assert torn.trials["session"].nunique() == SESSIONS - 1


def test_events_of_a_newer_version(copy: Path, log: Log) -> None:
    """An unknown kind is left out, an unknown field only by itself."""
    seq, payload = rows_of(copy, "session_ended")[0]
    change(
        copy,
        "update events set payload = ? where seq = ?",
        json.dumps(payload | {"mood": "good"}),
        seq,
    )
    change(copy, "update events set kind = 'dreamt' where kind = 'study_finished'")
    change(copy, "update schema_version set version = 9")
    newer = load(copy)
    assert "'mood', which this version does not know" in reasons(newer)
    assert "unknown kind 'dreamt'" in reasons(newer)
    assert "newer Penchant (version 9" in reasons(newer)
    assert_frame_equal(newer.sessions, log.sessions)


def test_lost_steps_of_the_search(copy: Path, log: Log) -> None:
    """What is frozen stays; a search that goes on is shown as it stood at the gap."""
    asked = rows_of(copy, "generation_asked")
    change(copy, "delete from events where seq = ?", asked[0][0])
    frozen = load(copy)
    assert f"event {asked[0][0]} is missing" in reasons(frozen)
    assert_frame_equal(
        frozen.components.filter(like="power"), log.components.filter(like="power")
    )
    second = rows_of(copy, "component_frozen")[1][0]
    change(copy, "delete from events where seq >= ?", second)
    change(copy, "delete from events where seq = ?", asked[-1][0])
    open_ = load(copy)
    assert "component 2 cannot be followed beyond generation 1" in reasons(open_)
    assert list(open_.components["provisional"]) == [False, True]


def test_a_lost_component_takes_those_after_it(copy: Path) -> None:
    """Labellings follow from those before, and are not guessed."""
    first = rows_of(copy, "component_frozen")[0][0]
    change(copy, "delete from events where seq = ?", first)
    torn = load(copy)
    assert "component 1 is frozen where component 0 was due" in reasons(torn)
    assert len(torn.sessions) == SESSIONS


def test_a_truncated_file_gives_what_is_left(copy: Path, log: Log) -> None:
    """As far as it goes, with the numbers of what is gone."""
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) - 3 * 4096])
    torn = load(copy)
    assert 0 < len(torn.sessions) <= SESSIONS
    assert "the file is damaged" in reasons(torn)
    known = log.trials["session"].astype(str).isin(torn.trials["session"].astype(str))
    assert len(torn.trials) == int(known.sum()) > 0


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_zeroed_page_never_costs_more_than_it_held(
    whole: Path, tmp_path: Path, log: Log, data: st.DataObject
) -> None:
    """Whichever page it is: one clear error, or sound rows and problems."""
    content = bytearray(whole.read_bytes())
    page = data.draw(st.integers(0, len(content) // 4096 - 1))
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    torn = tmp_path / "page.db"
    torn.write_bytes(content)
    clear = "not a database|first event|no event|no journal|nothing of study"
    try:
        found = load(torn)
    except JournalError:
        with pytest.raises(JournalError, match=clear):
            load(torn)
        return
    merged = found.trials.merge(log.trials, on=["session", "trial"], how="left")
    assert (merged["response_x"].fillna(9) == merged["response_y"].fillna(9)).all()
    if len(found.trials) < len(log.trials):
        assert len(found.problems)


def test_a_study_is_never_run_on_a_damaged_journal(copy: Path) -> None:
    """Tolerance is for reading: who goes on with a study is refused as ever."""
    seq, _ = rows_of(copy, "responded")[0]
    change(copy, "update events set kind = 'dreamt' where seq = ?", seq)
    assert load(copy).problems["row"].iloc[0] == seq
    with pytest.raises(JournalError, match="unknown kind 'dreamt'"):
        list(Journal(copy, "small").read())


def test_commands_tell_problems_and_go_on(copy: Path, tmp_path: Path) -> None:
    """On stderr; without the study file in it there is one clear error."""
    seq, _ = rows_of(copy, "responded")[0]
    change(copy, "update events set payload = 'x' where seq = ?", seq)
    arguments = ["export", str(copy), "--format", "csv", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0
    assert f"problem: {copy}, row {seq}: responded is damaged" in done.stderr
    change(copy, "delete from events where seq = 0")
    refused = CliRunner().invoke(main, [*arguments[:-1], str(tmp_path / "again")])
    assert refused.exit_code == 1
    assert "has lost its first event" in refused.stderr


def test_a_record_is_of_the_sound_events(log: Log) -> None:
    """They replay to the study that was."""
    assert log.record
    state = replay(small_study(TWO), [event.fact for event in log.record.events])
    assert state.finished
