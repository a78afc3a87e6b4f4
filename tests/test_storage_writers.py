"""One process at a time writes a study, and gives it back however it ends."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from small_study import facts, hello, open_desk

from server.events import ClientSeen, Fact
from server.journal import Journal, JournalError

if TYPE_CHECKING:  # pytest wants to be the first that imports it
    from postgres import Server

pytest_plugins = ["postgres"]

OpenJournal = Callable[..., Journal]

HOLDER = """
import sys
from server.events import ClientSeen
from server.journal import Journal
journal = Journal(sys.argv[1], "small")
journal.append([ClientSeen("s", "mouse-1", "connected")], 0.0)
print("ready", flush=True)
sys.stdin.read()
"""


def seen(what: str) -> Fact:
    return ClientSeen("c0-g0-i0-a0", "mouse-1", what)


@pytest.fixture
def holder(where: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which writes the small study."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, where],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def test_a_process_that_is_killed_frees_its_study_at_once(
    open_here: OpenJournal, holder: subprocess.Popen[bytes]
) -> None:
    second = open_here()
    with pytest.raises(JournalError, match="'small' is being written by another"):
        second.claim()
    with pytest.raises(JournalError, match="'small' is being written by another"):
        second.append([seen("second")], 0.0)
    open_here("other").claim()  # another study of the same database
    holder.kill()
    holder.wait()
    second.claim()
    assert [event.seq for event in second.append([seen("second")], 0.0)] == [1]


def test_a_second_writer_is_refused_and_nothing_is_lost(
    open_here: OpenJournal,
) -> None:
    first, second = open_here(), open_here()
    first.append([seen("first")], 0.0)
    with pytest.raises(JournalError, match="'small' is being written by another"):
        second.append([seen("second")], 0.0)
    first.append([seen("first again")], 0.0)
    first.claim()  # which it has
    assert facts(second) == [seen("first"), seen("first again")]


def test_who_was_not_told_of_the_last_events_may_not_go_on(
    open_here: OpenJournal,
) -> None:
    first, second, third = open_here(), open_here(), open_here()
    first.append([seen("first")], 0.0)
    first.close()
    for _ in range(2):
        with pytest.raises(JournalError, match="up to 0, and -1 is the last known"):
            second.append([seen("second")], 0.0)
    with pytest.raises(JournalError, match="start the other again"):
        third.claim()
    again = open_here()  # for nobody has kept the study
    again.append([seen("second")], 0.0)
    assert facts(again) == [seen("first"), seen("second")]


def test_a_second_server_does_not_start_and_the_first_goes_on(
    open_here: OpenJournal,
) -> None:
    first = open_desk(open_here())
    with pytest.raises(JournalError, match="being written by another process"):
        open_desk(open_here())
    hello(first, "mouse-2")
    assert len(first.state.sessions) == 1


def test_studies_in_memory_are_apart() -> None:
    first, second = Journal(":memory:", "small"), Journal("sqlite://", "small")
    first.append([seen("first")], 0.0)
    second.append([seen("second")], 0.0)
    assert (facts(first), facts(second)) == ([seen("first")], [seen("second")])
    first.close()
    second.close()


def test_links_to_a_file_lead_to_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "journal.db")
    first = Journal(tmp_path / "journal.db", "small/../odd")
    second = Journal(tmp_path / "link.db", "small/../odd")
    first.claim()
    with pytest.raises(JournalError, match="being written by another"):
        second.claim()
    assert (tmp_path / "journal.db.small%2F..%2Fodd.lock").exists()
    first.close()
    second.close()


# --- the connection to PostgreSQL is lost -------------------------------------------


@pytest.fixture
def lost(postgres: "Server") -> Iterator[tuple[Journal, str]]:
    """A journal whose connection, and so its lock, has just been cut; and its URL."""
    url = postgres.database()
    journal = Journal(url, "small")
    journal.append([seen("before")], 0.0)
    cut = postgres.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where datname = %s and pid != pg_backend_pid()",
        url.partition("@/")[2].partition("?")[0],
    )
    assert all(done for (done,) in cut)
    yield journal, url
    journal.close()


def test_a_lost_connection_is_noticed_and_made_again(lost: tuple[Journal, str]) -> None:
    journal, _ = lost
    with pytest.raises(JournalError, match="cannot write the journal"):
        journal.append([seen("cut")], 1.0)
    assert [event.seq for event in journal.append([seen("after")], 2.0)] == [1]
    assert facts(journal) == [seen("before"), seen("after")]


def test_who_lost_the_lock_cannot_write_beside_another(
    lost: tuple[Journal, str],
) -> None:
    journal, url = lost
    other = Journal(url, "small")
    other.append([seen("other")], 1.0)
    for _ in range(3):
        with pytest.raises(JournalError, match=r"cannot write|being written by"):
            journal.append([seen("cut")], 1.0)
    other.close()
    with pytest.raises(JournalError, match="up to 1, and 0 is the last known here"):
        journal.append([seen("cut")], 1.0)
    other = Journal(url, "small")
    assert facts(other) == [seen("before"), seen("other")]
    other.close()


def test_a_closed_journal_leaves_no_lock_on_a_connection(postgres: "Server") -> None:
    journal = Journal(postgres.database(), "small")
    journal.claim()
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    assert postgres.execute(locks) == [(1,)]
    journal.close()
    assert postgres.execute(locks) == [(0,)]


def test_a_journal_that_is_closed_takes_nothing_back(
    open_journal: Callable[..., Journal],
) -> None:
    """Else a thread that comes too late would lock out whoever serves the study now."""
    journal = open_journal()
    journal.claim()
    journal.close()
    with pytest.raises(JournalError, match="is closed"):
        journal.append([ClientSeen("s", "mouse-1", "connected")], 0.0)
    open_journal().claim()
