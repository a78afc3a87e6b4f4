"""Before a study goes live: scripted subjects, whose rewards are known in advance."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

from server.protocol import Trial
from subject_clients.rig.adapter import CanPlay, Opens, RigAdapter
from subject_clients.rig.config import RigFile
from subject_clients.rig.ledger import Ledger
from subject_clients.tasks.task import Task, limited
from subject_clients.tasks.trial import Happened, Poke, Reinforcer, RigTrial, Side

Behaviour = Literal["left", "right", "never", "premature", "double", "perfect"]

BEHAVIOURS: tuple[Behaviour, ...] = get_args(Behaviour)

LABELS = (1.0, -1.0, -1.0, 1.0, None, None)
"""Of the trials that each of them works through; None is a test trial."""

TOLERANCE = 0.2
"""Relative: what a valve's own record may be off by."""

SOON_S = 0.2
"""From a stimulus to the first poke."""

VALID_S = 10.0
"""How long a trial of the check may take."""


class Finding(NamedTuple):
    """What a behaviour was given, beside what it earns."""

    behaviour: Behaviour
    rewards: int
    expected: int
    microlitre: float
    expected_microlitre: float
    faults: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all was as it should be."""
        return not self.faults


@dataclass(frozen=True)
class SelfCheck:
    """Works through all behaviours on hardware that is open and without a subject."""

    hardware: RigAdapter
    task: Task
    limit_microlitre: float
    stimulus: dict[str, Any] = field(default_factory=dict)
    """That of every trial."""
    ask: Callable[[str], object] | None = None
    """Asks somebody at the rig to do by hand what it cannot play; None: it can."""

    def run(self) -> Iterator[Finding]:
        """One finding for each behaviour, as it comes; raises ``RigFault``."""
        for behaviour in BEHAVIOURS:
            yield self.check(behaviour)
        self.hardware.safe_state("the self-check is over")

    def check(self, behaviour: Behaviour) -> Finding:
        """Trials of one behaviour, the last of them without any leave to reward."""
        faults: list[str] = []
        given, earned = [], []
        laid_out = [
            replace(self.task.lay_out(trial), stimulus=self.stimulus)
            for trial in _trials(self.task, behaviour)
        ]
        trials = [limited(one, self.limit_microlitre, VALID_S) for one in laid_out]
        trials.append(limited(replace(laid_out[0], uid=laid_out[0].uid + "dry"), 0, 10))
        for trial in trials:
            pokes = script(behaviour, trial)
            happened = self._shown(behaviour, trial, pokes)
            expected = self.task.earns(trial, pokes).microlitre
            faults += _compared(trial, pokes, happened, expected)
            given.append(happened.delivered_microlitre)
            earned.append(expected)
        rewards, expected_rewards = sum(map(bool, given)), sum(map(bool, earned))
        return Finding(
            behaviour, rewards, expected_rewards, sum(given), sum(earned), tuple(faults)
        )

    def _shown(
        self, behaviour: Behaviour, trial: RigTrial, pokes: list[Poke]
    ) -> Happened:
        if isinstance(self.hardware, CanPlay):
            self.hardware.play(pokes)
        elif self.ask is not None:
            self.ask(_by_hand(behaviour, pokes))
        else:
            raise ValueError("this rig cannot play a script: check it by hand")
        self.hardware.next_trial(trial)
        return self.hardware.what_happened()


def script(behaviour: Behaviour, trial: RigTrial) -> list[Poke]:
    """What a subject of this behaviour does in a trial."""
    better: Side = "left" if _worth(trial.left) > _worth(trial.right) else "right"
    other: Side = "left" if better == "right" else "right"
    scripts: dict[Behaviour, list[Poke]] = {
        "left": [Poke(SOON_S, "left")],
        "right": [Poke(SOON_S, "right")],
        "never": [],
        "premature": [Poke(-SOON_S / 2, better)],
        "double": [
            Poke(SOON_S, better),
            Poke(2 * SOON_S, better),
            Poke(3 * SOON_S, other),
        ],
        "perfect": [Poke(SOON_S, better)],
    }
    return scripts[behaviour]


def _worth(what: Reinforcer) -> tuple[float, float]:
    return what.microlitre, -what.aversive_s


def _compared(
    trial: RigTrial, pokes: list[Poke], happened: Happened, expected: float
) -> Iterator[str]:
    """What is wrong with a trial."""
    got, name = happened.delivered_microlitre, trial.uid
    if abs(got - expected) > TOLERANCE * expected:
        yield f"trial {name}: gave {got:g} microlitre, expected {expected:g}"
    if got > trial.limit_microlitre * (1 + TOLERANCE):
        yield f"trial {name}: above its limit of {trial.limit_microlitre:g} microlitre"
    early = any(poke.after_s < 0 for poke in pokes)
    if early != (happened.outcome == "premature"):
        yield f"trial {name}: outcome {happened.outcome}, {len(pokes)} pokes, " + (
            "the first before the stimulus" if early else "none of them early"
        )
    if happened.side is not None and not early and pokes:
        first = min(pokes).side
        if happened.side != first:
            yield f"trial {name}: took {happened.side} for the response, not {first}"
    if not pokes and happened.side is not None:
        yield f"trial {name}: a response ({happened.side}) that nobody made"


def _trials(task: Task, behaviour: Behaviour) -> Iterator[Trial]:
    """Trials as a server would send them; draws follow from the uid as ever."""
    for index, label in enumerate(LABELS):
        feedback: dict[str, str | float] | None = None
        if label is not None and task.response == "choice":
            feedback = {"rewarded": "right" if label > 0 else "left"}
        elif label is not None:
            feedback = {"label": label}
        yield Trial(
            uid=f"check/{behaviour}/{index}",
            index=index,
            phase="test" if label is None else "training",
            x=[0.0],
            stimulus={},
            feedback=feedback,
        )


def _by_hand(behaviour: Behaviour, pokes: list[Poke]) -> str:
    if behaviour == "premature":
        return f"Poke {pokes[0].side} BEFORE the stimulus. Enter when ready"
    if not pokes:
        return "Do nothing in this trial. Enter when ready"
    what = ", then ".join(poke.side for poke in pokes)
    return f"After the stimulus poke {what}. Enter when ready"


def checked(
    file: RigFile,
    opens: Opens,
    ask: Callable[[str], object] | None = None,
) -> list[Finding]:
    """Check a rig while no session can run it, and keep what was found.

    Raises ``OSError``: another client runs the rig, or its hardware fails.
    """
    limits, stimulus = file.limits, file.rig.check_stimulus
    with (
        contextlib.closing(Ledger(file.ledger, limits)),
        opens() as hardware,
    ):
        check = SelfCheck(hardware, file.task, limits.trial_microlitre, stimulus, ask)
        findings = list(check.run())
    record(file, findings)
    return findings


def unfit(findings: list[Finding]) -> str | None:
    """Why a rig may run no study; None if it may."""
    faults = [f"{one.behaviour}, {fault}" for one in findings for fault in one.faults]
    if not faults:
        return None
    return "\n  ".join(["the rig is not fit for a study:", *faults])


def unchecked(file: RigFile) -> bool:
    """Whether a rig wants a check before it runs a study."""
    return file.rig.self_check and not has_passed(file)


def record(file: RigFile, findings: list[Finding]) -> None:
    """Keep what a check found, for :func:`has_passed`."""
    path = file.check
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "rig_file_sha256": file.sha256,
        "utc_s": time.time(),
        "passed": all(finding.passed for finding in findings),
        "findings": [finding._asdict() for finding in findings],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def has_passed(file: RigFile) -> bool:
    """Whether this very file, to the letter, has passed."""
    try:
        kept = json.loads(file.check.read_text(encoding="utf-8"))
        return bool(kept["passed"] and kept["rig_file_sha256"] == file.sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False
