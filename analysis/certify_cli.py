"""``penchant certify``. Heavy imports wait inside, as for every command."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.spread_cli import interruptible, spread_options, where_of

if TYPE_CHECKING:
    from analysis.certificate_results import Run
    from analysis.certificate_run import Show
    from server.cluster import Where

Runner = Callable[[bool], "Run"]
"""What runs a study file: through a real server, if so, or in process."""


@click.command()
@click.argument("study", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--bias",
    "names",
    multiple=True,
    metavar="NAME|FILE",
    help="A bias to plant; may be repeated. `order 2 harmonics`, `high frequency`, "
    "`one feature`, `feature NAME`; or a CSV file of labellings. [default: the first "
    "three, as far as the study's stimuli have them]",
)
@click.option(
    "--studies",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="Simulated studies of each bias.",
)
@click.option(
    "--none",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Simulated studies of subjects without any bias.",
)
@click.option(
    "--subjects",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Different subjects planted with each bias; studies take them in turn.",
)
@click.option(
    "--over-sockets",
    is_flag=True,
    help="Through a real server, with subjects in a process of their own.",
)
@click.option(
    "--keep-journals",
    is_flag=True,
    help="Leave the journals of the simulated studies, for `penchant analyse`; "
    "studies whose journals are gone are run again.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the certificate. [default: the study file's name with "
    "-certificate]",
)
@spread_options
@click.pass_obj
def certify(
    runner: Runner,
    study: Path,
    names: tuple[str, ...],
    studies: int,
    none: int,
    subjects: int,
    over_sockets: bool,
    keep_journals: bool,
    out: Path | None,
    workers: int | None,
    scheduler: str | None,
    scheduler_file: str | None,
) -> None:
    """Tell which biases STUDY would find, and which it would miss.

    A positive control before the first subject: known biases are planted in simulated
    subjects, and the whole study is run with them, on its own budget and with its own
    noise; and with subjects that have none, to see how often it cries wolf. Run again,
    it goes on with what is missing.
    """
    at = where_of(workers, scheduler, scheduler_file)
    from analysis.certificate_run import Wanted
    from analysis.command_line import faults

    out = out or study.with_name(f"{study.stem}-certificate")
    wanted = Wanted(
        studies,
        none,
        min(subjects, studies),
        over_sockets=over_sockets,
        keep=keep_journals,
    )
    with faults(), interruptible():
        run = runner(over_sockets)
        page, sentences = _made(study, out, names, wanted, run, at)
    for sentence in sentences:
        click.echo(sentence)
    click.echo(f"certificate: {page}")


def _made(
    study: Path,
    out: Path,
    names: tuple[str, ...],
    wanted: Any,
    run: "Run",
    at: "Where",
) -> tuple[Path, list[str]]:
    """The page of the certificate, and its verdict."""
    from analysis.certificate_page import write_certificate
    from analysis.certificate_run import certify
    from simulated_subjects.planted_family import BIASES

    # Studies are read from other folders than this one.
    absolute = [
        str(Path(name).absolute()) if name.endswith(".csv") else name for name in names
    ]
    with _shown() as show:
        certificate = certify(
            study,
            out,
            absolute or BIASES,
            bool(names),
            wanted,
            run,
            show,
            datetime.now(UTC).date().isoformat(),
            at,
        )
    return write_certificate(certificate, out), certificate.verdict


@contextlib.contextmanager
def _shown() -> Iterator["Show"]:
    """A bar for the subjects that are planted, and one for sessions."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[what]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    units = {"subjects": "subjects planted", "studies": "sessions simulated"}
    with Progress(*columns) as bar:
        tasks = {
            stage: bar.add_task(unit, total=None, what="")
            for stage, unit in units.items()
        }

        def show(stage: str, what: str, done: int, total: int) -> None:
            if total < 0:
                bar.update(tasks[stage], what=what)
            else:
                bar.update(tasks[stage], what=what, completed=done, total=total)

        yield show
