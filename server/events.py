"""The facts a journal holds, one frozen dataclass per kind of event.

State is a fold of these and nothing else. Fields are plain JSON values.
Arrays are nested lists; ``theta`` is float32 in its shortest exact decimals,
stimuli and labels are multiples of 1e-6.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StudyOpened:
    """The study file as it is, its hash, and the versions that ran it.

    ``mode`` is ``live`` or ``dry-run``, or ``imported`` where trials made elsewhere
    were brought in; ``null`` says that the weight of the generalisation error is zero,
    whatever the file says (no-learner null).
    """

    text: str
    sha256: str
    mode: str
    null: bool
    versions: dict[str, str]


@dataclass(frozen=True)
class GenerationAsked:
    """The candidates of a generation: ``theta`` (candidates, genes).

    ``penalties`` (candidates, 2) are label distribution and orthogonality;
    ``training_stimuli`` (candidates,) those of each, empty where the study says so.
    ``screened`` are the candidates that a model put in place of what the search
    proposed first; ``carried`` those taken over from the generation before, since
    their sessions are still running.
    """

    component: int
    generation: int
    theta: list[list[float]]
    penalties: list[list[float]]
    training_stimuli: list[int] = field(default_factory=list)
    screened: list[int] = field(default_factory=list)
    carried: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class SessionOpened:
    """A subject took an assignment.

    ``x`` (stimuli, features) and ``y`` (stimuli,) hold training stimuli first,
    ``training_stimuli`` of them. ``trials`` is the stimulus of each trial, the
    first ``training_trials`` with feedback. ``right_rewarded`` is the drawn
    feedback of each training trial where that is a reward, else empty.
    ``exposure`` counts the sessions this subject has begun before. ``group`` is
    that of the subject, empty in a study without groups; ``rig`` its apparatus and
    ``caller`` the name of the token that opened the session, each empty without one.
    """

    session: str
    component: int
    generation: int
    candidate: int
    attempt: int
    subject: str
    exposure: int
    client: dict[str, Any]
    x: list[list[float]]
    y: list[float]
    training_stimuli: int
    trials: list[int]
    training_trials: int
    right_rewarded: list[bool]
    group: str = ""
    rig: str = ""
    caller: str = ""


@dataclass(frozen=True)
class Responded:
    """Responses to one or more trials of a session, as columns.

    ``trials`` are indices into the session's trials; ``outcomes`` responded,
    omission, premature, aborted or invalid; ``values`` the graded answer or
    -1 / +1 (null where there is none); ``reaction_times_s`` on the client's
    clock; ``clocks`` what the client said of its clocks; ``rewards`` what was given,
    as in :class:`server.protocol.Reward`, null for nothing, or empty where no trial
    had any.
    """

    session: str
    trials: list[int]
    outcomes: list[str]
    values: list[float | None]
    reaction_times_s: list[float | None]
    clocks: list[dict[str, float] | None]
    rewards: list[dict[str, Any] | None] = field(default_factory=list)


@dataclass(frozen=True)
class SessionEnded:
    """A session is over: finished, lost, abandoned or unusable.

    A finished one carries its generalisation error, in squared answer units:
    ``error``, its standard error, the variance of the ideal answers (the labels
    tested, if no psychometric function is given) and the number of test trials
    used. ``used`` is False for a late result whose
    candidate had been scored by another session.
    """

    session: str
    status: str
    reason: str = ""
    error: float | None = None
    standard_error: float | None = None
    label_variance: float | None = None
    test_trials: int = 0
    used: bool = True


@dataclass(frozen=True)
class ElitesChosen:
    """The best candidates of a generation so far get another session of each group."""

    component: int
    generation: int
    candidates: list[int]


@dataclass(frozen=True)
class GenerationTold:
    """The meta-losses (candidates,) that moved the search; null if unscored.

    Where a model helps the search, ``judgement`` is how far it was trusted and
    ``predictions`` (4, 2, candidates) what was measured and predicted, as in
    ``meta_learner.hybrid``; else they are empty.
    """

    component: int
    generation: int
    losses: list[float | None]
    judgement: list[float] = field(default_factory=list)
    predictions: list[list[list[float | None]]] = field(default_factory=list)


@dataclass(frozen=True)
class MetaSteps:
    """Meta-steps of a gradient search, from number ``generation`` on.

    ``errors`` (steps, groups) are relative errors, the mean of the individuals;
    ``penalties`` (steps, 2). ``search`` is where the search then stands: theta, its
    running mean, moments of the optimiser; float32 in shortest exact decimals.
    """

    component: int
    generation: int
    errors: list[list[float | None]]
    penalties: list[list[float]]
    search: list[list[float]]


@dataclass(frozen=True)
class ModelFitted:
    """The subject model, fitted to the first ``sessions`` finished sessions.

    Of a hybrid search to the newest of those that have scored a candidate.

    ``parameters``, ``deviations`` and ``weight`` as in ``meta_learner.subject_fit``,
    float32 in shortest exact decimals. ``width`` is that of the credible interval
    that the study is to make narrow, null where it has no stopping rule.
    """

    sessions: int
    parameters: list[float]
    deviations: list[float]
    weight: float
    width: float | None = None


@dataclass(frozen=True)
class VerificationAsked:
    """Labellings whose generalisation error is measured last, one session each.

    ``roles`` are component, null (what the search finds without a learner) or
    matched (random, with the component's power in each order); ``components`` the
    one that each belongs to, -1 for the null, which all share; ``theta`` genes of
    the study's family for the null, coefficients of basis functions up to
    ``degree`` for matched ones, nothing for components.
    """

    roles: list[str]
    components: list[int]
    theta: list[list[float]]
    degree: int


@dataclass(frozen=True)
class ComponentFrozen:
    """The component found: where the search stood when its budget was spent."""

    component: int
    theta: list[float]


@dataclass(frozen=True)
class StudyFinished:
    """Every component has been found."""


@dataclass(frozen=True)
class ClientSeen:
    """A client connected, disconnected, or came back to its session."""

    session: str
    subject: str
    what: str


@dataclass(frozen=True)
class Quarantined:
    """A second, different response to a trial already answered; kept, not used."""

    session: str
    message: dict[str, Any]
    reason: str


@dataclass(frozen=True)
class Halted:
    """An operator, or a rule, paused or stopped a session; all, where it is empty.

    ``what`` is pause, resume, stop or emergency; ``by`` the name of the token, or of
    the rule.
    """

    session: str
    what: str
    reason: str
    by: str


@dataclass(frozen=True)
class RewardAsked:
    """An operator asks a rig for a free reward."""

    session: str
    uid: str
    microlitre: float
    reason: str
    by: str


@dataclass(frozen=True)
class RewardGiven:
    """A reward beside a response, as the client reports it.

    ``uid`` is that of :class:`RewardAsked`, or the client's own.
    """

    session: str
    subject: str
    uid: str
    microlitre: float
    how: str


@dataclass(frozen=True)
class Weighed:
    """A subject was weighed; ``baseline_grams`` is its weight at free water."""

    subject: str
    grams: float
    baseline_grams: float | None
    by: str


@dataclass(frozen=True)
class DroppedOut:
    """A subject left the study and gets no other session."""

    subject: str
    reason: str
    by: str


@dataclass(frozen=True)
class RuleFired:
    """A rule of safety fired at a trial; ``acted`` says that it may end the session."""

    session: str
    trial: int
    rule: str
    detail: str
    acted: bool


@dataclass(frozen=True)
class AlarmRaised:
    """Someone was to be told: ``name`` of the alarm, of whom, and what is wrong."""

    name: str
    subject: str
    detail: str


Fact = (
    StudyOpened
    | GenerationAsked
    | SessionOpened
    | Responded
    | SessionEnded
    | ElitesChosen
    | GenerationTold
    | MetaSteps
    | ModelFitted
    | VerificationAsked
    | ComponentFrozen
    | StudyFinished
    | ClientSeen
    | Quarantined
    | Halted
    | RewardAsked
    | RewardGiven
    | Weighed
    | DroppedOut
    | RuleFired
    | AlarmRaised
)

KINDS: dict[str, type[Fact]] = {
    "study_opened": StudyOpened,
    "generation_asked": GenerationAsked,
    "session_opened": SessionOpened,
    "responded": Responded,
    "session_ended": SessionEnded,
    "elites_chosen": ElitesChosen,
    "generation_told": GenerationTold,
    "meta_steps": MetaSteps,
    "model_fitted": ModelFitted,
    "verification_asked": VerificationAsked,
    "component_frozen": ComponentFrozen,
    "study_finished": StudyFinished,
    "client_seen": ClientSeen,
    "quarantined": Quarantined,
    "halted": Halted,
    "reward_asked": RewardAsked,
    "reward_given": RewardGiven,
    "weighed": Weighed,
    "dropped_out": DroppedOut,
    "rule_fired": RuleFired,
    "alarm_raised": AlarmRaised,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True)
class Event:
    """A fact with its place in the journal and its time (seconds since 1970)."""

    seq: int
    at: float
    fact: Fact


def kind_of(fact: Fact) -> str:
    """The kind of event that a fact becomes."""
    return _NAMES[type(fact)]


def to_row(fact: Fact) -> tuple[str, dict[str, Any]]:
    """Kind and JSON payload of a fact, which shares its lists."""
    return kind_of(fact), dict(vars(fact))


def from_row(kind: str, payload: dict[str, Any]) -> Fact:
    """The fact behind a journal row.

    Raises ``ValueError`` for a kind or a field that this version does not know.
    """
    if kind not in KINDS:
        raise ValueError(f"journal holds an event of unknown kind {kind!r}")
    try:
        return KINDS[kind](**payload)
    except TypeError as error:
        raise ValueError(f"journal event {kind!r} is damaged: {error}") from error
