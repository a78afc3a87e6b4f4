"""``penchant import``. Heavy imports wait inside, as for every command."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from analysis.command_line import MOST_SHOWN, faults


@click.command("import")
@click.argument("table", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out",
    metavar="FILE_OR_URL",
    help="The journal to write. [default: the table's name with .db]",
)
@click.option("--study", metavar="NAME", help="[default: the table's name]")
@click.option(
    "--space",
    metavar="SPACE",
    help="Where stimuli are from: circle, hypercube:dimensions=2, a stimulus table "
    "(CSV), or the [stimuli] of a study file. [default: a table of what was shown]",
)
@click.option(
    "--columns",
    multiple=True,
    metavar="ROLE=COLUMN,...",
    help="As in stimulus=x+y,label=target,response=key. Other roles: correct, "
    "outcome, reaction_time, phase, subject, session, group, trial, time.",
)
@click.option(
    "--values",
    multiple=True,
    metavar="ROLE=WORD:NUMBER,...",
    help="What words mean, as in response=f:-1,j:1.",
)
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="ROLE=LOW:HIGH",
    help="Numbers that are -1 and 1, as in response=0:100.",
)
@click.option("--strict", is_flag=True, help="Refuse a table with any problem.")
def import_(
    table: Path,
    out: str | None,
    study: str | None,
    space: str | None,
    columns: tuple[str, ...],
    values: tuple[str, ...],
    ranges: tuple[str, ...],
    strict: bool,
) -> None:
    """Bring a published TABLE of trials into a journal, to analyse it.

    TABLE has a row per trial: stimulus, label, response, and whatever else is known.
    CSV with any delimiter, TSV or Parquet. Columns not named are guessed by the names
    that Penchant, IBL/ALF, PsychoPy and jsPsych give them, and it is said how. Rows
    that cannot be read are listed and left out.
    """
    from analysis.foreign_table import read_foreign
    from analysis.import_study import import_trials
    from analysis.trial_columns import parsed
    from analysis.trials_table import trials_table

    out = out or str(table.with_suffix(".db"))
    name = study or re.sub(r"[^A-Za-z0-9_.-]+", "-", table.stem).lstrip("_.-")[:64]
    with faults():
        trials = trials_table(
            read_foreign(table), parsed(columns), _values(values), _ranges(ranges)
        )
        done = import_trials(trials, out, name or "study", space, strict)
    for note in done.notes:
        click.echo(note)
    for problem in done.problems[:MOST_SHOWN]:
        click.echo(f"problem: {problem}", err=True)
    if len(done.problems) > MOST_SHOWN:
        click.echo(f"and {len(done.problems) - MOST_SHOWN} more problems", err=True)
    click.echo(
        f"{out}: study {done.study}, {done.trials:,} trials in {done.sessions:,} "
        f"sessions of {done.subjects:,} subjects; next: penchant analyse {out}"
    )


def _values(options: Sequence[str]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for option in options:
        role, _, words = option.partition("=")
        for part in words.split(","):
            word, _, number = part.rpartition(":")
            found.setdefault(role, {})[word] = _number(option, number)
    return found


def _ranges(options: Sequence[str]) -> dict[str, tuple[float, float]]:
    found = {}
    for option in options:
        role, _, ends = option.partition("=")
        low, _, high = ends.partition(":")
        found[role] = _number(option, low), _number(option, high)
        if found[role][0] == found[role][1]:
            raise click.UsageError(f"{option}: expected two different numbers")
    return found


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"{option}: expected a number, got {text!r}") from None
