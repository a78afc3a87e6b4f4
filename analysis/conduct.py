"""What the sessions of a study tell beyond its search: spectrum, behaviour, quality."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.behaviour import (
    chronometric,
    lapses,
    learning_curve,
    reaction_times,
    side_bias,
)
from analysis.covariates import covariates
from analysis.finding import Finding
from analysis.intervals import component_intervals
from analysis.quality import Limits, quality
from analysis.salvage import problem_table
from analysis.session_labels import session_labelled, session_powers
from analysis.spectrum import bias_spectrum, gain_spectrum, is_biased
from analysis.spectrum_null import spectrum_null

_GROUP = ("group",)


class Conduct(NamedTuple):
    """Tables of one study; a table without rows has its reason in ``notes``.

    ``intervals`` of the components, ``spectrum`` with its permutation null and
    ``flat`` with a test of it, ``gain`` (choices only), ``learning`` curve, reaction
    ``times`` and how they follow labels (``chronometric``), side ``sides``, ``lapses``,
    ``covariates``, ``exposure``, ``flags`` of sessions and ``problems`` of the journal.
    Every table but those of covariates and problems has a column ``group``, empty in
    a study without groups.
    """

    intervals: pd.DataFrame
    spectrum: pd.DataFrame
    flat: pd.DataFrame
    gain: pd.DataFrame
    learning: pd.DataFrame
    times: pd.DataFrame
    chronometric: pd.DataFrame
    sides: pd.DataFrame
    lapses: pd.DataFrame
    covariates: pd.DataFrame
    exposure: pd.DataFrame
    flags: pd.DataFrame
    problems: pd.DataFrame
    notes: dict[str, str]


def conduct(finding: Finding) -> Conduct:
    """All that a study's trials and sessions tell, finished or not."""
    record, study = finding.record, finding.record.study
    trials, sessions = finding.frames.trials, finding.frames.sessions
    labelled = session_labelled(record)
    powers = session_powers(record, labelled).astype({"session": "str"})
    spectrum = bias_spectrum(sessions, powers, _GROUP)
    null = spectrum_null(sessions, powers, _GROUP)
    learnt = learning_curve(trials, by=_GROUP)
    known = (
        component_intervals(record, finding.recovered) if not study.by_model else _NO
    )
    choice = study.design.response == "choice"
    found = Conduct(
        intervals=known,
        spectrum=spectrum.merge(null, how="left", on=["group", "order"]),
        flat=_flat(sessions, powers),
        gain=gain_spectrum(record, trials, _GROUP, known=labelled) if choice else _NO,
        learning=learnt[learnt["phase"] == "training"],
        times=reaction_times(trials, _GROUP),
        chronometric=chronometric(trials, by=_GROUP),
        sides=side_bias(trials, _GROUP),
        lapses=lapses(record, trials),
        covariates=covariates(trials, sessions),
        exposure=_exposure(sessions),
        flags=quality(trials, sessions, Limits.of(study), record),
        problems=problem_table(record.problems),
        notes={},
    )
    return found._replace(notes=_notes(finding, found))


_NO = pd.DataFrame()


def _flat(sessions: pd.DataFrame, powers: pd.DataFrame) -> pd.DataFrame:
    """A test of a flat spectrum for each group."""
    rows = [
        {"group": str(group), **is_biased(own, powers)._asdict()}
        for group, own in sessions.groupby("group", observed=True)
    ]
    return pd.DataFrame(rows)


def _exposure(sessions: pd.DataFrame) -> pd.DataFrame:
    """Finished sessions by how many their subject had had before."""
    finished = sessions[sessions["status"] == "finished"]
    each = finished.groupby(["group", "exposure"], observed=True)
    error = each["relative_error"]
    table = pd.DataFrame(
        {
            "sessions": each.size(),
            "subjects": each["subject"].nunique(),
            "relative_error": error.mean(),
            "standard_error": error.sem(),
        }
    )
    return table.reset_index()


def _notes(finding: Finding, found: Conduct) -> dict[str, str]:
    """Why a section has nothing to show, by its table."""
    study = finding.record.study
    if study.null:
        return dict.fromkeys(found._fields, "A null has no sessions.")
    if study.by_gradient:
        said = "A search by gradient trains subjects whose trials are not recorded."
        return dict.fromkeys(found._fields, said)
    none = "No session has finished yet."
    began = len(finding.frames.trials) > 0
    training = (finding.frames.trials["phase"] == "training").any()
    unanswered = (
        "training was recorded without answers"
        if training
        else "only test trials were recorded, as in a dry run in process"
    )
    why = {
        "intervals": "Intervals of a model's components: penchant reanalyse."
        if study.by_model
        else "No component yet.",
        "spectrum": "No order can be told: too few sessions, or labellings that hold "
        "all orders in one mixture."
        if began
        else none,
        "gain": "Of graded answers the error tells as much."
        if study.design.response != "choice"
        else none,
        "learning": f"No learning curve: {unanswered}." if began else none,
        "times": "No reaction times were recorded; a dry run in process has none."
        if began
        else none,
        "lapses": "No choices about stimuli seen before, to which slope and lapses "
        "could be fitted.",
        "covariates": _note_of(found.covariates) if began else none,
    }
    empty = {
        "spectrum": not np.isfinite(found.spectrum["error"].to_numpy(float)).any(),
        "covariates": not _fitted(found.covariates),
    }
    return {
        name: text
        for name, text in why.items()
        if empty.get(name, not len(getattr(found, name)))
    }


def _fitted(table: pd.DataFrame) -> bool:
    return bool(len(table)) and bool(table["effect"].notna().any())


def _note_of(table: pd.DataFrame) -> str:
    said = str(table["note"].iloc[0]) if len(table) else "no answers to test trials"
    return f"Covariates: {said}."
