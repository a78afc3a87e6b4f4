"""Server, network or rig die within a trial: the animal is safe, and all is told."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from rigs import RIG_FILE
from small_study import facts, study_text

from server.events import Responded, SessionEnded
from server.journal import Journal
from server.serve_cli import free_port

HERE = Path(__file__).parent
GRANT_S = 2.0
STUDY = study_text(
    session='response = "choice"\ntest_repeats = 2\n\n[safety]\n'
    "trial_microlitre = 5\nsession_microlitre = 1000\nday_microlitre = 1000\n"
    f"weight_fraction = 0\ntrial_s = {GRANT_S}"
).replace("training_stimuli = 6", "training_stimuli = 40")


class Line(NamedTuple):
    """What the box did, and when."""

    at: float
    what: str
    of: list[str]


class Lab:
    """A server and a rig, each a process of its own, with a network in between."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port, self._far = folder, free_port(), free_port()
        (folder / "lab.toml").write_text(STUDY)
        self._world = folder / "world.log"
        self._world.touch()

    def box(self) -> list[Line]:
        """All that the box did so far."""
        rows = [line.split() for line in self._world.read_text().splitlines()]
        return [Line(float(at), what, of) for at, what, *of in rows]

    def wait_for(self, what: str, more: int = 1) -> Line:
        """The box does something, so many times more."""
        before = len([line for line in self.box() if line.what == what])

        def done() -> list[Line]:
            return [line for line in self.box() if line.what == what][before:]

        until(lambda: len(done()) >= more)
        return done()[more - 1]

    @contextlib.contextmanager
    def serving(self) -> Iterator["subprocess.Popen[bytes]"]:
        """A server, ended by SIGKILL."""
        where = ["--journal", "lab.db", "--port", str(self._port)]
        with self._process("-m", "penchant", "serve", "lab.toml", *where) as process:
            url = f"http://127.0.0.1:{self._port}/healthz"

            def healthy() -> bool:
                with contextlib.suppress(requests.RequestException):
                    return requests.get(url, timeout=5).ok
                return False

            until(healthy, 120)
            yield process

    def network(self) -> contextlib.AbstractContextManager["subprocess.Popen[bytes]"]:
        """What lies between rig and server."""
        ends = map(str, (self._far, self._port))
        return self._process(str(HERE / "network.py"), *ends)

    @contextlib.contextmanager
    def rig(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The rig's client."""
        text = RIG_FILE.format(url="unused").replace("box:run", "slow_box:run")
        text = text.replace('play = "box:play"', 'safe_state = "slow_box:safe_state"')
        text = text.replace('give_reward = "box:give_reward"', "")
        text = text.replace("microlitre = 20", "microlitre = 900")
        text = text.replace("microlitre = 30", "microlitre = 900")
        text = text.replace('"box-3"\n[', '"box-3"\nself_check = false\n[')
        (self._folder / "rig.toml").write_text(text)
        join = ["--config", "rig.toml", "--name", "mouse-1", "--patience", "60"]
        url = ["--url", f"http://127.0.0.1:{self._far}"]
        with self._process("-m", "penchant", "subject", "rig", *join, *url) as process:
            yield process

    @contextlib.contextmanager
    def _process(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        paths = os.pathsep.join(map(str, (HERE, HERE.parent)))
        env = os.environ | {"PYTHONPATH": paths, "WORLD": str(self._world)}
        with (self._folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self._folder,
                env=env,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _safe_in_time(lab: Lab, begun: Line) -> None:
    """The safe state comes before the grant of the trial under way is over."""
    safe = lab.wait_for("safe")
    assert safe.at - begun.at < GRANT_S + 0.3  # of which the process needs a little


@pytest.mark.slow
def test_whatever_dies_within_a_trial_the_animal_is_safe_and_all_is_told(
    tmp_path: Path,
) -> None:
    lab = Lab(tmp_path)
    for moment in ("trial", "valve"):  # before the reward, and after it
        with lab.network() as network, lab.serving() as server:
            with lab.rig() as rig:
                lab.wait_for(moment, 3)
                rig.kill()  # the client dies; somebody starts it again
            for process in (server, network):
                with lab.rig() as rig:
                    begun = lab.wait_for(moment, 3)
                    process.send_signal(signal.SIGSTOP)
                    _safe_in_time(lab, begun)
                    process.send_signal(signal.SIGCONT)
                    assert rig.wait(60) == 1  # a person has to look
            with lab.rig() as rig:
                begun = lab.wait_for(moment, 3)
                (server if moment == "trial" else network).kill()
                _safe_in_time(lab, begun)
                assert rig.poll() is None  # it still tries to tell
    _finish_and_compare(lab, tmp_path)


def _finish_and_compare(lab: Lab, folder: Path) -> None:
    """After all that the session is done, and its journal knows every drop."""
    with lab.network(), lab.serving(), lab.rig() as rig:
        assert rig.wait(300) == 0
    journal = Journal(folder / "lab.db", "small")
    (ended,) = facts(journal, SessionEnded)
    told: dict[str, float] = {}
    for fact in facts(journal, Responded):
        for index, reward in zip(fact.trials, fact.rewards, strict=False):
            if reward:
                told[f"{fact.session}/{index}"] = reward["microlitre"]
    journal.close()
    given = Counter(line.of[0] for line in lab.box() if line.what == "valve")
    assert ended.status == "finished"
    assert len(given) > 10
    assert set(given.values()) == {1}  # no trial was rewarded twice
    assert set(given) <= set(told)  # nothing is unlogged
    assumed = set(told) - set(given)  # granted, cut off before the valve opened
    assert len(assumed) <= 2  # the two killed clients' trials
    assert set(told.values()) == {3.0}
