"""``penchant export``. Heavy imports wait inside, as for every command."""

from pathlib import Path

import click

from analysis.command_line import beside, faults, read_all


@click.command()
@click.argument("journal")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("export"),
    show_default=True,
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "csv"]),
    default="parquet",
    show_default=True,
)
def export(journal: str, out: Path, form: str) -> None:
    """Write trials, sessions, generations and components as tables."""
    from analysis.export import export as write

    with faults():
        studies, out = read_all(journal), out.absolute()
        with beside(journal):
            for name, events in studies:
                for path in write(events, out / name, form):
                    click.echo(path)
