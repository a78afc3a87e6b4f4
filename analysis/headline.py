"""What a reader learns in twenty seconds: a sentence or two, and a row per study."""

import math
from typing import Any

from analysis.conduct import Conduct
from analysis.finding import Finding
from analysis.page import number


def headline(findings: list[Finding], conducts: list[Conduct]) -> list[str]:
    """The result of all studies in a few short sentences."""
    studies = [
        (finding, found)
        for finding, found in zip(findings, conducts, strict=True)
        if not finding.record.study.null
    ]
    if not studies:
        return ["Only searches without a learner are shown: there is no subject here."]
    said = [_components([finding for finding, _ in studies])]
    tested = [row for _, found in studies for row in found.flat.itertuples()]
    tested = [row for row in tested if not math.isnan(row.p_value)]
    if tested:
        uneven = sum(row.p_value <= 0.05 for row in tested)
        said.append(
            f"Errors of {uneven} of {len(tested)} "
            f"{_plural('group', len(tested))} of subjects depend on the order of the "
            "labels (permutation test, 5 %)."
        )
    flagged = sum(found.flags["session"].nunique() for _, found in studies)
    every = sum(len(finding.frames.sessions) for finding, _ in studies)
    if every:
        said.append(f"{flagged:,} of {every:,} sessions are flagged for quality.")
    damaged = sum(len(found.problems) for _, found in studies)
    if damaged:
        were = "part of the data was" if damaged == 1 else "parts of the data were"
        said.append(f"{damaged:,} {were} damaged and left out.")
    return said


def _components(findings: list[Finding]) -> str:
    distances = [one for finding in findings for one in finding.distances]
    if not distances and all(finding.record.imported for finding in findings):
        return "Imported trials: no labelling was searched."
    if not distances:
        return "No component has been recovered yet."
    n = len(distances)
    beyond = sum(one.beyond for one in distances)
    studies = f"{len(findings)} {_plural('study', len(findings))}"
    return (
        f"{beyond} of {n} {_plural('component', n)} of {studies} "
        f"{'lies' if beyond == 1 else 'lie'} beyond what the same search finds without "
        "a learner."
    )


def glance(finding: Finding, found: Conduct) -> dict[str, Any]:
    """A row of the table at the top: the first component beside its null."""
    study, first = finding.record.study, next(iter(finding.distances), None)
    errors = found.intervals
    if len(errors):
        of_error = errors["quantity"].str.startswith("error")
        errors = errors[(errors["component"] == 0) & of_error]
    row: dict[str, Any] = {
        "title": finding.title,
        "sessions": 0 if study.null else len(finding.frames.sessions),
        "flagged": int(found.flags["session"].nunique()),
        "errors": [
            {name: number(getattr(e, name)) for name in ("estimate", "low", "high")}
            | {"group": str(e.quantity).removeprefix("error").lstrip("_")}
            for e in errors.itertuples()
        ],
        "components": len(finding.distances),
    }
    if first is None:
        word = "none sought" if finding.record.imported else "no component yet"
        return row | {"order": None, "word": word}
    if study.null:
        word = "is a null"
    else:
        word = "beyond its null" if first.beyond else "no different from its null"
    return row | {
        "order": first.order,
        "power": first.power,
        "null_median": first.null_median,
        "null_low": first.null_low,
        "null_high": first.null_high,
        "p_value": first.p_value,
        "word": word,
    }


def _plural(noun: str, n: int) -> str:
    if n == 1:
        return noun
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
