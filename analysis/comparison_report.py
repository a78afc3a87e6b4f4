"""A comparison as a page: sentences, tables, figures, and its numbers."""

from pathlib import Path
from typing import Any

from analysis.behaviour_figures import behaviour_figure
from analysis.citations import analysed_with, bibtex, references
from analysis.comparison import Compared, Overlap
from analysis.comparison_figures import MEASURE_NAMES, effect_figure, spectra_figure
from analysis.conduct_report import SPECTRUM_METHODS
from analysis.figures import comparison_figure
from analysis.finding import Finding
from analysis.group_spectra import differing
from analysis.page import Picture, number, p_value, rows, save, template
from analysis.report import FIGURES, write_json
from meta_learner.objective import CONTRASTS

KEYS = {
    "names": "the two sides of the comparison",
    "studies": "name, seed, SHA-256, mode and null of each study",
    "groups": "groups of sessions that are compared, pair by pair",
    "sessions": "finished sessions, subjects and test trials of each group",
    "bias_spectrum": "as in report.json",
    "differences": "per order: relative error of group less that of other, 90 % "
    "interval, permutation p and p corrected for the number of rows",
    "effects": "per measure: means, difference, Hedges' g and Cliff's delta with 90 % "
    "intervals, permutation p, corrected p, unit that was exchanged",
    "learning_curve": "as in report.json",
    "reaction_times": "as in report.json",
    "chronometric": "as in report.json",
    "overlap": "of components: correlations of labels; shared: mean squared cosine "
    "between their spaces, beside searches without a learner; null where there is none",
    "summary": "what was found, in words",
    "cautions": "what a reader must know",
    "methods": "how it was compared",
    "analysed_with": "software of this analysis",
}
"""Keys of comparison.json, which carries this table itself."""


_EXPLORATORY = (
    "Unless this comparison was planned before the data were seen, it is exploratory: "
    "repeat what it finds on new subjects."
)


def write_comparison(found: Compared, out: Path) -> Path:
    """Write page, numbers, ``references.bib`` and figures into the folder ``out``.

    Returns the path of ``comparison.html``, which needs no other file.
    """
    numbers = comparison_numbers(found)
    cited = references(found.findings, "benjamini1995", "hedges1981")
    out.mkdir(parents=True, exist_ok=True)
    page = out / "comparison.html"
    page.write_text(
        template("comparison.html").render(
            n=numbers,
            figures=_figures(found, out / FIGURES),
            measures=MEASURE_NAMES,
            references=cited,
            bibtex=bibtex(cited),
        ),
        encoding="utf-8",
    )
    write_json(out / "comparison.json", {"keys": KEYS} | numbers)
    (out / "references.bib").write_text(bibtex(cited), encoding="utf-8")
    return page


def comparison_numbers(found: Compared) -> dict[str, Any]:
    """Every number of a comparison, as JSON."""
    overlap = found.overlap
    return {
        "names": list(found.names),
        "studies": [
            {
                "title": finding.title,
                "study": finding.record.study.name,
                "seed": finding.record.study.seed,
                "sha256": finding.record.study.sha256,
                "mode": finding.record.opened.mode,
                "null": finding.record.study.null,
                "versions": finding.record.opened.versions,
            }
            for finding in found.findings
        ],
        "groups": found.groups,
        "sessions": rows(found.sessions),
        "bias_spectrum": rows(found.spectrum),
        "differences": rows(found.differences),
        "effects": rows(found.effects),
        "learning_curve": rows(found.learning),
        "reaction_times": rows(found.times),
        "chronometric": rows(found.chronometric),
        "overlap": None if overlap is None else _overlap_numbers(overlap),
        "summary": summary(found),
        "cautions": cautions(found),
        "methods": methods(found),
        "analysed_with": analysed_with(),
    }


def summary(found: Compared) -> list[str]:
    """What differs, in a few sentences."""
    said = []
    tested = found.differences.dropna(subset="p_value")
    differ = tested[differing(tested)]
    if not len(tested):
        said.append("Bias spectra cannot be compared: no order has enough sessions.")
    elif not len(differ):
        said.append(
            f"No difference between the bias spectra in any of {len(tested)} "
            "comparisons of orders (permutation tests, corrected, 5 %, and 90 % "
            "intervals that leave out 0)."
        )
    for row in differ.itertuples():
        more = "more" if row.difference > 0 else "less"
        order = "orders above" if row.order == "above" else f"order {row.order}"
        said.append(
            f"Labels of {order}: {row.group} makes {more} error than {row.other}, by "
            f"{abs(row.difference):.2g} (difference {row.low:.2g} to {row.high:.2g}; "
            f"corrected p = {p_value(row.p_corrected)})."
        )
    said += [
        f"Difference in {MEASURE_NAMES.get(row.measure, row.measure)}: "
        f"{row.mean:.3g} for {row.group}, {row.mean_other:.3g} for {row.other}"
        f", Hedges' g = {row.hedges_g:.2f} (corrected p = "
        f"{p_value(row.p_corrected)})."
        for row in found.effects.dropna(subset="p_value").itertuples()
        if row.p_corrected <= 0.05
    ]
    if found.overlap is not None:
        said.append(_overlap_sentence(found.overlap))
    return said


def _overlap_sentence(overlap: Overlap) -> str:
    alike = (
        "more than searches without a learner do"
        if overlap.p_value <= 0.05
        else "no more than searches without a learner do by themselves"
    )
    return (
        f"The components share {100 * overlap.shared:.0f} % of their space, {alike}: "
        f"{100 * overlap.null_median:.0f} % ({100 * overlap.null_low:.0f} to "
        f"{100 * overlap.null_high:.0f} %), p = {p_value(overlap.p_value)}."
    )


def cautions(found: Compared) -> list[str]:
    """What a reader must know before believing a difference."""
    notes = [_EXPLORATORY]
    budgets = found.sessions["sessions"]
    if len(budgets) > 1 and budgets.min() < 0.9 * budgets.max():
        each = ", ".join(
            f"{r.group}: {r.sessions:,}" for r in found.sessions.itertuples()
        )
        notes.append(f"Budgets differ in sessions ({each}); so does how far each got.")
    if len(found.findings) == 2:
        notes += _cautions_of_two(*found.findings)
    for finding in found.findings:
        study = finding.record.study
        if study.null:
            notes.append(
                f"{finding.title} is a search without a learner: it has no sessions, "
                "and only its components can be compared."
            )
        if len(found.findings) == 1 and study.objective.aim in CONTRASTS:
            notes.append(
                "The labellings were sought for a contrast between groups: that they "
                "differ on these is by design, and no estimate of how they differ on "
                "others."
            )
    return notes


def _cautions_of_two(one: Finding, other: Finding) -> list[str]:
    notes = []
    first, second = one.record.study, other.record.study
    designs: dict[str, list[Any]] = {
        "training stimuli": [s.design.training_stimuli for s in (first, second)],
        "passes of training": [s.design.training_repeats for s in (first, second)],
        "responses": [s.design.response for s in (first, second)],
        "feedback": [s.design.feedback for s in (first, second)],
        "labelling family": [s.file.labelling.get("family") for s in (first, second)],
        "search": [s.file.search.method for s in (first, second)],
        "mode": [f.record.opened.mode for f in (one, other)],
    }
    for what, (mine, theirs) in designs.items():
        if mine != theirs:
            notes.append(
                f"The studies differ in {what} ({mine}, {theirs}), which alone can "
                "make spectra differ."
            )
    notes.append(
        "The studies showed labellings of their own. Orders are compared as far as "
        "errors add up over orders; mean errors also tell how easy the labellings were."
    )
    alike = [
        f.title
        for f in (one, other)
        if f.distances and not any(d.beyond for d in f.distances)
    ]
    notes += [
        f"{title}: no component is beyond its no-learner null. An overlap with it says "
        "nothing about its subject."
        for title in alike
    ]
    return notes


def methods(found: Compared) -> str:
    """How it was compared, as a paper would say it."""
    units = ", ".join(dict.fromkeys(map(str, found.effects["unit"].dropna())))
    said = (
        f"{SPECTRUM_METHODS} Spectra were compared by one regression for both groups; "
        "p-values are of 999 permutations of subjects between groups, or, where "
        "subjects had one session each, of sessions on one labelling or of whole "
        "generations, and corrected for the number "
        "of orders and pairs (false discovery rate, Benjamini & Hochberg 1995). "
        f"Measures were compared by 9,999 permutations of {units or 'sessions'}, with "
        "Hedges' g (Hedges 1981), Cliff's delta and their bootstrap intervals (90 %)."
    )
    if found.overlap is not None:
        said += (
            " Overlap of components is the mean squared cosine of the principal angles "
            f"between their spaces, beside that of {len(found.findings[0].null)} pairs "
            "of searches without a learner, one of each study."
        )
    return said


def _figures(found: Compared, folder: Path) -> dict[str, Picture]:
    figures: dict[str, Picture] = {}

    def keep(name: str, figure: Any) -> None:
        figures[name] = save(figure, folder / f"{name}.png")

    if found.spectrum["error"].notna().any():
        keep("spectra", spectra_figure(found))
    if found.effects["hedges_g"].notna().any():
        keep("effects", effect_figure(found))
    drawn = behaviour_figure(found.learning, found.times, found.chronometric)
    if drawn is not None:
        keep("behaviour", drawn)
    shown = [finding for finding in found.findings if finding.distances]
    if shown:
        keep("components", comparison_figure(shown))
    return figures


def _overlap_numbers(overlap: Overlap) -> dict[str, Any]:
    plain = {
        name: number(value)
        for name, value in overlap._asdict().items()
        if name != "correlations"
    }
    return plain | {
        "correlations": [[number(r) for r in row] for row in overlap.correlations]
    }
