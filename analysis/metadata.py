"""What a journal cannot know: who, where, which species. From a file of its own."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

TEMPLATE = """\
# What exports say beside the data. Fill in what you know and take out the rest: nothing
# is made up, and `penchant export` tells what an archive will miss.

[dataset]
# title = "What mice find easy to generalise"
# description = "Mice learnt labellings of orientations; see the README."
# authors = ["Curie, Marie", "Noether, Emmy"]     # "Last, First"
# license = "CC-BY-4.0"                           # a name from spdx.org/licenses
# keywords = ["inductive bias", "generalisation"]
# funding = ["Funder, grant 123"]
# ethics_approvals = ["Animal licence 123"]
# publications = ["https://doi.org/10.1000/xyz"]
# instructions = "Press the key that you think is right."   # as people were told them

[lab]
# institution = "University of Somewhere"
# department = "Department of Neuroscience"
# address = "1 Street, Town"
# laboratory = "Lab of Learning"
# experimenters = ["Curie, Marie"]                # "Last, First"
# protocol = "Animal licence 123"
# timezone = "Europe/London"                      # of dates and times; else UTC

[subjects]                   # of all subjects, unless their own section says otherwise
# species = "Mus musculus"                        # Latin name of genus and species
# sex = "U"                                       # M, F, O (other) or U (unknown)
# age = "P90D"                                    # ISO 8601: 90 days; P30Y, P12W
# strain = "C57BL/6J"
# genotype = "wt/wt"
# description = "Water restricted"

# [subject."mouse-07"]       # by the name that the study knows
# sex = "F"
# date_of_birth = 2026-05-01                      # instead of age
"""
"""A commented file to start from."""

_AGE = re.compile(r"P(?=\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?")
_DAYS = (365.25, 30.4375, 7.0, 1.0)
OLDEST_YEARS = 89
"""Ages of people above this are not told apart: they could tell who it is."""


class MetadataError(ValueError):
    """A metadata file that cannot be used, with every fault it has."""


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("expected a time zone such as Europe/London")
    return name


def _duration(age: str) -> str:
    if not _AGE.fullmatch(age):
        raise ValueError("expected an ISO 8601 duration such as P90D, P12W or P30Y")
    return age


Person = Annotated[str, Field(pattern=r"^[^,]*[^,\s][^,]*, [^,]*[^,\s][^,]*$")]
Text = Annotated[str, Field(min_length=1, max_length=10_000)]
Species = Annotated[str, Field(pattern=r"^[A-Z][a-z]+ [a-z]+( [a-z]+)?$")]
Age = Annotated[str, AfterValidator(_duration)]
Zone = Annotated[str, AfterValidator(_zone)]

_HINTS = {
    "authors": '"Last, First"',
    "experimenters": '"Last, First"',
    "species": 'a Latin name such as "Mus musculus"',
}
"""What is expected, where a pattern says it badly."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Dataset(_Section):
    """What is said of the whole data set."""

    title: Text | None = None
    description: Text | None = None
    authors: list[Person] = []
    license: Text | None = None
    keywords: list[Text] = []
    funding: list[Text] = []
    ethics_approvals: list[Text] = []
    publications: list[Text] = []
    instructions: Text | None = None


class Lab(_Section):
    """Where and by whom the sessions were run."""

    institution: Text | None = None
    department: Text | None = None
    address: Text | None = None
    laboratory: Text | None = None
    experimenters: list[Person] = []
    protocol: Text | None = None
    timezone: Zone | None = None


class Subject(_Section):
    """What is known of a subject, or of all."""

    species: Species | None = None
    sex: Literal["M", "F", "O", "U"] | None = None
    age: Age | None = None
    date_of_birth: date | None = None
    strain: Text | None = None
    genotype: Text | None = None
    description: Text | None = None

    def age_on(self, day: date) -> str | None:
        """Age as an ISO 8601 duration, in days if worked out from a date of birth.

        Of people in years, and above 89 years as ``P90Y/``, 90 or more. Raises
        ``ValueError`` for a birth after ``day``.
        """
        age = self.age
        if self.date_of_birth is not None:
            days = (day - self.date_of_birth).days
            if days < 0:
                raise ValueError(
                    f"date_of_birth is {self.date_of_birth}, after a session on {day}"
                )
            age = f"P{days}D"
        if age is None or self.species != "Homo sapiens":
            return age
        years = int(years_in(age))
        return f"P{years}Y" if years <= OLDEST_YEARS else f"P{OLDEST_YEARS + 1}Y/"


class Metadata(_Section):
    """All that a metadata file says."""

    dataset: Dataset = Dataset()
    lab: Lab = Lab()
    subjects: Subject = Subject()
    subject: dict[str, Subject] = {}

    def of(self, name: str) -> Subject:
        """What is known of a subject: its own section, else that of all."""
        own = self.subject.get(name, Subject())
        said = own.model_dump(exclude_none=True)
        general = self.subjects.model_dump(exclude_none=True)
        if {"age", "date_of_birth"} & set(said):  # one of the two is enough
            general = {k: v for k, v in general.items() if k not in _AGES}
        return Subject(**general | said)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of dates; UTC if none is given."""
        return ZoneInfo(self.lab.timezone or "UTC")


_AGES = ("age", "date_of_birth")


def years_in(age: str) -> float:
    """Years in an ISO 8601 duration; a year is 365.25 days, a month a twelfth of it."""
    found = _AGE.match(age)
    counts = found.groups() if found else ()
    days = sum(int(n) * each for n, each in zip(counts, _DAYS, strict=False) if n)
    return days / _DAYS[0]


def load_metadata(path: Path) -> Metadata:
    """Read and check a file; raises :class:`MetadataError` with every fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MetadataError(f"cannot read metadata file {path}: {error}") from error
    try:
        return parse_metadata(text)
    except MetadataError as error:
        raise MetadataError(f"{path}: {error}") from error


def parse_metadata(text: str) -> Metadata:
    """The same of a file's text."""
    try:
        return Metadata.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise MetadataError(f"not valid TOML: {error}") from error
    except ValidationError as error:
        lines = _lines(text)
        faults = [_fault(fault, lines) for fault in error.errors(include_url=False)]
        raise MetadataError("\n  ".join(["", *faults])) from error


def _fault(fault: Any, lines: dict[tuple[str, ...], int]) -> str:
    """Line and key, what came, what was expected."""
    where = tuple(map(str, fault["loc"]))
    known = [where[:n] for n in range(len(where), 0, -1) if where[:n] in lines]
    line = f"line {lines[known[0]]}: " if known else ""
    hint = next((_HINTS[key] for key in where if key in _HINTS), None)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "string_pattern_mismatch" and hint:
        message = f"expected {hint}"
    if fault["type"] == "extra_forbidden":
        message = f"no such key; known: {', '.join(_known(where))}"
    came = "" if isinstance(fault["input"], dict) else f" (got {fault['input']!r})"
    return f"{line}{'.'.join(where)}: {message}{came}"


def _known(where: tuple[str, ...]) -> list[str]:
    """Keys that the section of an unknown key may have."""
    if len(where) == 1:
        return list(Metadata.model_fields)
    sections: dict[str, type[_Section]] = {"dataset": Dataset, "lab": Lab}
    return list(sections.get(where[0], Subject).model_fields)


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line that each key is on; tables are headed by their own."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            path = _path(stripped)
            table = path or table
        else:
            key = _path(stripped) or _path(f"{stripped.partition('=')[0]} = 0")
            path = (*table, *key) if key else ()
        if path:
            found.setdefault(path, number)
    return found


def _path(line: str) -> tuple[str, ...]:
    """The keys that a line of TOML sets, outermost first; none if it sets nothing."""
    try:
        value: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(value, dict) and len(value) == 1:
        ((key, value),) = value.items()
        path.append(key)
    return tuple(path)
