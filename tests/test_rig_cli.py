"""``penchant subject rig``, as a user has it."""

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from live_server import serving
from rigs import RIG_FILE, SAFE_STUDY
from small_study import facts, open_desk, small_study

from penchant import main
from server.events import ClientSeen, SessionEnded
from server.journal import Journal

HERE = Path(__file__).parent


@pytest.fixture
def live(journal: Journal) -> Iterator[str]:
    """The URL of a live study with choices, rewards and limits."""
    desk = open_desk(journal, study=small_study(SAFE_STUDY), mode="live")
    with serving(desk) as url:
        yield url


@pytest.fixture
def config(live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rig's file; its functions are found in the working folder."""
    path = tmp_path / "rig.toml"
    path.write_text(RIG_FILE.format(url=live))
    monkeypatch.chdir(HERE)
    return path


def rig(config: Path, *arguments: str) -> Result:
    """The command."""
    return CliRunner().invoke(
        main, ["subject", "rig", "--config", str(config), *arguments]
    )


def test_a_rig_is_checked_then_runs_a_session(config: Path, journal: Journal) -> None:
    run = ("--name", "mouse-1", "--transport", "http")
    refused = rig(config, *run)
    assert refused.exit_code == 1
    assert "has not passed its self-check" in refused.output
    checked = rig(config, "--check")
    assert checked.exit_code == 0, checked.output
    assert checked.output.count("14.0") == 0
    assert "passed; kept in" in checked.output
    done = rig(config, *run)
    assert done.exit_code == 0, done.output
    assert "mouse-1: session finished" in done.output
    (ended,) = facts(journal, SessionEnded)
    assert ended.status == "finished"
    (seen, *_) = facts(journal, ClientSeen) or [None]
    assert seen is None or seen.session == ended.session
    folder = config.parent / "box-3"
    assert {path.name for path in folder.iterdir()} >= {
        "ledger.jsonl",
        "mouse-1.outbox",
        "mouse-1.trials.jsonl",
        "self_check.json",
    }


def test_a_rig_that_fails_its_check_says_in_which_trial(config: Path) -> None:
    config.write_text(config.read_text().replace('play = "box:play"\n', ""))
    failed = CliRunner().invoke(
        main, ["subject", "rig", "--config", str(config), "--check"], input="\n" * 42
    )
    assert failed.exit_code == 1
    assert "Poke right BEFORE the stimulus. Enter when ready" in failed.output
    assert "the rig is not fit for a study" in failed.output
    assert "trial check/premature/0: outcome responded" in failed.output
    assert rig(config, "--name", "m").exit_code == 1


def test_a_task_of_another_kind_of_answer_is_refused(
    config: Path, journal: Journal
) -> None:
    text = config.read_text().replace("two_port", "go_no_go")
    config.write_text(text.replace('"box-3"\n[', '"box-3"\nself_check = false\n['))
    refused = rig(config, "--name", "mouse-1", "--transport", "http")
    assert refused.exit_code == 1
    assert "the study wants answers that are choice" in refused.output
    assert not facts(journal, SessionEnded)  # it can be had with the right file


def test_keys_at_the_rig_pause_and_stop(config: Path, journal: Journal) -> None:
    """A real terminal; somebody presses keys in it."""
    text = config.read_text().replace('"box-3"\n[', '"box-3"\nself_check = false\n[')
    config.write_text(text)
    owner, terminal = pty.openpty()
    command = ["subject", "rig", "--config", str(config), "--name", "mouse-1"]
    with subprocess.Popen(
        [sys.executable, "-m", "penchant", *command],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    ) as process:
        os.close(terminal)
        shown = _Reader(owner)
        shown.until("e emergency stop")
        os.write(owner, b"p")
        shown.until("paused: p goes on")
        os.write(owner, b"s")
        shown.until("stopped at the rig")
        assert process.wait(20) == 0
    os.close(owner)
    for ended in facts(journal, SessionEnded):  # none, if it was quicker than hello
        assert (ended.status, ended.reason) == ("abandoned", "stopped at the rig")


class _Reader:
    """What a terminal has shown."""

    def __init__(self, owner: int) -> None:
        self._owner, self._shown = owner, ""

    def until(self, text: str, seconds: float = 30) -> None:
        """Wait for a text."""
        deadline = time.monotonic() + seconds
        while text not in self._shown:
            assert time.monotonic() < deadline, self._shown
            try:
                self._shown += os.read(self._owner, 4096).decode()
            except OSError:  # the other end is closed
                assert text in self._shown, self._shown


def test_the_example_of_a_rig_passes_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("callable.toml", "my_rig.py"):
        shutil.copy(HERE.parent / "examples" / "rigs" / file, tmp_path)
    monkeypatch.chdir(tmp_path)
    checked = rig(tmp_path / "callable.toml", "--check")
    assert checked.exit_code == 0, checked.output
