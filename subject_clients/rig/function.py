"""Hardware that is a Python function: a lab's own rig code."""

from collections.abc import Callable, Sequence

from pydantic import Field

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.lookup import WHERE, found
from subject_clients.tasks.task import Section
from subject_clients.tasks.trial import Happened, Poke, RigTrial


class Function(Section):
    """Functions by ``module:name``, of the folder that the client is started in.

    ``run_trial(RigTrial) -> Happened`` does a whole trial. ``safe_state(reason)`` and
    ``give_reward(microlitre)`` may be called while it runs, from another thread.
    ``play(pokes)`` plays a script in the next trial, for the self-check.
    """

    run_trial: str = Field(pattern=WHERE)
    safe_state: str | None = Field(None, pattern=WHERE)
    give_reward: str | None = Field(None, pattern=WHERE)
    play: str | None = Field(None, pattern=WHERE)

    def open(self) -> "FunctionRig":
        """Import the functions; raises :class:`RigFault`."""
        run_trial = found(self, "run_trial")
        assert run_trial is not None
        others = ("safe_state", "give_reward", "play")
        return FunctionRig(run_trial, *(found(self, name) for name in others))


class FunctionRig:
    """Calls the lab's functions; has ``give_reward`` and ``play`` where they have."""

    give_reward: Callable[[float], None]
    play: Callable[[Sequence[Poke]], None]

    def __init__(
        self,
        run_trial: Callable[[RigTrial], Happened],
        safe_state: Callable[[str], object] | None = None,
        give_reward: Callable[[float], None] | None = None,
        play: Callable[[Sequence[Poke]], None] | None = None,
    ) -> None:
        """What is None the rig cannot do."""
        self._run_trial, self._safe_state = run_trial, safe_state
        if give_reward is not None:
            self.give_reward = give_reward
        if play is not None:
            self.play = play
        self._due: RigTrial | None = None
        self._safe = False

    def next_trial(self, trial: RigTrial) -> None:
        """Remember it: the function does all of a trial at once."""
        self._due, self._safe = trial, False

    def what_happened(self) -> Happened:
        """Run the trial; what the function raises is a fault of the rig."""
        trial, self._due = self._due, None
        if trial is None or self._safe:
            raise RigFault("there is no trial to run, or it was made safe before")
        try:
            happened = self._run_trial(trial)
        except Exception as error:
            raise RigFault(f"run_trial failed: {error!r}") from error
        if not isinstance(happened, Happened):
            raise RigFault(f"run_trial returned {happened!r:.80}, expected a Happened")
        return happened

    def safe_state(self, reason: str) -> None:
        """Hand it on."""
        self._safe = True
        if self._safe_state is not None:
            self._safe_state(reason)

    def close(self) -> None:
        """Leave it safe."""
        self.safe_state("the client ends")
