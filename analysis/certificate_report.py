"""Certificates in a report: which belong to its studies, and what is shown of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.certificate import FILE, Certificate, Found, load
from analysis.certificate_figure import certificate_figure
from analysis.certificate_words import in_short
from analysis.finding import Finding
from analysis.page import save
from analysis.record import Record
from server.events import Event, StudyOpened

Titled = tuple[str, Iterable[Event]]


def given(paths: Sequence[Path], studies: Sequence[Titled]) -> list[Found]:
    """Certificates that were asked for.

    Raises ``ValueError`` for one of another study file than those of the studies.
    """
    of = {_hash(events): title for title, events in studies}
    found = [Found(load(path), path) for path in paths]
    for certificate, path in found:
        if certificate.sha256 not in of:
            those = "; ".join(f"{title} has {sha256}" for sha256, title in of.items())
            raise ValueError(
                f"{path} certifies another study file: {certificate.study}, with the "
                f"hash {certificate.sha256}, and {those}. A study file changed "
                "since it was certified needs another certificate: `penchant certify`"
            )
    return found


def beside(
    journals: Iterable[str], studies: Sequence[Titled]
) -> tuple[list[Found], list[str]]:
    """Certificates of the studies in folders beside their journals; and faults.

    Those that ``penchant certify`` wrote there; of several of a study the newest.
    """
    of = {_hash(events) for _, events in studies}
    folders = {Path(j).absolute().parent for j in journals if "://" not in j}
    found, faults = [], []
    for path in sorted(p for f in folders for p in f.glob(f"*-certificate/{FILE}")):
        try:
            certificate = load(path)
        except ValueError as error:
            faults.append(str(error))
            continue
        if certificate.sha256 in of:
            found.append(Found(certificate, path))
    return sorted(found, key=lambda one: one.certificate.date), faults


def certificate_of(record: Record, found: Sequence[Found]) -> Certificate | None:
    """The last that is of a study; a null has none."""
    own = [
        one.certificate
        for one in found
        if one.certificate.sha256 == record.study.sha256
    ]
    return own[-1] if own and not record.study.null else None


def certificate_section(
    finding: Finding, found: Sequence[Found], folder: Path, prefix: str
) -> dict[str, Any] | None:
    """What the report shows of a study's certificate, with its figure; None without."""
    certificate = certificate_of(finding.record, found)
    if certificate is None:
        return None
    figure = certificate_figure(certificate)
    return {
        "certificate": certificate,
        "figure": save(figure, folder / f"{prefix}-certificate.png"),
        "in_short": in_short(certificate.planted, certificate.none),
    }


def certificate_numbers(certified: dict[str, Any] | None) -> dict[str, Any] | None:
    """A section's certificate as JSON, without what the report has of it anyway."""
    if certified is None:
        return None
    certificate: Certificate = certified["certificate"]
    return certificate.model_dump(exclude={"study_file", "budget", "noise", "versions"})


def _hash(events: Iterable[Event]) -> str:
    """Hash of the study that events begin with."""
    fact = next((event.fact for event in events), None)
    return fact.sha256 if isinstance(fact, StudyOpened) else ""
