"""From volume to opening time of a valve, by what the lab has measured."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from subject_clients.tasks.trial import RigTrial


class Point(NamedTuple):
    """One measurement of a valve."""

    microlitre: float
    ms: float


@dataclass(frozen=True)
class Calibration:
    """Straight lines between measurements, and nothing beyond them."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> "Calibration":
        """From rows of microlitre and ms; raises ``ValueError``."""
        if len(rows) < 2 or any(len(row) != 2 for row in rows):
            raise ValueError(f"expected two rows [microlitre, ms] or more, got {rows}")
        points = tuple(Point(*map(float, row)) for row in rows)
        for one, next_one in pairwise(points):
            if not (one.microlitre < next_one.microlitre and one.ms < next_one.ms):
                raise ValueError(
                    "expected volumes and times that both grow from row to row, got "
                    f"{list(one)}, then {list(next_one)}"
                )
        first, last = points[0], points[-1]
        if first.microlitre <= 0 or first.ms <= 0 or not math.isfinite(last.ms):
            raise ValueError("expected volumes and times above 0")
        return cls(points)

    @property
    def least_microlitre(self) -> float:
        """The smallest volume that was measured."""
        return self.points[0].microlitre

    def open_s(self, microlitre: float) -> float:
        """Seconds for a volume; raises ``ValueError`` for one that was not measured."""
        first, last = self.points[0], self.points[-1]
        if not first.microlitre <= microlitre <= last.microlitre:
            raise ValueError(
                f"the valve is calibrated from {first.microlitre:g} to "
                f"{last.microlitre:g} microlitre, and {microlitre:g} are wanted: "
                "measure that too, or change the task's reward"
            )
        volumes = [point.microlitre for point in self.points]
        at = max(1, bisect_left(volumes, microlitre))
        low, high = self.points[at - 1], self.points[at]
        share = (microlitre - low.microlitre) / (high.microlitre - low.microlitre)
        return (low.ms + share * (high.ms - low.ms)) / 1000

    def microlitre(self, open_s: float) -> float:
        """What an opening of so long has given, also one that was cut short."""
        points = [Point(0, 0), *self.points]
        ms = open_s * 1000
        at = min(max(1, bisect_left([p.ms for p in points], ms)), len(points) - 1)
        low, high = points[at - 1], points[at]
        slope = (high.microlitre - low.microlitre) / (high.ms - low.ms)
        return max(0.0, low.microlitre + slope * (ms - low.ms))


def opening_s(valve: Calibration, microlitre: float, trial: RigTrial) -> float:
    """How long to open for a volume of a trial; 0 for not at all.

    What a spent limit has left over may be less than any volume that was measured:
    then nothing is given. Raises ``ValueError`` for other volumes not measured.
    """
    left_over = microlitre == trial.limit_microlitre
    if microlitre == 0 or (left_over and microlitre < valve.least_microlitre):
        return 0.0
    return valve.open_s(microlitre)
