"""The sentences of a reanalysis: what the model says, and how far to trust it."""

from collections.abc import Sequence

import numpy as np

from analysis.held_out import FOLDS
from analysis.subject import DRAWS, MOST_SESSIONS, Reanalysis

TRUSTED = 0.5
"""Skill below which the subject model is called a poor surrogate."""

_SURE = 0.8
"""Overlap of the space of components with that of draws that is good enough."""

_BESIDE = {
    "easier": "easier than in every fit to shuffled answers",
    "harder": "harder than in every fit to shuffled answers",
    "alike": "not told from fits to shuffled answers",
}


def fitted_to(result: Reanalysis) -> str:
    """What the model was fitted to."""
    of_all = (
        f", spread over the study's {result.sessions + result.left_out:,}"
        if result.left_out
        else ""
    )
    return (
        f"The subject model was fitted to {result.answers:,} answers of "
        f"{result.sessions:,} finished sessions{of_all}."
    )


def easiest(result: Reanalysis) -> str:
    """The order that generalises best, beside its null."""
    row = result.spectrum.loc[result.spectrum["error"].idxmin()]
    said = (
        f"Order {row['order']} generalises best: relative error {row['error']:.2g} "
        f"({row['error_low']:.2g} to {row['error_high']:.2g})"
    )
    if "p_easier" not in row:
        return f"{said}, without a null to compare."
    return f"{said}, {_BESIDE[row['beside_null']]} (p = {row['p_easier']:.2g})."


def beside_null(result: Reanalysis) -> str:
    """What fits to shuffled answers find; empty without them."""
    table, null = result.spectrum, result.skill.null
    if not null:
        return ""
    medians = table["null_median"]
    return (
        f"Fitted to shuffled answers ({len(null)} times), orders have errors of "
        f"{medians.min():.2f} to {medians.max():.2f} and the skill is "
        f"{np.median(null):.2f} ({min(null):.2f} to {max(null):.2f})."
    )


def skill(result: Reanalysis) -> str:
    """How well the model predicts sessions that it was not fitted to."""
    found = result.skill
    explainable = "explainable " if found.explainable is not None else ""
    ceiling = (
        f" Repeats of a stimulus agree on {found.explainable:.2f} of the variance of "
        "single answers: that is explainable."
        if found.explainable is not None
        else ""
    )
    return (
        f"It predicts held-out sessions: {found.skill:.2f} ({found.low:.2f} to "
        f"{found.high:.2f}) of the {explainable}variance; before any session it "
        f"predicts {found.prior:.2f}.{ceiling}"
    )


def trusted(result: Reanalysis) -> bool:
    """Whether the model predicts well enough to be believed."""
    return result.skill.skill >= TRUSTED and not _no_better_than_null(result)


def spaces(result: Reanalysis) -> str:
    """How sure the space of the components is, and where components are equals."""
    overlap = result.components["space_overlap_low"]
    surest = int(overlap.to_numpy().argmax()) + 1
    return (
        f"The space of the first {len(overlap)} components overlaps with that of "
        f"posterior draws by {overlap.iloc[-1]:.2f} at least (5 % quantile; 1 is the "
        f"same space), that of the first {surest} by {overlap.max():.2f}. "
        f"{_equals(result)}"
    )


def cautions(results: Sequence[Reanalysis]) -> list[str]:
    """What a reader must know before believing the result."""
    notes = [note for result in results for note in _cautions_of(result)]
    tests = sum(len(r.spectrum) for r in results if r.skill.null)
    if tests > 1:
        notes.append(
            f"The {tests} p-values are not corrected for their number; with "
            f"{len(results[0].skill.null)} null fits none can be below "
            f"{1 / (1 + len(results[0].skill.null)):.2g}."
        )
    return notes


def methods(result: Reanalysis) -> str:
    """How it was done, as a paper would say it."""
    model, design = result.model, result.design
    return (
        "The subject is modelled as a kernel machine in the basis of its stimulus "
        f"space up to order {model.degree} ({model.functions} functions): a free "
        "amplitude for each order, within and between orders a symmetric matrix "
        "shrunk to zero by as much as the data say. Answers have a likelihood with "
        "the nuisance parameters of the table; an answer counts as "
        f"{float(result.fit.weight):.2f} of an independent one, by the spread of the "
        f"sessions' scores. Intervals are 90 %, of {DRAWS} draws from Laplace's "
        "approximation of the posterior. Errors are what the model expects of a "
        f"session of {design.training_stimuli:,} training stimuli, relative to the "
        "variance of labels: 1 is as good as answering the mean. Components are "
        "eigenfunctions of the kernel given the constant; their power's interval is of "
        f"the draws' components of the same rank. Held-out: {FOLDS} parts of the "
        "subjects, each predicted by a fit to the others; 0 is as good as "
        "knowing the mean answer of each session; intervals by bootstrap over "
        "subjects. Null: fits to answers shuffled among the test trials of each "
        "session, their skill at answers shuffled anew; p is the share of fits, the "
        "observed one included, with as low an error."
    )


def _equals(result: Reanalysis) -> str:
    """Which components are not told apart by their eigenvalues."""
    low, high = result.components["share_low"], result.components["share_high"]
    last = len(low) - 1
    cuts = [i + 1 for i in range(last) if low.iloc[i] > high.iloc[i + 1]]
    starts, ends = [0, *cuts], [*cuts, last + 1]
    sets = [f"{a + 1} to {b}" for a, b in zip(starts, ends, strict=True) if b - a > 1]
    if not sets:
        return "Their eigenvalues are told apart."
    return (
        f"Eigenvalues of components {' and '.join(sets)} are not told apart: any "
        "mixture of such components is as good a component, and only the space they "
        "span means something."
    )


def _no_better_than_null(result: Reanalysis) -> bool:
    return bool(result.skill.null) and result.skill.low <= max(result.skill.null)


def _cautions_of(result: Reanalysis) -> list[str]:
    found, notes = result.skill, []
    if _no_better_than_null(result):
        notes.append(
            f"{result.title}: held-out sessions are predicted no better than by fits "
            "to shuffled answers. Nothing here says anything about the subject."
        )
    elif found.skill < TRUSTED:
        notes.append(
            f"{result.title}: the model predicts {found.skill:.2f} of what it could of "
            f"held-out sessions, below {TRUSTED:g}. As a surrogate of this subject it "
            "is not to be trusted: individuals may differ much, or the subject may be "
            "no kernel machine."
        )
    elif found.gain_low <= 0:
        notes.append(
            f"{result.title}: held-out sessions are predicted no better than before "
            "any session. What was asked is easy for every smooth subject, and errors "
            "of other orders rest on few answers."
        )
    if result.components["space_overlap_low"].max() < _SURE:
        notes.append(
            f"{result.title}: no space of leading components is sure (overlap with "
            f"posterior draws below {_SURE:g}); more sessions are needed."
        )
    if result.left_out:
        notes.append(
            f"{result.title}: {result.left_out:,} of "
            f"{result.sessions + result.left_out:,} sessions were left out, evenly "
            f"over the study, to fit {MOST_SESSIONS:,} in minutes."
        )
    return notes
