"""Does fitting the subject model beside a live study make its trials wait?

    python benchmarks/trial_latency.py [--sessions 300] [--trials 400]

A desk with a journal on disk holds the evidence of so many sessions, and a subject
answers trial after trial, with and without a fit under way in another thread, in
turns. Prints quantiles of the time that an answer takes, and that of a refit after one
more session (warm start).
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from server.desk import Desk
from server.dry_run import dry_run
from server.journal import Journal
from server.modelling import Question
from server.steps import question
from server.study_file import Study

STUDY = """
[study]
name = "latency"
[stimuli]
space = "sphere"
[session]
training_stimuli = 10
test_stimuli = 50
training_repeats = 4
[search]
method = "subject_model"
population = 50
generations = {generations}
[labelling]
family = "basis"
degree = 4
[verification]
sessions = 0
[simulated_subject]
learner = "kernel_ridge"
[simulated_responses]
noise = 0.3
"""


def answer_trials(desk: Any, subject: str, trials: int) -> np.ndarray:
    """Seconds that each answer takes; session after session."""
    seconds: list[float] = []
    while len(seconds) < trials:
        subject += "x"
        hello = desk.handle("hello", {"protocol": 1, "subject": subject})
        session = getattr(hello, "session", None)
        if session is None:  # all labellings asked are taken
            time.sleep(0.05)
            continue
        trial = desk.handle("next", {"session": session})
        # Not to the end of the session: what follows that is another matter.
        for _ in range(60):
            training = trial.phase == "training"
            message = {"session": session, "uid": trial.uid, "outcome": "responded"}
            begun = time.perf_counter()
            ack = desk.handle("respond", message | ({} if training else {"value": 0.1}))
            seconds.append(time.perf_counter() - begun)
            if ack.next is None or len(seconds) == trials:
                break
            trial = ack.next
        desk.handle("abandon", {"session": session, "reason": "measured"})
    return np.array(seconds)


def refits(asked: Question, stop: threading.Event, seconds: list[float]) -> None:
    """Fit again and again, as after one more session."""
    while not stop.is_set():
        begun = time.perf_counter()
        asked.answer()
        seconds.append(time.perf_counter() - begun)


def main() -> None:
    """Measure, in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--trials", type=int, default=400)
    options = parser.parse_args()
    # A generation more than is played, so that there are labellings to ask.
    study = Study(STUDY.format(generations=options.sessions // 50 + 1))
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "latency.db", study.name)
        dry_run(study, journal, sessions=options.sessions)
        desk = Desk(study, journal, mode="dry-run", beside=True)
        state = desk.state
        while question(state):
            time.sleep(0.1)
        one_more = Question(
            study, tuple(state.told), (), state.search, len(state.told) - 1, 0, 0
        )
        one_more.answer()  # compiled from here on
        times: dict[bool, list[np.ndarray]] = {False: [], True: []}
        fits: list[float] = []
        for turn in range(6):
            fitting = turn % 2 == 1
            stop = threading.Event()
            thread = threading.Thread(target=refits, args=(one_more, stop, fits))
            if fitting:
                thread.start()
            times[fitting].append(answer_trials(desk, f"s{turn}", options.trials // 3))
            stop.set()
            if fitting:
                thread.join()
        for fitting, parts in times.items():
            low, high = np.quantile(np.concatenate(parts), (0.5, 0.99)) * 1000
            name = "with a fit beside" if fitting else "without a fit"
            print(f"{name}: median {low:.2f} ms, 99 % {high:.2f} ms")
        print(
            f"refit at {len(state.told)} sessions: median {np.median(fits):.2f} s of "
            f"{len(fits)}, slowest {max(fits):.2f} s"
        )


if __name__ == "__main__":
    main()
