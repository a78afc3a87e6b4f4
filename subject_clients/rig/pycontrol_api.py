"""Sessions of Penchant inside pyControl's GUI: what its API class calls.

pyControl looks for an API class in a file of its own name. A lab's file
``api_classes/Penchant.py`` is therefore three lines, and all else is here::

    from source.gui.api import Api
    from subject_clients.rig.pycontrol_api import PenchantApi

    class Penchant(PenchantApi, Api):
        rig_file = "C:/rigs/box-3.toml"

Everything here runs in the thread of the GUI and returns at once; a session runs in a
thread of its own.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from subject_clients.adapter import GiveUp
from subject_clients.rig.config import RigFile
from subject_clients.rig.local import LocalControl
from subject_clients.rig.pycontrol import PyControl, PyControlRig
from subject_clients.rig.pycontrol_board import Switchboard
from subject_clients.rig.run import prepared
from subject_clients.rig.self_check import checked, unchecked, unfit
from subject_clients.transport import Socket

NEEDED = ("begin", "report", "alive", "stop", "finish", "left_poke", "right_poke")
"""Events of the task file."""


class PenchantApi:
    """Mixed into pyControl's ``Api``, whose methods it uses."""

    rig_file: ClassVar[str] = ""
    """The rig's file; a study's token is taken from ``PENCHANT_TOKEN``."""

    set_variable: Callable[[str, float], None]
    trigger_event: Callable[[str], None]
    print_to_log: Callable[[str], None]
    board: Any
    clock: ClassVar[Callable[[], float]] = time.monotonic

    def __init__(self) -> None:
        """When the task is uploaded."""
        self._session: Session | None = None

    def run_start(self) -> None:
        """The run begins: so does a session of the subject that pyControl names."""
        self._session = None
        try:
            self._session = Session(
                RigFile(Path(self.rig_file)),
                Switchboard(self, type(self).clock),
                self.board.sm_info.variables,
                self.board.data_logger.subject_ID,
            )
        except (OSError, ValueError) as error:
            self.print_to_log(f"\nPenchant: {error}")
            self.trigger_event("finish")

    def process_data_user(self, data: Mapping[str, Sequence[Any]]) -> None:
        """What the board says."""
        if self._session is None:
            return
        switchboard = self._session.switchboard
        for state in data["states"]:
            switchboard.heard_state(state.name)
        for variable in data["vars"]:
            switchboard.heard_variable(variable.name, variable.value)
        for line in data["prints"]:
            switchboard.heard_print(str(line.data))

    def plot_update(self) -> None:
        """Every 10 ms or so: send what is due, and tell what is new."""
        if self._session is None:
            return
        self._session.switchboard.poll()
        self._tell()

    def run_stop(self) -> None:
        """The run is over, and pyControl has switched all off."""
        if self._session is not None:
            self._session.over()
            self._tell()

    def variables(self) -> Collection[str]:
        """Names of the task's variables."""
        names: Collection[str] = list(self.board.sm_info.variables)
        return names

    def events(self) -> Collection[str]:
        """Names of the task's events."""
        names: Collection[str] = list(self.board.sm_info.events)
        return names

    def _tell(self) -> None:
        assert self._session is not None
        lines = self._session.switchboard.lines
        while lines:
            self.print_to_log(f"\nPenchant: {lines.pop(0)}")


class Session:
    """One session, or self-check, in a thread of its own."""

    def __init__(
        self,
        file: RigFile,
        switchboard: Switchboard,
        variables: Mapping[str, Any],
        subject: str | None,
    ) -> None:
        """Begin it; raises ``OSError`` and ``ValueError`` for what is amiss."""
        hardware = file.hardware()
        if not isinstance(hardware, PyControl):
            raise ValueError(f"{file.rig.name} is no rig of pyControl")
        if missing := [name for name in NEEDED if name not in switchboard.events]:
            raise ValueError(f"the task file lacks events: {', '.join(missing)}")
        self._file, self.switchboard = file, switchboard
        self._subject = subject or ""
        grant = max(int(variables.get(name, 0)) for name in ("grant", "spent"))
        self._hardware = PyControlRig(hardware, switchboard, grant)
        self._control = LocalControl(switchboard.lines.append)
        self._held = contextlib.ExitStack()
        work = self._check if variables.get("self_check") else self._prepared()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def over(self) -> None:
        """The run of the task is over; nothing is waited for."""
        if self._thread.is_alive():
            with contextlib.suppress(OSError):  # it may end at this very moment
                self._control.stop_at_once("the run of the task is over")
        self.switchboard.lose("the run of the task is over")

    def join(self, seconds: float) -> bool:
        """Wait for the end, for tests; returns whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _prepared(self) -> Callable[[], str]:
        """What only this program may have comes first."""
        file, name, url = self._file, self._subject, self._file.rig.server
        if not name:
            raise ValueError("type the subject's pseudonym into Subject ID, and record")
        if unchecked(file):
            raise ValueError(
                "the rig's file, as it is now, has not passed its self-check: take "
                "the subject out, set self_check to 1 in Controls, and start"
            )
        token = os.environ.get("PENCHANT_TOKEN")
        subject = self._held.enter_context(
            prepared(
                file,
                name,
                url,
                Socket(url),
                token,
                None,
                self._control,
                self._opened,
            )
        )
        return lambda: subject.run_session().reason

    def _opened(self) -> contextlib.AbstractContextManager[PyControlRig]:
        """The box, which stays with pyControl."""
        return contextlib.nullcontext(self._hardware)

    def _check(self) -> str:
        findings = checked(self._file, self._opened)
        passed = f"the self-check has passed; kept in {self._file.check}"
        return unfit(findings) or passed

    def _run(self, work: Callable[[], str]) -> None:
        try:
            told = work()
        except (OSError, ValueError, GiveUp) as error:
            told = str(error)
        finally:
            self._held.close()
        self.switchboard.lines.append(told)
        self.switchboard.finish()
