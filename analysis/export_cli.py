"""``penchant export``. Heavy imports wait inside, as for every command."""

from pathlib import Path
from typing import Any

import click

from analysis.command_line import beside, faults, read_all

FORMS = ("parquet", "csv", "nwb", "bids", "psych-ds", "alf")
"""Names of :data:`analysis.export.FORMATS`, which takes long to load."""


def _write_template(context: click.Context, _: Any, path: Path | None) -> None:
    if path is None or context.resilient_parsing:
        return
    from analysis.metadata import TEMPLATE

    with faults():
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(TEMPLATE)
        except FileExistsError as error:
            raise click.ClickException(f"{path} exists: name a new file") from error
    click.echo(f"wrote {path}; next: penchant export JOURNAL --metadata {path}")
    context.exit()


@click.command()
@click.argument("journal")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default="parquet",
    show_default=True,
    help="parquet, csv: all tables; the others are standards of the field.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder; each study has one in it.  [default: export/FORMAT]",
)
@click.option(
    "--metadata",
    "metadata_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What the journal cannot know: species, experimenters, licence ...",
)
@click.option(
    "--metadata-template",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_write_template,
    help="Write such a file, with comments, and end.",
)
@click.option(
    "--pseudonyms",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="KEY_FILE",
    help="Give subjects other names, the same for the same key, which is made if there "
    "is none; what clients said of themselves is left out.",
)
def export(
    journal: str,
    form: str,
    out: Path | None,
    metadata_file: Path | None,
    key_file: Path | None,
) -> None:
    """Write the data of the studies in JOURNAL for other programs, and archives.

    A folder that holds anything but an earlier export of the same study is left alone.
    """
    from analysis.export import export_source, lacking
    from analysis.export_source import source_of
    from analysis.labels import read_key
    from analysis.metadata import Metadata, load_metadata

    with faults():
        metadata = load_metadata(metadata_file) if metadata_file else Metadata()
        key = read_key(key_file) if key_file else None
        studies = read_all(journal)
        out = (out or Path("export") / form).absolute()
        with beside(journal):
            for name, events in studies:
                source = source_of(events, metadata, key)
                if len(studies) > 1 and source.empty and form not in ("csv", "parquet"):
                    click.echo(f"{name} has no trials: left out", err=True)
                    continue
                written = export_source(source, out / name, form)
                for path in written if len(written) <= 4 else []:
                    click.echo(path)
                click.echo(f"{out / name}: {_counted(len(written))}")
                _tell(lacking(source, form))


def _counted(files: int) -> str:
    return "1 file of data" if files == 1 else f"{files:,} files of data"


def _tell(lines: list[str]) -> None:
    for line in lines:
        click.echo(f"warning: {line}", err=True)
    if any("asks for" in line or "recommends" in line for line in lines):
        click.echo(
            "penchant export --metadata-template lab.toml writes a file to say it in; "
            "then --metadata lab.toml",
            err=True,
        )
