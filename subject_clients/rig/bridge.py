"""A rig that another program or a board runs, by messages: docs/rigs-bridge.md."""

import contextlib
import hashlib
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bridge_line import Ask, Line, Wire
from subject_clients.rig.bridge_words import (
    VERSION,
    Alive,
    Fault,
    FromRig,
    Given,
    HappenedWord,
    Hello,
    Living,
    Play,
    Ready,
    RewardWord,
    Safe,
    SafeWord,
    Started,
    ToRig,
    TrialWord,
    Welcome,
)
from subject_clients.tasks.task import Section
from subject_clients.tasks.trial import Happened, Poke, RigTrial, Side

_LOG = logging.getLogger(__name__)

MARGIN_S = 0.25
"""Of the time that a trial may last: for the way to the rig and back."""
LATE_S = 0.5
"""What the account of a trial may take besides."""
SILENT_S = 3.0
FROZEN_S = 1.0
LOST_AFTER = 3
"""So many times the rig says that it runs another trial or none, until we believe."""

_UNCONFIRMED = "the rig did not confirm that it is safe: look at it now"

_Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]


class BridgeSection(Section):
    """What all kinds of bridge have in common."""

    response_s: _Seconds = 10.0
    """How long a response may take; a task with a window of its own has that."""
    answer_s: _Seconds = 2.0
    """How long the rig may take to acknowledge, with all that is said again."""
    open_s: _Seconds = 6.0
    """How long it may take to say hello."""
    alive_s: Annotated[float, Field(ge=0.02, le=10)] = 0.25
    """From one sign of life to the next; shorter if the rig's watchdog wants it."""
    free_side: Side = "left"
    """Where free rewards are given."""


class BridgeRig:
    """Runs trials by messages; has ``play`` and ``give_reward`` where the rig has."""

    give_reward: Callable[[float], None]
    play: Callable[[Sequence[Poke]], None]

    def __init__(self, wire: Wire, section: BridgeSection) -> None:
        """Say hello; raises :class:`RigFault` if nobody answers as they should."""
        self._wire, self._section = wire, section
        self._news = threading.Condition()
        self._uid, self._begun = "", 0.0
        self._told: HappenedWord | None = None
        self._fault: RigFault | None = None
        self._stopped: str | None = None
        self._acknowledged, self._idle = False, 0
        self._mute, self._heard_at = False, 0.0
        self._script: Sequence[Poke] | None = None
        self._trial: RigTrial | None = None
        self._line = Line(wire, self._heard, self._failed)
        try:
            self.limits = self._welcomed()
        except RigFault:
            self._line.close()
            raise
        if self.limits.plays:
            self.play = self._play
        if self.limits.gives:
            self.give_reward = self._give
        if self.limits.watchdog_s:
            self._line.alive_s = min(section.alive_s, self.limits.watchdog_s / 4)
        else:
            self._line.alive_s = section.alive_s
            _LOG.warning(
                "%s has no watchdog: if this computer dies in a trial, nothing but the "
                "trial's own end closes its valves",
                self.limits.name,
            )
        self._line.alive = self._alive

    def next_trial(self, trial: RigTrial) -> None:
        """Send it until it is acknowledged."""
        uid = short(trial.uid, self._wire.uid_most)
        script, self._script = self._script, None
        with self._news:
            self._raise_fault()
            if self._mute:
                raise RigFault(_UNCONFIRMED + ". Then start again")
            self._uid, self._trial, self._begun = uid, trial, time.monotonic()
            self._told, self._stopped = None, None
            self._acknowledged, self._idle = False, 0
        say = partial(self._as_word, trial, uid)
        self._check(trial, say())
        if script is not None:
            play = Play.of(uid, script)
            self._answer(lambda: play, _about(uid, Ready), f"the script of {uid}")
        self._answer(say, _about(uid, Started, HappenedWord), f"trial {uid}")

    def what_happened(self) -> Happened:
        """Wait for the end of the trial, which the rig is asked about all the time."""
        if self._trial is None:
            raise RigFault("there is no trial to run")
        until = self._begun + self._trial.valid_s + LATE_S
        with self._news:
            try:
                while self._told is None:
                    self._raise_fault()
                    if self._stopped is not None:
                        raise RigFault(f"made safe within the trial: {self._stopped}")
                    self._raise_silence(until)
                    self._wait()
            finally:
                self._trial = None
        if self._told.counts.get("board_limit"):
            _LOG.warning("%s: a limit of the rig itself was reached", self._told.uid)
        return self._told.happened()

    def safe_state(self, reason: str) -> None:
        """All off; raises :class:`RigFault` if the rig does not confirm it.

        Then it hears no more of this computer, so that its watchdog closes all.
        """
        with self._news:
            self._stopped = reason or "safe state"
            self._news.notify_all()
            self._line.cancel(RigFault(f"made safe: {self._stopped}"))
            word = SafeWord(uid=self._uid, reason=reason[:100])
            ask = self._put(lambda: word, lambda heard: isinstance(heard, Safe), True)
        try:
            confirmed = ask.wait() is not None
        except RigFault:
            self._mute = True
            raise
        self._mute = not confirmed
        if not confirmed:
            raise RigFault(
                f"{_UNCONFIRMED}. Its watchdog acts after {self.limits.watchdog_s:g} s"
            )

    def close(self) -> None:
        """Leave it safe."""
        with contextlib.suppress(RigFault):  # what failed was told before
            self.safe_state("the client ends")
        self._line.close()

    def _play(self, pokes: Sequence[Poke]) -> None:
        self._script = list(pokes)

    def _give(self, microlitre: float) -> None:
        """Once, however often it has to be said."""
        self._check_volume(microlitre)
        uid = f"free/{uuid.uuid4().hex[:16]}"
        word = RewardWord(uid=uid, microlitre=microlitre, side=self._section.free_side)
        self._answer(lambda: word, _about(uid, Given), "a free reward")

    def _welcomed(self) -> Welcome:
        hello = Hello(session=uuid.uuid4().hex[:16])

        def ours(word: FromRig) -> bool:
            return isinstance(word, Welcome) and word.session == hello.session

        ask = self._line.put(lambda: hello, ours, self._section.open_s)
        welcome = ask.wait()
        if not isinstance(welcome, Welcome):
            why = f": {self._fault}" if self._fault else ""
            raise RigFault(
                f"no rig said hello within {self._section.open_s:g} s{why}. Is it "
                "switched on, does it run Penchant's sketch or your program, are "
                "address and speed right?"
            )
        if welcome.version != VERSION:
            raise RigFault(
                f"{welcome.name} speaks version {welcome.version} of these messages, "
                f"this Penchant {VERSION}: use the sketch or program that came with it"
            )
        self._fault = None  # what came before hello was noise
        return welcome

    def _as_word(self, trial: RigTrial, uid: str) -> TrialWord:
        """The trial, with what is left of its time."""
        left_s = self._begun + trial.valid_s - MARGIN_S - time.monotonic()
        whole_ms = math.floor(max(left_s, 0.0) * 1000) / 1000
        return TrialWord.of(trial, uid, whole_ms, self._section.response_s)

    def _check(self, trial: RigTrial, word: TrialWord) -> None:
        """Whether the rig can have this trial."""
        brings = (trial.left, trial.right, trial.automatic)
        self._check_volume(max(one.microlitre for one in brings))
        size, most = len(self._wire.encode(word)), self.limits.line_bytes
        if most and size > most:
            raise RigFault(
                f"trial {trial.uid} has {size} bytes, and {self.limits.name} takes "
                f"{most}: give its stimulus fewer or shorter names, or the board more "
                "memory (LINE_BYTES)"
            )

    def _check_volume(self, microlitre: float) -> None:
        most = self.limits.trial_microlitre
        if microlitre > most:
            raise RigFault(
                f"{self.limits.name} gives {most:g} microlitre at most, and "
                f"{microlitre:g} are wanted: lower [limits] trial_microlitre of the "
                "rig's file, or change the limit in the rig itself"
            )

    def _answer(
        self, say: Callable[[], ToRig], answers: Callable[[FromRig], bool], what: str
    ) -> None:
        with self._news:
            self._raise_fault()
            if self._stopped is not None:
                raise RigFault(f"the rig is in its safe state: {self._stopped}")
            ask = self._put(say, answers)
        reply = ask.wait()
        if isinstance(reply, Fault):
            with self._news:
                self._fault = None  # it is told here
            raise RigFault(f"the rig refused {what}: {reply.reason}")
        if reply is None:
            with self._news:
                self._raise_fault()  # which may say why
            raise RigFault(
                f"the rig did not acknowledge {what} within "
                f"{self._section.answer_s:g} s"
            )

    def _put(
        self,
        say: Callable[[], ToRig],
        answers: Callable[[FromRig], bool],
        urgent: bool = False,
    ) -> Ask:
        return self._line.put(say, answers, self._section.answer_s, urgent)

    def _alive(self) -> Alive | None:
        if self._mute:
            return None
        with self._news:
            waits = self._trial is not None and self._told is None
            return Alive(uid=self._uid if waits else "")

    def _heard(self, word: FromRig) -> None:
        with self._news:
            self._heard_at = time.monotonic()
            if isinstance(word, HappenedWord) and self._expected(word):
                self._told = word
            elif isinstance(word, Fault) and word.uid in ("", self._uid):
                self._fault = RigFault(f"the rig reports a fault: {word.reason}")
            elif isinstance(word, Started) and word.uid == self._uid:
                self._acknowledged = True
            elif isinstance(word, Living) and self._acknowledged:
                self._idle = 0 if word.uid == self._uid else self._idle + 1
            elif isinstance(word, Safe) and word.reason not in ("", self._stopped):
                _LOG.warning("the rig has made itself safe: %s", word.reason)
            elif isinstance(word, HappenedWord | Welcome | Fault):
                _LOG.info("late, double or foreign, ignored: %r", word)
            self._news.notify_all()

    def _expected(self, word: HappenedWord) -> bool:
        return self._trial is not None and word.uid == self._uid and not self._told

    def _failed(self, fault: RigFault) -> None:
        _LOG.error("%s", fault)
        with self._news:
            self._fault = fault
            self._news.notify_all()

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def _wait(self) -> None:
        """For news; what passes while this computer is frozen is no silence."""
        begun = time.monotonic()
        self._news.wait(0.1)
        if time.monotonic() - begun > FROZEN_S:
            self._heard_at = time.monotonic()

    def _raise_silence(self, until: float) -> None:
        now = time.monotonic()
        if now - max(self._heard_at, self._begun) > SILENT_S:
            raise RigFault(f"the rig has been silent for {SILENT_S:g} s in a trial")
        if self._idle >= LOST_AFTER:
            raise RigFault(
                f"the rig knows nothing of trial {self._uid} any more: was it started "
                "anew?"
            )
        if now > until:
            raise RigFault(f"the rig did not end trial {self._uid} in time")


def short(uid: str, most: int) -> str:
    """A uid of at most so many characters, by which a rig tells trials apart."""
    if len(uid) <= most:
        return uid
    return f"{uid[: most - 17]}~{hashlib.sha256(uid.encode()).hexdigest()[:16]}"


def missing(package: str) -> RigFault:
    """What to say where a package is not there."""
    return RigFault(f"{package} is not installed here: pip install 'penchant[rig]'")


def _about(uid: str, *kinds: type[FromRig]) -> Callable[[FromRig], bool]:
    """Whether a word, or a fault, is about this uid."""

    def answers(word: FromRig) -> bool:
        return isinstance(word, (*kinds, Fault)) and getattr(word, "uid", "") == uid

    return answers
