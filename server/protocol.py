"""The messages between server and subject client, one model each.

The same JSON goes over HTTP (``POST /api/v1/<type>``) and over Socket.IO (event
``<type>``, reply in the acknowledgement). Nothing here loads JAX or Flask: a rig
computer needs pydantic alone.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PROTOCOL = 1
"""Version of the protocol, stated in ``hello``."""

MAX_MESSAGE_BYTES = 1 << 20
"""Largest message that the server reads (1 MiB)."""

MAX_ENTRIES = 64
"""Most capabilities that a client may state, and most clocks of a response."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=1000)]
Outcome = Literal["responded", "omission", "premature", "aborted", "invalid"]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _FromClient(_Message):
    token: Annotated[str, Field(max_length=256)] | None = None


class Hello(_FromClient):
    """A subject is ready: asks for an assignment, or to go on with its own.

    ``group`` is needed where the study has groups, and only there.
    """

    protocol: Annotated[int, Field(ge=0, lt=2**31)]
    subject: Name
    group: Name | None = None
    simulated: bool = False
    capabilities: Annotated[
        dict[Name, Text | Number | bool], Field(max_length=MAX_ENTRIES)
    ] = {}


class Next(_FromClient):
    """Asks for the trial that is due; asking twice gives the same trial."""

    session: Name


class Respond(_FromClient):
    """What happened in a trial.

    ``value`` is the graded answer in [-1, 1] or the choice, -1 (left) or +1
    (right); it is required in a test trial with outcome ``responded`` and may
    be absent in training, where a subject may just watch.
    """

    session: Name
    uid: Annotated[str, Field(max_length=80)]
    outcome: Outcome = "responded"
    value: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None = None
    reaction_time_s: Seconds | None = None
    clocks: Annotated[dict[Name, Number], Field(max_length=MAX_ENTRIES)] | None = None

    @model_validator(mode="after")
    def _only_responses_have_values(self) -> "Respond":
        if self.outcome != "responded" and self.value is not None:
            raise ValueError(f"outcome {self.outcome!r} cannot have a value")
        return self


class Heartbeat(_FromClient):
    """The client is alive: renews the lease of its session."""

    session: Name


class Abandon(_FromClient):
    """The subject gives up; its candidate goes to another session."""

    session: Name
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class Trial(_Message):
    """One showing. ``feedback`` is there in training only.

    ``feedback`` is ``{"label": y}`` or ``{"rewarded": "left" | "right"}``, the side
    that pays in this trial: by default labels for graded responses, rewards for
    choices.
    """

    type: Literal["trial"] = "trial"
    uid: str
    index: int
    phase: Literal["training", "test"]
    x: list[float]
    stimulus: dict[str, Any]
    feedback: dict[str, Any] | None = None


class Assignment(_Message):
    """A session to run. ``next_trial`` above 0 means: go on where it stopped."""

    type: Literal["assignment"] = "assignment"
    protocol: int
    session: str
    response: Literal["graded", "choice"]
    training_trials: int
    test_trials: int
    next_trial: int
    lease_s: float
    heartbeat_s: float


class Ack(_Message):
    """The response is on disk; ``next`` is the next trial, or the session is done."""

    type: Literal["ack"] = "ack"
    uid: str
    next: Trial | None
    done: bool


class Alive(_Message):
    """The lease runs until ``lease_s`` from now."""

    type: Literal["alive"] = "alive"
    lease_s: float


class Wait(_Message):
    """Nothing to do at present: ask again after ``retry_after_s``."""

    type: Literal["wait"] = "wait"
    retry_after_s: float
    reason: str


class Done(_Message):
    """This session, or with ``study`` the whole study, is over."""

    type: Literal["done"] = "done"
    study: bool
    reason: str


class Refusal(_Message):
    """What was wrong and what was expected; nothing has changed."""

    type: Literal["refusal"] = "refusal"
    status: int
    error: str
    detail: str


Request = Hello | Next | Respond | Heartbeat | Abandon
Reply = Assignment | Trial | Ack | Alive | Wait | Done | Refusal

REQUESTS: dict[str, type[Request]] = {
    "hello": Hello,
    "next": Next,
    "respond": Respond,
    "heartbeat": Heartbeat,
    "abandon": Abandon,
}
REPLIES: dict[str, type[Reply]] = {
    "assignment": Assignment,
    "trial": Trial,
    "ack": Ack,
    "alive": Alive,
    "wait": Wait,
    "done": Done,
    "refusal": Refusal,
}


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
