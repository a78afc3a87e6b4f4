"""``penchant sweep``. Heavy imports wait inside, as for every command."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from analysis.command_line import faults
from analysis.spread_cli import shown, spread_options, where_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from server.sweep import Setting


@click.command()
@click.argument("study", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--set",
    "options",
    metavar="KEY=VALUE,VALUE",
    multiple=True,
    help="A key of the study file, as search.population, and the values to try; may "
    "be repeated: all combinations are run.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Simulated studies of each combination.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("sweep"),
    show_default=True,
    help="Folder for the Parquet data set.",
)
@spread_options
def sweep(
    study: Path,
    options: tuple[str, ...],
    seeds: int,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    scheduler_file: str | None,
) -> None:
    """Run simulated studies of STUDY with other settings, and many seeds of each.

    Every combination is checked before any is run. What each study found goes into one
    data set, a row for each component, that `pandas.read_parquet` reads. Stopped and
    typed again it goes on with what is missing; with more seeds or values it adds to
    what there is.
    """
    where = where_of(workers, scheduler, scheduler_file)
    with faults():
        from functools import partial

        from rich.console import Console

        from analysis.sweep_grid import axes_of, settings_of
        from server.spread import spread
        from server.sweep import TOGETHER, jobs_of, run_block

        axes = axes_of(options)
        settings = settings_of(study, axes)
        jobs = jobs_of(settings, range(1, seeds + 1))
        question = {
            "study": study.read_text(encoding="utf-8"),
            "set": sorted(axes),
        }
        function = partial(run_block, str(study.absolute().parent))
        with shown("studies") as show:
            found = spread(function, jobs, question, out, where, TOGETHER, show)
        if len(found.rows):
            Console().print(sweep_table(settings, found.rows))
        click.echo(f"data set: {out}")
        found.check()


def sweep_table(settings: "list[Setting]", rows: "pd.DataFrame") -> "Table":
    """Median error of the components of each setting, and its range over studies."""
    from rich.table import Table

    keys = [key.rpartition(".")[2] for key in settings[0].values]
    table = Table(*keys, "component", "studies", "median error", "range")
    for setting in settings:
        own = rows
        for key, value in setting.values.items():
            own = own[own[key] == value]
        for (component, group), each in own.groupby(["component", "group"]):
            error = each["error"]
            table.add_row(
                *map(str, setting.values.values()),
                f"{component} {group}".strip(),
                str(len(each)),
                f"{error.median():.3f}",
                f"{error.min():.3f} to {error.max():.3f}",
            )
    return table
