"""What a Bpod's account of a trial says; pure."""

from typing import Any

from subject_clients.rig.bpod_states import SIDES, Layout
from subject_clients.rig.valve import opening_s
from subject_clients.tasks.trial import Happened, RigTrial, Side

Times = dict[str, list[float]]

GRAIN_S = 0.0005
"""Times that differ by less are the same: Bpod's clock ticks every 100 microseconds."""


def happened(account: dict[str, Any], trial: RigTrial, layout: Layout) -> Happened:
    """From states entered and events heard; volumes from the time a valve was open."""
    entered = _entered(account)
    events: Times = account["Events timestamps"]
    onset = entered.get("stimulus")
    clock_s = None
    if onset is not None:
        clock_s = account["Trial start timestamp"] + onset[0]
    name, given, after_s = _reward(entered, trial, layout)
    licks = "window_s" in trial.extra
    if "premature" in entered or "early" in entered:
        outcome, side = "premature", None
    elif onset is None or "omission" in entered:
        outcome, side = ("responded" if licks and onset else "omission"), None
    else:
        outcome, side = "responded", None if licks else _side(entered)
    response_s, reaction_s, counts = None, None, {}
    if onset is not None and licks and outcome == "responded":
        end = onset[0] + trial.extra["window_s"]
        heard = _within(events, layout.into("right"), onset[0], end)
        counts = {"licks": float(len(heard))}
        response_s = reaction_s = heard[0] - onset[0] if heard else None
    elif onset is not None and side is not None:
        response_s = reaction_s = onset[1] - onset[0]
        if layout.centre is not None:
            left = _within(events, f"Port{layout.centre}Out", *onset)
            reaction_s = left[0] - onset[0] if left else reaction_s
    return Happened(
        outcome=outcome,  # type: ignore[arg-type]
        side=side,
        counts=counts,
        reaction_time_s=reaction_s,
        response_time_s=response_s,
        delivered_microlitre=given,
        delivered_how="automatic" if name.startswith("automatic") else "earned",
        delivered_after_s=after_s,
        rig_clock_s=clock_s,
    )


def _entered(account: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Begin and end of each state that was entered; none is entered twice."""
    spans = account["States timestamps"]
    return {
        name: (times[0][0], times[0][1])
        for name, times in spans.items()
        if times and times[0][0] is not None
    }


def _reward(
    entered: dict[str, tuple[float, float]], trial: RigTrial, layout: Layout
) -> tuple[str, float, float | None]:
    """The state that gave a reward, how much, and when it began."""
    for name, (begin_s, end_s) in entered.items():
        if not name.endswith("_reward"):
            continue
        side: Side = "left" if name.startswith("left") else "right"
        brings = trial.reinforcer(side)
        if name.startswith("automatic"):
            brings = trial.automatic
        ordered_s = opening_s(layout.valves[side], brings.microlitre, trial)
        if abs(end_s - begin_s - ordered_s) < GRAIN_S:
            return name, brings.microlitre, begin_s
        return name, layout.valves[side].microlitre(end_s - begin_s), begin_s
    return "", 0.0, None


def _side(entered: dict[str, tuple[float, float]]) -> Side | None:
    for side in SIDES:
        if any(name.startswith(f"{side}_") for name in entered):
            return side
    return None


def _within(events: Times, name: str, begin_s: float, end_s: float) -> list[float]:
    return [at for at in events.get(name, []) if begin_s <= at <= end_s]
