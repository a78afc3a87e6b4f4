"""A box with two ports that exists in memory, and boxes that are not as they should be.

Its functions at the end make it the hardware ``callable`` of a rig's file.
"""

import threading
import time
from collections.abc import Callable, Sequence

from subject_clients.rig.adapter import RigFault
from subject_clients.tasks.trial import Happened, Poke, RigTrial

Subject = Callable[[RigTrial], Sequence[Poke]]
"""What somebody in the box does in a trial."""


def right(_: RigTrial) -> Sequence[Poke]:
    """Always pokes right."""
    return [Poke(0.2, "right")]


class Box:
    """Does every trial at once; ``valve`` is the truth about its rewards."""

    def __init__(self, subject: Subject = right) -> None:
        self.subject = subject
        self.valve: list[tuple[str, float]] = []
        self.safe: list[str] = []
        self._due: RigTrial | None = None
        self._script: Sequence[Poke] | None = None

    def play(self, pokes: Sequence[Poke]) -> None:
        """These in the next trial."""
        self._script = pokes

    def next_trial(self, trial: RigTrial) -> None:
        """Remember it."""
        self._due = trial

    def what_happened(self) -> Happened:
        """Do it."""
        trial, script = self._due, self._script
        assert trial is not None
        self._due = self._script = None
        return self.run(trial, self.subject(trial) if script is None else script)

    def run(self, trial: RigTrial, pokes: Sequence[Poke]) -> Happened:
        """What an ideal box makes of pokes."""
        if any(poke.after_s < 0 for poke in pokes):
            return Happened("premature")
        if not pokes:
            return Happened("omission")
        first = min(pokes)
        given = trial.reinforcer(first.side).microlitre
        self.open_valve(trial.uid, given)
        return Happened(
            side=first.side,
            reaction_time_s=first.after_s,
            response_time_s=first.after_s + 0.1,
            delivered_microlitre=given,
            delivered_after_s=0.3 if given else None,
            rig_clock_s=12.5,
        )

    def open_valve(self, uid: str, microlitre: float) -> None:
        """Liquid, if any."""
        if microlitre:
            self.valve.append((uid, microlitre))

    def give_reward(self, microlitre: float) -> None:
        """A free one."""
        self.open_valve("free", microlitre)

    def safe_state(self, reason: str) -> None:
        """Remember why."""
        self.safe.append(reason)

    def close(self) -> None:
        """Nothing to let go of."""


class TwoRewards(Box):
    """Rewards every poke of a trial."""

    def run(self, trial: RigTrial, pokes: Sequence[Poke]) -> Happened:
        """One reward more than there should be."""
        happened = super().run(trial, pokes)
        more = (len(pokes) - 1) * happened.delivered_microlitre
        return _with(happened, happened.delivered_microlitre + max(more, 0.0))


class Eager(Box):
    """Takes an early poke for a response."""

    def run(self, trial: RigTrial, pokes: Sequence[Poke]) -> Happened:
        """As if the stimulus had been there."""
        return super().run(trial, [Poke(abs(p.after_s), p.side) for p in pokes])


class Generous(Box):
    """Gives its own reward whatever it is allowed."""

    def run(self, trial: RigTrial, pokes: Sequence[Poke]) -> Happened:
        """Four microlitres for any response."""
        happened = super().run(trial, pokes)
        return _with(happened, 4.0) if happened.side else happened


class Swapped(Box):
    """Its ports are wired the wrong way round."""

    def run(self, trial: RigTrial, pokes: Sequence[Poke]) -> Happened:
        """Left is right."""
        other = {"left": "right", "right": "left"}
        turned = [Poke(p.after_s, other[p.side]) for p in pokes]  # type: ignore[arg-type]
        return super().run(trial, turned)


class Blind(Box):
    """Sees a response in every trial."""

    def run(self, trial: RigTrial, pokes: Sequence[Poke]) -> Happened:
        """Also where there was none."""
        return super().run(trial, pokes or [Poke(0.1, "left")])


class Stuck(Box):
    """Its trials last until somebody makes it safe."""

    def __init__(self) -> None:
        super().__init__()
        self.running, self._over = threading.Event(), threading.Event()

    def what_happened(self) -> Happened:
        """Wait for the end."""
        self.running.set()
        assert self._over.wait(20)
        raise RigFault("made safe within a trial")

    def safe_state(self, reason: str) -> None:
        """The end."""
        super().safe_state(reason)
        self._over.set()


def _with(happened: Happened, microlitre: float) -> Happened:
    import dataclasses

    return dataclasses.replace(happened, delivered_microlitre=microlitre)


_box = Box()


def run_trial(trial: RigTrial) -> Happened:
    """A trial of a box that takes a moment, so that it can be stopped in between."""
    _box.next_trial(trial)
    time.sleep(0.02)
    return _box.what_happened()


play = _box.play
give_reward = _box.give_reward
