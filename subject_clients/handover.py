"""Sessions for a thread with a pace of its own: one that draws frames, or a GUI's.

The session loop talks to the server in a thread of its own, so that a slow network
never holds up a frame. Trials and answers are handed over; nothing here waits for the
other side but the session loop.
"""

import threading
from typing import Protocol

from server.protocol import Assignment, Done, Trial
from subject_clients.adapter import Answer, GiveUp


class Runs(Protocol):
    """What a :class:`subject_clients.loop.Subject` is here."""

    def run_session(self) -> Done:
        """Work through a session; returns how it ended."""
        ...


class Handover:
    """An adapter whose trials another thread shows, at its own pace.

    Methods of the owner of the window never wait: :meth:`trial`, :meth:`answer`,
    :meth:`leave`, :meth:`done`. The others are the session loop's.
    """

    simulated = False

    def __init__(self) -> None:
        """Nothing is due before a session is :meth:`run`."""
        self._changed = threading.Condition()
        self._trial: Trial | None = None
        self._answer: Answer | None = None
        self._leaving: str | None = None
        self._done: Done | None = None
        self._fault: Exception | None = None
        self.assignment: Assignment | None = None
        self.safe: str | None = None
        """Why everything is to be dark and still; None while nothing is wrong."""

    def run(self, subject: Runs) -> None:
        """Begin a session of ``subject``, whose adapter this is, and return at once."""
        self._done, self._fault, self._leaving = None, None, None
        threading.Thread(target=self._run, args=(subject,), daemon=True).start()

    def trial(self) -> Trial | None:
        """The trial to show, the same until it is answered; None while none is due."""
        with self._changed:
            return None if self._answer else self._trial

    def answer(self, answer: Answer) -> None:
        """What happened in the trial that is due; raises ``ValueError`` if none is."""
        with self._changed:
            if self._trial is None or self._answer is not None:
                raise ValueError("no trial is due: it was answered, or taken back")
            self._answer = answer
            self._changed.notify_all()

    def leave(self, reason: str) -> None:
        """Give the session up, now or before its next trial."""
        with self._changed:
            self._leaving = reason
            self._changed.notify_all()

    def done(self) -> Done | None:
        """How the session ended; None while it goes on.

        Raises what the session loop met: ``Refused`` or another ``OSError``.
        """
        with self._changed:
            if self._fault is not None:
                raise self._fault
            return self._done

    def begin(self, assignment: Assignment) -> None:
        """A session begins, or goes on."""
        with self._changed:
            self.assignment, self.safe = assignment, None

    def present(self, trial: Trial) -> Answer:
        """Wait until the trial was shown and answered."""
        with self._changed:
            self._trial, self._answer = trial, None
            try:
                self._changed.wait_for(self._settled)
                if self._answer is not None:
                    return self._answer
                raise GiveUp(self._leaving or f"stopped: {self.safe}")
            finally:
                self._trial, self._answer = None, None

    def sleep(self, seconds: float) -> None:
        """For the session loop's waits: over at once when the session is given up.

        Raises :class:`GiveUp` then.
        """
        with self._changed:
            if self._changed.wait_for(lambda: self._leaving is not None, seconds):
                raise GiveUp(self._leaving)

    def safe_state(self, reason: str) -> None:
        """Take back the trial that is due."""
        with self._changed:
            self.safe = reason
            self._changed.notify_all()

    def _settled(self) -> bool:
        over = self._leaving is not None or self.safe is not None
        return self._answer is not None or over

    def _run(self, subject: Runs) -> None:
        done, fault = None, None
        try:
            done = subject.run_session()
        except GiveUp as reason:  # before there was a session
            done = Done(study=False, reason=f"no session: {reason}")
        except Exception as error:
            fault = error
        with self._changed:
            self._done, self._fault = done, fault
