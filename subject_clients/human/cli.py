"""``penchant subject human``: a person in front of a PsychoPy window."""

from pathlib import Path
from typing import Any

import click

from subject_clients.address import split_link
from subject_clients.options import wired


def _size(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    width, by, height = value.partition("x")
    if not (by and width.isdigit() and height.isdigit()):
        raise click.BadParameter(f"expected something like 1024x768, got {value!r}")
    return int(width), int(height)


@click.command()
@click.option("--name", help="Pseudonym of the participant.")
@click.option("--url", default="http://127.0.0.1:5000", show_default=True)
@click.option("--dialog", is_flag=True, help="Ask for name and group in a dialog.")
@click.option("--group", help="Its group, in a study with groups.")
@click.option("--rig", help="The apparatus that the participant is in, if any.")
@click.option("--screen", default=0, show_default=True, help="Number of the screen.")
@click.option("--windowed", is_flag=True, help="A window instead of the whole screen.")
@click.option("--size", default="1024x768", callback=_size, help="Of that window.")
@click.option("--width-cm", type=float, help="Width of the screen.")
@click.option("--distance-cm", type=float, help="From the eyes to the screen.")
@click.option("--monitor", help="Its name in PsychoPy's Monitor Center instead.")
@click.option(
    "--units",
    type=click.Choice(["deg", "px", "norm"]),
    default="deg",
    show_default=True,
    help="px and norm: a rehearsal without calibration.",
)
@click.option(
    "--stimuli",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of stimulus files. [default: the server has them]",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Folder for tables, logs and the outbox.",
)
@wired
def human(**options: Any) -> None:
    """Show a person stimuli in a PsychoPy window; answers by keys or mouse.

    Texts, keys and times are in the section [human] of the study file. Start it again
    with the same name after a crash: the session goes on. See docs/human.md.
    """
    from subject_clients.human.start import Options, start

    options["url"], options["token"] = split_link(options["url"], options["token"])
    windowed = options.pop("windowed")
    try:
        ended = start(Options(full_screen=not windowed, **options))
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Ended: {ended}.")
