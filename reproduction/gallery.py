"""The gallery: every figure, paper against ours, in plain words and Markdown."""

from collections.abc import Sequence
from typing import Any

from reproduction.claim import ROLES, Role

JUDGED: tuple[Role, ...] = ("ours", "paper")
"""Whose findings are held against the null in words."""

_HEAD = (
    "| figure | targets met | beyond the null | seconds |",
    "| --- | --- | --- | --- |",
)


def gallery(every: Sequence[dict[str, Any]]) -> str:
    """A page of all figures from their numbers."""
    rows = [_row(numbers) for numbers in every]
    total = sum(numbers["seconds"] for numbers in every) / 60
    device = " and ".join(sorted({numbers["device"] for numbers in every}))
    parts = [
        "# Gallery: the figures of Dorrell et al. 2023, and NPBML",
        (
            "The figures of the paper are run with several seeds, beside the same "
            "search without any learner (the null) and beside a diagnostic learner "
            "whose answer must differ; a number that needs a learner, such as most "
            "errors, has no null. Power is energy, the share of the variance of the "
            "labels. A target is for the median over seeds and was set beforehand; "
            "beside it stands how many seeds reach it by themselves. A number lies "
            "beyond the null if at most 5 % of the searches without a learner reach "
            "it."
        ),
        (
            "The last entry, `npbml`, is of another paper: Raymond et al. 2024, whose "
            "procedures for learning are themselves learnt. Nothing is searched there, "
            "so its errors have no null; a network as it is born stands beside them."
        ),
        "\n".join([*_HEAD, *rows]),
        (
            f"Together {total:.0f} minutes of one process, on {device}; as many "
            "figures run at a time as there are cores."
        ),
        *(_figure(numbers) for numbers in every),
    ]
    return "\n\n".join(parts) + "\n"


def _row(numbers: dict[str, Any]) -> str:
    name, title = numbers["figure"], numbers["title"]
    link = f"[{name}](#{name})"
    met = _count([c["met"] for c in numbers["claims"]])
    beyond = _count(
        [c["beyond_null"] for c in numbers["claims"] if c["role"] == "ours"]
    )
    return f"| {link}: {title} | {met} | {beyond} | {numbers['seconds']:.0f} |"


def _count(answers: Sequence[bool | None]) -> str:
    known = [answer for answer in answers if answer is not None]
    return f"{sum(known)} of {len(known)}" if known else "-"


def _figure(numbers: dict[str, Any]) -> str:
    name, title = numbers["figure"], numbers["title"]
    table = [
        "| number | paper | we: median (range) | no learner (5-95 %) | target |",
        "| --- | --- | --- | --- | --- |",
        *(_claim(claim) for claim in numbers["claims"]),
    ]
    return "\n\n".join(
        [
            f"## {name}",
            f"**{title[0].upper()}{title[1:]}.** {numbers['paper']}",
            f"`penchant reproduce {name}`",
            f"![{title}]({name}/{name}.png)",
            "\n".join(table),
            *(_table(table) for table in numbers.get("tables", [])),
            *numbers["notes"],
            _verdict(numbers),
        ]
    )


def _table(table: dict[str, Any]) -> str:
    columns = table["columns"]
    lines = [columns, ["---"] * len(columns), *table["rows"]]
    return "\n".join(
        [f"{table['title']}:", "", *(f"| {' | '.join(line)} |" for line in lines)]
    )


def _claim(claim: dict[str, Any]) -> str:
    values = [float("nan") if v is None else v for v in claim["values"]]
    spread = f"{min(values):.3g} to {max(values):.3g}; {len(values)} seeds"
    ours = (
        f"{claim['median']:.3g} ({spread})" if claim["median"] is not None else spread
    )
    null, target = "", ""
    if claim["null"]:
        quantiles = [claim["null"][q] for q in ("median", "5_percent", "95_percent")]
        null = "{:.3g} ({:.3g} to {:.3g})".format(*quantiles)
    if claim["target"] is not None:
        sign = "at most" if claim["at_most"] else "at least"
        met = "met" if claim["met"] else "**missed**"
        seeds = f"{claim['reached']} of {len(values)}"
        target = f"{sign} {claim['target']:g}: {met}, {seeds}"
    statement = f"{ROLES[claim['role']]}: {claim['statement']}"
    return f"| {statement} | {claim['paper']} | {ours} | {null} | {target} |"


def _verdict(numbers: dict[str, Any]) -> str:
    """Which of the findings go beyond the null, in plain words."""
    sentences = []
    for role in JUDGED:
        mine = [c for c in numbers["claims"] if c["role"] == role]
        judged = [c for c in mine if c["beyond_null"] is not None]
        same = [c["statement"] for c in judged if not c["beyond_null"]]
        if not judged:
            continue
        name = ROLES[role][0].upper() + ROLES[role][1:]
        if not same:
            sentences.append(f"{name}: beyond the null in every number that has one.")
        else:
            sentences.append(
                f"{name}: a search without any learner gives as much for "
                f"{'; '.join(same)}. That says nothing about the learner."
            )
    missed = [c["statement"] for c in numbers["claims"] if c["met"] is False]
    if missed:
        sentences.append(f"Missed: {'; '.join(missed)}.")
    return " ".join(sentences)
