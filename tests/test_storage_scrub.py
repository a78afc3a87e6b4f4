"""A subject is taken out of a study, and the search stays as it was."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from small_study import (
    facts,
    hello,
    open_desk,
    run_all,
    send,
    small_study,
    snapshot,
    study_text,
)
from sqlalchemy import insert, select

from server import schema
from server.database import JournalError
from server.db_cli import db
from server.events import (
    AlarmRaised,
    DroppedOut,
    Quarantined,
    Responded,
    RewardGiven,
    SessionEnded,
    SessionOpened,
    Weighed,
)
from server.journal import Journal
from server.scrub import scrub
from server.study import replay

pytest_plugins = ["postgres"]

OpenJournal = Callable[..., Journal]

AGAIN = study_text('exposure = "carry_over"', "shared_stimuli = false")
SUBJECT = "mouse-7"
SECRETS = (SUBJECT, "Ann's", "12345.678", "itchy nose", "sent twice")


def fill(journal: Journal) -> None:
    """A finished study in which mouse-7 had two sessions and said much of itself."""
    desk = open_desk(journal, study=small_study(AGAIN))
    owner = {"owner": f"{SUBJECT} is Ann's"}
    first = hello(desk, SUBJECT, capabilities=owner).session
    message: dict[str, Any] = {"session": first, "uid": f"{first}/0"}
    send(desk, "respond", **message, value=0.5, clocks={"host": 12345.678})
    send(desk, "respond", **message, value=-0.5, clocks={"host": 12345.678})
    send(desk, "abandon", session=first, reason="itchy nose")
    second = hello(desk, SUBJECT, capabilities=owner).session
    for trial in range(12):
        message = {"session": second, "uid": f"{second}/{trial}", "value": 0.05 * trial}
        send(desk, "respond", **message, clocks={"host": 12345.678})
    other = hello(desk, SUBJECT + "7", capabilities={"box": "b", "by": SUBJECT}).session
    send(desk, "abandon", session=other, reason=f"after {SUBJECT}, not {SUBJECT}7")
    run_all(desk)
    journal.append(
        [
            Weighed(SUBJECT, 24.0, 25.0, "ann"),
            RewardGiven(second, SUBJECT, f"{SUBJECT}/by-hand", 3.0, "free"),
            AlarmRaised("weight", SUBJECT, f"{SUBJECT}: weighs little"),
            DroppedOut(SUBJECT, "itchy nose", "ann"),
        ],
        5000.0,
    )


@pytest.fixture
def source(open_here: OpenJournal, where: str) -> str:
    journal = open_here()
    fill(journal)
    journal.close()
    return where


@pytest.fixture
def read_back() -> Iterator[Callable[[str | Path], Journal]]:
    opened: list[Journal] = []

    def open_again(where: str | Path) -> Journal:
        opened.append(Journal(where, "small"))
        return opened[-1]

    yield open_again
    for journal in opened:
        journal.close()


def check(before: list[Any], scrubbed: Journal, changed: int) -> str:
    """What must hold of a scrubbed study; the new name of the subject."""
    after = facts(scrubbed)
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == changed
    first, second, other = [f for f in after if isinstance(f, SessionOpened)][:3]
    name = first.subject
    assert name.startswith("scrubbed-")
    assert (first.client, second.client) == ({}, {})
    assert second.subject == name
    assert (other.subject, other.client) == ("mouse-77", {"box": "b", "by": name})
    ends = {f.session: f for f in after if isinstance(f, SessionEnded)}
    assert ends[first.session].reason == ""
    assert ends[other.session].reason == f"after {name}, not mouse-77"
    (kept,) = [f for f in after if isinstance(f, Quarantined)]
    assert (kept.session, kept.message, kept.reason) == (first.session, {}, "")
    assert after[-4:] == [
        Weighed(name, 24.0, 25.0, "ann"),
        RewardGiven(second.session, name, f"{name}/by-hand", 3.0, "free"),
        AlarmRaised("weight", name, f"{name}: weighs little"),
        DroppedOut(name, "", "ann"),
    ]
    answers = [
        [(f.session, f.trials, f.values) for f in side if isinstance(f, Responded)]
        for side in (before, after)
    ]
    assert answers[0] == answers[1]
    states = [snapshot(replay(small_study(AGAIN), side)) for side in (before, after)]
    for told in ("sessions", "exposures", "holding", "group_of", "dropped"):
        for state in states:
            state.pop(told, None)
    assert states[0] == states[1]
    return str(name)


def test_a_scrubbed_copy_replays_to_the_same_search(
    source: str, tmp_path: Path, read_back: Callable[[str | Path], Journal]
) -> None:
    original, target = read_back(source), tmp_path / "scrubbed.db"
    before = facts(original)
    changed = scrub(source, "small", SUBJECT, target)
    assert facts(original) == before
    content = b"".join(p.read_bytes() for p in tmp_path.glob("scrubbed.db*"))
    content = content.replace(b"mouse-77", b"")
    assert not [secret for secret in SECRETS if secret.encode() in content]
    check(before, read_back(target), changed)


def test_a_study_is_scrubbed_where_it_is(
    source: str,
    tmp_path: Path,
    open_here: OpenJournal,
    read_back: Callable[[str | Path], Journal],
) -> None:
    other = open_here("other")
    other.append([Weighed("mouse-1", 20.0, None, "ann")], 0.0)
    original = Journal(source, "small")
    before = facts(original)
    token = {"role": "participant", "created_at": 0.0}
    tokens = [
        token | {"id": name, "sha256": name, "study": study, "subject": subject}
        for name, study, subject in [
            ("a", "small", SUBJECT),
            ("b", None, SUBJECT),
            ("c", "small", "mouse-77"),
        ]
    ]
    hold = {"kind": "subject", "name": SUBJECT, "study": "small", "session": "s"}
    also = [insert(schema.tokens).values(t) for t in tokens]
    original.append([], 0.0, also=[*also, insert(schema.holds).values(hold)])
    with pytest.raises(JournalError, match="being written by another process"):
        scrub(source, "small", SUBJECT, None)
    original.close()
    other.close()
    changed = scrub(source, "small", SUBJECT, None)
    if "://" not in source:
        content = b"".join(p.read_bytes() for p in tmp_path.glob("journal.db*"))
        content = content.replace(b"mouse-77", b"")
        assert not [secret for secret in SECRETS if secret.encode() in content]
    scrubbed = read_back(source)
    check(before, scrubbed, changed)
    with scrubbed.engine.connect() as connection:
        assert [*connection.execute(select(schema.tokens.c.id)).scalars()] == ["c"]
        assert not connection.execute(select(schema.holds)).all()


def test_rows_beside_the_events_are_those_of_the_scrubbed(tmp_path: Path) -> None:
    source, target = tmp_path / "live.db", tmp_path / "scrubbed.db"
    journal = Journal(source, "small")
    desk = open_desk(journal, mode="live")
    session = hello(desk, SUBJECT).session
    given = RewardGiven(session, SUBJECT, "by hand", 3.0, "free")
    journal.append([given, Weighed(SUBJECT, 24.0, None, "ann")], 50.0)
    journal.close()
    scrub(source, "small", SUBJECT, target)
    copy = Journal(target, "small")
    name = next(f for f in facts(copy) if isinstance(f, SessionOpened)).subject
    with copy.engine.connect() as connection:
        for table in (schema.rewards, schema.weights):
            assert [*connection.execute(select(table.c.subject)).scalars()] == [name]
    copy.close()


def test_what_cannot_be_scrubbed_is_named(tmp_path: Path) -> None:
    source = tmp_path / "journal.db"
    journal = Journal(source, "small")
    journal.append([Weighed("mouse-1", 20.0, None, "ann")], 0.0)
    journal.close()
    with pytest.raises(ValueError, match="no subject 'mouse-2'; it has mouse-1"):
        scrub(source, "small", "mouse-2", tmp_path / "out.db")
    with pytest.raises(ValueError, match="no subject 'mouse-1'; it has none"):
        scrub(source, "other", "mouse-1", tmp_path / "out.db")
    with pytest.raises(JournalError, match="there is no journal"):
        scrub(tmp_path / "none.db", "small", "mouse-1", tmp_path / "out.db")
    with pytest.raises(JournalError, match="exists already"):
        scrub(source, "small", "mouse-1", source)
    assert not (tmp_path / "out.db").exists()


def test_a_study_file_that_names_its_subject_is_left(tmp_path: Path) -> None:
    source = tmp_path / "journal.db"
    journal = Journal(source, "small")
    study = small_study(study_text(study=f"# {SUBJECT} began on a Monday"))
    hello(open_desk(journal, study=study), SUBJECT)
    before = facts(journal)
    journal.close()
    with pytest.warns(UserWarning, match="the study file itself says 'mouse-7'"):
        scrub(source, "small", SUBJECT, None)
    journal = Journal(source, "small")
    assert facts(journal)[0] == before[0]
    journal.close()


# --- the commands --------------------------------------------------------------------


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(db, [str(argument) for argument in arguments])


def test_commands_look_after_a_database(where: str, open_here: OpenJournal) -> None:
    journal = open_here()
    journal.append([Weighed(SUBJECT, 20.0, None, "ann")] * 2, 60.0)
    journal.close()
    shown = run("info", where)
    assert shown.exit_code == 0
    assert f"version  {schema.VERSION} (this release: {schema.VERSION})" in shown.output
    assert "small: 2 events, last at 1970-01-01 00:01:00+00:00" in shown.output
    assert "MiB" in shown.output
    assert run("migrate", where).output.endswith(": up to date\n")
    assert (
        "2 events changed" in run("scrub", where, "small", SUBJECT, "--in-place").output
    )
    assert SUBJECT not in repr(facts(open_here()))


def test_commands_say_what_is_wrong(tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    for arguments in (["info"], ["migrate"]):
        refused = run(*arguments, missing)
        assert refused.exit_code == 1
        assert f"Error: there is no journal {missing}" in refused.output
    journal = Journal(tmp_path / "journal.db", "small")
    journal.close()
    for options in ([], ["--in-place", "--out", "x.db"]):
        refused = run("scrub", journal.where, "small", SUBJECT, *options)
        assert refused.exit_code == 2
        assert "either --out FILE or --in-place" in refused.output
    refused = run("scrub", journal.where, "small", SUBJECT, "--in-place")
    assert (refused.exit_code, "has no subject" in refused.output) == (1, True)
    assert not missing.exists()
