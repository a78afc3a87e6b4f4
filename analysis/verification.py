"""Verdicts of a study: components measured in its last sessions, beside controls."""

import math

import numpy as np

from analysis.record import Record
from analysis.recovery import Floats
from meta_learner.generalisation import shortfall
from meta_learner.objective import AIMS, CONTRASTS, Objective, difference
from meta_learner.verification import Comparison, Measured, Verdict, verdicts
from server.events import SessionEnded, VerificationAsked
from server.evidence import finished_sessions, tested_labels, told


def verified(record: Record) -> list[Verdict]:
    """A verdict for each component of a study, as far as it has been verified.

    Empty where nothing was. Of a study with groups the measures are combined as its
    aim says, and as a session of every group on one labelling is needed, those
    without one are left out.
    """
    asked = record.facts(VerificationAsked)
    if not asked:
        return []
    roles, components = np.array(asked[0].roles), np.array(asked[0].components)
    every = range(record.study.file.study.components)
    errors, shortfalls = _combined(record, len(roles))

    def of(role: str, component: int) -> Measured:
        chosen = (roles == role) & (components == component)
        return Measured(errors[chosen], shortfalls[chosen])

    return verdicts(
        [of("component", k) for k in every],
        of("null", -1),
        [of("matched", k) for k in every],
    )


def _combined(record: Record, labellings: int) -> tuple[Floats, Floats]:
    """Relative error and shortfall of each labelling, of all groups ``(labellings,)``.

    NaN where there is none.
    """
    study = record.study
    errors = np.full((labellings, len(study.groups)), np.nan)
    shortfalls = errors.copy()
    used = {fact.session: fact for fact in record.facts(SessionEnded) if fact.used}
    for session in finished_sessions(event.fact for event in record.events):
        opened = session.opened
        ended = used.get(opened.session)
        if opened.component != study.file.study.components or ended is None:
            continue
        if ended.error is None or not ended.label_variance:
            continue
        place = opened.candidate, study.groups.index(opened.group)
        errors[place] = study.objective.counted(ended.error, ended.label_variance)
        answers = told(session).answers
        labels = tested_labels(session)
        there = np.isfinite(answers)
        shortfalls[place] = shortfall(labels[there], answers[there], study.psychometric)
    aim = study.objective.aim
    # Shortfalls stay linear in answers: no ratio, and nothing clipped.
    together = difference if aim in CONTRASTS else AIMS[aim]
    return study.objective.combined(errors), together(shortfalls)


def in_words(verdict: Verdict, objective: Objective) -> str:
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
    if objective.aim in CONTRASTS:
        names = "contrast of shortfalls", "contrast of errors"
    else:
        names = "shortfall", "relative error" if objective.relative else "error"

    def carried(shortfall: float, error: float) -> str:
        return f"the {names[0]} was {shortfall:.2f} and the {names[1]} {error:.2f}"

    return (
        f"Verification: {confirmed}. In {null.component_sessions} fresh sessions "
        f"{carried(null.component_shortfall, null.component_error)}. Of labellings "
        "found without a learner "
        f"{carried(null.control_shortfall, null.control_error)} (difference of the "
        f"former {_interval(null)}), and of random ones of the same power in each "
        f"order {carried(matched.control_shortfall, matched.control_error)} "
        f"(difference {_interval(matched)}: {special})."
    )


def _interval(comparison: Comparison) -> str:
    return f"{comparison.difference:.2f}, {comparison.low:.2f} to {comparison.high:.2f}"
