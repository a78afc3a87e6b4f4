"""The command line: ``penchant``. Heavy imports wait inside the commands."""

import contextlib
import functools
import gc
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.analyse_cli import analyse
from analysis.certify_cli import certify
from analysis.command_line import faults
from analysis.compare_cli import compare
from analysis.export_cli import export
from analysis.import_cli import import_
from analysis.plan_cli import plan
from analysis.reanalyse_cli import reanalyse
from analysis.sweep_cli import sweep
from reproduction.cli import reproduce
from server.db_cli import db
from server.plant_cli import plant as plant_subject
from server.serve_cli import free_port, serve
from server.token_cli import token
from subject_clients.catalogue import Subjects
from subject_clients.conformance_cli import conformance
from subject_clients.operator_cli import order, status
from subject_clients.options import wired

if TYPE_CHECKING:
    from server.journal import Journal
    from server.study_file import Study

STUDY = click.argument("study", type=click.Path(dir_okay=False, path_type=Path))
JOURNAL = click.option(
    "--journal",
    metavar="FILE_OR_URL",
    help="Where every event is stored. [default: the study file's name with .db]",
)
NULL = click.option(
    "--null",
    is_flag=True,
    help="Run the no-learner null: the same search, blind to all subjects.",
)


def runner(over_sockets: bool) -> Callable[..., None]:
    """What runs a simulated study to its end, for commands of the analysis."""

    def in_process(study: Path, journal: str, progress: Callable[..., None]) -> None:
        from server.dry_run import dry_run as run

        loaded = _load(study, simulate=True)
        with _journal(study, journal, loaded) as opened:
            run(loaded, opened, progress)

    def through_a_server(study: Path, journal: str, progress: Any) -> None:
        from subject_clients.rehearsal import rehearse

        rehearse(study, journal, free_port(), 4, None, progress)

    return through_a_server if over_sockets else in_process


@click.group(context_settings={"help_option_names": ["-h", "--help"], "obj": runner})
@click.version_option(package_name="penchant")
def main() -> None:
    """Find what a subject finds easy to generalise: its inductive bias.

    A study goes like this: `new` writes a study file, `check` tells what it
    will cost, `dry-run` plays it with simulated subjects, `serve` runs it with
    real ones, `analyse` shows the bias that was found.
    """
    from server.compile_cache import keep_compiled

    # Before it is loaded: on few cores the threads of small solves wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    keep_compiled()
    # Libraries are loaded and programs compiled to stay: looking for garbage among them
    # again and again is a fifth of every start.
    gc.set_threshold(100_000)


for _command in (
    analyse,
    certify,
    compare,
    conformance,
    db,
    export,
    import_,
    order,
    plan,
    plant_subject,
    reanalyse,
    reproduce,
    serve,
    status,
    sweep,
    token,
):
    main.add_command(_command)


@main.command()
@STUDY
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def new(study: Path, force: bool) -> None:
    """Write a commented study file to start from."""
    if study.exists() and not force:
        raise click.ClickException(f"{study} exists; --force overwrites it")
    from server.template import TEMPLATE

    with faults():
        study.write_text(TEMPLATE.replace("my-study", _stream_name(study)))
    click.echo(f"wrote {study}; next: penchant check {study}")


@main.command()
@STUDY
def check(study: Path) -> None:
    """Check a study file and tell what it will cost."""
    from rich.console import Console
    from rich.table import Table

    from server.cost import costs

    checked = _load(study)
    table = Table("cost", "", title=f"study {checked.name}", title_justify="left")
    for row in costs(checked):
        table.add_row(*row)
    Console().print(table)


@main.group(cls=Subjects)
def subject() -> None:
    """Connect a subject to a server: real, or simulated."""


def _probability(name: str, what: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", type=float, default=0.0, help=f"{what}, a trial.")


@subject.command()
@click.option("--url", default="http://127.0.0.1:5000", show_default=True)
@click.option("--name", default="sim", show_default=True, help="They are numbered.")
@click.option("--study", type=click.Path(path_type=Path), required=True, help="File.")
@click.option("--group", help="Subjects of this group only. [default: of each]")
@click.option("--count", default=1, show_default=True, help="How many at a time.")
@click.option("--learner", help="This learner in place of the study's.")
@wired
@click.option("--reaction-time", type=float, help="Median, in seconds.")
@click.option("--real-time", is_flag=True, help="Reaction times pass for real.")
@_probability("lapse", "Answers at random")
@_probability("omission", "Does not answer")
@_probability("premature", "Answers too early")
@_probability("disconnect", "Loses its connection")
@_probability("abandon", "Gives up")
def simulated(
    url: str,
    name: str,
    study: Path,
    group: str | None,
    count: int,
    learner: str | None,
    transport: str,
    token: str | None,
    patience: float,
    reaction_time: float | None,
    real_time: bool,
    **habits: float,
) -> None:
    """Play the learner that --study describes, session after session.

    With the options below it is as slow, as careless and as badly connected as a
    real subject, so that a study can be rehearsed.
    """
    from subject_clients.lifelike import Habits
    from subject_clients.transport import TRANSPORTS

    with faults():
        loaded = _load(study, simulate=not learner)
        groups = (group,) if group else loaded.groups
        if unknown := set(groups) - set(loaded.groups):
            raise click.UsageError(f"{study} has no group {unknown.pop()!r}")
        from server.fit import learner_named
        from subject_clients.simulated import Simulated, run_subjects

        shown = loaded.labeller.space, loaded.labeller.family
        other = learner_named(learner, *shown) if learner else None

        def be_born(group: str) -> Simulated:
            born = other or loaded.learners[group]
            return Simulated(born, loaded.responses, loaded.seed)

        def connect() -> Any:
            return TRANSPORTS[transport](url, patience)

        manner = Habits(reaction_time, real_time, **habits)
        run_subjects(name, count, be_born, connect, token, groups, manner)


@main.command("dry-run")
@STUDY
@JOURNAL
@NULL
@click.option(
    "--over-sockets",
    is_flag=True,
    help="Through a real server, with subjects in a process of their own.",
)
@click.option(
    "--subjects",
    default=4,
    show_default=True,
    help="Over sockets: how many (of each group) at a time.",
)
@click.option("--sessions", type=int, help="Stop after about so many sessions.")
def dry_run(
    study: Path,
    journal: str | None,
    null: bool,
    over_sockets: bool,
    subjects: int,
    sessions: int | None,
) -> None:
    """Play a study with simulated subjects, before any real one.

    In process whole generations are computed at once. A journal that exists is
    continued, however it was begun: over sockets first, then in process.
    """
    over_sockets = over_sockets and not null
    loaded = _load(study, null, simulate=not null, in_sessions=over_sockets)
    from subject_clients.rehearsal import rehearse

    with faults(), _journal(study, journal, loaded) as opened:
        if over_sockets:
            opened.close()
            with _progress(loaded) as progress:
                rehearse(study, opened.where, free_port(), subjects, sessions, progress)
            return
        from server.dry_run import dry_run as run

        with _progress(loaded) as progress:
            rate = run(loaded, opened, progress, sessions)
    if rate == rate:
        click.echo(f"{rate:,.0f} subjects trained and tested per second")


def _load(
    study: Path, null: bool = False, simulate: bool = False, in_sessions: bool = False
) -> "Study":
    from server.study_file import StudyFileError, load

    _check_names()
    try:
        loaded = load(study, null)
        if simulate:
            loaded.stand_ins()
        if in_sessions:
            loaded.check_sessions()
        return loaded
    except StudyFileError as error:
        raise click.ClickException(str(error)) from error


@functools.cache
def _check_names() -> None:
    """Refuse to start where another distribution has a package of our name."""
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    for name in ("stimuli", "simulated_subjects", "meta_learner", "server"):
        if len(found := set(owners.get(name, ()))) > 1:
            raise click.ClickException(
                f"the package {name!r} is installed by {' and '.join(sorted(found))}: "
                "give Penchant a virtual environment of its own"
            )


@contextlib.contextmanager
def _journal(study: Path, journal: str | None, loaded: "Study") -> Iterator["Journal"]:
    from server.journal import Journal

    opened = Journal(journal or str(study.with_suffix(".db")), loaded.name)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def _progress(loaded: "Study") -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar with sessions done, best error so far and time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    of = f" ({loaded.objective.aim})" if loaded.file.groups else ""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[unit]}}  best error{of} {{task.fields[best]}}"),
        TimeRemainingColumn(),
    )
    by_session = "subjects" if loaded.by_gradient else "sessions"
    unit = "generations" if loaded.null else by_session
    total = loaded.generations if loaded.null else loaded.sessions
    done = "generations_done" if loaded.null else "sessions_ended"
    with Progress(*columns) as bar:
        task = bar.add_task(loaded.name, total=total, unit=unit, best="-")

        def show(summary: dict[str, Any]) -> None:
            error = summary["best_error"]
            best = "-" if error is None else f"{error:.3f}"
            bar.update(task, completed=summary[done], best=best)

        yield show


def _stream_name(study: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", study.stem).lstrip("_.-")
    return name[:64] or "study"


if __name__ == "__main__":
    main()
