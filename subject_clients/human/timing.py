"""Frames: how long they took, which were dropped, and a pace where there is none."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

LATE = 1.5
"""A frame of more than so many nominal intervals has dropped one."""

UNPACED_S = 0.004
"""Flips faster than this wait for no display: none is above 240 Hz here."""


class FrameSummary(NamedTuple):
    """How regular frames came; intervals in milliseconds."""

    frames: int
    median_ms: float
    p99_ms: float
    longest_ms: float
    dropped: int


def dropped(intervals_s: Sequence[float], nominal_s: float) -> int:
    """How many intervals were too long for a display of this rate."""
    return sum(interval > LATE * nominal_s for interval in intervals_s)


def summarise(intervals_s: Sequence[float], nominal_s: float) -> FrameSummary:
    """The distribution of frame intervals in five numbers; of none all are 0."""
    if not intervals_s:
        return FrameSummary(0, 0.0, 0.0, 0.0, 0)
    ordered = sorted(intervals_s)
    return FrameSummary(
        len(ordered),
        1e3 * statistics.median(ordered),
        1e3 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        1e3 * ordered[-1],
        dropped(ordered, nominal_s),
    )


class Frames:
    """Intervals between flips, in stretches that have to be regular."""

    def __init__(self, nominal_s: float) -> None:
        """``nominal_s`` is the display's interval."""
        self.nominal_s = nominal_s
        self.intervals_s: list[float] = []
        self._last: float | None = None
        self._from = 0

    def begin(self) -> None:
        """From here on frames count; what was before the next flip does not."""
        self._last, self._from = None, len(self.intervals_s)

    def note(self, at_s: float) -> None:
        """A flip happened."""
        if self._last is not None:
            self.intervals_s.append(at_s - self._last)
        self._last = at_s

    def rest(self) -> None:
        """Frames no longer count: a stimulus is prepared, a page is read."""
        self._last = None

    def dropped(self) -> int:
        """How many were dropped since ``begin``."""
        return dropped(self.intervals_s[self._from :], self.nominal_s)

    def summary(self) -> FrameSummary:
        """Of all that counted."""
        return summarise(self.intervals_s, self.nominal_s)


class Pace:
    """Holds a loop to a rate by a clock, where no display does."""

    def __init__(
        self,
        period_s: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """One turn every ``period_s``."""
        self._period_s, self._clock, self._sleep = period_s, clock, sleep
        self._next = clock()

    def wait(self) -> None:
        """Until the next turn; one that is late does not make others early."""
        now = self._clock()
        while self._next <= now:
            self._next += self._period_s
        self._sleep(self._next - now)
