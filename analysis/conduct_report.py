"""What sessions tell, for the report: numbers, figures, sentences."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.behaviour_figures import (
    behaviour_figure,
    covariate_figure,
    flag_figure,
    spectrum_figure,
)
from analysis.conduct import Conduct
from analysis.covariates import TERMS
from analysis.finding import Finding
from analysis.page import Picture, p_value, rows, save

MOST_FLAGS = 20
"""Flagged sessions, and problems, listed in the page; the numbers have all."""


SPECTRUM_METHODS = (
    "Bias spectrum: relative errors of finished sessions were regressed, without "
    "an intercept, on the share of power of each session's labelling in each order "
    "(ordinary least squares), with 90 % intervals from covariances robust to "
    "unequal noise (HC3; MacKinnon & White 1985) or to what sessions of a subject "
    "or a generation share. Its null exchanges the errors among the sessions of a "
    "generation and group 199 times; the p-value of a flat spectrum is that of a "
    "score test with 999 such permutations (Phipson & Smyth 2010). All draws of "
    "the analysis follow from seed 0."
)
"""How bias spectra are computed, in a paper's words."""


SPECTRUM_CAUTION = (
    "Heights assume that errors add up over orders. Of a subject that overshoots they "
    "do not: of 200 simulated studies of a ReLU kernel machine with next to no ridge, "
    "these 90 % intervals held the true error in 42 to 85 %, by order. Such intervals "
    "are too narrow; the permutation test of whether orders differ needs no sum."
)
"""What a reader of a bias spectrum must know."""


def conduct_numbers(found: Conduct) -> dict[str, Any]:
    """Every number of what sessions tell, as JSON; ``notes`` says what is missing."""
    return {
        "component_intervals": rows(found.intervals),
        "bias_spectrum": rows(found.spectrum),
        "flat_spectrum": rows(found.flat),
        "gain_spectrum": rows(found.gain),
        "learning_curve": rows(found.learning),
        "reaction_times": rows(found.times),
        "chronometric": rows(found.chronometric),
        "side_bias": rows(found.sides),
        "psychometric": rows(found.lapses),
        "covariates": rows(found.covariates),
        "exposure": rows(found.exposure),
        "sessions_flagged": int(found.flags["session"].nunique()),
        "flag_counts": {
            str(name): int(n) for name, n in found.flags["flag"].value_counts().items()
        },
        "flags": rows(found.flags),
        "problems": rows(found.problems),
        "notes": found.notes,
    }


def conduct_figures(
    finding: Finding, found: Conduct, folder: Path, prefix: str
) -> dict[str, Picture]:
    """Figures of what there is, by name; none for a section that has a note."""
    figures: dict[str, Picture] = {}

    def keep(name: str, figure: Any) -> None:
        figures[name] = save(figure, folder / f"{prefix}-{name}.png")

    if "spectrum" not in found.notes:
        keep("spectrum", spectrum_figure(found))
    drawn = behaviour_figure(found.learning, found.times, found.chronometric)
    if drawn is not None:
        keep("behaviour", drawn)
    if "covariates" not in found.notes:
        keep("covariates", covariate_figure(found))
    if len(found.flags):
        keep("flags", flag_figure(found, len(finding.frames.sessions)))
    return figures


def spectrum_sentences(found: Conduct) -> list[str]:
    """Whether errors depend on the order of labels, a sentence for each group."""
    said = []
    for row in found.flat.itertuples():
        errors = f"{row.group}: errors" if row.group else "Errors"
        if math.isnan(row.p_value):
            said.append(f"{errors} cannot be tested: {row.note}.")
        elif row.p_value <= 0.05:
            said.append(
                f"{errors} depend on the order of the labels (permutation "
                f"p = {p_value(row.p_value)}, {row.sessions:,} sessions): some orders "
                "are generalised better than others."
            )
        else:
            said.append(
                f"{errors} do not depend on the order of the labels beyond chance "
                f"(permutation p = {p_value(row.p_value)}, {row.sessions:,} sessions). "
                "No bias is shown."
            )
    return said


def conduct_methods(finding: Finding, found: Conduct) -> str:
    """How what sessions tell was computed, as a paper would say it."""
    if finding.record.study.null or finding.record.study.by_gradient:
        return ""
    said = [SPECTRUM_METHODS]
    if len(found.gain):
        said.append(
            "Gain: slope of answers to test stimuli on the part of the label in each "
            "order, within sessions."
        )
    if len(found.intervals):
        each = "; ".join(dict.fromkeys(found.intervals["how"]))
        said.append(f"Intervals of components are of: {each}.")
    if "covariates" not in found.notes:
        said.append(
            f"Covariates: a generalised linear model "
            f"({found.covariates['model'].iloc[0]}) of the answers to test stimuli, "
            "with standard errors robust to what trials of a subject or session share."
        )
    if len(found.lapses):
        said.append(
            "Slope, side bias and lapse were fitted to choices late in training, with "
            "bootstrap intervals over subjects or sessions."
        )
    if len(found.times):
        said.append(
            "Reaction times, of training and test: median of the medians of subjects, "
            "or of sessions where each subject had one, with a bootstrap interval; an "
            "ex-Gaussian by maximum likelihood."
        )
    said.append("Sessions are flagged by fixed limits and none is left out for a flag.")
    return " ".join(said)


def shown_covariates(found: Conduct) -> list[dict[str, Any]]:
    """Rows of the table of covariates, with what each effect is of."""
    return [
        row | {"what": TERMS.get(row["term"], row["term"])}
        for row in rows(found.covariates)
    ]


def components_with_intervals(found: Conduct) -> list[dict[str, Any]]:
    """Rows of the table of intervals, without powers of next to nothing."""
    table = found.intervals
    if not len(table):
        return []
    high = pd.to_numeric(table["high"]).fillna(table["estimate"])
    return rows(table[(table["quantity"] != "power") | (high >= 0.01)])
