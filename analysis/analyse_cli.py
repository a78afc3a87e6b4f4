"""``penchant analyse``. Heavy imports wait inside, as for every command."""

from pathlib import Path

import click

from analysis.command_line import beside, faults, read_all


@click.command()
@click.argument("journals", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for report.html, report.json, references.bib and the figures.",
)
def analyse(journals: tuple[str, ...], out: Path) -> None:
    """Show the bias that the sessions in JOURNALS reveal.

    Several journals are shown side by side: a study, its null, a control.
    """
    from analysis.report import write_report

    with faults():
        studies = [pair for where in journals for pair in read_all(where)]
        out = out.absolute()
        with beside(journals[0]):
            report = write_report(studies, out)
    click.echo(f"report: {report}")
