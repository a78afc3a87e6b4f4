"""A trial as states of a Bpod: pure, so that its limits can be checked.

There is no way back from any state, at most one state of a way opens a valve, and the
longest way takes no longer than the trial may: Bpod holds that by itself.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from subject_clients.rig.valve import Calibration, opening_s
from subject_clients.tasks.trial import Reinforcer, RigTrial, Side

EXIT = "exit"
SIDES: tuple[Side, ...] = ("left", "right")
DUST_S = 1e-9
LEAST_S = 0.1
"""A response takes at least so long: less time for one is a fault."""


@dataclass(frozen=True)
class State:
    """What Bpod does until an event or the timer leads on."""

    name: str
    timer_s: float
    on: dict[str, str]
    """The next state by event; ``Tup`` is the end of the timer."""
    outputs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """Ports, valves and times of a rig; times in seconds."""

    ports: Mapping[Side, int]
    valves: Mapping[Side, Calibration]
    centre: int | None
    initiation_s: float
    delay_s: float
    window_s: float
    pause_s: float
    onset: Mapping[str, int]
    """Outputs at the stimulus, besides those that the stimulus asks for."""
    aversive: Mapping[str, int]
    """Outputs while an aversive reinforcer lasts."""
    over: Mapping[str, int]
    """Outputs when the stimulus is over, such as a soft code."""

    def into(self, side: Side) -> str:
        """The event of a poke."""
        return f"Port{self.ports[side]}In"


def states(
    trial: RigTrial, layout: Layout, onset: Mapping[str, int], left_s: float
) -> list[State]:
    """The states of a trial that may last ``left_s`` from its first one.

    ``onset`` are outputs of this trial's stimulus. Raises ``ValueError`` where the
    time or the calibration of the valves does not allow the trial.
    """
    ends = list(_ends(trial, layout))
    if layout.pause_s > 0:
        ends.append(State("pause", layout.pause_s, {"Tup": EXIT}))
    licks = "window_s" in trial.extra
    window_s = trial.extra["window_s"] if licks else layout.window_s
    if not licks and layout.centre is None:
        valve_s = max([end.timer_s for end in ends if is_reward(end)], default=0.0)
        window_s = min(window_s, left_s - layout.delay_s - valve_s - layout.pause_s)
    build = _licks if licks else _choice
    middle = build(trial, layout, {**layout.onset, **onset}, window_s)
    spare_s = left_s - longest_s([*middle, *(_shorter(end, 0.0) for end in ends)])
    start: list[State] = []
    if layout.centre is not None:
        start = [_ready(layout, min(layout.initiation_s, spare_s))]
        spare_s -= start[0].timer_s
    least_s = min([window_s, *(state.timer_s for state in start)])
    if least_s < LEAST_S or spare_s < -DUST_S:
        raise ValueError(
            f"a trial that may last {left_s:.3g} s is too short for a delay of "
            f"{layout.delay_s:g} s, a window of {window_s:.3g} s and a reward"
        )
    return [*start, *middle, *(_shorter(end, spare_s) for end in ends)]


def is_reward(state: State) -> bool:
    """Whether it opens a valve for a reward."""
    return state.name.endswith("_reward")


def longest_s(machine: list[State]) -> float:
    """The longest way through; infinite where a state can last for ever."""
    by_name = {state.name: state for state in machine}

    def rest(name: str, seen: frozenset[str]) -> float:
        if name == EXIT:
            return 0.0
        if name in seen or "Tup" not in by_name[name].on:
            return math.inf
        state = by_name[name]
        return state.timer_s + max(rest(to, seen | {name}) for to in state.on.values())

    return rest(machine[0].name, frozenset())


def most_rewards(machine: list[State]) -> int:
    """How many rewards the most generous way through gives; no way comes back."""
    by_name = {state.name: state for state in machine}

    def rest(name: str) -> int:
        if name == EXIT:
            return 0
        state = by_name[name]
        return is_reward(state) + max(rest(to) for to in state.on.values())

    return rest(machine[0].name)


def _ready(layout: Layout, timer_s: float) -> State:
    on = {f"Port{layout.centre}In": "delay", "Tup": EXIT}
    return State("ready", timer_s, on)


def _choice(
    trial: RigTrial, layout: Layout, onset: dict[str, int], window_s: float
) -> list[State]:
    """The first poke counts."""
    if trial.automatic != Reinforcer():
        raise ValueError("an automatic reinforcer needs a task with a window of licks")
    on = {layout.into(side): f"{side}{_kind(trial, layout, side)}" for side in SIDES}
    early = dict.fromkeys(on, "premature")
    if layout.centre is not None:
        early[f"Port{layout.centre}Out"] = "premature"
    after = _after(layout)
    return [
        State("delay", layout.delay_s, {**early, "Tup": "stimulus"}),
        State("stimulus", window_s, {**on, "Tup": "omission"}, onset),
        State("omission", 0.0, {"Tup": after}, dict(layout.over)),
        State("premature", 0.0, {"Tup": after}),
    ]


def _licks(
    trial: RigTrial, layout: Layout, onset: dict[str, int], window_s: float
) -> list[State]:
    """Licks are counted; what they bring comes at the end of the window.

    ``licked`` has the length of a whole window, of which a global timer cuts off what
    is over: its own timer is only what holds if the global one should fail.
    """
    licks = layout.into("right")
    automatic = trial.automatic != Reinforcer()
    end = _end_of(trial, layout, "automatic")
    idle, active = (end, end) if automatic else ("omission", _end_of(trial, layout))
    early = "early" if automatic else "premature"
    too_early = {layout.into(side): early for side in SIDES}
    after = _after(layout)
    machine = [
        State("delay", layout.delay_s, {**too_early, "Tup": "stimulus"}),
        State(
            "stimulus",
            window_s,
            {licks: "licked", "Tup": idle},
            {**onset, "GlobalTimerTrig": 1},
        ),
        State(
            "licked",
            window_s,
            {"GlobalTimer1_End": active, "Tup": active},
            {k: v for k, v in onset.items() if not k.startswith(("Serial", "Soft"))},
        ),
        State("omission", 0.0, {"Tup": after}, dict(layout.over)),
    ]
    if automatic:  # it comes anyway, and the early lick is told
        return [*machine, State("early", layout.delay_s, {"Tup": "stimulus"})]
    return [*machine, State("premature", 0.0, {"Tup": after})]


def _after(layout: Layout) -> str:
    return "pause" if layout.pause_s > 0 else EXIT


def _end_of(trial: RigTrial, layout: Layout, which: str = "right") -> str:
    brings = trial.automatic if which == "automatic" else trial.right
    return f"{which}{_kind_of(brings, trial, layout, 'right')}"


def _kind(trial: RigTrial, layout: Layout, side: Side) -> str:
    return _kind_of(trial.reinforcer(side), trial, layout, side)


def _kind_of(brings: Reinforcer, trial: RigTrial, layout: Layout, side: Side) -> str:
    if opening_s(layout.valves[side], brings.microlitre, trial) > 0:
        return "_reward"
    return "_aversive" if brings.aversive_s > 0 else "_nothing"


def _ends(trial: RigTrial, layout: Layout) -> Iterator[State]:
    """What responses and time bring, whether or not a way leads there."""
    brings: list[tuple[str, Side, Reinforcer]] = [
        (side, side, trial.reinforcer(side)) for side in SIDES
    ]
    brings.append(("automatic", "right", trial.automatic))
    for name, side, what in brings:
        kind = _kind_of(what, trial, layout, side)
        timer_s, outputs = 0.0, dict(layout.over)
        if kind == "_reward":
            timer_s = opening_s(layout.valves[side], what.microlitre, trial)
            outputs[f"Valve{layout.ports[side]}"] = 1
        elif kind == "_aversive":
            timer_s, outputs = what.aversive_s, {**outputs, **layout.aversive}
        yield State(f"{name}{kind}", timer_s, {"Tup": _after(layout)}, outputs)


def _shorter(end: State, limit_s: float) -> State:
    """An aversive reinforcer ends with the trial at the latest."""
    if not end.name.endswith("_aversive"):
        return end
    return replace(end, timer_s=max(0.0, min(end.timer_s, limit_s)))
