"""Where a study stands, as a dashboard shows it: its past and its present, pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from server.chronicle import Card, Chronicle, Told
from server.leases import HEARTBEATS_PER_LEASE
from server.roles import Caller
from server.safety_section import SafetySection
from server.session import Session
from server.study_file import Study

MOST_SUBJECTS = 200
"""Subjects that are shown: all who are in a session, then those seen last."""

LEAST_PACE = 5
"""Finished sessions without which the pace of a study is not known."""

SILENT_BEATS = 2
"""Heartbeats that may be missed before a subject is called silent."""

_MAY = {
    "pause": "pause",
    "resume": "resume",
    "stop": "stop",
    "emergency": "stop",
    "reward": "give_reward",
    "abandon": "abandon",
    "weigh": "weigh",
    "drop_out": "drop_out",
}
"""What a dashboard has a control for, and the message that it sends."""


@dataclass(frozen=True)
class Present:
    """What the state of a study says now.

    ``summary`` is that of the state; ``sessions`` are those not over, ``paused`` the
    names of those that wait; ``silence`` seconds since clients were heard of, by
    session; ``today`` microlitres and ``free`` the largest free reward, by subject and
    session, empty where nothing limits them.
    """

    now: float
    summary: dict[str, Any]
    sessions: tuple[Session, ...]
    paused: frozenset[str]
    silence: Mapping[str, float]
    today: Mapping[str, float] = field(default_factory=dict)
    free: Mapping[str, float] = field(default_factory=dict)


def may(caller: Caller) -> list[str]:
    """The controls of a caller: none of one that only looks."""
    return [name for name, kind in _MAY.items() if caller.may(kind)]


def overview(study: Study, past: Chronicle, present: Present) -> dict[str, Any]:
    """Everything but the rows of subjects, alarms and ledger."""
    summary, halted = present.summary, past.halted
    sessions = _sessions(study, past, present)
    hours, pace, how = _pace(
        sessions["left"], list(past.finished_at), present.now, summary["finished"]
    )
    return {
        "study": study.name,
        "mode": summary["mode"],
        "method": study.file.search.method,
        "response": study.design.response,
        "began_at": past.began_at,
        "finished": summary["finished"],
        "halted": halted.what if halted else "",
        "halted_reason": halted.reason if halted else "",
        "halted_by": halted.by if halted else "",
        "verifying": summary["verifying"],
        "component": summary["component"],
        "components": study.file.study.components,
        "generation": summary["generation"],
        "generations": study.file.search.generations,
        "sessions": sessions,
        "trials": past.trials,
        "hours_left": hours,
        "hours_left_how": how,
        "pace_per_hour": pace,
        "best_error": summary["best_error"],
        "best_is": _best_is(study),
        "groups": [group for group in study.groups if group],
        "limits": _limits(study.file.safety),
        "subjects_total": len(past.cards),
    }


def subject_rows(
    study: Study, past: Chronicle, present: Present, only: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """A row per subject: all in a session, then those seen last; or ``only`` some."""
    inside = {one.opened.subject: one for one in present.sessions}
    if only is None:
        chosen = [name for name in inside if name in past.cards]
        rest = (card for name, card in past.cards.items() if name not in inside)
        latest = sorted(rest, key=lambda card: -(card.last_at or 0.0))
        chosen += [card.subject for card in latest[: MOST_SUBJECTS - len(chosen)]]
    else:
        chosen = [name for name in only if name in past.cards]
    return [_row(study, past.cards[name], inside.get(name), present) for name in chosen]


def rig_rows(past: Chronicle, present: Present) -> list[dict[str, Any]]:
    """A row per rig: who is in it, or was last."""
    inside = {one.opened.rig: one.opened for one in present.sessions}
    rows = []
    for rig, last in past.rigs.items():
        opened = inside.get(rig)
        subject = opened.subject if opened else last
        session = opened.session if opened else None
        heard = last_seen(past.cards.get(subject, Card(subject)), session, present)
        row: dict[str, Any] = {"rig": rig, "subject": subject, "session": session}
        rows.append(row | {"last_seen_at": heard})
    return rows[-MOST_SUBJECTS:]


def seen(past: Chronicle, present: Present) -> dict[str, float | None]:
    """When each subject in a session was last heard of."""
    cards = past.cards
    return {
        one.opened.subject: last_seen(
            cards[one.opened.subject], one.opened.session, present
        )
        for one in present.sessions
        if one.opened.subject in cards
    }


def last_seen(card: Card, session: str | None, present: Present) -> float | None:
    """When a subject, or its client, was last heard of (s since 1970)."""
    silence = present.silence.get(session) if session else None
    heard = card.last_at if silence is None else present.now - silence
    return None if heard is None else round(heard, 1)


def plain(told: Iterable[Told], alarms: bool = False) -> list[dict[str, Any]]:
    """Alarms, or entries of the ledger, newest first."""
    rows = [asdict(one) for one in told][::-1]
    if not alarms:
        return rows
    kept = ("at", "subject", "detail")
    return [{"name": row["what"]} | {key: row[key] for key in kept} for row in rows]


def raster(session: Session) -> dict[str, Any]:
    """Every answered trial of a session, as columns."""
    opened, answers = session.opened, session.answers
    head = {
        "session": opened.session,
        "subject": opened.subject,
        "group": opened.group,
        "component": opened.component,
        "generation": opened.generation,
        "candidate": opened.candidate,
        "status": session.status,
        "trials": session.trials,
        "training_trials": opened.training_trials,
    }
    return head | trial_columns(session, range(len(answers)))


def trial_columns(session: Session, trials: Iterable[int]) -> dict[str, list[Any]]:
    """Answered trials of a session by their index, as columns."""
    opened, chosen = session.opened, list(trials)
    answers = [session.answers[i] for i in chosen]
    training = opened.training_trials
    return {
        "index": chosen,
        "phase": ["training" if i < training else "test" for i in chosen],
        "outcome": [answer.outcome for answer in answers],
        "value": [answer.value for answer in answers],
        "label": [opened.y[opened.trials[i]] for i in chosen],
        "reaction_time_s": [answer.reaction_time_s for answer in answers],
    }


def _row(
    study: Study, card: Card, session: Session | None, present: Present
) -> dict[str, Any]:
    limits = study.file.safety
    name = session.opened.session if session else None
    heard = last_seen(card, name, present)
    given = present.today.get(card.subject, 0.0 if limits else None)
    return {
        "subject": card.subject,
        "group": card.group,
        "rig": card.rig,
        "session": name,
        "status": _status(study, card, session, heard, present.now),
        "paused": name in present.paused,
        "emergency": bool(session and session.emergency),
        "last_seen_at": heard,
        "trial": len(session.answers) if session else 0,
        "trials": session.trials if session else 0,
        "phase": _phase(session),
        "sessions_begun": card.begun,
        "sessions_done": card.done,
        "sessions_given_up": card.given_up,
        "session_microlitre": round(session.microlitre, 4) if session else None,
        "today_microlitre": round(given, 4) if given is not None else None,
        "day_cap_microlitre": limits.day_microlitre if limits else None,
        "free_microlitre": present.free.get(name) if name else None,
        "weight": card.weight,
        "dropped_reason": card.dropped,
    }


def _status(
    study: Study, card: Card, session: Session | None, heard: float | None, now: float
) -> str:
    if session is None:
        return "idle" if card.dropped is None else "dropped"
    if session.status == "lost":
        return "lost"
    silent = heard is not None and now - heard > silent_after_s(study)
    return "silent" if silent else "running"


def silent_after_s(study: Study) -> float:
    """How long a client may say nothing before its subject is called silent."""
    return SILENT_BEATS * study.file.session.lease_s / HEARTBEATS_PER_LEASE


def _phase(session: Session | None) -> str | None:
    if session is None or session.due is None:
        return None
    return "training" if session.due < session.opened.training_trials else "test"


def _sessions(study: Study, past: Chronicle, present: Present) -> dict[str, int]:
    running = sum(one.status == "open" for one in present.sessions)
    return {
        "begun": past.begun,
        "finished": past.ended["finished"],
        "used": past.used,
        "late": past.late,
        "running": running,
        "lost": len(present.sessions) - running,
        "abandoned": past.ended["abandoned"],
        "unusable": past.ended["unusable"],
        "planned": study.sessions,
        "left": _left(study, past, present.summary),
    }


def _left(study: Study, past: Chronicle, summary: Mapping[str, Any]) -> int:
    """Sessions that the study still takes, at most, when none is lost."""
    if summary["finished"] or study.sessions == 0:
        return 0
    if summary["verifying"]:
        return max(study.verifying_sessions - past.used_here, 0)
    if study.by_model:
        return max(study.sessions - past.used, 0)
    each = study.sessions_per_generation
    done = min(summary["generations_done"], study.generations)
    here = min(past.used_here, each) if done < study.generations else 0
    left: int = study.sessions - done * each - here
    return left


def _pace(
    left: int, ends: list[float], now: float, finished: bool
) -> tuple[float | None, float | None, str]:
    """Hours that are left, sessions an hour, and how both were told.

    From the first of the newest finished sessions until now, so that the estimate
    grows while nothing happens. Nights and pauses count as they came.
    """
    if finished:
        return 0.0, None, "the study is finished"
    if len(ends) < LEAST_PACE:
        return None, None, f"not known before {LEAST_PACE} sessions have finished"
    hours = (max(now, ends[-1]) - ends[0]) / 3600
    if ends[-1] == ends[0] or hours <= 0:
        return None, None, "not known: the newest sessions were recorded all at once"
    pace = (len(ends) - 1) / hours
    how = (
        f"from the last {len(ends)} finished sessions, {_short(pace):g} an hour with "
        "pauses and nights as they came; at most so many sessions are left, if none "
        "is lost"
    )
    return _short(left / pace), _short(pace), how


def _best_is(study: Study) -> str:
    """What a search makes low: with groups that is not the error of anybody."""
    objective = study.file.objective
    error = "relative error" if objective.error == "relative" else "error"
    one = objective.aim == "single"
    return error if one else f"{objective.aim} of the groups' {error}s"


def _short(number: float) -> float:
    """Two digits: no estimate of this kind is more exact."""
    return float(f"{number:.2g}")


def _limits(limits: SafetySection | None) -> dict[str, float] | None:
    if limits is None:
        return None
    names = ("trial_microlitre", "session_microlitre", "day_microlitre")
    return {name: getattr(limits, name) for name in names}
