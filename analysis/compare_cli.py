"""``penchant compare``. Heavy imports wait inside, as for every command."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from analysis.command_line import beside, faults, read_all

if TYPE_CHECKING:
    from analysis.salvage import Sound


@click.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY [STUDY]")
@click.option(
    "--groups",
    nargs=2,
    metavar="ONE OTHER",
    help="Two groups of one study, instead of two studies.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("comparison"),
    show_default=True,
    help="Folder for comparison.html, comparison.json and the figures.",
)
def compare(
    studies: tuple[str, ...], groups: tuple[str, str] | None, out: Path
) -> None:
    """Compare two studies, or two groups of one.

    A STUDY is a journal, or FILE:NAME where it holds several. Of a journal with a
    study and its null the study is taken. Both need the same stimulus space.
    """
    if len(studies) != (1 if groups else 2):
        raise click.UsageError("two studies, or one with --groups ONE OTHER")
    from analysis.comparison import compare_studies, compare_two_groups
    from analysis.comparison_report import write_comparison
    from analysis.finding import find

    with faults():
        out = out.absolute()
        located = [_located(where) for where in studies]
        findings = []
        for file, (title, events) in located:
            with beside(file):
                findings.append(find(title, events))
        with beside(located[0][0]):
            found = (
                compare_two_groups(findings[0], groups)
                if groups
                else compare_studies(findings[0], findings[1])
            )
            page = write_comparison(found, out)
    click.echo(f"comparison: {page}")


def _located(where: str) -> "tuple[str, tuple[str, Sound]]":
    """The journal that ``where`` is in, and the one study that it names."""
    file, name = where, ""
    head, _, tail = where.rpartition(":")
    if head and "/" not in tail and not Path(where).is_file():
        file, name = head, tail
    every = read_all(file)
    found = [pair for pair in every if pair[0] == name or not name]
    if len(found) > 1:
        found = [pair for pair in found if not pair[0].endswith("-null")]
    if len(found) == 1:
        return file, found[0]
    names = ", ".join(title for title, _ in every)
    raise ValueError(
        f"{file} holds no study {name!r}, but {names}"
        if name
        else f"{file} holds several studies: say {file}:NAME, one of {names}"
    )
