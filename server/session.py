"""One session as a pure state machine: TRAINING -> TEST -> ended."""

from dataclasses import dataclass, replace
from typing import Any

from meta_learner.generalisation import generalisation_error
from meta_learner.psychometric import Psychometric
from server.events import Quarantined, Responded, SessionEnded, SessionOpened
from server.protocol import ProtocolError, Respond, Trial
from stimuli.space import StimulusSpace

Answer = tuple[str, float | None, float | None, dict[str, float] | None]
"""Outcome, value, reaction time in seconds, clocks."""


@dataclass(frozen=True)
class Session:
    """Where a session stands: its content, the answers so far, how it ended.

    ``status`` is open, lost (its client was silent for a lease; it may come
    back), or final: finished, abandoned, unusable.
    """

    opened: SessionOpened
    answers: tuple[Answer, ...] = ()
    status: str = "open"

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
    watched: Answer = ("responded", None, None, None)
    answers = session.answers
    answers += (watched,) * (fact.trials[0] - len(answers))
    new = zip(
        fact.outcomes, fact.values, fact.reaction_times_s, fact.clocks, strict=True
    )
    return replace(session, answers=answers + tuple(new))


def trial(session: Session, space: StimulusSpace, index: int) -> Trial:
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
    answer: Answer = (
        message.outcome,
        message.value,
        message.reaction_time_s,
        message.clocks,
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
    if session.over:
        raise ProtocolError(
            410, "session_over", f"session {message.session} is {session.status}"
        )
    if index != session.due:
        expected = trial_uid(session, len(session.answers))
        raise ProtocolError(
            409, "out_of_order", f"expected a response to {expected}, got {message.uid}"
        )
    _check_value(session, message, index, choice)
    outcome, value, reaction_time_s, clocks = answer
    return Responded(
        message.session, [index], [outcome], [value], [reaction_time_s], [clocks]
    )


def quarantine(message: Respond, reason: str) -> Quarantined:
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
        (opened.trials[i], value)
        for i, (_, value, _, _) in enumerate(session.answers)
        if i >= opened.training_trials and value is not None
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
