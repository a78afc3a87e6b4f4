"""Verdicts of a study: components measured in its last sessions, beside controls."""

import math

import numpy as np

from analysis.record import Record
from meta_learner.verification import Comparison, Verdict, verdicts
from server.events import SessionEnded, SessionOpened, VerificationAsked


def verified(record: Record) -> list[Verdict]:
    """A verdict for each component of a study, as far as it has been verified.

    Empty where nothing was. Of a study with groups the errors are combined as its
    aim says, and as a session of every group on one labelling is needed, those
    without one are left out.
    """
    asked = record.facts(VerificationAsked)
    if not asked:
        return []
    study, roles = record.study, np.array(asked[0].roles)
    components = np.array(asked[0].components)
    errors = np.full((len(roles), len(study.groups)), np.nan)
    opened = {
        fact.session: fact
        for fact in record.facts(SessionOpened)
        if fact.component == study.file.study.components
    }
    for ended in record.facts(SessionEnded):
        session = opened.get(ended.session)
        if session and ended.used and ended.error is not None and ended.label_variance:
            place = session.candidate, study.groups.index(session.group)
            errors[place] = study.objective.counted(ended.error, ended.label_variance)
    combined = study.objective.combined(errors)

    def of(role: str, component: int) -> np.ndarray:
        chosen: np.ndarray = combined[(roles == role) & (components == component)]
        return chosen

    every = range(study.file.study.components)
    return verdicts(
        [of("component", k) for k in every],
        of("null", -1),
        [of("matched", k) for k in every],
    )


def in_words(verdict: Verdict) -> str:
    """A verdict as a sentence or two."""
    null, matched = verdict.null, verdict.matched
    if math.isnan(null.low):
        return "Verification: not enough sessions yet for a verdict."
    confirmed = "confirmed" if verdict.confirmed else "not confirmed"
    special = (
        "easier than those as well"
        if verdict.beyond_smoothness
        else "not told apart from those"
    )
    return (
        f"Verification: {confirmed}. In {null.component_sessions} fresh sessions the "
        f"relative error was {null.component_error:.2f}. It was "
        f"{null.control_error:.2f} for labellings found without a learner (difference "
        f"{_interval(null)}) and {matched.control_error:.2f} for random ones of the "
        f"same power in each order (difference {_interval(matched)}: {special})."
    )


def _interval(comparison: Comparison) -> str:
    return f"{comparison.difference:.2f}, {comparison.low:.2f} to {comparison.high:.2f}"
