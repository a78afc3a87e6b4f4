"""The messages between server and subject client, one model each.

The same JSON goes over HTTP (``POST /api/v1/<type>``) and over Socket.IO (event
``<type>``, reply in the acknowledgement). Nothing here loads JAX or Flask: a rig
computer needs pydantic alone.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PROTOCOL = 1
"""Version of the protocol, stated in ``hello``."""
MAX_MESSAGE_BYTES = 1 << 20
"""Largest message that the server reads (1 MiB)."""
MAX_ENTRIES = 64
"""Most capabilities that a client may state, and most clocks of a response."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
SessionName = Annotated[Name, Field(description="Name from the assignment.")]
Pseudonym = Annotated[Name, Field(description="Never a name that tells who it is.")]
Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Microlitres = Annotated[Positive, Field(description="Volume.")]
Text = Annotated[str, Field(max_length=1000)]
Reason = Annotated[
    Text, Field(min_length=1, description="For people; kept in the journal.")
]
TrialUid = Annotated[str, Field(max_length=80, description="Name of the trial.")]
Outcome = Literal["responded", "omission", "premature", "aborted", "invalid"]


class _Message(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class _FromClient(_Message):
    token: Annotated[str, Field(max_length=512)] | None = None
    """The secret of whoever sends it, unless its header ``Authorization`` has it."""


class Reward(_Message):
    """Liquid that a subject was given: for a response, by the task, or for nothing."""

    microlitre: Microlitres
    how: Literal["earned", "automatic", "free"] = "earned"
    """For its response, by the task whatever it did, or beside the task."""


class Hello(_FromClient):
    """A subject is ready: asks for an assignment, or to go on with its own."""

    protocol: Annotated[int, Field(ge=0, lt=2**31)]
    """Version that the client speaks."""
    subject: Pseudonym
    group: Name | None = None
    """Needed where the study has groups, and only there; a subject stays in its own."""
    rig: Name | None = None
    """The apparatus, where there is one: it serves one subject at a time."""
    simulated: bool = False
    """Whether nobody real is there; a live study wants none of these."""
    capabilities: Annotated[
        dict[Name, Text | Number | bool], Field(max_length=MAX_ENTRIES)
    ] = {}
    """Whatever the client likes to have kept with the session."""


class Next(_FromClient):
    """Asks for the trial that is due; asking twice gives the same trial."""

    session: SessionName


class Respond(_FromClient):
    """What happened in a trial."""

    session: SessionName
    uid: TrialUid
    outcome: Outcome = "responded"
    """All but ``responded`` have no ``value``."""
    value: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None = None
    """The graded answer, or the choice: -1 (left) or 1 (right).

    Needed in a test trial that was responded to; in training a subject may just watch.
    """
    reaction_time_s: Seconds | None = None
    """A difference on one clock of the rig."""
    clocks: Annotated[dict[Name, Number], Field(max_length=MAX_ENTRIES)] | None = None
    """Readings of the client's clocks, kept as they come.

    ``reward_after_s`` is when the reward was given, counted as its grant is.
    """
    reward: Reward | None = None
    """What was given under the grant of this trial."""

    @model_validator(mode="after")
    def _only_responses_have_values(self) -> "Respond":
        if self.outcome != "responded" and self.value is not None:
            raise ValueError(f"outcome {self.outcome!r} cannot have a value")
        return self


class Heartbeat(_FromClient):
    """The client is alive: renews the lease of its session."""

    session: SessionName


class Abandon(_FromClient):
    """The subject gives up; its candidate goes to another session."""

    session: SessionName
    reason: Reason


class Rewarded(_FromClient):
    """A reward beside a response: free, at the operator's wish or by hand."""

    session: SessionName
    uid: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,79}$")]
    """That of the wish in ``alive``, or a new one of the client; counts once."""
    reward: Reward


class _Order(_FromClient):
    session: Name | None = None
    """The session, or nothing for all of the study."""
    reason: Reason


class Pause(_Order):
    """No next trial until :class:`Resume`; the trial under way is finished."""


class Resume(_Order):
    """Go on after :class:`Pause` or :class:`Stop`."""


class Stop(_Order):
    """End a session after its trial under way; with ``emergency`` at once.

    Without ``session`` it ends all of them, and none begins until :class:`Resume`.
    """

    emergency: bool = False
    """Whether not even the trial under way is finished."""


class GiveReward(_FromClient):
    """Let the rig give a free reward; it counts in the subject's ledger."""

    session: SessionName
    microlitre: Microlitres
    reason: Reason
    uid: Name | None = None
    """A name of the operator's own, so that an order sent again is the same order."""


class Weigh(_FromClient):
    """A subject weighs so much."""

    subject: Pseudonym
    grams: Positive
    """Its weight now."""
    baseline_grams: Positive | None = None
    """Its weight at free water; stays until another one is told."""


class DropOut(_FromClient):
    """A subject leaves the study: its session ends and it gets no other."""

    subject: Pseudonym
    reason: Reason


class Grant(_Message):
    """Leave to give at most one reward, of at most so much, within this trial."""

    max_microlitre: float
    """0: nothing may be given."""
    valid_s: float
    """Counts from when the trial was sent; later the rig gives nothing."""


class FreeReward(_Message):
    """An operator's wish that the rig give a reward now, once."""

    uid: str
    """To be repeated in ``rewarded``; what was given once is not given again."""
    microlitre: float


class Trial(_Message):
    """One showing of a stimulus."""

    type: Literal["trial"] = "trial"
    uid: str
    """Its name, to be repeated in the response."""
    index: int
    """From 0."""
    phase: Literal["training", "test"]
    x: list[float]
    """The stimulus in the coordinates of its space."""
    stimulus: dict[str, Any]
    """Its physical parameters."""
    feedback: dict[str, Any] | None = None
    """In training the ``label``, or the side that pays, ``rewarded``; null in a test.

    By default labels for graded responses, sides for choices.
    """
    grant: Grant | None = None
    """There where the study limits rewards."""


class Assignment(_Message):
    """A session to run."""

    type: Literal["assignment"] = "assignment"
    protocol: int
    """Version that the server speaks."""
    study: str
    session: str
    """Goes into every message about it."""
    response: Literal["graded", "choice"]
    """What answers are: in [-1, 1], or -1 (left) or 1 (right)."""
    training_trials: int
    test_trials: int
    next_trial: int
    """Above 0: the session was begun before, go on there."""
    lease_s: float
    """Silent for longer it is lost, and its candidate may go to another subject."""
    heartbeat_s: float
    """How often to send ``heartbeat``."""
    began_at: float | None = None
    """In seconds since 1970: sessions of two journals may have the same name."""


class Ack(_Message):
    """The response is on disk."""

    type: Literal["ack"] = "ack"
    uid: str
    next: Trial | None
    """The next trial. Null, and not done: the session is paused, ask ``next``."""
    done: bool
    """Whether the session is over."""
    emergency: bool = False
    """Whether it was stopped in an emergency: safe state at once."""


class Alive(_Message):
    """The lease is renewed."""

    type: Literal["alive"] = "alive"
    lease_s: float
    """How long it runs from now."""
    paused: bool = False
    """Whether no trial follows at present."""
    at: float | None = None
    """The server's clock, in seconds since 1970."""
    rewards: list[FreeReward] = []
    """Those to give; each is repeated until ``rewarded`` tells that it was."""


class Wait(_Message):
    """Nothing to do at present."""

    type: Literal["wait"] = "wait"
    retry_after_s: float
    """When to ask again, not sooner."""
    reason: str


class Done(_Message):
    """The session is over."""

    type: Literal["done"] = "done"
    study: bool
    """Whether the whole study is over."""
    reason: str
    emergency: bool = False
    """Whether the trial under way is over too: safe state, at once."""


class Noted(_Message):
    """What was said is on disk."""

    type: Literal["noted"] = "noted"
    detail: str


class Control(_Message):
    """Pushed over Socket.IO: what the reply to a heartbeat would say is new."""

    type: Literal["control"] = "control"
    session: str
    """The session; empty for all of the study."""
    what: Literal["pause", "resume", "stop", "emergency", "reward"]
    """An ``emergency`` is acted on at once, of the others a heartbeat tells more."""


class Refusal(_Message):
    """What was wrong; nothing has changed."""

    type: Literal["refusal"] = "refusal"
    status: int
    """That of HTTP."""
    error: str
    """A name that stays the same."""
    detail: str
    """What was expected; for people."""


FromSubject = Hello | Next | Respond | Heartbeat | Abandon | Rewarded
Order = Pause | Resume | Stop | GiveReward | Weigh | DropOut
Request = FromSubject | Order
Reply = Assignment | Trial | Ack | Alive | Wait | Done | Noted | Refusal

REQUESTS: dict[str, type[Request]] = {
    "hello": Hello,
    "next": Next,
    "respond": Respond,
    "heartbeat": Heartbeat,
    "abandon": Abandon,
    "rewarded": Rewarded,
    "pause": Pause,
    "resume": Resume,
    "stop": Stop,
    "give_reward": GiveReward,
    "weigh": Weigh,
    "drop_out": DropOut,
}
REPLIES: dict[str, type[Reply]] = {
    reply.model_fields["type"].default: reply for reply in get_args(Reply)
}
ANSWERS: dict[str, tuple[type[Reply], ...]] = dict.fromkeys(REQUESTS, (Noted,)) | {
    "hello": (Assignment, Wait, Done),
    "next": (Trial, Wait, Done),
    "respond": (Ack,),
    "heartbeat": (Alive, Done),
    "abandon": (Done,),
}
"""What each message is answered with, unless it is refused."""


class ProtocolError(Exception):
    """A message that the protocol does not allow; becomes a :class:`Refusal`."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        """HTTP ``status``, a stable name of the fault, and what to do."""
        super().__init__(f"{error}: {detail}")
        self.refusal = Refusal(status=status, error=error, detail=detail)


def parse_request(kind: str, payload: Any) -> Request:
    """Validate what came from the wire; raises :class:`ProtocolError`."""
    if kind not in REQUESTS:
        known = ", ".join(REQUESTS)
        raise ProtocolError(
            404, "unknown_message", f"expected {known}; got {kind[:64]!r}"
        )
    if not isinstance(payload, dict):
        came = type(payload).__name__
        raise ProtocolError(
            400, "not_an_object", f"{kind} expects a JSON object, got {came}"
        )
    try:
        request = REQUESTS[kind].model_validate(payload)
    except ValidationError as error:
        raise ProtocolError(422, "invalid_message", _explain(kind, error)) from error
    if isinstance(request, Hello) and request.protocol != PROTOCOL:
        raise ProtocolError(
            426,
            "unknown_version",
            f"this server speaks protocol {PROTOCOL}, the client {request.protocol}: "
            "install the client of the same release",
        )
    return request


def parse_reply(payload: Any) -> Reply:
    """The reply in a server's JSON; raises ``ValueError`` if it is none."""
    kind = payload.get("type") if isinstance(payload, dict) else None
    if not isinstance(kind, str) or kind not in REPLIES:
        raise ValueError(
            f"expected a reply ({', '.join(REPLIES)}), got {payload!r:.80}"
        )
    return REPLIES[kind].model_validate(payload)


def _explain(kind: str, error: ValidationError) -> str:
    # Never echo the input: it may hold a token, or be a megabyte.
    faults = (
        f"{'.'.join(str(at)[:64] for at in fault['loc']) or kind}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)[:5]
    )
    return f"{kind}: " + "; ".join(faults)
