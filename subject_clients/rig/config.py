"""A rig's file: which hardware, which task, which limits."""

import hashlib
import tomllib
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from server.protocol import Name
from subject_clients.rig.adapter import RigAdapter
from subject_clients.rig.catalogue import HARDWARE, Hardware, hardware_class
from subject_clients.tasks.catalogue import TASKS
from subject_clients.tasks.task import Section, Task

Microlitres = Annotated[float, Field(ge=0, le=1e5, allow_inf_nan=False)]


class RigSection(Section):
    """Who the rig is, what it consists of, and where its server and its files are."""

    name: Name
    server: str = "http://127.0.0.1:5000"
    hardware: str
    task: str
    folder: str
    """For outboxes, ledger and logs; relative to the rig's file."""
    self_check: bool = True
    """Whether a study needs a self-check that this very file has passed."""
    check_stimulus: dict[str, Any] = Field({})
    """What the self-check shows, such as ``{orientation_deg = 45}``."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for what, name, known in (
            ("hardware", self.hardware, HARDWARE),
            ("task", self.task, TASKS),
        ):
            if name not in known:
                raise ValueError(
                    f"{what} is {name!r}, expected one of {', '.join(known)}"
                )
        return self


class LimitsSection(Section):
    """The rig's own caps on liquid, whatever a server grants. All 0: no valve.

    ``trial_s`` is how long a trial may last at most; a grant may make it shorter.
    """

    trial_microlitre: Microlitres
    session_microlitre: Microlitres
    day_microlitre: Microlitres
    trial_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 60.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        caps = (self.trial_microlitre, self.session_microlitre, self.day_microlitre)
        if not caps[0] <= caps[1] <= caps[2]:
            raise ValueError(
                "expected trial_microlitre <= session_microlitre <= day_microlitre, "
                f"got {caps[0]:g}, {caps[1]:g}, {caps[2]:g}"
            )
        return self


class _File(Section):
    rig: RigSection
    limits: LimitsSection
    task: dict[str, Any] = Field({})
    hardware: dict[str, Any] = Field({})


class RigFile:
    """A rig's file, checked as a whole."""

    def __init__(self, path: Path) -> None:
        """Read it; raises ``ValueError`` with what is wrong where."""
        try:
            text = path.read_text(encoding="utf-8")
            read = _File.model_validate(tomllib.loads(text))
            self.task: Task = TASKS[read.rig.task].model_validate(read.task)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"cannot read the rig's file {path}: {error}") from error
        except ValidationError as error:
            raise ValueError(_faults(path, error)) from error
        self.rig, self.limits = read.rig, read.limits
        self.folder = path.parent / self.rig.folder
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self._path, self._hardware = path, read.hardware
        self.ledger = self.folder / "ledger.jsonl"
        self.check = self.folder / "self_check.json"

    def hardware(self) -> Hardware:
        """Its hardware, not open yet; raises ``ValueError``."""
        cls: Any = hardware_class(self.rig.hardware)
        try:
            checked: Hardware = TypeAdapter(cls).validate_python(self._hardware)
        except ValidationError as error:
            raise ValueError(_faults(self._path, error, "hardware")) from error
        return checked

    def opened(self) -> AbstractContextManager[RigAdapter]:
        """Its hardware while it is needed; raises ``ValueError`` and ``RigFault``."""
        return closing(self.hardware().open())


def _faults(path: Path, error: ValidationError, section: str = "") -> str:
    section = section or ("task" if error.title in _TASK_NAMES else "")
    lines = [
        f"{'.'.join([section, *map(str, fault['loc'])]).strip('.')}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)
    ]
    return "\n  ".join([f"{path}:", *lines])


_TASK_NAMES = {task.__name__ for task in TASKS.values()}
