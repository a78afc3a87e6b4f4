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
@click.option(
    "--images",
    "image_sets",
    multiple=True,
    metavar="NAME=PATH",
    help="For npbml, once or more: a local copy of mini_imagenet, tiered_imagenet, "
    "cifar_fs or fc100.",
)
def reproduce(
    figures: tuple[str, ...],
    out: Path,
    seeds: int,
    jobs: int | None,
    paper_settings: bool,
    image_sets: tuple[str, ...],
) -> None:
    """Reproduce figures of Dorrell et al. 2023, each beside its null.

    And `npbml`, the procedures of Raymond et al. 2024. `list` tells all names. Run
    again, it goes on with what is missing.
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
    images = _images(image_sets, names)
    each = tuple(range(1, seeds + 1))
    try:
        done = reproduce_all(names, out.absolute(), each, jobs, console.print, images)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    missed = [numbers["figure"] for numbers in done if not numbers["met"]]
    console.print(f"gallery: {out / 'gallery.md'}")
    if missed:
        console.print(f"targets missed in {', '.join(missed)}: see there")


def _images(given: tuple[str, ...], names: tuple[str, ...]) -> dict[str, Path]:
    """Local copies of image sets by name; refuses what no figure would use."""
    if not given:
        return {}
    from reproduction.few_shot.image_sets import IMAGE_SETS

    if "npbml" not in names:
        raise click.UsageError("--images is for npbml, which is not among the figures")
    paths = {}
    for each in given:
        name, _, path = each.partition("=")
        if name not in IMAGE_SETS or not path:
            raise click.UsageError(
                f"--images expects NAME=PATH with NAME one of {', '.join(IMAGE_SETS)}; "
                f"got {each!r}"
            )
        paths[name] = Path(path).absolute()
    return paths
