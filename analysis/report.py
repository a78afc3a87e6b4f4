"""The report: one HTML file that shows and tells what was found, and its numbers."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.certificate import Found
from analysis.certificate_report import certificate_numbers, certificate_section
from analysis.citations import analysed_with, bibtex, references
from analysis.coherence import OUTCOMES
from analysis.conduct import Conduct, conduct
from analysis.conduct_report import (
    MOST_FLAGS,
    SPECTRUM_CAUTION,
    components_with_intervals,
    conduct_figures,
    conduct_methods,
    conduct_numbers,
    shown_covariates,
    spectrum_sentences,
)
from analysis.distance import REPLICATES
from analysis.figures import comparison_figure, error_figure, map_figure, power_figure
from analysis.finding import Finding, find
from analysis.frames import error_column
from analysis.headline import glance, headline
from analysis.page import Picture, iso, number, save, template
from analysis.recovery import Floats
from analysis.report_keys import KEYS
from analysis.verification import verified
from analysis.wording import (
    cautions,
    heading,
    methods,
    subjects_of,
    summary,
    verdict,
)
from meta_learner.verification import Verdict
from server.events import ClientSeen, Event, Quarantined, StudyFinished

FIGURES = "figures"
"""Folder of the figures, beside the page."""

_STATUSES = ("finished", "lost", "abandoned", "unusable", "open")


def write_report(
    studies: Sequence[tuple[str, Iterable[Event]]],
    out: Path,
    replicates: int = REPLICATES,
    certificates: Sequence[Found] = (),
) -> Path:
    """Analyse journals, each with a title, and write the report into ``out``.

    ``report.html`` needs no other file; ``report.json`` has every number and says
    what each key means; ``references.bib`` is what to cite; the folder ``figures``
    has every figure as PNG and SVG. Studies may be unfinished, nulls, imported, or of
    real subjects; ``certificates`` are shown with the studies that they are of. Returns
    the path of ``report.html``. Raises ``ValueError`` if
    there is no study.
    """
    if not studies:
        raise ValueError("expected one study or more, got none")
    findings = [find(title, events, replicates) for title, events in studies]
    conducts = [conduct(finding) for finding in findings]
    out.mkdir(parents=True, exist_ok=True)
    shown = [finding for finding in findings if finding.distances]
    comparison = None
    if len(shown) > 1:
        path = out / FIGURES / "comparison.png"
        comparison = save(comparison_figure(shown), path)
    sections = [
        _section(finding, found, certificates, out / FIGURES, prefix)
        for finding, found, prefix in zip(
            findings, conducts, prefixes(findings), strict=True
        )
    ]
    cited = references(findings)
    page = out / "report.html"
    page.write_text(
        template("report.html").render(
            heading=heading(findings),
            headline=headline(findings, conducts),
            sections=sections,
            comparison=comparison,
            cautions=cautions(findings),
            references=cited,
            bibtex=bibtex(cited),
            most=MOST_FLAGS,
        ),
        encoding="utf-8",
    )
    numbers = [section["numbers"] for section in sections]
    write_json(out / "report.json", {"keys": KEYS, "studies": numbers})
    (out / "references.bib").write_text(bibtex(cited), encoding="utf-8")
    return page


def write_json(path: Path, numbers: dict[str, Any]) -> None:
    """Numbers as a file that people can read too."""
    text = json.dumps(numbers, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def study_numbers(finding: Finding) -> dict[str, Any]:
    """Every number of a study's result, as JSON."""
    record, sessions = finding.record, finding.frames.sessions
    seen = [fact.what for fact in record.facts(ClientSeen)]
    return {
        "title": finding.title,
        "study": record.study.name,
        "seed": record.study.seed,
        "sha256": record.study.sha256,
        "mode": record.opened.mode,
        "null": record.study.null,
        "by_gradient": record.study.by_gradient,
        "groups": [group for group in record.study.groups if group],
        "aim": record.study.objective.aim,
        "finished": bool(record.facts(StudyFinished)),
        "first_event": iso(record.events[0].at),
        "last_event": iso(record.events[-1].at),
        "versions": record.opened.versions,
        "summary": summary(finding),
        "components": [
            _component_numbers(finding, i) for i in range(len(finding.distances))
        ],
        "overlap": _rounded(finding.recovered.overlap),
        "verification": [_verdict_numbers(v) for v in verified(record)],
        "null_replicates": len(finding.null),
        "sessions": {
            "begun": len(sessions),
            **{name: int((sessions["status"] == name).sum()) for name in _STATUSES},
            "late": int(sessions["late"].sum()),
            "used": int((sessions["used"] & sessions["error"].notna()).sum()),
        },
        "subjects": subjects_of(finding),
        "recorded_trials": {name: int(sessions[name].sum()) for name in OUTCOMES},
        "test_trials_used": int(sessions["test_trials"].sum()),
        "clients": {what: seen.count(what) for what in sorted(set(seen))},
        "quarantined_responses": len(record.facts(Quarantined)),
        "study_file": record.study.text,
    }


def _verdict_numbers(verdict: Verdict) -> dict[str, Any]:
    compared = {"null": verdict.null, "matched": verdict.matched}
    return {
        "component": verdict.component + 1,
        "confirmed": verdict.confirmed,
        "beyond_smoothness": verdict.beyond_smoothness,
    } | {
        name: {key: number(value) for key, value in one._asdict().items()}
        for name, one in compared.items()
    }


def _component_numbers(finding: Finding, component: int) -> dict[str, Any]:
    found = finding.distances[component]
    row = finding.frames.components.iloc[component]
    quantiles = np.quantile(finding.null[:, component], (0.05, 0.5, 0.95), axis=0)
    names = finding.orders.names
    return {
        "component": component + 1,
        "provisional": bool(row["provisional"]),
        "generations": int(row["generations"]),
        "sessions": int(row["sessions"]),
        "relative_errors": [
            {
                "group": group,
                "first": number(row[error_column("first", group)]),
                "final": number(row[error_column("final", group)]),
            }
            for group in finding.record.study.groups
        ],
        **_trust(finding, component),
        "leading_order": found.order,
        "power": number(found.power),
        "null_median": number(found.null_median),
        "null_5_percent": number(found.null_low),
        "null_95_percent": number(found.null_high),
        "odds_ratio": number(found.odds_ratio),
        "p_value": number(found.p_value),
        "beyond_null": found.beyond,
        "verdict": verdict(finding, component),
        "power_per_order": {
            name: {
                "power": p,
                "null_5_percent": low,
                "null_median": mid,
                "null_95_percent": high,
            }
            for name, p, low, mid, high in zip(
                names,
                _rounded(finding.recovered.power[component]),
                *_rounded(quantiles),
                strict=True,
            )
        },
    }


def _trust(finding: Finding, component: int) -> dict[str, Any]:
    """How far a model that helped the search was trusted."""
    table = finding.frames.generations
    if finding.record.study.helper is None:
        return {}
    own = table[table["component"] == component]
    trust = own["trust"].dropna()
    return {
        "model_trust": {
            "mean": number(trust.mean()),
            "last": number(trust.iloc[-1] if len(trust) else np.nan),
            "candidates_screened": int(own["screened"].sum()),
        }
    }


def _section(
    finding: Finding,
    found: Conduct,
    certificates: Sequence[Found],
    folder: Path,
    prefix: str,
) -> dict[str, Any]:
    """What the template needs to show one study; ``numbers`` are all there is."""
    figures: dict[str, Picture] = {}

    def keep(name: str, figure: Any) -> None:
        figures[name] = save(figure, folder / f"{prefix}-{name}.png")

    if finding.distances:
        keep("map", map_figure(finding))
        keep("power", power_figure(finding, found.intervals))
    if finding.frames.generations["scored"].sum():
        keep("error", error_figure(finding))
    figures |= conduct_figures(finding, found, folder, prefix)
    told = " ".join(filter(None, (methods(finding), conduct_methods(finding, found))))
    certified = certificate_section(finding, certificates, folder, prefix)
    numbers = study_numbers(finding) | conduct_numbers(found)
    numbers["certificate"] = certificate_numbers(certified)
    return {
        "numbers": numbers | {"methods": told, "analysed_with": analysed_with()},
        "anchor": prefix,
        "figures": figures,
        "glance": glance(finding, found),
        "certified": certified,
        "spectrum": spectrum_sentences(found),
        "spectrum_caution": SPECTRUM_CAUTION,
        "covariates": shown_covariates(found),
        "intervals": components_with_intervals(found),
    }


def prefixes(findings: Sequence[Finding]) -> list[str]:
    """A file name for each study; numbered where names repeat."""
    names = [finding.record.study.name for finding in findings]
    return [
        name if names.count(name) == 1 else f"{i + 1}-{name}"
        for i, name in enumerate(names)
    ]


def _rounded(values: Floats) -> Any:
    return np.round(values, 6).tolist()
