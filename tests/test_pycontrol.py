"""pyControl's boxes: the task file, the handshake with the board, whole sessions."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from live_server import serving
from small_study import facts, open_desk, small_study, study_text
from virtual_pycontrol import Api, Box, Wire

from server.events import AlarmRaised, Responded, SessionEnded
from server.journal import Journal
from subject_clients.rig.adapter import RigFault
from subject_clients.rig.config import LimitsSection
from subject_clients.rig.ledger import Ledger
from subject_clients.rig.pycontrol import PyControl, PyControlRig
from subject_clients.rig.pycontrol_api import PenchantApi
from subject_clients.rig.pycontrol_board import (
    ALIVE_S,
    ECHO_S,
    MOST_CHARACTERS,
    TRIES,
    Switchboard,
)
from subject_clients.rig.self_check import BEHAVIOURS, SelfCheck
from subject_clients.tasks.trial import Reinforcer, RigTrial
from subject_clients.tasks.two_port import TwoPort

VALVE = [[1.0, 10.0], [3.0, 26.0], [6.0, 50.0]]
SECTION = PyControl(left_valve=VALVE, right_valve=VALVE, window_s=2.0)
RIG_FILE = """
[rig]
name = "box-3"
server = "{url}"
hardware = "pycontrol"
task = "two_port"
folder = "box-3"
self_check = {check}
[limits]
trial_microlitre = 4
session_microlitre = 60
day_microlitre = 60
[task]
reward_microlitre = 3
[hardware]
left_valve = {valve}
right_valve = {valve}
window_s = 1.0
"""
STUDY = study_text(
    session='response = "choice"\ntest_repeats = 2\n\n[safety]\n'
    "trial_microlitre = 5\nsession_microlitre = 100\nday_microlitre = 500\n"
    "weight_fraction = 0"
).replace('"sphere"', '"circle"')


class Gui:
    """pyControl's GUI, as fast as it can: every 10 ms of the box it looks at it."""

    def __init__(self, wire: Wire, api: Any) -> None:
        self.wire, self.api = wire, api
        self.log: list[str] = []
        self.frozen, self._closed = threading.Event(), threading.Event()
        api.interface(wire, self.log.append)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self.wire.box.start()
        self.api.run_start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._closed.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._closed.is_set():
            data = self.wire.tick()
            if not self.frozen.is_set():
                self.api.process_data_user(data)
                self.api.plot_update()
            if not self.wire.box.running:
                self.api.run_stop()
                return
            time.sleep(0.0002)  # others may run too

    def over(self) -> None:
        """Wait until the run is over."""
        self._thread.join(60)
        assert not self._thread.is_alive()


class Bare(Api):
    """An API class around a rig that a test drives itself."""

    def interface(self, board: Wire, print_to_log: Callable[[str], None]) -> None:
        """The task is uploaded."""
        super().interface(board, print_to_log)
        clock = lambda: board.box.now_ms / 1000  # noqa: E731
        self.switchboard = Switchboard(self, clock)
        self.rig = PyControlRig(SECTION, self.switchboard, 0)

    def run_start(self) -> None:
        """Nothing."""

    def run_stop(self) -> None:
        """As the real one."""
        self.switchboard.lose("over")

    def variables(self) -> list[str]:
        """Of the task file."""
        return list(self.board.sm_info.variables)

    def events(self) -> list[str]:
        """Of the task file."""
        return list(self.board.sm_info.events)

    def process_data_user(self, data: dict[str, list[Any]]) -> None:
        """As the real one."""
        PenchantApi.process_data_user(self.as_session(), data)

    def plot_update(self) -> None:
        """As the real one."""
        self.switchboard.poll()

    def as_session(self) -> Any:
        """What :class:`PenchantApi` looks at."""
        holder = PenchantApi()
        holder._session = self  # type: ignore[assignment]
        return holder


def trial(left: float = 0.0, right: float = 3.0, valid_s: float = 20.0) -> RigTrial:
    """A training trial."""
    pays = Reinforcer(left), Reinforcer(right)
    stimulus = {"orientation_deg": 30.0, "note": "no number"}
    return RigTrial(
        "s/0", 0, True, stimulus, *pays, limit_microlitre=3.0, valid_s=valid_s
    )


def right(_: Box) -> list[tuple[int, str]]:
    """Pokes right, again and again."""
    return [(200, "right"), (205, "right"), (215, "left"), (222, "right")]


def never(_: Box) -> list[tuple[int, str]]:
    """Does nothing."""
    return []


@pytest.fixture
def bare() -> Iterator[Callable[..., tuple[Gui, PyControlRig]]]:
    """A rig whose board loses and delays what the test says."""
    open_guis: list[Gui] = []

    def one(mouse: Any = right, lost: float = 0.0, delay_ms: int = 0) -> Any:
        api = Bare()
        gui = Gui(Wire(Box(mouse), lost, delay_ms), api)
        open_guis.append(gui.__enter__())
        return gui, api.rig

    yield one
    for gui in open_guis:
        gui.__exit__()


def valves_ms(gui: Gui) -> list[tuple[str, int]]:
    """What the box gave."""
    return [(side, end - begin) for side, begin, end in gui.wire.box.valves]


# --- one trial, over lines that are as bad as they may be ---------------------------


@pytest.mark.parametrize(
    ("lost", "delay_ms"), [(0.0, 0), (0.1, 0), (0.0, 150), (0.05, 400)]
)
def test_a_trial_survives_what_gets_lost(
    bare: Callable[..., Any], lost: float, delay_ms: int
) -> None:
    """Each variable is echoed before the grant, and a grant gives one reward.

    Losses are rare enough that three signs of life in a row, without which the board
    spends its grant unused, arrive in all but one of a thousand runs.
    """
    gui, rig = bare(right, lost, delay_ms)
    for number in range(1, 6):
        rig.next_trial(trial())
        happened = rig.what_happened()
        assert happened.side == "right"
        assert happened.response_time_s == pytest.approx(0.2, abs=0.002)
        assert happened.delivered_microlitre == 3.0
        assert happened.delivered_after_s == pytest.approx(0.4, abs=0.01)
        assert valves_ms(gui) == [("right", 26)] * number
    assert gui.wire.box.v.stimulus_orientation_deg == 30.0
    assert (gui.wire.dropped > 0) == (lost > 0)


def test_what_is_sent_are_numbers_of_variables_of_the_task(
    bare: Callable[..., Any],
) -> None:
    gui, rig = bare()
    rig.next_trial(trial())
    rig.what_happened()
    known = set(vars(gui.wire.box.v))
    for name, value in gui.wire.commands:
        if value is None:
            assert name in gui.wire.box.task.events
        else:
            assert name in known
            assert type(value) in (int, float)
    strange = RigTrial("s", 0, True, {"contrast": 0.5}, valid_s=20.0)
    with pytest.raises(RigFault, match="no variables stimulus_contrast"):
        rig.next_trial(strange)
    nan = RigTrial("s", 0, True, {"orientation_deg": float("nan")}, valid_s=20.0)
    with pytest.raises(RigFault, match="finite numbers only"):
        rig.next_trial(nan)
    assert len(valves_ms(gui)) == 1


class Silent(Api):
    """A board that never answers, and counts what is under way."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def variables(self) -> list[str]:
        """Many."""
        return [f"a_variable_with_a_long_name_{i}" for i in range(40)]

    def events(self) -> list[str]:
        """None."""
        return []

    def set_variable(self, v_name: str, v_value: Any) -> None:
        """Remember it."""
        self.sent.append((v_name, v_value))

    def trigger_event(self, event: str) -> None:
        """Nothing."""


def test_a_board_that_does_not_answer_is_given_up_and_never_flooded() -> None:
    board, now_s = Silent(), [0.0]
    switchboard = Switchboard(board, lambda: now_s[0])
    faults: list[str] = []

    def ask() -> None:
        try:
            switchboard.set(dict.fromkeys(board.variables(), 1.5))
        except RigFault as fault:
            faults.append(str(fault))

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 20
    while not faults and time.monotonic() < deadline:
        before = len(board.sent)
        switchboard.poll()
        burst = board.sent[before:]
        assert sum(len(repr(one)) for one in burst) <= MOST_CHARACTERS
        now_s[0] += ECHO_S
        time.sleep(0.0005)
    asking.join(20)
    assert "did not answer" in faults[0]
    assert board.sent.count(board.sent[0]) == TRIES


# --- what the board holds by itself ------------------------------------------------


def test_a_grant_is_spent_once(bare: Callable[..., Any]) -> None:
    """Whatever the host sends again, and the animal pokes."""
    gui, rig = bare()
    rig.next_trial(trial())
    rig.what_happened()
    for _ in range(3):
        gui.wire.send(("begin", None))
        gui.wire.send(("right_poke", None))
    gui.wire.send(("report", None))
    _until(lambda: not gui.wire._under_way)
    assert valves_ms(gui) == [("right", 26)]


def test_a_host_that_falls_silent_gives_no_further_reward(
    bare: Callable[..., Any],
) -> None:
    """Frozen while the mouse waits: at most the reward that was granted."""
    gui, rig = bare(lambda _: [(2500, "right"), (2900, "right")])
    rig.next_trial(trial())
    gui.frozen.set()
    box = gui.wire.box
    _until(lambda: box.state == "safe", 20)
    at_ms = box.now_ms
    _until(lambda: box.now_ms > at_ms + 60_000, 20)
    assert len(box.valves) <= 1
    assert box.state == "safe"


def test_a_watchdog_closes_an_open_valve() -> None:
    """The task file alone, with a valve that would stay open for longer."""
    box = Box(lambda _: [(2_950, "right")])
    box.start()
    box.v.grant, box.v.right_ms, box.v.window_ms, box.v.delay_ms = 1, 200, 9000, 10
    box.event("begin")
    box.advance(20_000)
    ((side, begin, end),) = box.valves
    assert (side, end - begin) == ("right", 3000 - begin)
    assert box.state == "safe"
    assert begin > 2_900


@pytest.mark.parametrize(
    ("asked_ms", "given_ms"), [(26, 26), (200, 200), (10_000, 200), (0, None)]
)
def test_the_task_file_limits_an_opening(asked_ms: int, given_ms: int | None) -> None:
    box = Box(lambda _: [(100, "left")])
    box.start()
    box.v.grant, box.v.left_ms = 1, asked_ms
    box.event("begin")
    box.advance(2_000)
    given = [end - begin for _, begin, end in box.valves]
    assert given == ([] if given_ms is None else [given_ms])


def test_nothing_is_given_after_its_time() -> None:
    box = Box(lambda _: [(1_000, "left")])
    box.start()
    box.v.grant, box.v.left_ms, box.v.valid_ms = 1, 50, 900
    box.event("begin")
    box.advance(5_000)
    assert not box.valves
    assert box.state in ("idle", "safe")


def test_an_emergency_ends_a_trial(bare: Callable[..., Any]) -> None:
    gui, rig = bare(never)
    rig.next_trial(trial())
    threading.Thread(target=rig.safe_state, args=("emergency",)).start()
    with pytest.raises(RigFault, match="made safe"):
        rig.what_happened()
    _until(lambda: gui.wire.box.state == "safe")
    gui.wire.box._mouse = right
    rig.next_trial(trial())  # it is not spoilt for good
    assert rig.what_happened().delivered_microlitre == 3.0


def test_a_host_shows_that_it_lives(bare: Callable[..., Any]) -> None:
    gui, _ = bare(never)
    box = gui.wire.box
    _until(lambda: box.now_ms > 20_000, 20)
    assert box.state == "idle"
    alive = gui.wire.commands.count(("alive", None))
    assert alive == pytest.approx(box.now_ms / 1000 / ALIVE_S, abs=2)


# --- as a rig -----------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_every_behaviour_is_given_what_the_task_says(
    bare: Callable[..., Any], lost: float
) -> None:
    """Events from here get lost too: a poke that does so was never made."""
    gui, rig = bare(never, 0.0, 0)
    task = TwoPort(reward_microlitre=3, time_out_s=1)
    check = SelfCheck(rig, task, 4.0)
    for behaviour in BEHAVIOURS:
        gui.wire.lost = 0.0 if behaviour != "never" else lost
        before = len(gui.wire.box.valves)
        finding = check.check(behaviour)
        assert finding.passed, finding
        assert finding.rewards == len(gui.wire.box.valves) - before


def session(
    tmp_path: Path, url: str, mouse: Any, check: bool = False, lost: float = 0.0
) -> Gui:
    """A box with the API class that a lab has."""
    path = tmp_path / "rig.toml"
    path.write_text(
        RIG_FILE.format(url=url, valve=VALVE, check="true" if check else "false")
    )
    box = Box(mouse)

    class Penchant(PenchantApi, Api):
        rig_file = str(path)
        clock = staticmethod(lambda: box.now_ms / 1000)

    return Gui(Wire(box, lost), Penchant())


def test_a_session_in_the_gui_over_a_real_server(
    tmp_path: Path, journal: Journal
) -> None:
    """Water by the valve is water in the journal."""
    desk = open_desk(journal, study=small_study(STUDY), mode="live")
    with serving(desk) as url, session(tmp_path, url, right, lost=0.1) as gui:
        gui.over()
    told = facts(journal, Responded)
    values = [value for one in told for value in one.values]
    rewards = [reward for one in told for reward in one.rewards if reward]
    assert [end.status for end in facts(journal, SessionEnded)] == ["finished"]
    assert not facts(journal, AlarmRaised)
    assert set(values) == {1.0}
    assert len(rewards) == len(gui.wire.box.valves) > 0
    assert gui.log[-1] == "\nPenchant: session finished"
    assert (tmp_path / "box-3" / "ledger.jsonl").exists()


def test_a_study_wants_a_self_check_and_a_subject(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9"
    with session(tmp_path, url, never, check=True) as gui:
        gui.over()
    assert "has not passed its self-check" in gui.log[0]
    gui = session(tmp_path, url, never)
    gui.wire.data_logger.subject_ID = None
    with gui:
        gui.over()
    assert "type the subject's pseudonym" in gui.log[0]
    gui = session(tmp_path, url, never)
    gui.wire.sm_info.events.pop("report")
    with gui:
        gui.over()
    assert "lacks events: report" in gui.log[0]


def test_the_self_check_runs_in_the_gui(tmp_path: Path) -> None:
    gui = session(tmp_path, "http://127.0.0.1:9", never, check=True)
    gui.wire.sm_info.variables["self_check"] = 1
    with gui:
        gui.over()
    assert "self-check has passed" in gui.log[-1]
    assert (tmp_path / "box-3" / "self_check.json").exists()


def test_a_check_in_the_gui_waits_for_nobodys_session(tmp_path: Path) -> None:
    gui = session(tmp_path, "http://127.0.0.1:9", never, check=True)
    gui.wire.sm_info.variables["self_check"] = 1
    limits = LimitsSection(trial_microlitre=1, session_microlitre=1, day_microlitre=1)
    with contextlib.closing(Ledger(tmp_path / "box-3" / "ledger.jsonl", limits)), gui:
        gui.over()
    assert "another client runs this rig" in gui.log[-1]
    assert not (tmp_path / "box-3" / "self_check.json").exists()


def test_stopping_the_task_ends_the_session(tmp_path: Path, journal: Journal) -> None:
    desk = open_desk(journal, study=small_study(STUDY), mode="live")
    with serving(desk) as url, session(tmp_path, url, right) as gui:
        _until(lambda: gui.wire.box.valves, 30)
        gui.wire.box.stop()
        gui.over()
        running = gui.api._session
        assert running.join(30)
    (end,) = facts(journal, SessionEnded)
    assert end.status == "abandoned"
    assert not gui.wire.box._opened


def test_the_terminal_is_not_where_it_is_started() -> None:
    with pytest.raises(RigFault, match="pyControl's GUI"):
        SECTION.open()


def _until(true: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.001)
