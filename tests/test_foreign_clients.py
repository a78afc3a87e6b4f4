"""Clients in other languages: each a whole session against a real server."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from live_server import serving
from small_study import (
    CHOICE,
    facts,
    hello,
    open_desk,
    send,
    small_study,
    study_text,
)

from server.access import Access
from server.database import open_database
from server.desk import Desk
from server.events import AlarmRaised, Responded, SessionEnded, SessionOpened
from server.journal import Journal
from server.protocol import Refusal, Reply

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET")
"""What npm says where there is no network."""

Client = Callable[[str, str], list[str]]
"""The command of a client, from the server's URL and the name of the subject."""


def need(*programs: str) -> None:
    """Fail where a program is not installed, which `make test` does."""
    for program in programs:
        assert shutil.which(program), f"{program} is missing: `make test` installs it"


@pytest.fixture(scope="module")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The client in JavaScript, with the packages that its lock file names."""
    need("node", "npm")
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("client.mjs", "package.json", "package-lock.json"):
        shutil.copy(EXAMPLES / "javascript" / name, folder)
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if any(f"code {code}" in installed.stderr for code in OFFLINE):
        pytest.skip("npm reaches no registry")
    assert installed.returncode == 0, installed.stderr
    return lambda url, name: ["node", str(folder / "client.mjs"), url, name]


@pytest.fixture(scope="module")
def curl_client() -> Client:
    """The script for POSIX sh and curl."""
    need("sh", "curl", "sed")
    return lambda url, name: ["sh", str(EXAMPLES / "curl_session.sh"), url, name]


@pytest.fixture(scope="module")
def octave_client() -> Client:
    """The function for MATLAB, in GNU Octave."""
    if shutil.which("octave-cli") is None:  # 350 MB that `make test` leaves out
        pytest.skip("octave-cli is not installed")
    need("curl")

    def command(url: str, name: str) -> list[str]:
        arguments = f"'{url}', '{name}', [], getenv('PENCHANT_TOKEN')"
        call = (
            f"[reason, emergency] = penchant_session({arguments}); disp(reason);"
            "if emergency, fputs(stderr, 'safe state'); end"
        )
        folder = str(EXAMPLES / "matlab")
        return ["octave-cli", "--no-gui", "--norc", "--path", folder, "--eval", call]

    return command


@pytest.fixture(params=["node_client", "curl_client", "octave_client"])
def client(request: pytest.FixtureRequest) -> Client:
    """Each client."""
    command: Client = request.getfixturevalue(request.param)
    return command


def run(
    command: list[str], folder: Path, token: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a client in a folder of its own."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PENCHANT_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def answered(journal: Journal) -> list[int]:
    """The trials that have answers, in their order."""
    return [trial for fact in facts(journal, Responded) for trial in fact.trials]


@pytest.mark.parametrize("text", [None, CHOICE], ids=["graded", "choice"])
def test_a_whole_session(
    client: Client, journal: Journal, tmp_path: Path, text: str | None
) -> None:
    study = small_study(text) if text else small_study()
    with serving(open_desk(journal, study=study)) as url:
        ended = run(client(f"{url}?study=small", "mouse-1"), tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "session finished" in ended.stdout
    assert answered(journal) == list(range(12 if text is None else 18))
    (opened,) = facts(journal, SessionOpened)
    assert opened.subject == "mouse-1"
    (over,) = facts(journal, SessionEnded)
    assert over.status == "finished"


def test_a_refusal_is_told(client: Client, desk: Desk, tmp_path: Path) -> None:
    with serving(desk) as url:
        ended = run(client(url, "-no-name-"), tmp_path)
    assert ended.returncode == 1
    assert "hello was refused" in ended.stderr


class Watched:
    """A desk that tells an operator what has been answered to clients."""

    def __init__(self, desk: Desk) -> None:
        self._handle, self._told = desk.handle, threading.Semaphore(0)
        self._seen: list[tuple[str, str]] = []
        desk.handle = self._watched  # type: ignore[assignment,method-assign]

    def _watched(self, kind: str, *rest: Any) -> Reply:
        reply = self._handle(kind, *rest)
        self._seen.append((kind, reply.type))
        self._told.release()
        return reply

    def wait_for(self, kind: str, reply: str) -> None:
        """Until a message of a kind has had such a reply."""
        while (kind, reply) not in self._seen:
            assert self._told.acquire(timeout=60), self._seen

    def order(self, kind: str, **more: Any) -> None:
        """What the operator says."""
        reply = self._handle(kind, {"reason": "the door is open", **more})
        assert reply.type == "noted", reply


def test_a_paused_session_goes_on(
    client: Client, journal: Journal, tmp_path: Path
) -> None:
    desk = open_desk(journal)
    watched = Watched(desk)

    def operator() -> None:
        watched.wait_for("respond", "ack")
        watched.order("pause")
        watched.wait_for("next", "wait")
        watched.order("resume")

    with serving(desk) as url, ThreadPoolExecutor() as pool:
        orders = pool.submit(operator)
        ended = run(client(url, "mouse-1"), tmp_path)
        orders.result()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert answered(journal) == list(range(12))


def test_an_emergency_stop_is_heeded(
    client: Client, journal: Journal, tmp_path: Path
) -> None:
    desk = open_desk(journal)
    watched = Watched(desk)

    def operator() -> None:
        watched.wait_for("respond", "ack")
        watched.order("pause")  # lest the session be over before
        watched.wait_for("next", "wait")
        watched.order("stop", emergency=True)

    with serving(desk) as url, ThreadPoolExecutor() as pool:
        orders = pool.submit(operator)
        ended = run(client(url, "mouse-1"), tmp_path)
        orders.result()
    assert "safe state" in ended.stderr, ended.stdout + ended.stderr
    assert len(answered(journal)) < 12


def test_an_answer_sent_twice_counts_once(
    client: Client, journal: Journal, tmp_path: Path
) -> None:
    """The acknowledgement is lost: the client sends the same message again."""
    desk = open_desk(journal)
    handle, lost = desk.handle, Counter[str]()

    def losing(kind: str, payload: Any, *rest: Any) -> Reply:
        reply = handle(kind, payload, *rest)
        lost[kind] += 1
        if kind == "respond" and lost[kind] % 3 == 1:
            return Refusal(status=503, error="not_stored", detail="send it again")
        return reply

    desk.handle = losing  # type: ignore[assignment,method-assign]
    with serving(desk) as url:
        ended = run(client(url, "mouse-1"), tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert lost["respond"] == 18
    assert answered(journal) == list(range(12))


def test_octave_sends_first_what_a_crash_left(
    octave_client: Client, journal: Journal, tmp_path: Path
) -> None:
    desk = open_desk(journal)
    session = hello(desk, "mouse-1").session
    uid = send(desk, "next", session=session).uid
    unsent = tmp_path / "penchant_unsent_mouse-1.json"
    left = {"session": session, "uid": uid, "value": -0.5, "clocks": {"rig_s": 1.5}}
    unsent.write_text(json.dumps(left))
    refused = tmp_path / "penchant_refused_mouse-2.json"
    left["session"] = "c9-g0-i0-a0"
    (tmp_path / "penchant_unsent_mouse-2.json").write_text(json.dumps(left))
    with serving(desk) as url:
        for name in ("mouse-1", "mouse-2"):
            ended = run(octave_client(url, name), tmp_path)
            assert ended.returncode == 0, ended.stderr
    assert answered(journal)[:12] == list(range(12))
    assert facts(journal, Responded)[0].values == [-0.5]
    assert [*tmp_path.glob("penchant_*")] == [refused]
    assert "refused" in ended.stderr


def test_the_worked_rig_keeps_to_its_caps(journal: Journal, tmp_path: Path) -> None:
    """It goes on without reward once a cap is spent, and tells what it gave."""
    caps = {"trial": 3, "session": 6, "day": 6}
    safety = "".join(f"{name}_microlitre = {most}\n" for name, most in caps.items())
    text = study_text(
        session='response = "choice"\ntest_repeats = 2\ntraining_repeats = 4',
        responses=f"[safety]\nweight_fraction = 0\n{safety}",
    )
    desk = open_desk(journal, study=small_study(text), mode="live")
    access = Access(open_database("sqlite://"))
    _, token = access.issue("rig")
    with serving(desk, access) as url:
        ended = subprocess.run(
            [sys.executable, EXAMPLES / "own_rig.py", "mouse-07"],
            cwd=tmp_path,
            env=os.environ
            | {"PENCHANT_URL": url, "PENCHANT_TOKEN": token, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "session finished" in ended.stdout
    rewards = [r["microlitre"] for f in facts(journal, Responded) for r in f.rewards]
    assert sum(rewards) == 6  # of 24 training trials half are right, or nearly
    assert not facts(journal, AlarmRaised)
