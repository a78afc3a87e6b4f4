"""Bpod state machines (Sanworks), by ``iblpybpod-no-gui``."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bpod_link import Link, Script
from subject_clients.rig.bpod_read import happened
from subject_clients.rig.bpod_states import Layout, State, states
from subject_clients.rig.lookup import WHERE, found
from subject_clients.rig.valve import Calibration
from subject_clients.tasks.task import Section
from subject_clients.tasks.trial import Happened, Poke, RigTrial, Side

MARGIN_S = 0.25
"""Of the time that a trial may last: for the way to Bpod and back."""

Port = Annotated[int, Field(ge=1, le=8)]
Seconds = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
Outputs = dict[str, Annotated[int, Field(ge=0, le=255)]]


class Bpod(Section):
    """A Bpod with a port on either side, and one in the centre if you like.

    With ``centre_port`` a trial begins with a poke there, which has to last
    ``delay_s``; without, the stimulus comes ``delay_s`` after the trial's begin. A poke
    at a side, or leaving the centre, before the stimulus is premature.

    ``stimulus`` is a function ``module:name`` that gets the stimulus before the states
    run, and may return outputs of Bpod that go on with it, such as ``{"Serial1": 3}``.
    Bpod sends ``onset_outputs`` as the stimulus begins and ``over_outputs`` as it ends;
    ``on_soft_code`` is a function that is called with each soft code among them, and
    has to be done within milliseconds.
    """

    port: str
    """Of the computer: ``/dev/ttyACM0``, ``COM3``."""
    left_port: Port = 1
    right_port: Port = 3
    centre_port: Port | None = None
    left_valve: list[list[float]]
    """Measured: rows of microlitre and ms."""
    right_valve: list[list[float]]
    initiation_s: Seconds = 30.0
    delay_s: Seconds = 0.2
    window_s: Seconds = 10.0
    """How long a response may take; a task with a window of its own has that."""
    pause_s: Seconds = 0.0
    """After each trial, for the subject to drink."""
    stimulus: str | None = Field(default=None, pattern=WHERE)
    on_soft_code: str | None = Field(default=None, pattern=WHERE)
    onset_outputs: Outputs = Field(default={"SoftCode": 1})
    over_outputs: Outputs = Field(default={"SoftCode": 2})
    aversive_outputs: Outputs = Field(default={})
    """While a time-out or another aversive reinforcer lasts."""
    serial_messages: list[list[Annotated[int, Field(ge=0, le=255)]]] = Field(default=[])
    """Rows of module, number of the message, and its one to three bytes."""
    free_port: Literal["left", "right"] = "left"
    """Where free rewards are given."""
    raw: str | None = None
    """A file for Bpod's own account of each trial, as JSON lines."""

    @field_validator("left_valve", "right_valve")
    @classmethod
    def _measured(cls, rows: list[list[float]]) -> list[list[float]]:
        Calibration.of(rows)
        return rows

    @model_validator(mode="after")
    def _apart(self) -> Self:
        ports = [self.left_port, self.right_port, self.centre_port]
        if len(set(ports)) < len(ports):
            raise ValueError(f"expected three different ports, got {ports}")
        for outputs in (self.onset_outputs, self.over_outputs, self.aversive_outputs):
            if any(name.startswith("Valve") for name in outputs):
                raise ValueError("valves are opened by rewards only, not by outputs")
        if any(not 3 <= len(row) <= 5 for row in self.serial_messages):
            raise ValueError("serial_messages: expected [module, number, 1 to 3 bytes]")
        return self

    def layout(self) -> Layout:
        """Ports, valves and times."""
        return Layout(
            ports={"left": self.left_port, "right": self.right_port},
            valves={
                "left": Calibration.of(self.left_valve),
                "right": Calibration.of(self.right_valve),
            },
            centre=self.centre_port,
            initiation_s=self.initiation_s,
            delay_s=self.delay_s,
            window_s=self.window_s,
            pause_s=self.pause_s,
            onset=self.onset_outputs,
            aversive=self.aversive_outputs,
            over=self.over_outputs,
        )

    def open(self) -> "BpodRig":
        """Find it, and check that it has what is asked of it."""
        show, hear = found(self, "stimulus"), found(self, "on_soft_code")
        link = Link(self.port)
        try:
            link.on_soft_code = hear
            _check(self, link)
            for channel, number, *content in self.serial_messages:
                link.load_message(channel, number, content)
        except RigFault:
            link.close()
            raise
        raw = Path(self.raw) if self.raw else None
        return BpodRig(link, self.layout(), self.free_port, show, raw)


class BpodRig:
    """One state machine for each trial; Bpod holds its limits without this computer."""

    def __init__(
        self,
        link: Link,
        layout: Layout,
        free_side: Side,
        show: Callable[[dict[str, Any]], Any] | None = None,
        raw: Path | None = None,
    ) -> None:
        """``show`` gets each stimulus; ``raw`` is a file of Bpod's own accounts."""
        self._link, self._layout, self._free_side = link, layout, free_side
        self._show, self._raw = show, raw
        self._turn = threading.Condition()
        self._busy, self._safe, self._closed = False, False, False
        self._free: list[float] = []
        self._due: tuple[RigTrial, list[State], float] | None = None
        self._pokes: Sequence[Poke] | None = None

    def play(self, pokes: Sequence[Poke]) -> None:
        """Virtual events of Bpod in the next trial, the centre's among them."""
        self._pokes = pokes

    def next_trial(self, trial: RigTrial) -> None:
        """Show its stimulus and lay out its states."""
        begun_s = time.monotonic()
        with self._turn:  # a free reward may be on its way
            self._turn.wait_for(lambda: not self._busy)
            self._busy, self._safe = True, False
            self._link.make_ready()
        try:
            outputs = self._shown(trial)
            left_s = trial.valid_s - MARGIN_S - (time.monotonic() - begun_s)
            machine = states(trial, self._layout, outputs, left_s)
        except Exception as error:
            self._release()
            if isinstance(error, RigFault):
                raise
            raise RigFault(f"trial {trial.uid}: {error}") from error
        self._due = trial, machine, left_s

    def what_happened(self) -> Happened:
        """Run the states, and whatever free reward was asked for meanwhile."""
        due, self._due = self._due, None
        if due is None:
            raise RigFault("there is no trial to run")
        trial, machine, left_s = due
        pokes, self._pokes = self._pokes, None
        script = None if pokes is None else self._script(pokes)
        try:
            account = self._link.run(machine, left_s + MARGIN_S, script)
            self._keep(trial, account)
            self._drain()
            return happened(account, trial, self._layout)
        finally:
            self._release()

    def give_reward(self, microlitre: float) -> None:
        """Between trials: now, or as soon as the trial under way is over.

        Raises :class:`RigFault`.
        """
        self._tap(microlitre)
        with self._turn:
            if self._safe or self._closed:
                raise RigFault("the rig is in its safe state")
            if self._busy:
                self._free.append(microlitre)
                return
            self._busy, self._free = True, [microlitre]
        try:
            self._drain()
        finally:
            self._release()

    def safe_state(self, reason: str) -> None:
        """End the states that run, and close both valves."""
        del reason
        with self._turn:
            self._safe, self._free = True, []
        if not self._closed:
            self._link.stop(list(self._layout.ports.values()))

    def close(self) -> None:
        """Leave it safe."""
        if self._closed:
            return
        with contextlib.suppress(RigFault):  # a lost connection was told before
            self.safe_state("the client ends")
        self._closed = True
        self._link.close()

    def _shown(self, trial: RigTrial) -> dict[str, int]:
        """Outputs that the lab's function wants with this stimulus."""
        outputs = self._show(trial.stimulus) if self._show else None
        if outputs is None:
            return {}
        if not isinstance(outputs, dict) or any(
            not isinstance(value, int) or name not in self._link.outputs
            for name, value in outputs.items()
        ):
            raise RigFault(f"the stimulus function returned {outputs!r:.80}")
        if any(name.startswith("Valve") for name in outputs):
            raise RigFault("a stimulus may not open valves")
        return outputs

    def _script(self, pokes: Sequence[Poke]) -> Script:
        ports = {str(side): port for side, port in self._layout.ports.items()}
        if self._layout.centre is not None:
            ports["centre"] = self._layout.centre
        return Script(pokes, self._layout.delay_s, ports)

    def _tap(self, microlitre: float) -> State:
        """The one state of a free reward."""
        try:
            open_s = self._layout.valves[self._free_side].open_s(microlitre)
        except ValueError as error:
            raise RigFault(str(error)) from error
        valve = f"Valve{self._layout.ports[self._free_side]}"
        return State("free_reward", open_s, {"Tup": "exit"}, {valve: 1})

    def _drain(self) -> None:
        """Free rewards one after the other, in the thread whose turn it is."""
        while True:
            with self._turn:
                if not self._free or self._safe:
                    return
                microlitre = self._free.pop(0)
            tap = self._tap(microlitre)
            self._link.run([tap], tap.timer_s + 1)

    def _release(self) -> None:
        with self._turn:
            self._busy = False
            self._turn.notify_all()

    def _keep(self, trial: RigTrial, account: dict[str, Any]) -> None:
        if self._raw is not None:
            with self._raw.open("a", encoding="utf-8") as file:
                line = {"uid": trial.uid, **account}
                file.write(json.dumps(line, allow_nan=False) + "\n")


def _check(section: Bpod, link: Link) -> None:
    """Whether this Bpod has the ports, valves and outputs that the file names."""
    ports = [section.left_port, section.right_port]
    centre = [] if section.centre_port is None else [section.centre_port]
    wanted = {f"Port{port}In" for port in ports + centre}
    wanted |= {f"Valve{port}" for port in ports}
    for outputs in (
        section.onset_outputs,
        section.over_outputs,
        section.aversive_outputs,
    ):
        wanted |= set(outputs)
    known = [*link.events, *link.outputs]
    if missing := sorted(wanted - set(known)):
        raise RigFault(
            f"the Bpod at {section.port} has no {', '.join(missing)}; it has "
            f"{', '.join(name for name in link.outputs)}"
        )
