"""Does the socket client of a PsychoPy window cost frames?

    python -m benchmarks.frames [--blocks 6] [--trials 24] [--delay 0.1]

One window runs the same loop of gratings in three kinds of blocks, in turns: without
any client; with the client, whose socket work is in a thread; and with calls that the
loop waits for, which shows that the loop would notice. Each reply of the server takes
``--delay`` seconds longer, as over a bad network. A virtual display has no vertical
sync, so the loop is paced by a clock at 60 Hz: the distributions of the kinds of blocks
can be compared with each other, and not with those of a monitor.

Needs .venv-human (docs/human.md), Xvfb, and the server in this environment. Writes
benchmarks/results/frames.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "frames.json"
PYTHON = ROOT / ".venv-human" / "bin" / "python"

STUDY = """
[study]
name = "frames"
[stimuli]
space = "circle"
[session]
training_stimuli = 400
test_stimuli = 2
lease_s = 5
[search]
population = 64
generations = 1
[labelling]
family = "basis"
degree = 3
[simulated_subject]
learner = "fourier_ridge"
"""

FIXATION, STIMULUS, FEEDBACK = 6, 14, 10
"""Frames of each part of a trial."""

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)

KINDS = ("without", "with", "blocking")


# --- in the window's environment ---------------------------------------------------


class Without:
    """No client: the trials are there already."""

    def __init__(self, *_: object) -> None:
        """As many trials as are asked for."""
        self._numbers = count()

    def trial(self) -> Any:
        """The next one."""
        number = next(self._numbers)
        return {"orientation_deg": 37.0 * number % 180}, number

    def answer(self) -> None:
        """Nobody hears it."""

    def close(self) -> None:
        """Nothing to close."""


class Threaded:
    """The client as it is."""

    def __init__(self, name: str, url: str, delay_s: float, folder: Path) -> None:
        """Begin a session."""
        from subject_clients.handover import Handover
        from subject_clients.loop import Subject
        from subject_clients.outbox import Outbox

        self._hand, self._wire = Handover(), Slow(url, delay_s)
        self._box = Outbox(folder / f"{name}.outbox", to=url)
        self._hand.run(Subject(name, self._hand, self._wire, outbox=self._box))

    def trial(self) -> Any:
        """The one that is due, or None."""
        assert self._hand.done() is None, self._hand.done()
        due = self._hand.trial()
        return None if due is None else (due.stimulus, due.index)

    def answer(self) -> None:
        """Hand it over."""
        from subject_clients.adapter import Answer

        self._hand.answer(Answer(value=0.5, reaction_time_s=0.2))

    def close(self) -> None:
        """Leave the session."""
        self._hand.leave("measured")
        while self._hand.done() is None:
            time.sleep(0.01)
        self._wire.close()
        self._box.close()


class Blocking:
    """A script that waits for each reply."""

    def __init__(self, name: str, url: str, delay_s: float, _: Path) -> None:
        """Begin a session."""
        self._wire = Slow(url, delay_s)
        hello: Any = self._wire.send("hello", {"protocol": 1, "subject": name})
        self._session = hello.session
        self._due: Any = self._wire.send("next", {"session": self._session})

    def trial(self) -> Any:
        """The one that the last reply brought."""
        return self._due.stimulus, self._due.index

    def answer(self) -> None:
        """Send it, and wait."""
        said = {"session": self._session, "uid": self._due.uid, "value": 0.5}
        self._due = self._wire.send("respond", said).next

    def close(self) -> None:
        """Leave the session."""
        said = {"session": self._session, "reason": "measured"}
        self._wire.send("abandon", said)
        self._wire.close()


class Slow:
    """A connection whose replies take longer."""

    def __init__(self, url: str, delay_s: float) -> None:
        """To the server at ``url``."""
        from subject_clients.transport import Socket

        self._wire, self._delay_s = Socket(url), delay_s
        self.listen, self.close = self._wire.listen, self._wire.close

    def send(self, kind: str, message: dict[str, Any]) -> Any:
        """Deliver a message, in due time."""
        reply = self._wire.send(kind, message)
        time.sleep(self._delay_s)
        return reply


SOURCES = {"without": Without, "with": Threaded, "blocking": Blocking}


def window(url: str, blocks: int, trials: int, delay_s: float) -> dict[str, Any]:
    """All blocks in one window; frame intervals of each kind, in seconds."""
    from server.human_task import HumanTask
    from subject_clients.human.drawing import Fixation
    from subject_clients.human.showing import Stage
    from subject_clients.human.stimuli import Stimuli
    from subject_clients.human.window import Display, Screen

    screen = Screen(Display(full_screen=False, size=(800, 600), units="norm"))
    stage = Stage(screen, HumanTask(), "graded")
    stage.warm_up()
    parts = screen, Fixation(screen), Stimuli(screen, 8.0, None), stage.asks
    intervals: dict[str, list[float]] = {kind: [] for kind in KINDS}
    folder = Path(tempfile.mkdtemp())
    for number in range(blocks):
        # Each kind is as often first, second and last.
        for kind in KINDS[number % 3 :] + KINDS[: number % 3]:
            source: Any = SOURCES[kind](f"{kind}-{number}", url, delay_s, folder)
            intervals[kind] += block(source, trials, *parts)
            source.close()
            print(kind, number, file=sys.stderr)
    screen.close()
    return {"nominal_s": screen.frames.nominal_s, "vsync": screen.vsync} | {
        "intervals_s": intervals
    }


def block(
    source: Any, trials: int, screen: Any, fixation: Any, stimuli: Any, asks: Any
) -> list[float]:
    """Frame intervals of so many trials, all of them but the preparation."""
    while source.trial() is None:  # the first waits for the search, in any client
        time.sleep(0.01)
    first = len(screen.frames.intervals_s)
    screen.frames.begin()
    for _ in range(trials):
        while (due := source.trial()) is None:
            fixation.draw()
            screen.flip()
        shown = stimuli.prepared(*due)
        for _ in range(FIXATION):
            fixation.draw()
            screen.flip()
        for _ in range(STIMULUS):
            shown.draw()
            asks.draw(0.3)
            screen.presses()
            screen.flip()
        source.answer()
        for _ in range(FEEDBACK):
            asks.draw(0.3, 0.5)
            screen.flip()
    return list(screen.frames.intervals_s[first:])


# --- here --------------------------------------------------------------------------


def run(blocks: int, trials: int, delay_s: float) -> dict[str, Any]:
    """Server, display and window; what the window measured."""
    from server.serve_cli import free_port

    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "frames.toml"
        study.write_text(STUDY, encoding="utf-8")
        port = free_port()
        serve = [sys.executable, "-m", "penchant", "serve", str(study)]
        server = subprocess.Popen([*serve, "--port", str(port)], cwd=ROOT)
        try:
            url = f"http://127.0.0.1:{port}"
            options = [str(blocks), str(trials), str(delay_s)]
            command = ["xvfb-run", "-a", "-s", "-screen 0 1024x768x24", str(PYTHON)]
            environment = os.environ | {
                "PSYCHOPYNOPACKAGES": "1",
                "HOME": folder,
                "PYTHONPATH": str(ROOT),
            }
            said = subprocess.run(
                [*command, "-m", "benchmarks.frames", "--window", url, *options],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            measured: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
            return measured
        finally:
            server.terminate()
            server.wait()


def distribution(intervals_s: Sequence[float], nominal_s: float) -> dict[str, Any]:
    """All that is to know of frame intervals, in milliseconds."""
    ordered = sorted(intervals_s)
    last = len(ordered) - 1
    late = sum(interval > 1.5 * nominal_s for interval in ordered)
    bins = Counter(int(1e3 * interval) for interval in ordered)
    return {
        "frames": len(ordered),
        "late": late,
        "late_per_1000": round(1e3 * late / len(ordered), 2),
        "quantiles_ms": {
            str(q): round(1e3 * ordered[round(q * last)], 2) for q in QUANTILES
        },
        "histogram_ms": {str(at): bins[at] for at in sorted(bins)},
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--window", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.window:
        url, blocks, trials, delay = asked.window
        print(json.dumps(window(url, int(blocks), int(trials), float(delay))))
        return
    measured = run(asked.blocks, asked.trials, asked.delay)
    nominal_s = measured["nominal_s"]
    result = {
        "pace": "display" if measured["vsync"] else "a clock: no vertical sync here",
        "nominal_ms": round(1e3 * nominal_s, 3),
        "late_above_ms": round(1.5e3 * nominal_s, 3),
        "blocks_of_each": asked.blocks,
        "trials_a_block": asked.trials,
        "reply_delay_s": asked.delay,
        "client": {
            kind: distribution(measured["intervals_s"][kind], nominal_s)
            for kind in KINDS
        },
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for kind in KINDS:
        row = result["client"][kind]
        print(kind, row["frames"], row["late"], row["quantiles_ms"])


if __name__ == "__main__":
    main()
