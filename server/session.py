"""One session as a pure state machine: TRAINING -> TEST -> ended."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from meta_learner.generalisation import generalisation_error
from meta_learner.psychometric import Psychometric
from server.events import (
    Quarantined,
    Responded,
    RewardGiven,
    SessionEnded,
    SessionOpened,
)
from server.protocol import (
    FreeReward,
    Grant,
    ProtocolError,
    Respond,
    Rewarded,
    Trial,
)
from stimuli.space import StimulusSpace


class Answer(NamedTuple):
    """What was said of a trial, as in :class:`server.protocol.Respond`."""

    outcome: str
    value: float | None = None
    reaction_time_s: float | None = None
    clocks: dict[str, float] | None = None
    reward: dict[str, Any] | None = None


@dataclass(frozen=True)
class Session:
    """Where a session stands: its content, the answers so far, how it ended.

    ``status`` is open, lost (its client was silent for a lease; it may come
    back), or final: finished, abandoned, unusable.
    """

    opened: SessionOpened
    answers: tuple[Answer, ...] = ()
    status: str = "open"
    reason: str = ""
    under_way: int | None = None
    """Trial that was due when it was over: its answer is recorded all the same."""
    paused: bool = False
    emergency: bool = False
    """Whether an operator stopped it at once."""
    microlitre: float = 0.0
    """Reward given in it so far."""
    wished: tuple[FreeReward, ...] = ()
    """Free rewards that an operator asked for and that are not given yet."""
    asked: frozenset[str] = frozenset()
    """Uids of all free rewards that were asked for."""
    given: tuple[RewardGiven, ...] = ()
    """Rewards beside responses, each of which counts once."""
    on_grant: int = 0
    """Rewards under the grant of the trial that is due."""
    fired: frozenset[str] = frozenset()
    """Rules of safety that have fired."""

    @property
    def due(self) -> int | None:
        """Index of the trial that is due, or None when there is none left."""
        return len(self.answers) if len(self.answers) < self.trials else None

    @property
    def trials(self) -> int:
        """Number of trials of the session."""
        return len(self.opened.trials)

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.status not in ("open", "lost")


def apply_responded(session: Session, fact: Responded) -> Session:
    """The session after responses, which continue where it stood.

    In-process runs record test trials only: training counts as watched.
    """
    watched = Answer("responded")
    answers = session.answers
    answers += (watched,) * (fact.trials[0] - len(answers))
    rewards = fact.rewards or [None] * len(fact.trials)
    columns = (fact.outcomes, fact.values, fact.reaction_times_s, fact.clocks, rewards)
    new = map(Answer, *columns)
    microlitre = sum(reward["microlitre"] for reward in fact.rewards if reward)
    return replace(
        session,
        answers=answers + tuple(new),
        microlitre=session.microlitre + microlitre,
        on_grant=0,
    )


def apply_reward(session: Session, fact: RewardGiven) -> Session:
    """The session after a reward beside a response."""
    ordered = any(wish.uid == fact.uid for wish in session.wished)
    return replace(
        session,
        microlitre=session.microlitre + fact.microlitre,
        on_grant=session.on_grant + (not ordered),
        wished=tuple(wish for wish in session.wished if wish.uid != fact.uid),
        given=(*session.given, fact),
    )


def trial(
    session: Session, space: StimulusSpace, index: int, grant: Grant | None = None
) -> Trial:
    """The trial at ``index`` as a client sees it: no label in the test phase."""
    opened = session.opened
    stimulus = opened.trials[index]
    training = index < opened.training_trials
    x = opened.x[stimulus]
    return Trial(
        uid=trial_uid(session, index),
        index=index,
        phase="training" if training else "test",
        x=x,
        stimulus=space.present(x),
        feedback=_feedback(opened, index) if training else None,
        grant=grant,
    )


def trial_uid(session: Session, index: int) -> str:
    """Name of a trial, unique in the study."""
    return f"{session.opened.session}/{index}"


def respond(session: Session, message: Respond, choice: bool) -> Responded | int:
    """What a response adds: a new fact, or the index of a trial answered before.

    Raises :class:`ProtocolError` for one that is out of order, without a needed
    value, or different from the answer that the trial has (``conflict``).
    """
    index = _index(session, message.uid)
    answer = Answer(
        message.outcome,
        message.value,
        message.reaction_time_s,
        message.clocks,
        message.reward.model_dump() if message.reward else None,
    )
    if index < len(session.answers):
        if session.answers[index] == answer:
            return index
        raise ProtocolError(
            409,
            "conflict",
            f"trial {message.uid} was answered before, and differently; "
            "both answers are kept, the first one counts",
        )
    if session.over and index != session.under_way:
        raise ProtocolError(
            410, "session_over", f"session {message.session} is {session.status}"
        )
    if index != session.due:
        expected = trial_uid(session, len(session.answers))
        raise ProtocolError(
            409, "out_of_order", f"expected a response to {expected}, got {message.uid}"
        )
    _check_value(session, message, index, choice)
    return Responded(
        message.session,
        [index],
        [answer.outcome],
        [answer.value],
        [answer.reaction_time_s],
        [answer.clocks],
        [answer.reward] if answer.reward else [],
    )


def quarantine(message: Respond | Rewarded, reason: str) -> Quarantined:
    """The fact that keeps a conflicting answer for the operator, without token."""
    return Quarantined(message.session, message.model_dump(exclude={"token"}), reason)


def finish(
    session: Session,
    used: bool,
    choice: bool,
    psychometric: Psychometric | None = None,
) -> SessionEnded:
    """How a session with all answers ends: with an error, or unusable.

    Of a ``choice`` a preference for one side is not counted.
    """
    opened = session.opened
    tested = [
        (opened.trials[i], answer.value)
        for i, answer in enumerate(session.answers)
        if i >= opened.training_trials and answer.value is not None
    ]
    labels = opened.y[opened.training_stimuli :]
    stimuli = [stimulus - opened.training_stimuli for stimulus, _ in tested]
    answers = [value for _, value in tested]
    measured = generalisation_error(labels, stimuli, answers, psychometric, choice)
    if measured is None:
        reason = f"{len(tested)} answers to test trials do not make an error"
        return SessionEnded(opened.session, "unusable", reason, used=False)
    return SessionEnded(opened.session, "finished", **measured._asdict(), used=used)


def _feedback(opened: SessionOpened, index: int) -> dict[str, Any]:
    if opened.right_rewarded:
        return {"rewarded": "right" if opened.right_rewarded[index] else "left"}
    return {"label": opened.y[opened.trials[index]]}


def _index(session: Session, uid: str) -> int:
    name, _, number = uid.rpartition("/")
    # isdecimal alone would take digits of other scripts, and any length.
    if name == session.opened.session and number.isascii() and number.isdecimal():
        index = int(number[:9])
        if index < session.trials and trial_uid(session, index) == uid:
            return index
    raise ProtocolError(
        404,
        "unknown_trial",
        f"session {session.opened.session} has trials 0 to {session.trials - 1}; "
        f"got uid {uid!r}",
    )


def _check_value(session: Session, message: Respond, index: int, choice: bool) -> None:
    value = message.value
    if value is None:
        if message.outcome == "responded" and index >= session.opened.training_trials:
            raise ProtocolError(
                422, "value_missing", "a test trial that was responded to needs a value"
            )
    elif choice and value not in (-1.0, 1.0):
        raise ProtocolError(
            422, "not_a_choice", f"value must be -1 (left) or 1 (right), got {value}"
        )
