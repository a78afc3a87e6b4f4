"""Robots that see the screen and move the mouse have biases; the analysis finds them.

What a robot knows of a study is in the pixels: where a dot is on its ring, and where
the yellow mark is on the scale. Its answers are clicks.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from human_screen import (
    ROOT,
    Display,
    display,
    dot,
    ended,
    needs_psychopy,
    on_scale,
    output,
    page,
    truth,
    turn,
)
from live_server import serving
from small_study import open_desk

from analysis.record import read
from analysis.subject import Reanalysis, reanalyse
from server.journal import Journal
from server.study_file import Study
from simulated_subjects.fourier_ridge import FourierRidge

pytestmark = [needs_psychopy, pytest.mark.slow]

TRAINING, TEST, SESSIONS, DEGREE = 8, 16, 8, 6

STUDY = """
[study]
name = "planted"
seed = {seed}
[stimuli]
space = "circle"
shown_as = "direction"
[session]
training_stimuli = 8
test_stimuli = 16
shared_stimuli = false
[search]
method = "CMA_ES"
population = 4
generations = 2
[labelling]
family = "basis"
degree = 4
[human]
practice_trials = 0
fixation_s = 0.25
feedback_s = 0.5
[simulated_subject]
learner = "fourier_ridge"
"""


class Brain(Protocol):
    """What a robot thinks: angles in degrees, labels in [-1, 1]."""

    def learn(self, angles: list[float], labels: list[float]) -> None:
        """A new individual learns what a session's training showed."""
        ...

    def guess(self, angle: float) -> float:
        """Its answer to a dot it has not seen."""
        ...


class Waves:
    """A learner with a favourite order of Fourier waves."""

    def __init__(self, favourite: int, seed: int) -> None:
        amplitudes = [0.2, 0.25, 0.3, 0.3, 0.25]
        amplitudes[favourite] = 1.0
        self._learner = FourierRidge(tuple(amplitudes))
        self._key = jax.random.key(seed)

    def learn(self, angles: list[float], labels: list[float]) -> None:
        self._key, own = jax.random.split(self._key)
        self._state = self._learner.train(own, _points(angles), jnp.array(labels))

    def guess(self, angle: float) -> float:
        return float(
            np.clip(self._learner.predict(self._state, _points([angle])), -1, 1)[0]
        )


class Coin:
    """Answers at random."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)

    def learn(self, angles: list[float], labels: list[float]) -> None:
        """It does not listen."""

    def guess(self, angle: float) -> float:  # noqa: ARG002
        return float(self._draw.uniform(-1, 1))


def _points(angles: list[float]) -> jax.Array:
    turns = jnp.radians(jnp.array(angles))
    return jnp.stack([jnp.cos(turns), jnp.sin(turns)], 1)


def session(screen: Display, program: "subprocess.Popen[str]", brain: Brain) -> None:
    """One session, from instructions to thanks."""

    def alive(picture: np.ndarray) -> np.ndarray:
        assert program.poll() is None, output(program)
        return picture

    def trial(answer: float | None) -> float:
        angle = float(screen.until(lambda p: dot(alive(p)), what="a dot"))
        screen.click(*on_scale(brain.guess(angle) if answer is None else answer), 0.05)
        return angle

    def gone() -> None:
        screen.until(lambda p: dot(p) is None, what="no dot")

    screen.until(lambda p: page(alive(p)), what="the instructions")
    turn(screen, "space")
    turn(screen, "space")
    angles, labels = list[float](), list[float]()
    for _ in range(TRAINING):
        angles.append(trial(0.0))
        labels.append(float(screen.until(truth, what="the label")))
        gone()
    brain.learn(angles, labels)
    for _ in range(TEST):
        trial(None)
        gone()
    turn(screen, "space")


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    with display(tmp_path_factory.mktemp("display")) as shown:
        yield shown


def found(screen: Display, folder: Path, brain: Brain, seed: int) -> Reanalysis:
    """What the analysis says of a brain, after its sessions at a real server."""
    journal = Journal(folder / "planted.db", "planted")
    desk = open_desk(journal, study=Study(STUDY.format(seed=seed)))
    many = ROOT / "tests" / "human_many.py"
    with (
        serving(desk) as url,
        ended(screen.run(many, url, folder / "data", SESSIONS)) as program,
    ):
        for _ in range(SESSIONS):
            session(screen, program, brain)
        said = output(program)
    assert said.count("session finished") == SESSIONS, said
    (result,) = reanalyse(read(journal.read()), degree=DEGREE)
    journal.close()
    errors = ", ".join(f"{error:.2f}" for error in result.spectrum.error)
    skill = result.skill
    print(
        f"{type(brain).__name__}, seed {seed}: errors of orders 1-{DEGREE} {errors}; "
        f"first component: {power(result)}; held-out skill {skill.skill:.2f} "
        f"(from {skill.low:.2f}), of shuffled answers at most {max(skill.null):.2f}"
    )
    return result


def power(result: Reanalysis) -> list[float]:
    """Shares of the orders in the first component."""
    table = result.power
    return [round(float(p), 3) for p in table[table.component == 1].power]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("favourite", [3, 2])
def test_a_planted_bias_is_given_back(
    screen: Display, tmp_path: Path, favourite: int, seed: int
) -> None:
    """Two robots, two answers, in the same study with the same labellings."""
    result = found(screen, tmp_path, Waves(favourite, seed), seed)
    assert result.sessions == SESSIONS
    assert power(result)[favourite - 1] > 0.9
    errors = result.spectrum.error.to_numpy()
    assert int(np.argmin(errors)) == favourite - 1
    assert errors[favourite - 1] < 0.2
    assert result.skill.low > max(0.5, *result.skill.null)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_robot_that_answers_at_random_has_none(
    screen: Display, tmp_path: Path, seed: int
) -> None:
    """Whatever component is named first, it predicts no answer."""
    result = found(screen, tmp_path, Coin(seed), seed)
    assert result.sessions == SESSIONS
    assert result.skill.low < 0.1
    assert result.skill.skill < max(0.15, *result.skill.null)
