"""Between session loop and hardware of a rig: limits, safety, records."""

import threading
import uuid
from collections.abc import Callable
from functools import partial

from server.protocol import Assignment, Reward, Trial
from subject_clients.adapter import Answer, GiveUp
from subject_clients.rig.adapter import HasFreeReward, RigAdapter, RigFault
from subject_clients.rig.config import LimitsSection
from subject_clients.rig.ledger import DUST_MICROLITRE, Ledger
from subject_clients.rig.local import LocalControl
from subject_clients.rig.log import TrialLog
from subject_clients.rig.sound import sound
from subject_clients.tasks.task import Task, limited
from subject_clients.tasks.trial import Happened, RigTrial

LATE_S = 1.0
"""How much longer than its ``valid_s`` a trial may take before it is cut off."""


class Rig:
    """Shows trials on hardware, within the limits of grant and rig, and keeps a record.

    It has ``give_reward`` where its hardware has.
    """

    simulated = False
    give_reward: Callable[[float], None]

    def __init__(
        self,
        subject: str,
        hardware: RigAdapter,
        task: Task,
        limits: LimitsSection,
        ledger: Ledger,
        log: TrialLog,
        control: LocalControl,
    ) -> None:
        """One subject in one rig; ``hardware`` is open."""
        self._subject, self._hardware, self._task = subject, hardware, task
        self._limits, self._ledger, self._log = limits, ledger, log
        self._control = control
        self._session = self._journal = ""
        self._fault: RigFault | None = None
        self._safe: str | None = None
        control.at_once = self.safe_state
        if isinstance(hardware, HasFreeReward):
            self.give_reward = partial(self._give, hardware)

    def begin(self, assignment: Assignment) -> None:
        """A session begins or goes on; raises ``ValueError`` if the task is another."""
        if assignment.response != self._task.response:
            raise ValueError(
                f"the study wants answers that are {assignment.response}, the rig's "
                f"task gives {self._task.response}: change [rig] task, or the study's "
                "[session] response"
            )
        # Sessions of two studies, or of two journals of one, have the same names.
        began_at = assignment.began_at or 0.0
        self._journal = f"{assignment.study}@{began_at:.6f}/"
        self._session = self._journal + assignment.session
        self._safe = None
        self._log.write("session", subject=self._subject, session=self._session)

    def present(self, trial: Trial) -> Answer:
        """One trial, reward and all; raises :class:`RigFault` if hardware fails."""
        if reason := self._control.wait() or self._safe:
            raise GiveUp(reason)
        if self._fault is not None:
            raise self._fault
        uid = self._journal + trial.uid
        before = self._ledger.promised(uid)
        if before is not None:
            return self._begun_before(uid, trial, before)
        laid_out = self._task.lay_out(trial)
        brings = (laid_out.left, laid_out.right, laid_out.automatic)
        most = max(reinforcer.microlitre for reinforcer in brings)
        if trial.grant is not None:
            most = min(most, trial.grant.max_microlitre)
        allowed = self._ledger.reserve(uid, self._subject, self._session, most)
        laid_out = limited(laid_out, allowed, self._valid_s(trial))
        self._log.write("trial", uid=uid, trial=laid_out)
        happened = self._run(laid_out)
        if happened is None:
            return self._cut_off(uid, allowed)
        self._log.write("happened", uid=uid, happened=happened)
        self._ledger.settle(uid, happened.delivered_microlitre)
        self._judge(laid_out, happened)
        return self._answer(laid_out, happened)

    def hold(self) -> bool:
        """Wait while somebody at the rig has paused; returns whether that was so."""
        return self._control.hold()

    def safe_state(self, reason: str) -> None:
        """Dry, dark and still, at once and until ``begin``; from any thread."""
        self._safe = reason
        try:
            self._hardware.safe_state(reason)
        finally:
            self._log.write("safe", reason=reason)

    def allowed(self, microlitre: float) -> float:
        """How much of a free reward the rig's own caps leave; it counts as given."""
        if self._safe is not None or self._fault is not None:
            return 0.0
        uid = f"free/{uuid.uuid4()}"
        return self._ledger.reserve(uid, self._subject, self._session, microlitre)

    def _give(self, hardware: HasFreeReward, microlitre: float) -> None:
        """A free reward that is :meth:`allowed`."""
        if self._safe is not None:
            return
        self._log.write("free", microlitre=microlitre)
        hardware.give_reward(microlitre)

    def _valid_s(self, trial: Trial) -> float:
        """How long a trial may last, by the rig and by its grant."""
        longest_s = self._limits.trial_s
        return longest_s if trial.grant is None else min(longest_s, trial.grant.valid_s)

    def _run(self, trial: RigTrial) -> Happened | None:
        """A trial on the hardware; None if it was cut off, and nobody knows where."""
        late = f"a trial took longer than {trial.valid_s:g} s"
        watchdog = threading.Timer(
            trial.valid_s + LATE_S, self._hardware.safe_state, [late]
        )
        watchdog.daemon = True
        watchdog.start()
        try:
            self._hardware.next_trial(trial)
            if self._safe is not None:  # asked for at this very moment
                self._hardware.safe_state(self._safe)
                return None
            happened, faults = sound(self._hardware.what_happened())
        except (RigFault, ValueError) as error:
            self._log.write("fault", uid=trial.uid, fault=str(error))
            if self._safe is None:  # told first; then nothing goes on
                self._fault = RigFault(f"trial {trial.uid}: {error}")
            return None
        finally:
            watchdog.cancel()
        if faults:
            self._log.write("left out", uid=trial.uid, faults=faults)
        return happened

    def _judge(self, trial: RigTrial, happened: Happened) -> None:
        """More than was allowed is told to the server first, then nothing goes on."""
        excess = happened.delivered_microlitre - trial.limit_microlitre
        if excess > DUST_MICROLITRE:
            self._fault = RigFault(
                f"the rig gave {happened.delivered_microlitre:g} microlitre in trial "
                f"{trial.uid}, where {trial.limit_microlitre:g} were allowed: look at "
                "valve and calibration before it runs again"
            )
            self._log.write("fault", uid=trial.uid, fault=str(self._fault))

    def _answer(self, trial: RigTrial, happened: Happened) -> Answer:
        """What the server is told."""
        value, notes = self._task.read(trial, happened)
        outcome = happened.outcome
        if outcome != "responded":
            value = None
        elif value is None and not trial.training:
            outcome = "omission"
        times = {
            "rig_s": happened.rig_clock_s,
            "response_time_s": happened.response_time_s,
            "reward_after_s": happened.delivered_after_s,
        }
        clocks = notes | {name: at for name, at in times.items() if at is not None}
        reward = None
        if happened.delivered_microlitre > 0:
            reward = Reward(
                microlitre=happened.delivered_microlitre, how=happened.delivered_how
            )
        return Answer(value, outcome, happened.reaction_time_s, clocks, reward)

    def _begun_before(self, uid: str, trial: Trial, microlitre: float) -> Answer:
        """A trial that an earlier run began: to show it again could reward it twice.

        If that run still wrote down what happened, this is the answer.
        """
        happened = self._log.last_happened(uid)
        if happened is None:
            return self._cut_off(uid, microlitre)
        self._ledger.settle(uid, happened.delivered_microlitre)
        laid_out = self._log.last_trial(uid)
        if laid_out is None:
            wanted = self._task.lay_out(trial)
            laid_out = limited(wanted, microlitre, self._valid_s(trial))
        self._judge(laid_out, happened)
        return self._answer(laid_out, happened)

    def _cut_off(self, uid: str, microlitre: float) -> Answer:
        """All that the trial was allowed counts as given, since nobody knows."""
        self._log.write("interrupted", uid=uid, microlitre=microlitre)
        if microlitre == 0:
            return Answer(outcome="aborted")
        assumed = {"reward_assumed": 1.0}
        reward = Reward(microlitre=microlitre)
        return Answer(outcome="aborted", clocks=assumed, reward=reward)
