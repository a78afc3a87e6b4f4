"""What archives ask for and nobody said: told, never made up."""

from collections.abc import Callable

from analysis.export_source import Source
from analysis.metadata import Subject

_SHOWN = 5


def for_dandi(source: Source) -> list[str]:
    """What DANDI asks of NWB files, a line each."""
    lab, lines = source.metadata.lab, []
    if not lab.experimenters:
        lines.append("DANDI asks for lab.experimenters")
    if not lab.institution:
        lines.append("DANDI asks for lab.institution")
    asked: dict[str, Callable[[Subject], object]] = {
        "species": lambda known: known.species,
        "sex": lambda known: known.sex,
        "age or date_of_birth": lambda known: known.age or known.date_of_birth,
    }
    for what, said in asked.items():
        lacking = [n for n in source.subject_labels if not said(source.known_of(n))]
        if lacking:
            more = ", ..." if len(lacking) > _SHOWN else ""
            names = ", ".join(lacking[:_SHOWN]) + more
            subjects = "1 subject" if len(lacking) == 1 else f"{len(lacking)} subjects"
            lines.append(f"DANDI asks for {what}; unknown of {subjects}: {names}")
    return lines


def for_bids(source: Source) -> list[str]:
    """What a BIDS validator warns of."""
    dataset = source.metadata.dataset
    lines = []
    if not dataset.authors:
        lines.append("BIDS asks for dataset.authors")
    if not dataset.license:
        lines.append("BIDS asks for dataset.license")
    return lines


def for_psych_ds(source: Source) -> list[str]:
    """What Psych-DS recommends."""
    lines = for_bids(source)
    return [line.replace("BIDS asks for", "Psych-DS recommends") for line in lines]


def unknown_subjects(source: Source) -> list[str]:
    """Sections of the metadata file for subjects that the study does not have."""
    known = {source.name_of(subject) for subject in source.subject_labels}
    return [
        f"the metadata file speaks of subject {name!r}, whom the study does not have"
        for name in source.metadata.subject
        if name not in known
    ]
