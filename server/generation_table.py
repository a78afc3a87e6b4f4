"""Errors per generation, kept up to date as sessions end."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from server.events import GenerationAsked, GenerationTold, MetaSteps

MOST_STEPS = 400
"""Rows of a component of a gradient search, which has thousands of meta-steps."""

MOST_ROWS = 1000
"""Rows of one reply; whoever wants more asks on."""

_SUMMARY = ("best", "lower_quartile", "median", "upper_quartile", "mean")

Summary = tuple[float | None, ...]
"""Best, quartiles and mean of relative errors; nothing where there is no score."""


class _Row:
    """One generation: the relative errors of its sessions, by group."""

    def __init__(self, component: int, generation: int) -> None:
        self.component, self.generation = component, generation
        self.begun, self.told = 0, False
        self.errors: dict[str, list[float]] = {}
        self._summaries: dict[str, Summary] = {}

    def take(self, group: str, error: float) -> None:
        """One more session has scored a candidate."""
        self.errors.setdefault(group, []).append(error)
        self._summaries.pop(group, None)

    def summary(self, group: str) -> Summary:
        """What is drawn of a group's errors."""
        if group not in self._summaries:
            self._summaries[group] = _summary(self.errors.get(group, []))
        return self._summaries[group]


class GenerationTable:
    """One row per generation asked, as the analysis has it; of descents a thin one.

    A row may still change after others have followed it: a late session, or one that
    a quorum did not wait for, counts in the generation that it was begun in.
    """

    def __init__(self, groups: Sequence[str], generations: int) -> None:
        """``generations`` is the budget of each component."""
        self._groups = list(groups)
        self._every = -(-generations // MOST_STEPS)
        self._rows: list[_Row] = []
        self._place: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        """Generations asked so far."""
        return len(self._rows)

    def ask(self, fact: GenerationAsked) -> int:
        """A generation begins; the number of its row."""
        return self._add(fact.component, fact.generation)

    def tell(self, fact: GenerationTold) -> int | None:
        """A generation is over; the number of its row."""
        place = self._place.get((fact.component, fact.generation))
        if place is not None:
            self._rows[place].told = True
        return place

    def begin(self, component: int, generation: int) -> int | None:
        """A session has begun; the number of the row that it counts in."""
        place = self._place.get((component, generation))
        if place is not None:
            self._rows[place].begun += 1
        return place

    def score(
        self, component: int, generation: int, group: str, error: float
    ) -> int | None:
        """A session has scored a candidate; the number of the row that changed."""
        place = self._place.get((component, generation))
        if place is not None:
            self._rows[place].take(group, error)
        return place

    def descend(self, fact: MetaSteps, individuals: int) -> int:
        """Meta-steps of a gradient; the number of the first row that they add."""
        first = len(self._rows)
        for step, errors in enumerate(fact.errors, fact.generation):
            if step % self._every == 0:
                row = self._rows[self._add(fact.component, step)]
                row.begun, row.told = individuals * self._every, True
                for group, error in zip(self._groups, errors, strict=False):
                    if error is not None:
                        row.take(group, error)
        return first

    def columns(self, after: int = 0) -> dict[str, Any]:
        """Rows from number ``after`` on, at most :data:`MOST_ROWS` of them."""
        start = min(max(after, 0), len(self._rows))
        rows = self._rows[start : start + MOST_ROWS]
        begun = np.cumsum([row.begun for row in self._rows[: start + len(rows)]])
        return {
            "rows": len(self._rows),
            "from": start,
            "next": start + len(rows),
            "component": [row.component for row in rows],
            "generation": [row.generation for row in rows],
            "told": [row.told for row in rows],
            "sessions_so_far": begun[start:].astype(int).tolist(),
            "groups": {group: _columns(rows, group) for group in self._groups},
        }

    def error_of(self, component: int) -> float | None:
        """Median relative error of the newest scored generation of a component."""
        for row in reversed(self._rows):
            if row.component == component and any(row.errors.values()):
                medians = [row.summary(group)[2] for group in self._groups]
                known = [one for one in medians if one is not None]
                return round(float(np.mean(known)), 6) if known else None
        return None

    def _add(self, component: int, generation: int) -> int:
        self._place[component, generation] = len(self._rows)
        self._rows.append(_Row(component, generation))
        return len(self._rows) - 1


def _columns(rows: Sequence[_Row], group: str) -> dict[str, list[Any]]:
    each = [row.summary(group) for row in rows]
    columns: dict[str, list[Any]] = {
        name: [one[i] for one in each] for i, name in enumerate(_SUMMARY)
    }
    return columns | {"scored": [len(row.errors.get(group, ())) for row in rows]}


def _summary(errors: Sequence[float]) -> Summary:
    if not errors:
        return (None,) * len(_SUMMARY)
    best, low, middle, high = np.quantile(errors, (0.0, 0.25, 0.5, 0.75))
    return tuple(round(float(v), 6) for v in (best, low, middle, high, np.mean(errors)))
