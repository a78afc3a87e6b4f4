"""Bpod rigs for tests: their section of a rig's file, trials and pokes."""

from typing import Any

from pybpodapi.bpod.bpod_com_protocol import BpodCOMProtocol
from virtual_bpod import Pokes

from subject_clients.rig.bpod import Bpod
from subject_clients.tasks.trial import Reinforcer, RigTrial

VALVE = [[1.0, 10.0], [3.0, 26.0], [6.0, 50.0]]
SLOW_VALVE = [[1.0, 100.0], [6.0, 600.0]]
LEFT, RIGHT, CENTRE = 1, 3, 2

# A virtual Bpod shares its computer, and may be late to answer: 30 s instead of 1.
BpodCOMProtocol._bpodcom_connect.__defaults__ = (115200, 30)


def bpod(port: str = "none", **options: Any) -> Bpod:
    """A Bpod's section of a rig's file."""
    return Bpod(**{"port": port, "left_valve": VALVE, "right_valve": VALVE, **options})


def trial(
    left: float = 3.0, right: float = 3.0, valid_s: float = 20.0, uid: str = "s/0"
) -> RigTrial:
    """A training trial in which either side pays."""
    most = max(left, right)
    pays = Reinforcer(left), Reinforcer(right)
    return RigTrial(uid, 0, True, {}, *pays, limit_microlitre=most, valid_s=valid_s)


def poke(port: int, at_s: float) -> Pokes:
    """In, and out 50 ms later."""
    return [(at_s, port, 1), (at_s + 0.05, port, 0)]
