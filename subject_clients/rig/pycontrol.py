"""A box of pyControl as rig hardware; started from pyControl's own GUI."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, field_validator

from subject_clients.rig.adapter import RigAdapter, RigFault
from subject_clients.rig.pycontrol_board import Result, Switchboard
from subject_clients.rig.valve import Calibration, opening_s
from subject_clients.tasks.task import Section
from subject_clients.tasks.trial import NOTHING, Happened, Poke, Reinforcer, RigTrial

MARGIN_S = 0.5
"""Of the time that a trial may last: for echoes on the way to the board."""

GRAIN_MS = 2
"""The board's clock ticks every millisecond."""

PREFIX = "stimulus_"
"""Of variables of the task file that take numbers of the stimulus."""


class PyControl(Section):
    """Two ports, as ``penchant_two_port.py`` has them; times in seconds."""

    left_valve: list[list[float]]
    """Measured: rows of microlitre and ms."""
    right_valve: list[list[float]]
    delay_s: Annotated[float, Field(ge=0, le=600)] = 0.2
    """From a trial's begin to its stimulus: pokes in between are premature."""
    window_s: Annotated[float, Field(gt=0, le=600)] = 10.0

    @field_validator("left_valve", "right_valve")
    @classmethod
    def _measured(cls, rows: list[list[float]]) -> list[list[float]]:
        Calibration.of(rows)
        return rows

    def open(self) -> RigAdapter:
        """Refused: the box belongs to pyControl's GUI."""
        raise RigFault(
            "a box of pyControl is started in pyControl's GUI, with the API class "
            "Penchant: see docs/rigs-bpod-pycontrol.md"
        )


class PyControlRig:
    """One grant of the task file for each trial."""

    def __init__(self, section: PyControl, board: Switchboard, grant: int) -> None:
        """``grant`` is the number of the last trial of the board."""
        self._section, self._board, self._grant = section, board, grant
        self._left = Calibration.of(section.left_valve)
        self._right = Calibration.of(section.right_valve)
        self._trial: RigTrial | None = None
        self._pokes: Sequence[Poke] = ()

    def play(self, pokes: Sequence[Poke]) -> None:
        """Events of the task file: all of a poke but its sensor."""
        self._pokes = pokes

    def next_trial(self, trial: RigTrial) -> None:
        """Set variables, wait for their echoes, then give the grant."""
        self._board.make_ready()
        pokes, self._pokes = self._pokes, ()
        try:
            values = self._values(trial)
            self._board.set(values)
        except ValueError as error:
            raise RigFault(f"trial {trial.uid}: {error}") from error
        self._grant += 1
        self._board.set({"grant": self._grant})
        self._board.begin(self._grant, pokes, self._section.delay_s)
        self._trial = trial

    def what_happened(self) -> Happened:
        """Wait for the line that the task file prints."""
        trial, self._trial = self._trial, None
        if trial is None:
            raise RigFault("there is no trial to run")
        result = self._board.result(self._grant, trial.valid_s)
        return self._happened(trial, result)

    def safe_state(self, reason: str) -> None:
        """The event ``stop``, at the next poll; the watchdog acts if there is none."""
        del reason
        self._board.stop()

    def close(self) -> None:
        """Leave it safe."""
        self._board.stop()

    def _values(self, trial: RigTrial) -> dict[str, float]:
        if trial.automatic != NOTHING or "window_s" in trial.extra:
            raise ValueError("penchant_two_port.py knows the task two_port only")
        section = self._section
        left_s = trial.valid_s - MARGIN_S
        longest_s = (
            max(self._open_ms("left", trial), self._open_ms("right", trial)) / 1000
        )
        window_s = min(section.window_s, left_s - section.delay_s - longest_s)
        if window_s <= 0:
            raise ValueError(f"{trial.valid_s:g} s are too short for a trial")
        numbers = {
            PREFIX + name: value
            for name, value in trial.stimulus.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        return {
            "left_ms": self._open_ms("left", trial),
            "right_ms": self._open_ms("right", trial),
            "left_time_out_ms": round(1000 * trial.left.aversive_s),
            "right_time_out_ms": round(1000 * trial.right.aversive_s),
            "delay_ms": round(1000 * section.delay_s),
            "window_ms": int(1000 * window_s),
            "valid_ms": int(1000 * left_s),
            **numbers,
        }

    def _open_ms(self, side: str, trial: RigTrial) -> int:
        """Whole ms, rounded down: never more than allowed."""
        valve, brings = self._of(side, trial)
        return int(1000 * opening_s(valve, brings.microlitre, trial) + 1e-6)

    def _of(self, side: str, trial: RigTrial) -> tuple[Calibration, Reinforcer]:
        if side == "left":
            return self._left, trial.left
        return self._right, trial.right

    def _happened(self, trial: RigTrial, result: Result) -> Happened:
        given, after_s = 0.0, None
        if result.valve_ms > 0:
            valve, brings = self._of(result.side, trial)
            given = valve.microlitre(result.valve_ms / 1000)
            if abs(result.valve_ms - self._open_ms(result.side, trial)) <= GRAIN_MS:
                given = brings.microlitre
            after_s = result.valve_at_ms / 1000
        response_s = result.response_ms / 1000 if result.response_ms >= 0 else None
        side = result.side if result.side in ("left", "right") else None
        return Happened(
            outcome=result.outcome,  # type: ignore[arg-type]
            side=side,  # type: ignore[arg-type]
            reaction_time_s=response_s,
            response_time_s=response_s,
            delivered_microlitre=given,
            delivered_after_s=after_s,
            rig_clock_s=result.onset_ms / 1000 if result.onset_ms >= 0 else None,
        )
