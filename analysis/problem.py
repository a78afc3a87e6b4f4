"""What was wrong with a part of some data, and what follows from it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that could not be read, or does not fit.

    ``where`` names the file, database or table; ``row`` is the number of the event in
    its journal or the line in its file, None where it is of neither; ``consequence``
    says what was done about it.
    """

    where: str
    row: int | None
    reason: str
    consequence: str

    def __str__(self) -> str:
        """One line for a terminal."""
        place = self.where if self.row is None else f"{self.where}, row {self.row}"
        return f"{place}: {self.reason}; {self.consequence}"


def spans(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive numbers, first and last of each, in order."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def listed(numbers: Iterable[int], most: int = 5) -> str:
    """Numbers in words: ``3, 5 to 9 and 12``, or the first few and how many more."""
    runs = [str(a) if a == b else f"{a} to {b}" for a, b in spans(numbers)]
    if len(runs) > most:
        return f"{', '.join(runs[:most])} and {len(runs) - most} more stretches"
    return " and ".join([", ".join(runs[:-1]), runs[-1]] if runs[1:] else runs)
