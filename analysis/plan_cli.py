"""``penchant plan``. Heavy imports wait inside, as for every command."""

from pathlib import Path

import click

from analysis.spread_cli import shown, spread_options, where_of

PROBABILITY = click.FloatRange(0, 1, min_open=True)


@click.command()
@click.argument("study", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--overlap",
    type=PROBABILITY,
    default=0.9,
    show_default=True,
    help="Wanted: recovered components in the space of the true ones, 0 to 1.",
)
@click.option(
    "--probability",
    type=PROBABILITY,
    default=0.8,
    show_default=True,
    help="Wanted: share of studies that reach the overlap.",
)
@click.option(
    "--drop-out",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Probability that a session is lost.",
)
@click.option(
    "--studies",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="Simulated studies of each split.",
)
@click.option(
    "--sessions",
    type=click.IntRange(1),
    default=120,
    show_default=True,
    help="The largest budget that is looked at.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Sessions asked together.",
)
@click.option(
    "--own-search",
    is_flag=True,
    help="By the study's own search, an evolution strategy, a generation at a time.",
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    help="Trials of a session, to be split. [default: as in the study]",
)
@click.option(
    "--training",
    type=click.IntRange(1),
    multiple=True,
    help="Look at so many training stimuli; may be repeated. [default: 4 to 30]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("plan"),
    show_default=True,
    help="Folder for plan.png, plan.json and plan.csv, and what each study found.",
)
@spread_options
def plan(
    study: Path,
    overlap: float,
    probability: float,
    drop_out: float,
    studies: int,
    sessions: int,
    batch: int,
    own_search: bool,
    trials: int | None,
    training: tuple[int, ...],
    out: Path,
    workers: int | None,
    scheduler: str | None,
    scheduler_file: str | None,
) -> None:
    """Tell how many sessions STUDY needs, and how to split their trials.

    A power analysis before the first animal: whole studies by the subject model (or
    their own search), of the study file's [simulated_subject], with its response type,
    lapses and noise.
    Stopped and typed again, it goes on with what is missing.
    """
    if sessions < batch and not own_search:
        raise click.UsageError(f"--sessions {sessions} are fewer than --batch {batch}")
    where = where_of(workers, scheduler, scheduler_file)
    from rich.console import Console

    from analysis.plan_report import answer, plan_table, write_plan
    from server import plan as power
    from server.plan_truth import check
    from server.study_file import load

    question = power.Question(
        overlap, probability, drop_out, studies, sessions, batch, own_search
    )
    console = Console()
    try:
        loaded = load(study)
        check(loaded)
        whole = loaded.design.training_trials + loaded.design.test_trials
        asked = power.splits(loaded, trials or whole, training)
        if own_search:  # which does not choose how long to train
            asked = [split for split in asked if split.fixed]
        folder = study.absolute().parent
        with shown("blocks of studies") as show:
            found = power.plan(loaded, question, asked, show, where, out, folder)
        write_plan(loaded, found, out)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    console.print(plan_table(found))
    console.print(answer(loaded, found), highlight=False, soft_wrap=True)
    console.print(f"picture and numbers: {out}", highlight=False)
