"""What hardware says, before anything is made of it."""

import dataclasses
import math
from typing import Any, get_args

from server.protocol import Outcome
from subject_clients.tasks.trial import VALUES, Happened

LONGEST_S = 1e6
"""Of times: far more is no time of a trial."""

_TIMES = ("reaction_time_s", "response_time_s", "delivered_after_s")


def sound(happened: Happened) -> tuple[Happened, list[str]]:
    """The same in plain numbers, and what was wrong and is left out.

    Raises ``ValueError`` for a volume that is none: then nobody knows what was given.
    """
    given = _number(happened.delivered_microlitre)
    if given is None or given < 0:
        raise ValueError(f"a volume of {happened.delivered_microlitre!r} microlitre")
    faults: list[str] = []
    changes: dict[str, Any] = {"delivered_microlitre": given}
    for name in _TIMES:
        changes[name] = _time(name, getattr(happened, name), faults)
    changes["rig_clock_s"] = _number(happened.rig_clock_s)
    counts = {str(name): _number(of) for name, of in dict(happened.counts).items()}
    changes["counts"] = {name: of for name, of in counts.items() if of is not None}
    if happened.outcome not in get_args(Outcome):
        faults.append(f"outcome {happened.outcome!r}")
        changes["outcome"] = "invalid"
    if happened.side is not None and happened.side not in VALUES:
        faults.append(f"side {happened.side!r}")
        changes |= {"side": None, "outcome": "invalid"}
    return dataclasses.replace(happened, **changes), faults


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _time(name: str, value: Any, faults: list[str]) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 <= number <= LONGEST_S:
        faults.append(f"{name} {value!r}")
        return None
    return number
