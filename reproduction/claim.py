"""What the paper claims as a number, what we find for it, and what no learner finds."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.figure import SubFigure

LEVEL = 0.05
"""Share of searches without a learner that may reach what is called beyond them."""

Role = Literal["ours", "diagnostic", "paper", "paper diagnostic", "learnt", "as born"]
"""Of a search: our objective or the paper's, a learner whose answer must differ or not.

Or of a learning procedure that was itself learnt, and of one as it is born.
"""


ROLES: dict[Role, str] = {
    "ours": "default objective",
    "diagnostic": "default objective, diagnostic learner",
    "paper": "the paper's settings",
    "paper diagnostic": "the paper's settings, diagnostic learner",
    "learnt": "learnt procedure",
    "as born": "as born",
}
"""What a role is called in pictures and in the gallery."""


@dataclass(frozen=True)
class Claim:
    """One number of a figure: several seeds, its target set beforehand, its null.

    ``values`` has one entry per seed, ``null`` one per replicate of the search
    without a learner (empty where a number needs a learner). ``target`` is what
    the median over seeds must reach, from below or from above (``at_most``);
    None for a number that is reported without one. ``share`` says that it is a
    share between 0 and 1.
    """

    statement: str
    paper: str
    values: tuple[float, ...]
    null: tuple[float, ...] = ()
    target: float | None = None
    at_most: bool = False
    role: Role = "ours"
    share: bool = True

    @property
    def median(self) -> float:
        """Median over seeds."""
        return float(np.median(self.values))

    @property
    def worst(self) -> float:
        """The seed farthest from the target."""
        return float(np.max(self.values) if self.at_most else np.min(self.values))

    @property
    def met(self) -> bool | None:
        """Whether the median over seeds reaches the target."""
        return None if self.target is None else self._reaches(self.median)

    @property
    def reached(self) -> int | None:
        """Seeds that reach the target by themselves."""
        if self.target is None:
            return None
        return sum(map(self._reaches, self.values))

    @property
    def p_value(self) -> float | None:
        """Share of the null, the median counted in, that is at least as extreme."""
        if not self.null:
            return None
        null = np.array(self.null)
        # Negated, so that what is not a number proves nothing.
        short = null > self.median if self.at_most else null < self.median
        return float(((~short).sum() + 1) / (len(null) + 1))

    @property
    def beyond_null(self) -> bool | None:
        """Whether the median lies beyond the null, at a level of 5 %.

        None also where there are too few replicates to say.
        """
        if self.p_value is None or 1 / (len(self.null) + 1) > LEVEL:
            return None
        return self.p_value <= LEVEL

    def _reaches(self, value: float) -> bool:
        assert self.target is not None
        return bool(value <= self.target if self.at_most else value >= self.target)

    def as_json(self) -> dict[str, Any]:
        """Everything about it, the null as quantiles."""
        plain = asdict(self) | {"values": _rounded(self.values)}
        plain["null"] = None
        if self.null:
            # Some subjects diverge on a random labelling.
            low, mid, high = _rounded(np.nanquantile(self.null, (0.05, 0.5, 0.95)))
            plain["null"] = {
                "5_percent": low,
                "median": mid,
                "95_percent": high,
                "replicates": len(self.null),
            }
        plain |= {"median": _rounded([self.median])[0], "met": self.met}
        plain |= {"worst": _rounded([self.worst])[0], "reached": self.reached}
        plain |= {"beyond_null": self.beyond_null}
        return plain | {"p_value": self.p_value}


class Panel(NamedTuple):
    """A part of a figure's picture; ``cells`` is its width, 6 being a whole row.

    A row is as high as the highest panel in it, in inches.
    """

    title: str
    draw: Callable[[SubFigure], None]
    cells: int = 6
    high: float = 2.0


class Table(NamedTuple):
    """Numbers that are told without being judged, as text."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass
class Result:
    """A figure's outcome: its claims, and what a reader must know beside them."""

    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @property
    def missed(self) -> list[Claim]:
        """Claims whose target was not reached."""
        return [claim for claim in self.claims if claim.met is False]


def _rounded(values: Any) -> list[float | None]:
    return [round(float(v), 6) if np.isfinite(v) else None for v in values]


class Entry(NamedTuple):
    """A figure of the paper: what it shows there, and how we run it.

    ``run`` takes an :class:`reproduction.experiment.Experiment`; ``minutes`` is
    about what it takes on one core, so that the longest can begin first.
    """

    title: str
    paper: str
    run: Callable[[Any], Result]
    minutes: float = 1.0
