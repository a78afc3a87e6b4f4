"""What a check of a client or a server is, and what it finds."""

from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

Examined = TypeVar("Examined")


class Failed(Exception):
    """A rule is broken; says what was seen, and what was expected instead."""


class Skipped(Exception):
    """A check does not apply; says why."""


class Verdict(NamedTuple):
    """What became of a check; ``seen`` is empty if it passed."""

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    why: str
    seen: str


class Check(NamedTuple, Generic[Examined]):
    """A rule of the protocol: its name, why it matters, and how to look."""

    name: str
    why: str
    look: Callable[[Examined], None]

    def verdict(self, examined: Examined) -> Verdict:
        """Look, and say what was found."""
        try:
            self.look(examined)
        except Failed as failed:
            return Verdict(self.name, "failed", self.why, str(failed))
        except Skipped as skipped:
            return Verdict(self.name, "skipped", self.why, str(skipped))
        return Verdict(self.name, "passed", self.why, "")


class Catalogue(dict[str, Check[Examined]]):
    """Checks by name, in the order in which they are made."""

    def add(
        self, name: str, why: str
    ) -> Callable[[Callable[[Examined], None]], Callable[[Examined], None]]:
        """Makes a function the check ``name``."""

        def added(look: Callable[[Examined], None]) -> Callable[[Examined], None]:
            self[name] = Check(name, why, look)
            return look

        return added


def expect(holds: bool, seen: str) -> None:
    """Raises :class:`Failed` with what was ``seen`` unless a rule holds."""
    if not holds:
        raise Failed(seen)
