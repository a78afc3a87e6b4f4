"""What is known of the candidates of a generation."""

import numpy as np

from meta_learner.objective import Floats, Objective
from meta_learner.shrinkage import shrunk

MAX_UNUSABLE = 3
"""Unusable sessions after which a candidate is left unscored."""

Place = tuple[int, int]
"""Candidate and group."""


class Scores:
    """Errors of candidates and what is missing; all arrays (candidates, groups)."""

    def __init__(self, candidates: int, groups: int) -> None:
        """Nothing is known yet."""
        shape = (candidates, groups)
        self.errors: Floats = np.full(shape, np.nan)
        """As they count in the meta-loss; NaN where there is none yet."""
        self.standard_errors: Floats = np.full(shape, np.nan)
        self.scored = np.zeros(shape, bool)
        """Whether no more session of a group on a candidate is needed."""
        self.unusable = np.zeros(shape, int)
        self.attempts = np.zeros(shape, int)
        self.elites: list[int] | None = None
        """Candidates with a second session of each group, once they are chosen."""

    def take(self, place: Place, error: float, standard_error: float) -> None:
        """Score a place; a second error is averaged with the first.

        With equal weights: a low error comes with a low standard error, so that
        weights of inverse variance would favour whichever error is the lower.
        """
        if not np.isnan(self.errors[place]):
            error = (self.errors[place] + error) / 2
            standard_error = np.hypot(self.standard_errors[place], standard_error) / 2
        self.errors[place] = error
        self.standard_errors[place] = standard_error
        self.scored[place] = True

    def miss(self, place: Place) -> None:
        """Count an unusable session; a first error stands without a second."""
        self.unusable[place] += 1
        if not np.isnan(self.errors[place]):
            self.scored[place] = True
        elif self.unusable[place] >= MAX_UNUSABLE:
            # Without one group there is no score: spare the others' subjects.
            self.scored[place[0]] = True

    def choose(self, elites: list[int]) -> None:
        """Let candidates wait for a second session of each group."""
        self.elites = elites
        self.scored[elites] = False

    def meta_losses(self, objective: Objective, penalties: Floats) -> Floats:
        """Meta-losses (candidates,) of errors shrunken by their noise."""
        errors = shrunk(self.errors, self.standard_errors)
        losses: Floats = objective.meta_losses(errors, penalties)
        return losses

    def best(self, number: int, objective: Objective, penalties: Floats) -> list[int]:
        """The candidates of lowest meta-loss, ``number`` or all that have one."""
        losses = self.meta_losses(objective, penalties)
        order = np.argsort(losses, kind="stable")[:number]
        return [int(i) for i in order if not np.isnan(losses[i])]
