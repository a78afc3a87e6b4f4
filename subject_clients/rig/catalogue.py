"""Every kind of rig hardware by its name in a rig's file, imported only when used."""

from importlib import import_module
from typing import Protocol

from subject_clients.rig.adapter import RigAdapter

HARDWARE: dict[str, str] = {
    "bpod": "subject_clients.rig.bpod:Bpod",
    "callable": "subject_clients.rig.function:Function",
    "osc": "subject_clients.rig.osc:Osc",
    "pycontrol": "subject_clients.rig.pycontrol:PyControl",
    "serial": "subject_clients.rig.serial_board:SerialBoard",
    "zeromq": "subject_clients.rig.zeromq:ZeroMq",
}


class Hardware(Protocol):
    """The section ``[hardware]`` of a rig's file, checked; a pydantic model."""

    def open(self) -> RigAdapter:
        """Find the hardware and take it; raises ``RigFault``."""
        ...


def hardware_class(name: str) -> type[Hardware]:
    """The class of a kind of hardware; raises ``KeyError`` for an unknown name."""
    module, _, cls = HARDWARE[name].partition(":")
    found: type[Hardware] = getattr(import_module(module), cls)
    return found
