# ruff: noqa: F403, F405, I001, UP031 - as every task file of pyControl
# mypy: ignore-errors
"""Two-port choice for Penchant: the host grants each trial, the board does it.

Put this file into pyControl's ``tasks`` folder, and ``Penchant.py`` beside it into
``api_classes``. It expects in your hardware definition the pokes ``left_poke`` and
``right_poke`` (each with LED and SOL). What you change is ``show_stimulus`` and
``hide_stimulus`` below, and the numbers in capitals, which the host cannot change.

What the board holds by itself, whatever becomes of the computer:

- no trial without a grant, and one trial for each grant;
- one opening of a valve for each trial, of MOST_VALVE_MS at most;
- nothing is given later than ``valid_ms`` after the trial's begin;
- without a sign of life for WATCHDOG_MS all is off, until there is a new grant.
"""

from pyControl.utility import *
import hardware_definition as hw

MOST_VALVE_MS = 200  # longest opening of a valve, ms
MOST_VALID_MS = 120_000  # longest trial, ms
WATCHDOG_MS = 3_000  # silence of the host that makes the board safe, ms

states = ["idle", "delay", "stimulus", "reward", "time_out", "safe"]
events = [
    "left_poke",
    "right_poke",
    "begin",  # from the host: the granted trial may begin
    "report",  # from the host: print the last result again
    "alive",  # from the host: it is there
    "stop",  # from the host: safe state
    "finish",  # from the host: the session is over
    "host_silent",  # timer
    "too_late",  # timer
]
initial_state = "idle"

v.api_class = "Penchant"  # the file in api_classes
v.self_check = 0  # 1: check the rig, with nobody in it
v.grant = 0  # number of the trial that may begin
v.spent = 0  # number of the trial that has begun
v.left_ms = 0  # opening of the left valve if a poke there pays, ms
v.right_ms = 0
v.left_time_out_ms = 0  # after a poke on the left that does not pay, ms
v.right_time_out_ms = 0
v.delay_ms = 200  # from begin to stimulus: pokes are premature, ms
v.window_ms = 10_000  # for a response, ms
v.valid_ms = 20_000  # from begin to the end at the latest, ms
# Numbers of the stimulus, as the study's stimulus space names them; add your own.
v.stimulus_orientation_deg = 0.0
v.stimulus_direction_deg = 0.0
# Not for the host:
v.begun_at = 0  # ms
v.onset = -1  # ms, -1 for none
v.side = "none"
v.outcome = "aborted"
v.response_ms = -1
v.open_ms = 0
v.opened_at = -1
v.valve_ms = 0
v.told = 1  # whether the result was printed


def show_stimulus():
    """Yours: what the animal sees or hears. Numbers are in v.stimulus_..."""
    hw.left_poke.LED.on()
    hw.right_poke.LED.on()


def hide_stimulus():
    """Yours: the opposite."""
    hw.left_poke.LED.off()
    hw.right_poke.LED.off()


def run_start():
    """All off, and nothing granted that was granted before."""
    all_off()
    v.spent = v.grant
    v.told = 1
    set_timer("host_silent", WATCHDOG_MS, False)


def run_end():
    """The run was stopped: all off."""
    all_off()


def all_off():
    """Dry and dark; an opening that is cut short is measured."""
    hw.left_poke.SOL.off()
    hw.right_poke.SOL.off()
    hide_stimulus()
    if v.opened_at >= 0 and v.valve_ms == 0:
        v.valve_ms = max(1, get_current_time() - v.opened_at)


def idle(event):
    """Wait for a grant."""
    if event == "entry":
        all_off()
        tell()
    elif event == "begin":
        begin()


def safe(event):
    """Dry and dark, until there is a new grant."""
    if event == "entry":
        all_off()
        tell()
    elif event == "begin":
        begin()


def begin():
    """One trial for each grant: a grant that was spent begins nothing."""
    if v.grant == v.spent:
        return
    v.spent = v.grant
    v.begun_at = get_current_time()
    v.onset, v.side, v.outcome, v.response_ms = -1, "none", "aborted", -1
    v.opened_at, v.valve_ms, v.told = -1, 0, 0
    set_timer("too_late", min(v.valid_ms, MOST_VALID_MS), False)
    goto_state("delay")


def delay(event):
    """Before the stimulus: a poke is premature."""
    if event == "entry":
        timed_goto_state("stimulus", v.delay_ms)
    elif event in ("left_poke", "right_poke"):
        v.outcome = "premature"
        goto_state("idle")


def stimulus(event):
    """The first poke counts; none is an omission."""
    if event == "entry":
        v.onset = get_current_time()
        v.outcome = "omission"
        show_stimulus()
        timed_goto_state("idle", v.window_ms)
    elif event == "exit":
        hide_stimulus()
    elif event == "left_poke":
        chosen("left", v.left_ms, v.left_time_out_ms)
    elif event == "right_poke":
        chosen("right", v.right_ms, v.right_time_out_ms)


def chosen(side, valve_ms, time_out_ms):
    """A response, and what it brings."""
    v.side, v.outcome = side, "responded"
    v.response_ms = get_current_time() - v.onset
    v.open_ms = min(valve_ms, MOST_VALVE_MS)
    if v.open_ms > 0:
        goto_state("reward")
    elif time_out_ms > 0:
        goto_state("time_out")
    else:
        goto_state("idle")


def reward(event):
    """The one opening of a valve in a trial."""
    valve = hw.left_poke.SOL if v.side == "left" else hw.right_poke.SOL
    if event == "entry":
        timed_goto_state("idle", v.open_ms)
        v.opened_at = get_current_time()
        valve.on()
    elif event == "exit":
        valve.off()
        v.valve_ms = max(1, get_current_time() - v.opened_at)


def time_out(event):
    """Nothing for a while."""
    if event == "entry":
        side_ms = v.left_time_out_ms if v.side == "left" else v.right_time_out_ms
        timed_goto_state("idle", side_ms)


def tell():
    """A line for the host: number, outcome, side, and times in ms; -1 for none."""
    if v.told:
        return
    v.told = 1
    disarm_timer("too_late")
    report()


def report():
    """The result of the last trial."""
    opened = v.opened_at - v.begun_at if v.opened_at >= 0 else -1
    print(
        "penchant,%d,%s,%s,%d,%d,%d,%d"
        % (v.spent, v.outcome, v.side, v.onset, v.response_ms, v.valve_ms, opened)
    )


def all_states(event):
    """What holds in every state."""
    if event in ("alive", "begin"):
        reset_timer("host_silent", WATCHDOG_MS, False)
        return event == "alive"
    if event in ("stop", "host_silent"):
        v.spent = v.grant
        goto_state("safe")
        return True
    if event == "too_late":
        goto_state("idle")
        return True
    if event == "report":
        if v.told:
            report()
        return True
    if event == "finish":
        all_off()
        stop_framework()
        return True
    return False
