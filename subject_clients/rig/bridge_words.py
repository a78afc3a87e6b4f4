"""What a rig's computer and its hardware say to each other, whatever carries it.

Volumes are in microlitre, times in seconds. Every message is checked where it comes in.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from server.protocol import Outcome
from subject_clients.rig.adapter import RigFault
from subject_clients.tasks.trial import Happened, Poke, RigTrial, Side

VERSION = 1

Uid = Annotated[str, Field(max_length=100)]
Microlitre = Annotated[float, Field(ge=0, le=1e5)]
Seconds = Annotated[float, Field(ge=0, le=1e6)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Word(BaseModel):
    """One message; ``what`` names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    what: str


# --- to the rig -------------------------------------------------------------------


class Hello(Word):
    """Who are you? Answered by :class:`Welcome`. Also begins a new session."""

    what: Literal["hello"] = "hello"
    version: int = VERSION
    session: Uid
    """New each time Penchant starts: uids of an earlier session do not count."""


class TrialWord(Word):
    """Run this trial, unless its uid has run; answered by ``started``."""

    what: Literal["trial"] = "trial"
    uid: Uid
    index: int = 0
    """Its number in the session, from 0."""
    training: bool = False
    stimulus: dict[str, Any] = {}
    """Physical parameters, as the stimulus space names them."""
    left_microlitre: Microlitre = 0.0
    right_microlitre: Microlitre = 0.0
    automatic_microlitre: Microlitre = 0.0
    """Given whatever the subject does; the other two are 0 then."""
    left_aversive_s: Seconds = 0.0
    right_aversive_s: Seconds = 0.0
    automatic_aversive_s: Seconds = 0.0
    limit_microlitre: Microlitre = 0.0
    """Most that may be given in this trial, all in all."""
    valid_s: Seconds = 60.0
    """From now: nothing is given later, and the trial is over."""
    response_s: Seconds = 10.0
    """From the stimulus: how long the subject may take."""
    extra: dict[str, Number] = {}
    """Numbers of the task: ``window_s`` (licks are counted in it)."""

    @classmethod
    def of(
        cls, trial: RigTrial, uid: str, valid_s: float, response_s: float
    ) -> "TrialWord":
        """The trial under the name that this rig knows it by."""
        return cls(
            uid=uid,
            index=trial.index,
            training=trial.training,
            stimulus=trial.stimulus,
            left_microlitre=trial.left.microlitre,
            right_microlitre=trial.right.microlitre,
            automatic_microlitre=trial.automatic.microlitre,
            left_aversive_s=trial.left.aversive_s,
            right_aversive_s=trial.right.aversive_s,
            automatic_aversive_s=trial.automatic.aversive_s,
            limit_microlitre=trial.limit_microlitre,
            valid_s=valid_s,
            response_s=response_s,
            extra=trial.extra,
        )


class Play(Word):
    """In the trial of this uid these are the responses; answered by ``ready``."""

    what: Literal["play"] = "play"
    uid: Uid
    pokes: list[tuple[Number, Side]] = []
    """Seconds from the stimulus (negative: before it) and side."""

    @classmethod
    def of(cls, uid: str, pokes: Sequence[Poke]) -> "Play":
        """The script of a trial."""
        return cls(uid=uid, pokes=[(poke.after_s, poke.side) for poke in pokes])


class RewardWord(Word):
    """A free reward, once for each uid; answered by ``given``."""

    what: Literal["reward"] = "reward"
    uid: Uid
    microlitre: Microlitre
    side: Side = "left"


class SafeWord(Word):
    """All off and closed, now, and the trial is over; answered by ``safe``."""

    what: Literal["safe"] = "safe"
    uid: Uid = ""
    """The last trial that was sent: it does not run any more, even if it comes late."""
    reason: str = ""


class Alive(Word):
    """This computer lives, and waits for the trial ``uid`` ("" for none).

    Answered by ``happened`` if that trial is over, else by ``alive``.
    """

    what: Literal["alive"] = "alive"
    uid: Uid = ""


# --- from the rig -----------------------------------------------------------------


class Welcome(Word):
    """The answer to ``hello``: what the rig is, and its own limits."""

    what: Literal["hello"] = "hello"
    version: int
    session: Uid
    """That of the ``hello``."""
    name: Annotated[str, Field(max_length=200)]
    trial_microlitre: Microlitre
    """Most that it gives in a trial, or as one free reward."""
    session_microlitre: Microlitre
    """Most that it gives before it is started anew."""
    watchdog_s: Seconds
    """It makes itself safe after so long without a message; 0: it never does."""
    line_bytes: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """The longest message that it can take; 0: any."""
    plays: bool = False
    """Whether it can ``play``."""
    gives: bool = False
    """Whether it takes a free ``reward``."""


class Started(Word):
    """The trial runs, or has run before."""

    what: Literal["started"] = "started"
    uid: Uid


class HappenedWord(Word):
    """The trial is over. Told again whenever the computer asks for it."""

    what: Literal["happened"] = "happened"
    uid: Uid
    outcome: Outcome = "responded"
    side: Side | None = None
    """The first response after the stimulus."""
    reaction_time_s: Seconds | None = None
    """From the stimulus to the first sign of a response."""
    response_time_s: Seconds | None = None
    """From the stimulus to the response itself."""
    delivered_microlitre: Microlitre = 0.0
    """By the valve's own record."""
    delivered_how: Literal["earned", "automatic"] = "earned"
    delivered_after_s: Seconds | None = None
    """From the trial's begin to the reward."""
    rig_clock_s: Seconds | None = None
    """The rig's clock at the stimulus."""
    counts: dict[str, Number] = {}
    """``licks``, ``n_plus``, ``n_minus``, and what else was counted."""

    def happened(self) -> Happened:
        """Without the envelope."""
        return Happened(**self.model_dump(exclude={"what", "uid"}))


class Ready(Word):
    """The script of a trial is kept."""

    what: Literal["ready"] = "ready"
    uid: Uid


class Given(Word):
    """The free reward was given, now or before."""

    what: Literal["given"] = "given"
    uid: Uid
    microlitre: Microlitre


class Safe(Word):
    """All is off and closed."""

    what: Literal["safe"] = "safe"
    reason: str = ""
    """That of the computer, or the rig's own: ``watchdog``."""


class Fault(Word):
    """Something is wrong, or was refused."""

    what: Literal["fault"] = "fault"
    uid: Uid = ""
    """Of the trial or reward that it is about; "" for the rig itself."""
    reason: Annotated[str, Field(max_length=500)]


class Living(Word):
    """Nothing new."""

    what: Literal["alive"] = "alive"
    uid: Uid = ""
    """The trial that runs; "" for none."""


class Again(Word):
    """A message came damaged: say it again."""

    what: Literal["again"] = "again"


ToRig = Hello | TrialWord | Play | RewardWord | SafeWord | Alive
FromRig = (
    Welcome | Started | HappenedWord | Ready | Given | Safe | Fault | Living | Again
)

_FROM_RIG: TypeAdapter[FromRig] = TypeAdapter(
    Annotated[FromRig, Field(discriminator="what")]
)


def written(word: Word, brief: bool = False) -> str:
    """The message as JSON on one line; ``brief`` without what has its default."""
    if not brief:
        return word.model_dump_json()
    rest = word.model_dump_json(exclude_defaults=True)[1:]
    return f'{{"what":"{word.what}"' + ("" if rest == "}" else ",") + rest


def read(raw: str | bytes) -> FromRig:
    """A message of the rig from JSON; raises :class:`RigFault`."""
    try:
        return _FROM_RIG.validate_json(raw)
    except ValidationError as error:
        raise RigFault(_what_is_wrong(raw, error)) from error


def checked(fields: dict[str, Any], raw: object) -> FromRig:
    """A message of the rig from its fields; raises :class:`RigFault`."""
    try:
        return _FROM_RIG.validate_python(fields)
    except ValidationError as error:
        raise RigFault(_what_is_wrong(raw, error)) from error


def _what_is_wrong(raw: object, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return (
        f"the rig sent a message that is not understood: {raw!r:.160}; "
        f"{where + ': ' if where else ''}{first['msg']}"
    )
