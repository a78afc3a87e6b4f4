"""Mice in a virtual Bpod, over a real server: what a study says of their bias."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from bpod_mouse import Chance, Mouse
from bpod_rig import VALVE
from live_server import serving
from small_study import Clock, facts
from virtual_bpod import VirtualBpod

from analysis.record import read
from analysis.subject import Reanalysis, reanalyse
from server.desk import Desk
from server.events import AlarmRaised, Responded, SessionEnded
from server.journal import Journal
from server.study_file import Study
from simulated_subjects.fourier_ridge import FourierRidge
from simulated_subjects.learner import Learner
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.rig.client import Rig
from subject_clients.rig.config import RigFile
from subject_clients.rig.ledger import Ledger
from subject_clients.rig.local import LocalControl
from subject_clients.rig.log import TrialLog
from subject_clients.transport import Socket

STUDY = """
[study]
name = "bars"
seed = {seed}
[stimuli]
space = "circle"
[session]
training_stimuli = 10
test_stimuli = 20
response = "choice"
test_repeats = 2
[safety]
trial_microlitre = 5
session_microlitre = 100
day_microlitre = 1000
weight_fraction = 0
[search]
population = {population}
generations = {generations}
[labelling]
family = "basis"
degree = 4
[simulated_subject]
learner = "kernel_ridge"
"""
RIG = """
[rig]
name = "box-1"
server = "{url}"
hardware = "bpod"
task = "two_port"
folder = "box-1"
self_check = false
[limits]
trial_microlitre = 4
session_microlitre = 100
day_microlitre = 100
[task]
reward_microlitre = 3
[hardware]
port = "{port}"
left_valve = {valve}
right_valve = {valve}
stimulus = "test_bpod_study:show"
"""
DEGREE = 4

BIASES: dict[str, Learner] = {
    "order 3": FourierRidge((0.1, 0.1, 0.1, 1.0, 0.1)),
    "order 2": FourierRidge((0.1, 0.1, 1.0, 0.1, 0.1)),
    "none": Chance(),
}
FAVOURITE = {"order 3": 3, "order 2": 2}

screen: list[Callable[[dict[str, Any]], None]] = []
"""Who looks at the rig's screen."""


def show(stimulus: dict[str, Any]) -> None:
    """The rig's stimulus function."""
    screen[-1](stimulus)


class Played(NamedTuple):
    """A study that is over, and what its mice drank."""

    journal: Journal
    water_microlitre: float
    sessions: int


def play(
    folder: Path,
    learner: Learner,
    seed: int,
    population: int,
    generations: int,
    most: int = 1000,
) -> Played:
    """Sessions of a study, one mouse after the other in one rig; all of them."""
    text = STUDY.format(seed=seed, population=population, generations=generations)
    journal = Journal(folder / "journal.db", "bars")
    desk = Desk(Study(text), journal, "live", wall=Clock(), monotonic=Clock())
    mouse, session, over = Mouse(learner, seed), 0, False
    screen.append(mouse.see)
    with serving(desk) as url, VirtualBpod(mouse) as box:
        mouse.box = box
        path = folder / "rig.toml"
        path.write_text(RIG.format(url=url, port=box.port, valve=VALVE))
        file = RigFile(path)
        hardware = file.hardware().open()
        while not over and session < most:
            name = f"mouse-{session}"
            mouse.into_the_box(name)
            over = run(file, hardware, url, name)
            session += not over
        mouse._drink()
        hardware.close()
    return Played(journal, mouse.water_microlitre, session)


def run(file: RigFile, hardware: Any, url: str, name: str) -> bool:
    """One session of a mouse; returns whether the study is over."""
    ledger = Ledger(file.folder / "ledger.jsonl", file.limits)
    log = TrialLog(file.folder / f"{name}.jsonl")
    wire = Socket(url)
    control = LocalControl(lambda _: None)
    rig = Rig(name, hardware, file.task, file.limits, ledger, log, control)
    with Outbox(file.folder / f"{name}.outbox", to=url) as outbox:
        subject = Subject(name, rig, wire, outbox=outbox, rig=file.rig.name)
        done = subject.run_session()
    wire.close()
    ledger.close()
    log.close()
    return done.study


def test_a_small_study_over_a_real_server(tmp_path: Path) -> None:
    """Water by the valve is water in the journal, and never above a limit."""
    played = play(tmp_path, BIASES["none"], 1, 4, 1, most=2)
    told = facts(played.journal, Responded)
    values = [value for one in told for value in one.values]
    rewards = [reward for one in told for reward in one.rewards if reward]
    ended = facts(played.journal, SessionEnded)
    assert [one.status for one in ended] == ["finished"] * 2
    assert not facts(played.journal, AlarmRaised)
    assert len(values) == 2 * 50
    assert set(values) == {-1.0, 1.0}
    assert {reward["microlitre"] for reward in rewards} == {3.0}
    assert 0 < len(rewards) < 2 * 10
    total = 3.0 * len(rewards)
    assert total == pytest.approx(played.water_microlitre, rel=0.01)
    played.journal.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", BIASES)
def test_a_planted_bias_is_given_back(name: str, seed: int, tmp_path: Path) -> None:
    """Through stimulus, port, valve, rig, server, journal and model."""
    played = play(tmp_path, BIASES[name], seed, 8, 8)
    (result,) = reanalyse(read(played.journal.read()), 4, DEGREE)
    played.journal.close()
    told = _told(result)
    print(name, seed, played.sessions, told)
    if name == "none":
        assert told.skill < 0.1
        return
    assert told.easiest == FAVOURITE[name]
    assert told.power[FAVOURITE[name]] > 0.8
    assert told.skill > 0.2


class Told(NamedTuple):
    """What a reanalysis says."""

    easiest: int
    errors: dict[int, float]
    power: dict[int, float]
    skill: float
    null: float
    beside: list[str]


def _told(result: Reanalysis) -> Told:
    spectrum = result.spectrum.set_index("order")
    first = result.power[result.power["component"] == 1].set_index("order")
    return Told(
        int(spectrum["error"].idxmin()),
        {int(k): round(float(v), 2) for k, v in spectrum["error"].items()},
        {int(k): round(float(v), 2) for k, v in first["power"].items()},
        round(float(result.skill.skill), 3),
        round(float(np.max(result.skill.null)), 3),
        list(spectrum["beside_null"]),
    )
