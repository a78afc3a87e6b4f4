"""``penchant reproduce``. Heavy imports wait inside, as for every command."""

from pathlib import Path

import click


@click.command()
@click.argument("figures", nargs=-1, required=True, metavar="all|list|FIGURE...")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reproduction-results"),
    show_default=True,
    help="A folder for each figure: journal, numbers, picture; and the gallery.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Seeds 1 to this; the longest figures take the first three.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Figures at a time. [default: one for each core, one on a GPU]",
)
@click.option(
    "--paper-settings",
    is_flag=True,
    help="Print the paper's own settings for FIGURE as a study file, and stop.",
)
def reproduce(
    figures: tuple[str, ...],
    out: Path,
    seeds: int,
    jobs: int | None,
    paper_settings: bool,
) -> None:
    """Reproduce figures of Dorrell et al. 2023, each beside its null.

    `list` tells their names. Run again, it goes on with what is missing.
    """
    from rich.console import Console

    from reproduction.catalogue import FIGURES
    from reproduction.run import reproduce_all

    console = Console()
    if figures == ("list",):
        for name, entry in FIGURES.items():
            console.print(f"[bold]{name:17}[/bold] {entry.title}", highlight=False)
        return
    names = tuple(FIGURES) if figures == ("all",) else figures
    if unknown := [name for name in names if name not in FIGURES]:
        raise click.UsageError(
            f"there is no figure {unknown[0]!r}; known: all, {', '.join(FIGURES)}"
        )
    if paper_settings:
        from reproduction.settings import PAPER, paper_study

        if len(names) != 1 or names[0] not in PAPER:
            raise click.UsageError(
                f"the paper's settings are known for one of {', '.join(PAPER)}"
            )
        click.echo(paper_study(names[0]), nl=False)
        return
    try:
        done = reproduce_all(
            names, out.absolute(), tuple(range(1, seeds + 1)), jobs, console.print
        )
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    missed = [numbers["figure"] for numbers in done if not numbers["met"]]
    console.print(f"gallery: {out / 'gallery.md'}")
    if missed:
        console.print(f"targets missed in {', '.join(missed)}: see there")
