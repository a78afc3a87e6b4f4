"""What is known of the candidates of a generation, and which need a session still."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meta_learner.objective import Floats, Objective
from meta_learner.shrinkage import shrunk

MAX_UNUSABLE = 3
"""Unusable sessions after which a candidate is left unscored."""

Place = tuple[int, int]
"""Candidate and group."""


class Allocation(NamedTuple):
    """How many subjects of each group learn a candidate.

    ``subjects_per_candidate`` at first; as long as the standard error of its error is
    above ``replicate_above`` another one, up to ``most_subjects``.
    """

    subjects_per_candidate: int = 1
    replicate_above: float | None = None
    most_subjects: int = 1


ONE_EACH = Allocation()


class Scores:
    """Errors of candidates and what is missing; all arrays (candidates, groups)."""

    def __init__(
        self, candidates: int, groups: int, allocation: Allocation = ONE_EACH
    ) -> None:
        """Nothing is known yet."""
        shape = (candidates, groups)
        self._allocation = allocation
        self.errors: Floats = np.full(shape, np.nan)
        """As they count in the meta-loss; NaN where there is none yet."""
        self.standard_errors: Floats = np.full(shape, np.nan)
        self.taken = np.zeros(shape, int)
        """Sessions that have scored a place."""
        self.wanted = np.full(shape, allocation.subjects_per_candidate)
        """Sessions that are to score it."""
        self.unusable = np.zeros(shape, int)
        self.attempts = np.zeros(shape, int)
        self.elites: list[int] | None = None
        """Candidates with a second session of each group, once they are chosen."""

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Whether no more session of a group on a candidate is needed."""
        return self.taken >= self.wanted

    def take(self, place: Place, error: float, standard_error: float) -> None:
        """Score a place by a session; errors of several are averaged.

        With equal weights: a low error comes with a low standard error, so that
        weights of inverse variance would favour whichever error is the lower.
        """
        n = self.taken[place]
        if n:
            error = (n * self.errors[place] + error) / (n + 1)
            before = n * self.standard_errors[place]
            standard_error = np.hypot(before, standard_error) / (n + 1)
        self.errors[place], self.standard_errors[place] = error, standard_error
        self.taken[place] = n + 1
        above, most = self._allocation.replicate_above, self._allocation.most_subjects
        if above is not None and standard_error > above and n + 1 < most:
            self.wanted[place] = max(self.wanted[place], n + 2)

    def settle(self, candidate: int, error: float) -> None:
        """Score a candidate whose error is known without any subject."""
        self.errors[candidate], self.standard_errors[candidate] = error, 0.0
        self.taken[candidate] = self.wanted[candidate]

    def miss(self, place: Place) -> None:
        """Count an unusable session; an elite's first error stands without it."""
        self.unusable[place] += 1
        often = self.unusable[place] >= MAX_UNUSABLE
        if self.taken[place] and (often or self.elites is not None):
            self.wanted[place] = self.taken[place]
        elif often and not self.taken[place]:
            # Without one group there is no score: spare the others' subjects.
            self.wanted[place[0]] = 0

    def choose(self, elites: list[int]) -> None:
        """Let candidates wait for another session of each group."""
        self.elites = elites
        self.wanted[elites] = self.taken[elites] + 1

    def carry(self, candidate: int, before: "Scores") -> None:
        """Go on with what is known of a candidate of the generation before."""
        for mine, theirs in (
            (self.errors, before.errors),
            (self.standard_errors, before.standard_errors),
            (self.taken, before.taken),
            (self.wanted, before.wanted),
            (self.unusable, before.unusable),
            (self.attempts, before.attempts),
        ):
            mine[candidate] = theirs[candidate]

    def missing(self, held: Iterable[Place]) -> NDArray[np.int64]:
        """Sessions that each place needs beside those that hold it: never negative."""
        lacking = self.wanted - self.taken
        for place in held:
            lacking[place] -= 1
        rest: NDArray[np.int64] = np.maximum(lacking, 0)
        return rest

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
