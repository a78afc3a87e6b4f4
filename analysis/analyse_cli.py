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
@click.option(
    "--certificate",
    "certificates",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="A certificate.json of `penchant certify`, of one of the studies; may be "
    "repeated. [default: those in folders beside the journals]",
)
def analyse(
    journals: tuple[str, ...], out: Path, certificates: tuple[Path, ...]
) -> None:
    """Show the bias that the sessions in JOURNALS reveal.

    Several journals are shown side by side: a study, its null, a control.
    """
    from analysis import certificate_report as certified
    from analysis.report import write_report

    with faults():
        studies = [pair for where in journals for pair in read_all(where)]
        found, unread = certified.beside(journals, studies)
        found += certified.given(certificates, studies)
        for fault in unread:
            click.echo(f"problem: {fault}", err=True)
        out = out.absolute()
        with beside(journals[0]):
            report = write_report(studies, out, certificates=found)
    click.echo(f"report: {report}")
