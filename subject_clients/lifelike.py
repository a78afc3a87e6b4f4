"""What real subjects and their networks do and learners do not: for rehearsals."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from server.protocol import Assignment, Trial
from subject_clients.adapter import Adapter, Answer, GiveUp

SPREAD = 0.3
"""Of the logarithm of reaction times: of most speeded choices, .2 to .5."""


@dataclass(frozen=True)
class Habits:
    """How often, as probabilities of each trial, and how fast.

    ``reaction_time_s`` is a median; with ``waits`` it passes for real. A ``lapse`` is
    an answer at random.
    """

    reaction_time_s: float | None = None
    waits: bool = False
    lapse: float = 0.0
    omission: float = 0.0
    premature: float = 0.0
    disconnect: float = 0.0
    abandon: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no probability or no time."""
        for name in ("lapse", "omission", "premature", "disconnect", "abandon"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is a probability: 0 to 1, got {value:g}")
        if self.reaction_time_s is not None and not 0 < self.reaction_time_s < 3600:
            raise ValueError(
                f"reaction_time_s: above 0, up to 3600, got {self.reaction_time_s:g}"
            )
        if self.waits and self.reaction_time_s is None:
            raise ValueError("to wait in real time it needs a reaction time")


class Lifelike:
    """An adapter whose subject has habits; what happens follows from the session."""

    def __init__(
        self,
        adapter: Adapter,
        habits: Habits,
        seed: int = 0,
        hang_up: Callable[[], object] = lambda: None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """``hang_up`` cuts the connection to the server, which comes back by itself."""
        self._adapter, self._habits, self._seed = adapter, habits, seed
        self._hang_up, self._sleep = hang_up, sleep
        self._choice = False
        self.simulated = adapter.simulated

    def begin(self, assignment: Assignment) -> None:
        """Its own session."""
        self._choice = assignment.response == "choice"
        self._adapter.begin(assignment)

    def present(self, trial: Trial) -> Answer:
        """The subject's answer, late, wrong, missing or cut off as habits have it."""
        habits = self._habits
        drawn = random.Random(f"{self._seed} {trial.uid}")  # noqa: S311 - no secret
        answer = self._adapter.present(trial)
        if drawn.random() < habits.abandon:
            raise GiveUp("the simulated subject has had enough")
        if drawn.random() < habits.disconnect:
            self._hang_up()
        if drawn.random() < habits.premature:
            return Answer(outcome="premature")
        if drawn.random() < habits.omission:
            return Answer(outcome="omission")
        if drawn.random() < habits.lapse and answer.value is not None:
            value = drawn.uniform(-1, 1)
            if self._choice:
                value = 1.0 if value > 0 else -1.0
            answer = answer._replace(value=round(value, 6))
        return self._timed(answer, drawn)

    def _timed(self, answer: Answer, drawn: random.Random) -> Answer:
        median_s = self._habits.reaction_time_s
        if median_s is None:
            return answer
        seconds = median_s * drawn.lognormvariate(0, SPREAD)
        if self._habits.waits:
            self._sleep(seconds)
        return answer._replace(reaction_time_s=round(seconds, 4))
