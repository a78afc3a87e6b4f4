"""What happens in a study, as log lines with study, session and trial."""

import logging
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from server.events import (
    AlarmRaised,
    ClientSeen,
    ComponentFrozen,
    DroppedOut,
    Fact,
    GenerationTold,
    Halted,
    Quarantined,
    Responded,
    RewardAsked,
    RewardGiven,
    RuleFired,
    SessionEnded,
    SessionOpened,
    StudyFinished,
    Weighed,
    kind_of,
)
from server.redaction import install

_LOG = logging.getLogger("penchant")

_TOLD = {
    SessionOpened: ("subject", "candidate", "group", "rig"),
    SessionEnded: ("status", "reason", "error", "used"),
    Responded: (),
    ClientSeen: ("what",),
    Quarantined: ("reason",),
    Halted: ("what", "reason", "by"),
    RewardAsked: ("microlitre", "by"),
    RewardGiven: ("subject", "microlitre", "how"),
    RuleFired: ("rule", "detail", "acted"),
    AlarmRaised: ("name", "subject", "detail"),
    DroppedOut: ("subject", "reason", "by"),
    Weighed: ("subject", "grams", "by"),
    GenerationTold: ("component", "generation"),
    ComponentFrozen: ("component",),
    StudyFinished: (),
}
"""What is worth a line, and which fields of it: never labels, never stimuli."""

_LOUD = (Quarantined, RuleFired, AlarmRaised)


def log_fact(study: str, fact: Fact) -> None:
    """One line for a fact; each trial at debug level only."""
    fields = _TOLD.get(type(fact))
    if fields is None:
        return
    level = logging.WARNING if isinstance(fact, _LOUD) else logging.INFO
    if isinstance(fact, Responded):
        level = logging.DEBUG
    if not _LOG.isEnabledFor(level):
        return
    kind = kind_of(fact)
    extra: dict[str, Any] = {"event": kind, "study": study}
    extra |= {f"of_{name}": getattr(fact, name) for name in fields}
    if session := getattr(fact, "session", ""):
        extra["session"] = session
    if isinstance(fact, Responded):
        extra["trial"] = fact.trials[-1]
    told = " ".join(f"{name}={getattr(fact, name)}" for name in fields)
    where = " ".join(filter(None, (study, session)))
    _LOG.log(level, "%s", f"{kind} {where} {told}".rstrip(), extra=extra)


def set_up(as_json: bool, level: str) -> None:
    """Log to standard error, as text or one JSON object a line, without secrets."""
    install()
    handler = logging.StreamHandler(sys.stderr)
    plain = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(
        JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")
        if as_json
        else logging.Formatter(plain)
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Werkzeug reports each request, and every hung-up websocket as a bad one.
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
