"""A study's data as files that other programs, and archives, read."""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from analysis.export_source import Source, source_of
from analysis.folder import whole
from analysis.lacking import for_bids, for_dandi, for_psych_ds, unknown_subjects
from analysis.metadata import Metadata
from server.events import Event


def _nothing(_: Source) -> list[str]:
    return []


class Format(NamedTuple):
    """One way to write a study: where its function is, and what it writes.

    The function takes a :class:`Source` and an empty folder, and returns the files that
    hold data. It is loaded when it is asked for, since libraries of formats are heavy.
    ``lacks`` tells what those who read the format will miss.
    """

    module: str
    function: str
    what: str
    lacks: Callable[[Source], list[str]] = _nothing

    def load(self) -> Callable[[Source, Path], list[Path]]:
        """The function; raises ``ValueError`` where its library is not installed."""
        try:
            found: Callable[[Source, Path], list[Path]] = getattr(
                import_module(self.module), self.function
            )
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{self.what} need the package {error.name}, which is not installed: "
                "pip install '.[server,exports]' in the clone of Penchant"
            ) from error
        return found


_TABLES = "analysis.export_tables"

FORMATS = {
    "parquet": Format(_TABLES, "write_parquet", "Parquet tables"),
    "csv": Format(_TABLES, "write_csv", "CSV tables"),
    "nwb": Format("analysis.export_nwb", "write_nwb", "NWB files", for_dandi),
    "bids": Format("analysis.export_bids", "write_bids", "BIDS data sets", for_bids),
    "psych-ds": Format(
        "analysis.export_psych_ds", "write_psych_ds", "Psych-DS data sets", for_psych_ds
    ),
    "alf": Format("analysis.export_alf", "write_alf", "ALF tables"),
}


def export(
    events: Iterable[Event],
    out: Path,
    form: str = "parquet",
    metadata: Metadata | None = None,
    key: bytes | None = None,
) -> list[Path]:
    """Write a study into folder ``out``; returns the files that hold its data.

    ``form`` is one of :data:`FORMATS`; ``metadata`` what the journal cannot know;
    subjects get pseudonyms by the secret ``key`` if it is given. The folder is written
    whole or not at all, and replaced only where it is an older export of this study.

    Raises ``ValueError`` for another format, for a folder that holds anything else, and
    where the library of a format is not installed.
    """
    if form not in FORMATS:
        raise ValueError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")
    return export_source(source_of(events, metadata, key), out, form)


def export_source(source: Source, out: Path, form: str) -> list[Path]:
    """The same of what :func:`analysis.export_source.source_of` gives."""
    write, record = FORMATS[form].load(), source.record
    mark = {
        "study": record.study.name,
        "sha256": record.opened.sha256,
        "began_at": record.events[0].at,
        "format": form,
    }
    with whole(out, mark) as folder:
        written = [path.relative_to(folder) for path in write(source, folder)]
    return [out / path for path in written]


def lacking(source: Source, form: str) -> list[str]:
    """What nobody said that readers of a format ask for, a line each."""
    return FORMATS[form].lacks(source) + unknown_subjects(source)
