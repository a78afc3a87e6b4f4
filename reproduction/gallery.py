"""The gallery: every figure, paper against ours, in plain words and Markdown."""

from collections.abc import Sequence
from typing import Any

_ROLES = {
    "ours": "default objective",
    "diagnostic": "diagnostic learner",
    "paper": "the paper's settings",
    "paper diagnostic": "the paper's settings, diagnostic learner",
}


_HEAD = (
    "| figure | targets met | beyond the null | seconds |",
    "| --- | --- | --- | --- |",
)


def gallery(every: Sequence[dict[str, Any]]) -> str:
    """A page of all figures from their numbers."""
    rows = [_row(numbers) for numbers in every]
    parts = [
        "# Gallery: the figures of Dorrell et al. 2023",
        (
            "Every figure is run with several seeds, beside the same search without "
            "any learner (the null) and beside a diagnostic learner whose answer must "
            "differ. Power is energy, the share of the variance of the labels. A "
            "target is for the median over seeds and was set beforehand; a number lies"
            " beyond the null if at most 5 % of the searches without a learner reach "
            "it."
        ),
        "\n".join([*_HEAD, *rows]),
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
    name = numbers["figure"]
    table = [
        "| number | paper | we: median (range) | no learner (5-95 %) | target |",
        "| --- | --- | --- | --- | --- |",
        *(_claim(claim) for claim in numbers["claims"]),
    ]
    return "\n\n".join(
        [
            f"## {name}",
            f"**{numbers['title'].capitalize()}.** {numbers['paper']}",
            f"`penchant reproduce {name}`: {len(numbers['seeds'])} seeds.",
            f"![{numbers['title']}]({name}/{name}.png)",
            "\n".join(table),
            *numbers["notes"],
            _verdict(numbers),
        ]
    )


def _claim(claim: dict[str, Any]) -> str:
    low, high = min(claim["values"]), max(claim["values"])
    ours = f"{claim['median']:.3g} ({low:.3g} to {high:.3g})"
    null, target = "", ""
    if claim["null"]:
        quantiles = [claim["null"][q] for q in ("median", "5_percent", "95_percent")]
        null = "{:.2g} ({:.2g} to {:.2g})".format(*quantiles)
    if claim["target"] is not None:
        sign = "at most" if claim["at_most"] else "at least"
        target = (
            f"{sign} {claim['target']:g}: {'met' if claim['met'] else '**missed**'}"
        )
    statement = f"{_ROLES[claim['role']]}: {claim['statement']}"
    return f"| {statement} | {claim['paper']} | {ours} | {null} | {target} |"


def _verdict(numbers: dict[str, Any]) -> str:
    """Which of the findings go beyond the null, in plain words."""
    sentences = []
    for role in ("ours", "paper"):
        judged = [c for c in numbers["claims"] if c["role"] == role and c["null"]]
        same = [c["statement"] for c in judged if not c["beyond_null"]]
        if not judged:
            continue
        name = _ROLES[role][0].upper() + _ROLES[role][1:]
        if not same:
            sentences.append(f"{name}: beyond the null in every number.")
        else:
            sentences.append(
                f"{name}: a search without any learner gives as much for "
                f"{'; '.join(same)}. That says nothing about the learner."
            )
    missed = [c["statement"] for c in numbers["claims"] if c["met"] is False]
    if missed:
        sentences.append(f"Missed: {'; '.join(missed)}.")
    return " ".join(sentences)
