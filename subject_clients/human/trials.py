"""Trials from a Penchant server for a PsychoPy script of one's own.

    trials = PenchantTrials("p01", url="http://127.0.0.1:5000")
    exp.addLoop(trials)
    for trial in trials:
        grating.ori = trial.ori
        ...
        trials.respond(value, rt=seconds)
        exp.nextEntry()

PsychoPy itself is not needed to import this.
"""

import contextlib
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from server.protocol import Assignment, Done, Outcome
from server.protocol import Trial as Due
from subject_clients.adapter import Answer
from subject_clients.address import split_link
from subject_clients.handover import Handover
from subject_clients.human.geometry import psychopy_ori
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.transport import TRANSPORTS

POLL_S = 0.002

FAREWELL_S = 30.0
"""How long :meth:`PenchantTrials.close` waits for the server to know."""


class Trial(dict[str, Any]):
    """What to show: parameters by name, as items or attributes.

    Beside those of the stimulus there are ``phase``, ``index``, ``uid``, and in
    training ``label`` or ``rewarded`` (else None). Of angles there is ``ori`` too, as
    PsychoPy counts: clockwise from upright.
    """

    def __getattr__(self, name: str) -> Any:
        """``trial.ori`` for ``trial["ori"]``."""
        try:
            return self[name]
        except KeyError:
            known = ", ".join(self)
            raise AttributeError(f"no {name!r}: this trial has {known}") from None

    def __getstate__(self) -> dict[str, Any]:
        """The items are all there is to it."""
        return {}


class PenchantTrials:
    """A trial handler whose trials come one by one from a server.

    The server is talked to in a thread: :meth:`ready` never waits, ``for trial in
    trials`` does. If the script is killed, start it again with the same name: it goes
    on at the trial that was due.
    """

    _exp: Any = None

    def __init__(
        self,
        participant: str,
        url: str = "http://127.0.0.1:5000",
        name: str = "trials",
        token: str | None = None,
        group: str | None = None,
        outbox: str | Path | None = None,
        transport: str = "socket",
        patience_s: float = 60.0,
        capabilities: Mapping[str, str | float | bool] | None = None,
    ) -> None:
        """Begin a session of ``participant``, a pseudonym, and wait until it is there.

        ``name`` is the loop's in the data file, ``group`` the participant's, if the
        study has groups; answers wait in ``outbox`` ([default: PARTICIPANT.outbox])
        until the server has them. ``url`` may be a participant's link.

        Raises ``OSError`` for a server that refuses or is not there.
        """
        self.name, self.participant = name, participant
        self.isTrials, self.autoLog, self.origin = True, True, None
        self.thisN = self.thisTrialN = self.thisIndex = -1
        self.thisRepN = 0
        self.thisTrial: Trial | None = None
        self.assignment: Assignment | None = None
        self.finished = False
        """Set it to True to leave the session at the next trial."""
        self.reason = ""
        """How the session ended, once it has."""
        self._answer: Answer | None = None
        self._due: Due | None = None
        self._hand = Handover()
        url, token = split_link(url, token)
        self._box = Outbox(outbox or f"{participant}.outbox", to=url)
        wire = TRANSPORTS[transport](url, patience_s)
        said = {"client": "PenchantTrials", **(capabilities or {})}
        subject = Subject(
            participant,
            self._hand,
            wire,
            token,
            sleep=self._hand.sleep,
            group=group,
            outbox=self._box,
            capabilities=said,
        )
        self._hand.run(subject)
        self._await()

    # --- what a PsychoPy script calls ------------------------------------------------

    def __iter__(self) -> Self:
        """The handler is its own iterator."""
        return self

    def __next__(self) -> Trial:
        """The next trial, once it is there; what was answered before is sent first.

        Raises ``StopIteration`` at the end of the session, ``OSError`` for a fault.
        """
        if self.finished:
            self.close()
        if self._due is not None and self._answer is None:
            self._answer = Answer(outcome="omission")
        self._await()
        if not self._take():
            self.thisTrial = None
            self.finished = True
            if (exp := self.getExp()) is not None:
                exp.loopEnded(self)
            raise StopIteration
        assert self.thisTrial is not None
        if (exp := self.getExp()) is not None:
            exp.updateEntryFromLoop(self)
        return self.thisTrial

    next = __next__

    def ready(self) -> bool:
        """Whether ``next`` would return at once: ask it once a frame."""
        self._send()
        fresh = self._due is None and self._hand.trial() is not None
        return fresh or self._over() is not None

    def respond(
        self,
        value: float | None,
        rt: float | None = None,
        outcome: Outcome | None = None,
        clocks: Mapping[str, float] | None = None,
    ) -> None:
        """Send the answer to the trial; the next is fetched meanwhile.

        ``value`` is in [-1, 1], for choices -1 (left) or 1 (right), or None for no
        answer; ``rt`` in seconds; ``clocks`` whatever times are to be kept.
        """
        came: Outcome = outcome or ("omission" if value is None else "responded")
        self._answer = Answer(
            None if value is None else float(value),
            came,
            None if rt is None else float(rt),
            None if clocks is None else dict(clocks),
        )
        self._keep("response", value)
        self._keep("rt", rt)
        self._keep("outcome", came)
        self._send()

    def addData(self, thisType: str, value: Any, position: Any = None) -> None:  # noqa: N802, N803, ARG002
        """Keep a datum of this trial, as other handlers do.

        ``response`` (and ``rt``) are the answer too, sent when the next trial is asked
        for. :meth:`respond` sends it at once.
        """
        self._keep(thisType, value)
        if self._due is None or thisType not in ("response", "rt"):
            return
        answer = self._answer or Answer(outcome="omission")
        if thisType == "response" and value is not None:
            answer = answer._replace(value=float(value), outcome="responded")
        elif thisType == "rt" and value is not None:
            answer = answer._replace(reaction_time_s=float(value))
        self._answer = answer

    @property
    def nTotal(self) -> int:  # noqa: N802
        """Trials of the session, with those of an earlier run."""
        if self.assignment is None:
            return 0
        return self.assignment.training_trials + self.assignment.test_trials

    @property
    def nRemaining(self) -> int:  # noqa: N802
        """Trials after this one."""
        return 0 if self.finished else max(self.nTotal - self.thisN - 1, 0)

    def close(self, reason: str = "the script left its loop") -> None:
        """Leave the session, if it goes on; it cannot be gone on with.

        Waits until the server knows, or for half a minute.
        """
        self._send()
        if self._over() is None:
            self._hand.leave(reason)
            until = time.monotonic() + FAREWELL_S
            while self._over() is None and time.monotonic() < until:
                time.sleep(POLL_S)
        self.finished = True
        self._box.close()

    # --- what PsychoPy's ExperimentHandler calls -------------------------------------

    def setExp(self, exp: Any) -> None:  # noqa: N802
        """This is a loop of an experiment; see ``ExperimentHandler.addLoop``."""
        self._exp = weakref.ref(exp)

    def getExp(self) -> Any:  # noqa: N802
        """The experiment, or None."""
        return None if self._exp is None else self._exp()

    def __getstate__(self) -> dict[str, Any]:
        """For a psydat: data, not the connection."""
        kept = ("name", "participant", "thisN", "thisTrialN", "thisIndex", "thisRepN")
        state = {key: self.__dict__[key] for key in kept}
        trial = None if self.thisTrial is None else dict(self.thisTrial)
        return state | {"reason": self.reason, "finished": True, "thisTrial": trial}

    # --- within ----------------------------------------------------------------------

    def _await(self) -> None:
        while not self.ready():
            time.sleep(POLL_S)
        self.assignment = self._hand.assignment

    def _take(self) -> bool:
        """Make the trial that is due this one; False if there is none."""
        due = self._hand.trial()
        if due is None:
            return False
        self._due, self._answer = due, None
        self.thisN = self.thisTrialN = self.thisIndex = due.index
        self.thisTrial = _trial_of(due)
        return True

    def _send(self) -> None:
        """Hand over the answer, if there is one."""
        due = self._due
        if due is None or self._answer is None:
            return
        self._due = None
        with contextlib.suppress(ValueError):  # stopped meanwhile: done() tells
            self._hand.answer(self._answer)

    def _over(self) -> Done | None:
        done = self._hand.done()
        if done is not None and not self.reason:
            self.reason = done.reason
            self._box.close()
        return done

    def _keep(self, what: str, value: Any) -> None:
        if self.thisTrial is not None:
            self.thisTrial[what] = value
        if (exp := self.getExp()) is not None:
            exp.addData(f"{self.name}.{what}", value)


def _trial_of(due: Due) -> Trial:
    """What the script is shown of a trial."""
    trial = Trial(due.stimulus)
    for name, period in (("orientation_deg", 180.0), ("direction_deg", 360.0)):
        if name in trial:
            trial["ori"] = psychopy_ori(float(trial[name])) % period
    feedback = due.feedback or {}
    trial |= {"label": feedback.get("label"), "rewarded": feedback.get("rewarded")}
    trial |= {"phase": due.phase, "index": due.index, "uid": due.uid}
    return trial
