"""What commands that run simulated studies share: where they are run, and a bar."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from server.cluster import Where
    from server.spread import Show

_Command = TypeVar("_Command", bound=Callable[..., Any])


def spread_options(command: _Command) -> _Command:
    """The options that :func:`where_of` reads."""
    options = (
        click.option(
            "--workers",
            type=click.IntRange(0),
            help="Worker processes of this computer; 0 for none beside this one. "
            "[default: one for each core]",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="A Dask scheduler whose workers to use, as tcp://host:8786.",
        ),
        click.option(
            "--scheduler-file",
            type=click.Path(exists=True, dir_okay=False),
            help="The same, by the file that it wrote.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def where_of(
    workers: int | None, scheduler: str | None, scheduler_file: str | None
) -> "Where":
    """Where jobs are run; raises ``UsageError`` for options that exclude each other."""
    from server.cluster import Where, available
    from server.hand_out import ONE_THREAD

    if sum(each is not None for each in (workers, scheduler, scheduler_file)) > 1:
        raise click.UsageError(
            "--workers, --scheduler and --scheduler-file exclude each other"
        )
    if workers is None and not (scheduler or scheduler_file or available()):
        workers = 0
    if workers == 0 and "jax" not in sys.modules:
        # As a worker: the same numbers to the last digit.
        os.environ.update(ONE_THREAD)
    return Where(workers, scheduler, scheduler_file)


@contextlib.contextmanager
def shown(unit: str) -> "Iterator[Show]":
    """A bar with jobs done, their rate and the time left; Ctrl-C says how to go on."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task: Task) -> Text:
            done = task.completed - (task.fields["before"] or 0)
            if not (done and task.elapsed):
                return Text("")
            return Text(f"{60 * done / task.elapsed:.1f}/min")

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}"),
        speed_estimate_period=600,
    )
    with interruptible(), bar:
        task = bar.add_task(unit, total=None, what="", before=None)

        def show(done: int, total: int, what: str) -> None:
            before = bar.tasks[task].fields["before"]
            before = done if before is None else before
            bar.update(task, completed=done, total=total, what=what, before=before)

        yield show


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C says that nothing finished is lost."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Stopped. What is done is kept: the same command goes on from here.")
        raise click.exceptions.Exit(130) from None
