"""``penchant plant``. Heavy imports wait inside, as for every command."""

import json
import os
import re
from pathlib import Path

import click

PROCEDURES = ("npbml", "t_net", "meta_sgd", "maml")


@click.command()
@click.argument(
    "study", required=False, type=click.Path(dir_okay=False, path_type=Path)
)
@click.option(
    "--bias",
    required=True,
    help='"order 2 harmonics", or another order; "high frequency"; "one feature", or '
    '"feature NAME"; or a CSV file: stimuli, and columns label... of labellings.',
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the subject. [default: the bias, with .safetensors]",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True)
@click.option(
    "--procedure",
    type=click.Choice(PROCEDURES),
    default="npbml",
    show_default=True,
    help="What is learnt: all parts, or fewer, as a control.",
)
@click.option(
    "--meta-steps",
    type=click.IntRange(1, 1_000_000),
    help="Length of the upbringing. [default: 600, half a minute or so]",
)
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def plant(
    study: Path | None,
    bias: str,
    out: Path | None,
    seed: int,
    procedure: str,
    meta_steps: int | None,
    force: bool,
) -> None:
    """Bring up a simulated subject that has a known bias: a positive control.

    It is meta-trained on labellings of one kind, of the stimuli and with as many
    training stimuli as in STUDY (default: the sphere, 30), until it learns those from
    few examples and others badly. Does an experiment find what was planted?
    """
    from rich.console import Console

    from server.planting import bring_up_for, errors_table, planted_errors, took
    from server.study_file import Study, load
    from server.template import TEMPLATE
    from simulated_subjects.procedural_file import save

    out = out or Path(re.sub(r"[^A-Za-z0-9]+", "-", Path(bias).stem) + ".safetensors")
    if out.exists() and not force:
        raise click.ClickException(f"{out} exists; --force overwrites it")
    if not os.access(out.absolute().parent, os.W_OK):  # told before the upbringing
        raise click.ClickException(f"{out}: there is no such folder to write into")
    console = Console()
    try:
        asked = load(study) if study else Study(TEMPLATE)
        with console.status(f"bringing up a subject on {bias} ..."):
            subject = bring_up_for(asked, bias, seed, procedure, meta_steps)
        save(out, subject)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    errors = planted_errors(asked, bias, subject, seed)
    console.print(errors_table(asked, errors))
    if not took(errors):
        console.print(
            "The bias did not take: other labels come as easily. Try another --seed "
            "or more --meta-steps.",
            style="bold",
        )
    beside = study.parent if study else Path()
    named = json.dumps(Path(os.path.relpath(out, beside)).as_posix())
    console.print(
        f"wrote {out}; in a study file:\n\n[simulated_subject]\n"
        f'learner = "procedural"\nsubject = {named}',
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
