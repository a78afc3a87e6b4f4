"""``penchant reanalyse``. Heavy imports wait inside, as for every command."""

from pathlib import Path

import click

from analysis.command_line import beside, faults, read_all


@click.command()
@click.argument("journal")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reanalysis"),
    show_default=True,
    help="Folder for reanalysis.html, reanalysis.json and the figures.",
)
@click.option(
    "--components",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="Components to show.",
)
@click.option(
    "--degree",
    type=click.IntRange(1),
    help="Highest order to model. [default: what about 30 functions reach]",
)
@click.option(
    "--permutations",
    type=click.IntRange(0),
    default=19,
    show_default=True,
    help="Fits to shuffled answers, the null; 0 for a first look.",
)
def reanalyse(
    journal: str, out: Path, components: int, degree: int | None, permutations: int
) -> None:
    """Fit the subject model to all answers in JOURNAL.

    Whatever search chose the labellings, and finished or not: components, errors
    per order with intervals, and how well held-out sessions are predicted.
    """
    from analysis.subject_report import write_reanalysis

    out = out.absolute()
    with faults():
        read = read_all(journal)
        with beside(journal):
            page = write_reanalysis(read, out, components, degree, permutations)
    click.echo(f"reanalysis: {page}")
