"""A real server killed at random moments: the study is the one that would have been."""

import contextlib
import random
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from small_study import be_born, run_all

from server.desk import Desk
from server.events import (
    ComponentFrozen,
    GenerationAsked,
    GenerationTold,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyFinished,
)
from server.journal import Journal
from server.protocol import Ack, Reply
from server.study_file import Study
from subject_clients.simulated import run_subjects
from subject_clients.transport import Http

STUDY = """
[study]
name = "resume"
seed = 5
[stimuli]
space = "sphere"
[session]
training_stimuli = 8
test_stimuli = 8
[search]
population = 8
generations = 4
[labelling]
family = "linear"
[simulated_subject]
learner = "kernel_ridge"
features = 20
"""

KILLS = 2


@contextlib.contextmanager
def penchant(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A `penchant` process, killed in the end at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penchant", *arguments],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(url: str) -> dict[str, Any]:
    """The status of a server, once it answers."""
    for _ in range(600):
        with contextlib.suppress(requests.RequestException):
            status: dict[str, Any] = requests.get(
                f"{url}/api/v1/status", timeout=5
            ).json()
            return status
        time.sleep(0.1)
    raise TimeoutError(f"no server at {url}")


class Remembering:
    """HTTP that remembers which responses were acknowledged."""

    def __init__(self, url: str, acknowledged: list[str]) -> None:
        self._http, self._acknowledged = Http(url, patience_s=120.0), acknowledged
        self.close, self.listen = self._http.close, self._http.listen

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        reply = self._http.send(kind, message)
        if isinstance(reply, Ack):
            self._acknowledged.append(reply.uid)
        return reply


def storm(folder: Path, moments: list[int]) -> tuple[list[Any], list[str]]:
    """Run the study over sockets, killing the server as its journal passes moments.

    Half of the subjects are a process of their own, half are threads of this one.
    Returns the facts on disk and the responses acknowledged to the latter.
    """
    study, journal = folder / "study.toml", folder / "journal.db"
    study.write_text(STUDY)
    loaded = Study(STUDY)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    serve = ("serve", str(study), "--journal", str(journal), "--port", port)
    join = ("subject", "simulated", "--url", url, "--study", str(study), "--count", "2")
    acknowledged: list[str] = []
    with ThreadPoolExecutor() as here, penchant(*join) as there:
        subjects = here.submit(
            run_subjects,
            "here",
            2,
            lambda group: be_born(loaded, group),
            lambda: Remembering(url, acknowledged),
        )
        for moment in moments:
            with penchant(*serve, "--simulated"):
                wait_for(url)
                grow(journal, moment)
                # leaving the block sends SIGKILL
        with penchant(*serve, "--simulated"):
            assert there.wait(timeout=240) == 0
            subjects.result(timeout=240)
    return read(journal), acknowledged


def calm(folder: Path) -> list[Any]:
    """The same study undisturbed, without any wire."""
    study, journal = Study(STUDY), Journal(folder / "calm.db", "resume")
    desk = Desk(study, journal, "dry-run")
    run_all(desk)
    journal.close()
    return read(folder / "calm.db")


def read(journal: Path) -> list[Any]:
    """The facts on disk."""
    with contextlib.closing(Journal(journal, "resume")) as opened:
        return [event.fact for event in opened.read()]


def grow(journal: Path, events: int) -> None:
    """Wait until so many events are on disk, seen from another process."""
    until = time.monotonic() + 240
    where = f"file:{journal}?mode=ro"
    while time.monotonic() < until:
        with (
            contextlib.suppress(sqlite3.OperationalError),  # it is just being made
            contextlib.closing(sqlite3.connect(where, uri=True)) as stored,
        ):
            (count,) = stored.execute("SELECT count(*) FROM events").fetchone()
            if count >= events:
                return
        time.sleep(0.01)
    raise TimeoutError(f"no {events} events in {journal}")


def only(facts: list[Any], kind: type[Any]) -> list[Any]:
    """The facts of one kind."""
    return [fact for fact in facts if isinstance(fact, kind)]


def content(facts: list[Any]) -> dict[str, Any]:
    """What must be equal, whatever order sessions came in and whoever sat them."""
    place = ("x", "y", "trials", "right_rewarded", "attempt")
    return {
        "candidates": only(facts, GenerationAsked),
        "losses": only(facts, GenerationTold),
        "component": only(facts, ComponentFrozen),
        "sessions": {
            s.session: [getattr(s, name) for name in place]
            for s in only(facts, SessionOpened)
        },
        "ends": {
            e.session: (e.status, e.error, e.test_trials, e.used)
            for e in only(facts, SessionEnded)
        },
        "responses": {
            (r.session, trial): value
            for r in only(facts, Responded)
            for trial, value in zip(r.trials, r.values, strict=True)
        },
        "finished": len(only(facts, StudyFinished)),
    }


def test_killed_at_random_moments_the_study_is_the_same(tmp_path: Path) -> None:
    seed = random.randrange(10_000)
    print(f"moments drawn with seed {seed}")
    moments = sorted(random.Random(seed).sample(range(5, 560), KILLS))
    (killed, acknowledged), undisturbed = storm(tmp_path, moments), calm(tmp_path)
    assert content(killed) == content(undisturbed)
    answered = [(r.session, t) for r in only(killed, Responded) for t in r.trials]
    assert len(answered) == len(set(answered)) == 8 * 4 * 16  # none twice, none lost
    assert acknowledged
    assert set(acknowledged) <= {f"{session}/{trial}" for session, trial in answered}
