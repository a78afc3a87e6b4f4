"""The wire to a Bpod: the one module that knows ``pybpodapi``.

That package is imported when a Bpod is opened, and only then.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bpod_states import State
from subject_clients.tasks.trial import Poke

POLL_S = 0.001
"""Between two looks at the wire; times come from Bpod's own clock."""

STUCK_S = 0.2
"""How long the thread of a trial may take to obey a stop; then another one acts."""

POKE_S = 0.03
"""How long a poke of a script lasts."""


class Script:
    """Pokes of a script, due by the state that Bpod is in."""

    def __init__(
        self, pokes: Sequence[Poke], delay_s: float, ports: dict[str, int]
    ) -> None:
        """``ports`` by side, with ``centre`` where a trial begins there."""
        self._delay_s, self._ports = delay_s, ports
        self._centre = "centre" in ports
        self._early = sorted(poke for poke in pokes if poke.after_s < 0)
        self._late = sorted(poke for poke in pokes if poke.after_s >= 0)
        self._state, self._since = "", 0.0
        self._pending: list[tuple[float, int, int]] = []

    def due(self, state: str, now_s: float) -> list[tuple[int, int]]:
        """Port and level of what is due now, in the state that Bpod is in."""
        if state != self._state:
            self._state, self._since = state, now_s
            self._plan()
        due = [(port, level) for at, port, level in self._pending if at <= now_s]
        self._pending = [one for one in self._pending if one[0] > now_s]
        return due

    def _plan(self) -> None:
        at_s = self._since
        if self._state == "ready":
            self._poke(at_s, "centre", "centre in")
        elif self._state == "delay":
            for poke in self._early:
                self._poke(max(at_s, at_s + self._delay_s + poke.after_s), poke.side)
        elif self._state == "stimulus":
            if self._centre:
                self._pending.append((at_s, self._ports["centre"], 0))
            for poke in self._late:
                self._poke(at_s + poke.after_s, poke.side)
        self._pending.sort()

    def _poke(self, at_s: float, where: str, how: str = "") -> None:
        self._pending.append((at_s, self._ports[where], 1))
        if not how:
            self._pending.append((at_s + POKE_S, self._ports[where], 0))


class Link:
    """An open Bpod. :meth:`run` is for one thread at a time, the rest for any."""

    def __init__(self, port: str) -> None:
        """Find it and shake hands; raises :class:`RigFault`."""
        api = _api()
        self._stop, self._stopped = threading.Event(), threading.Event()
        self._writing = threading.Lock()
        self._running, self._deadline_s = False, math.inf
        self._machine: Any = None
        self._script: Script | None = None
        self.on_soft_code: Callable[[int], object] | None = None
        link = self

        class Watched(api.Bpod):  # type: ignore[misc, name-defined]
            def loop_handler(self) -> None:
                link._look()

            def softcode_handler_function(self, data: int) -> None:
                if link.on_soft_code is not None:
                    link.on_soft_code(data)

        try:
            self._bpod = Watched(serial_port=port)
        except Exception as error:  # whatever a device that is no Bpod brings about
            raise RigFault(
                f"no Bpod answers at {port}: {error}. Is it plugged in and powered, "
                "is [hardware] port right, may you use it (group dialout), and has "
                "no other program opened it?"
            ) from error
        self._build = api.StateMachine

    @property
    def events(self) -> list[str]:
        """Events that this Bpod knows."""
        return list(self._bpod.hardware.channels.event_names)

    @property
    def outputs(self) -> list[str]:
        """Outputs that this Bpod has."""
        return list(self._bpod.hardware.channels.output_channel_names)

    def load_message(self, channel: int, number: int, content: list[int]) -> None:
        """A message of up to three bytes for a module; raises :class:`RigFault`."""
        with self._faults(), self._writing:
            self._bpod.load_serial_message(channel, number, content)

    def run(
        self, states: list[State], limit_s: float, script: Script | None = None
    ) -> dict[str, Any]:
        """Run states to their end; returns Bpod's own account, without any NaN.

        Raises :class:`RigFault` after a :meth:`stop`, or where Bpod falls silent for
        longer than ``limit_s``.
        """
        machine = self._built(states)
        self._stopped.clear()
        with self._faults():
            with self._writing:
                self._bpod.send_state_machine(machine)
            if self._stop.is_set():
                raise RigFault("made safe before the trial began")
            self._machine, self._script = machine, script
            self._deadline_s = time.monotonic() + limit_s
            self._running = True
            try:
                self._bpod.run_state_machine(machine)
            finally:
                self._running = False
                self._stopped.set()
            if self._stop.is_set():
                raise RigFault("made safe within a trial")
            account: dict[str, Any] = without_nan(
                self._bpod.session.current_trial.export()
            )
            return account

    def make_ready(self) -> None:
        """Let machines run again after a :meth:`stop`."""
        self._stop.clear()

    def stop(self, valves: Sequence[int]) -> None:
        """End what runs and close valves, at once; raises :class:`RigFault`.

        Nothing runs after it until :meth:`make_ready`.
        """
        self._stop.set()
        if self._running and not self._stopped.wait(STUCK_S) and self._running:
            # The thread of the trial is busy with code of the lab.
            self._bpod.stop_trial()
        free = self._writing.acquire(timeout=STUCK_S)
        try:
            with self._faults():
                for valve in valves:
                    self._override(f"Valve{valve}", 0)
        finally:
            if free:
                self._writing.release()

    def close(self) -> None:
        """Let go of the port."""
        with contextlib.suppress(Exception):  # it may be gone already
            self._bpod.close()

    def _built(self, states: list[State]) -> Any:
        machine = self._build(self._bpod)
        for state in states:
            if state.outputs.get("GlobalTimerTrig"):
                machine.set_global_timer(1, state.timer_s)
        for state in states:
            machine.add_state(
                state_name=state.name,
                state_timer=state.timer_s,
                state_change_conditions=state.on,
                output_actions=list(state.outputs.items()),
            )
        return machine

    def _look(self) -> None:
        """What is to be done beside a machine that runs; in the thread of the trial."""
        if self._stop.is_set() and not self._stopped.is_set():
            self._bpod.stop_trial()
            self._stopped.set()
        now_s = time.monotonic()
        if now_s > self._deadline_s:
            self._bpod.stop_trial()
            raise RigFault("Bpod did not end a trial in time: is its cable all right?")
        if self._script is not None:
            for port, level in self._script.due(self._state(), now_s):
                self._bpod.manual_override(
                    self._bpod.ChannelTypes.INPUT, "Port", port, level
                )
        time.sleep(POLL_S)

    def _state(self) -> str:
        at = self._machine.current_state
        return "" if math.isnan(at) else str(self._machine.state_names[at])

    def _override(self, output: str, value: int) -> None:
        self._bpod.trigger_output(self.outputs.index(output), value)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except RigFault:
            raise
        except Exception as error:  # the library raises what struct and serial raise
            raise RigFault(f"the connection to Bpod failed: {error!r}") from error


def without_nan(what: Any) -> Any:
    """A copy where None stands for each NaN, which is no JSON."""
    if isinstance(what, float) and math.isnan(what):
        return None
    if isinstance(what, dict):
        return {name: without_nan(value) for name, value in what.items()}
    if isinstance(what, list | tuple):
        return [without_nan(value) for value in what]
    return what


def _api() -> Any:
    try:
        import pybpodapi
        from confapp import conf
        from pybpodapi import protocol
    except ImportError as error:
        raise RigFault(
            "a Bpod needs the package iblpybpod-no-gui: pip install 'penchant[bpod]'"
        ) from error
    del pybpodapi
    conf.PYBPOD_API_STREAM2STDOUT = False  # it would take over standard output
    return protocol
