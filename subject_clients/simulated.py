"""A simulated subject that speaks the protocol like a real one."""

import secrets
import threading
from collections.abc import Callable, Sequence

import numpy as np

from server.protocol import Assignment, Trial
from simulated_subjects.individual import answer, individual_keys, learn
from simulated_subjects.learner import Learner
from simulated_subjects.responses import ResponseModel
from subject_clients.adapter import Adapter, Answer, GiveUp
from subject_clients.lifelike import Habits, Lifelike
from subject_clients.loop import Subject
from subject_clients.transport import Transport


class Simulated:
    """Watches the training trials, learns from them at once, answers the test.

    Who it is follows from ``seed`` and the session's name, as in a dry run in
    process. It gives up a session that another client began, since it has not
    seen the training.
    """

    simulated = True

    def __init__(self, learner: Learner, responses: ResponseModel, seed: int) -> None:
        """``learner`` learns, ``responses`` turns its predictions into answers."""
        self._learner, self._responses, self._seed = learner, responses, seed
        self._session = ""
        self._shown: list[list[float]] = []
        self._targets: list[float] = []

    def begin(self, assignment: Assignment) -> None:
        """A new individual for a new session; a resumed one remembers."""
        if assignment.session == self._session:
            return
        if assignment.next_trial > 0:
            raise GiveUp("a simulated subject cannot go on in another one's session")
        self._session = assignment.session
        self._key = individual_keys(self._seed, [assignment.session])[0]
        self._shown, self._targets, self._state = [], [], None

    def present(self, trial: Trial) -> Answer:
        """Remember a training trial, or answer a test trial."""
        if trial.feedback is not None:
            self._watch(trial)
            return Answer()
        if self._state is None:
            x, targets = np.array(self._shown), np.array(self._targets)
            self._state = learn(self._learner, self._key, x, targets)
        value, responded = answer(
            self._learner,
            self._responses,
            self._key,
            self._state,
            np.array(trial.x),
            np.array(trial.index),
        )
        if not responded:
            return Answer(outcome="omission")
        return Answer(value=round(float(value), 6))

    def _watch(self, trial: Trial) -> None:
        assert trial.feedback is not None
        if trial.index != len(self._shown):
            return  # shown before: the server came back and asked again
        self._shown.append(trial.x)
        if "rewarded" in trial.feedback:
            self._targets.append(_SIDES[trial.feedback["rewarded"]])
        else:
            self._targets.append(float(trial.feedback["label"]))


_SIDES = {"left": -1.0, "right": 1.0}


def run_subjects(
    name: str,
    count: int,
    be_born: Callable[[str], Simulated],
    connect: Callable[[], Transport],
    token: str | None = None,
    groups: Sequence[str] = ("",),
    habits: Habits | None = None,
) -> None:
    """``count`` subjects of each group at a time, until the study is over.

    Each has one session; ``be_born`` makes one of a group, and ``habits`` are what
    they all do besides learning. Raises the first fault
    that any of them met.
    """
    run = secrets.token_hex(4)  # a naive subject never comes back under its name
    faults: list[Exception] = []

    def live(place: int, group: str) -> None:
        transport = connect()
        try:
            over, born = False, 0
            while not over and not faults:
                adapter: Adapter = be_born(group)
                if habits is not None:
                    adapter = Lifelike(adapter, habits, hang_up=transport.close)
                subject = Subject(
                    f"{name}-{run}-{place}-{born}",
                    adapter,
                    transport,
                    token,
                    group=group,
                )
                over = subject.run_session().study
                born += 1
        except Exception as fault:
            faults.append(fault)
        finally:
            transport.close()

    # Threads of its own for each group: none can leave another waiting for ever.
    places = enumerate(group for group in groups for _ in range(count))
    threads = [threading.Thread(target=live, args=place) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
