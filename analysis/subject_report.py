"""The reanalysis as one HTML file that shows and tells it, with its numbers."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import subject_wording as wording
from analysis.page import iso, number, save, template
from analysis.record import Record, read
from analysis.subject import COMPONENTS, PERMUTATIONS, Reanalysis, contrast, reanalyse
from analysis.subject_figures import component_figure, skill_figure, spectrum_figure
from server.events import Event, StudyFinished


def write_reanalysis(
    studies: Sequence[tuple[str, Iterable[Event]]],
    out: Path,
    components: int = COMPONENTS,
    degree: int | None = None,
    permutations: int = PERMUTATIONS,
) -> Path:
    """Fit the subject model to journals and write what it says into ``out``.

    ``reanalysis.html`` needs no other file; ``reanalysis.json`` has every number,
    and the figures lie beside as PNG. Nulls that share a journal with a study are
    passed over. Returns the path of the page; raises ``ValueError`` where
    :func:`analysis.subject.reanalyse` does.
    """
    records = [read(events) for _, events in studies]
    records = [r for r in records if not r.study.null] or records
    results = [reanalyse(r, components, degree, permutations) for r in records]
    out.mkdir(parents=True, exist_ok=True)
    pairs = list(zip(records, results, strict=True))
    numbers = [study_numbers(record, groups) for record, groups in pairs]
    text = json.dumps({"studies": numbers}, indent=2, allow_nan=False)
    (out / "reanalysis.json").write_text(text + "\n", encoding="utf-8")
    page = out / "reanalysis.html"
    shown = [
        _with_figures(own, groups, out)
        for own, groups in zip(numbers, results, strict=True)
    ]
    notes = wording.cautions([result for groups in results for result in groups])
    filled = template("reanalysis.html").render(studies=shown, cautions=notes)
    page.write_text(filled, encoding="utf-8")
    return page


def study_numbers(record: Record, groups: Sequence[Reanalysis]) -> dict[str, Any]:
    """Every number of a study's reanalysis, as JSON."""
    return {
        "study": record.study.name,
        "seed": record.study.seed,
        "sha256": record.study.sha256,
        "mode": record.opened.mode,
        "finished": bool(record.facts(StudyFinished)),
        "first_event": iso(record.events[0].at),
        "last_event": iso(record.events[-1].at),
        "groups": [_group_numbers(result) for result in groups],
        "contrast": [
            {
                "chosen": groups[0].group,
                "other": other.group,
                "orders": _rows(contrast(groups[0], other)),
            }
            for other in groups[1:]
        ],
    }


def _group_numbers(result: Reanalysis) -> dict[str, Any]:
    skill = result.skill._asdict()
    null = [number(value) for value in skill.pop("null")]
    return {
        "title": result.title,
        "group": result.group,
        "sessions": result.sessions,
        "left_out": result.left_out,
        "answers": result.answers,
        "degree": result.model.degree,
        "response": result.model.response,
        "weight": number(float(result.fit.weight)),
        "spectrum": _rows(result.spectrum),
        "components": [
            row | _leading(result.power, row["component"])
            for row in _rows(result.components)
        ],
        "power": _rows(result.power),
        "nuisance": _rows(result.nuisance),
        "skill": {name: _plain(value) for name, value in skill.items()}
        | {"null": null},
        "trusted": wording.trusted(result),
        "fitted_to": wording.fitted_to(result),
        "easiest": wording.easiest(result),
        "skill_sentence": wording.skill(result),
        "beside_null": wording.beside_null(result),
        "spaces": wording.spaces(result),
        "methods": wording.methods(result),
    }


def _leading(power: pd.DataFrame, component: int) -> dict[str, Any]:
    """The order in which a component has most of its power, and how much."""
    own = power[power["component"] == component]
    row = own.loc[own["power"].idxmax()]
    return {
        "leading_order": int(row["order"]),
        "power": number(row["power"]),
        "power_low": number(row["low"]),
        "power_high": number(row["high"]),
    }


def _with_figures(
    numbers: dict[str, Any], groups: Sequence[Reanalysis], out: Path
) -> dict[str, Any]:
    """What the template needs to show one study."""
    name = numbers["study"]
    figures = {
        "spectrum": save(spectrum_figure(groups), out / f"{name}-spectrum.png"),
        "skill": save(skill_figure(groups), out / f"{name}-skill.png"),
    }
    each = []
    for own, result in zip(numbers["groups"], groups, strict=True):
        prefix = f"{name}-{result.group}" if result.group else name
        path = out / f"{prefix}-components.png"
        each.append(own | {"figure": save(component_figure(result), path)})
    return numbers | {"figures": figures, "groups": each}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: _plain(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    return number(value) if isinstance(value, float) else value
