"""What a recovery certificate holds: which planted biases a study finds.

Written to, and read back from, ``certificate.json``, which says what its keys mean.
"""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from scipy.stats import binomtest

from analysis.page import number
from analysis.writing import write_json

FILE = "certificate.json"

FINDS, MISSES = 0.8, 0.2
"""Shares of studies from which on a bias is found, and up to which it is missed."""


class Part(BaseModel):
    """What every part is: checked to the letter, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rate(Part):
    """Share of studies, with its exact 95 % interval (Clopper & Pearson 1934)."""

    count: int = Field(ge=0, description="studies in which it was so")
    of: int = Field(ge=1, description="studies")
    share: float
    low: float = Field(description="lower end of the exact 95 % interval")
    high: float = Field(description="upper end of the exact 95 % interval")


class Range(Part):
    """Median of many values, and where most of them are."""

    median: float
    low: float = Field(description="5 % quantile")
    high: float = Field(description="95 % quantile")


class Searched(Part):
    """One simulated study."""

    name: str = Field(description="its name; its study file has the same")
    bias: str | None = Field(description="bias planted in its subjects; null for none")
    subject: str | None = Field(description="file of the subject, if one was planted")
    seed: int = Field(description="seed from which its draws follow")
    sha256: str = Field(description="SHA-256 of its study file and what that names")
    sessions: int = Field(description="sessions that finished")
    shares: dict[str, list[float]] = Field(
        description="of each bias: share of the variance of each component's labels "
        "that functions of the bias explain"
    )
    p_values: dict[str, float] = Field(
        description="of each bias: share of searches, this one and those without a "
        "learner, whose first component has as much of it"
    )
    found: list[str] = Field(description="biases found in the first component")
    found_later: list[str] = Field(description="biases found in any component")
    outcome: Literal["found", "mistaken", "missed", "alarm", "quiet"] = Field(
        description="planted bias found, another found in its place, none found; "
        "without a bias: one found, none found"
    )
    leading_order: str = Field(description="order in which the first component is most")
    beyond_null: bool = Field(
        description="whether it is beyond the null as a report of the study judges it, "
        "by the certificate's searches without a learner"
    )
    confirmed: bool | None = Field(
        description="verdict of the study's own verification, null without one"
    )


class Planted(Part):
    """What the study made of subjects with one bias."""

    bias: str
    word: Literal["finds", "sometimes finds", "misses"]
    found: Rate = Field(description="studies that found it in the first component")
    found_later: Rate = Field(description="studies that found it in any component")
    also: Rate = Field(description="studies that found another bias beside it")
    mistaken: Rate = Field(description="studies that found another in its place")
    beyond_null: Rate = Field(
        description="studies whose first component is beyond the null as a report "
        "judges it, by the certificate's searches without a learner"
    )
    confirmed: Rate | None = Field(
        description="studies whose verification confirmed the first component"
    )
    share: Range = Field(description="share of the bias in first components")
    null: Range = Field(description="the same in searches without a learner")


class Blank(Part):
    """What the study made of subjects without any bias."""

    found: Rate = Field(description="studies that found any of the biases")
    found_later: Rate = Field(description="the same, in any component")
    beyond_null: Rate = Field(
        description="studies of which a report would claim a bias, by the "
        "certificate's searches without a learner"
    )
    confirmed: Rate | None = Field(description="studies that verified one")


class Nature(Part):
    """How well a simulated subject generalises labellings of each bias."""

    subject: str = Field(description="file of the subject; untaught: a network as born")
    bias: str | None
    seed: int | None = Field(description="seed of its upbringing")
    sha256: str | None = Field(description="SHA-256 of its file")
    errors: dict[str, float] = Field(
        description="relative error on labellings of each bias, from the study's "
        "number of training stimuli; 1 is as good as answering the mean"
    )


class Settings(Part):
    """How much was simulated, and by what it was judged."""

    studies_per_bias: int = Field(description="simulated studies of each bias")
    studies_without_bias: int = Field(description="simulated studies without any")
    subjects_per_bias: int = Field(description="planted subjects, which take turns")
    null_replicates: int = Field(description="searches without a learner")
    least_share: float = Field(description="of the variance, for a bias to be found")
    level: float = Field(description="of the test against searches without a learner")
    upbringing: dict[str, float] = Field(description="how subjects were meta-trained")


class Certificate(Part):
    """Which planted biases a study finds, which it misses, how often it cries wolf."""

    study: str = Field(description="name of the study")
    file: str = Field(description="name of the study file")
    file_sha256: str = Field(description="SHA-256 of the study file, as of sha256sum")
    sha256: str = Field(
        description="SHA-256 of the study file, and of the stimulus table and planted "
        "subjects it names"
    )
    date: str = Field(description="day on which it was made, UTC")
    how: Literal["in process", "over sockets"] = Field(
        description="whether through a real server"
    )
    seed: int = Field(description="the study's, from which all seeds follow")
    training_stimuli: int = Field(description="of a session, and of an upbringing")
    verdict: list[str] = Field(description="the result in words")
    cautions: list[str] = Field(description="what weakens it, in words")
    planted: list[Planted] = Field(
        min_length=1, description="of each bias, what the study made of it"
    )
    none: Blank = Field(description="what it made of subjects without any bias")
    left_out: dict[str, str] = Field(description="biases not planted, and why")
    natures: list[Nature] = Field(
        min_length=1, description="what the planted subjects are like"
    )
    studies: list[Searched] = Field(min_length=1, description="every simulated study")
    settings: Settings = Field(description="how many studies, limits, replicates")
    budget: dict[str, Any] = Field(description="the study's own: sessions, trials")
    noise: dict[str, Any] = Field(description="the study's own: how subjects answer")
    methods: str = Field(description="how it was done, in words")
    limits: list[str] = Field(description="what it does not say, in words")
    versions: dict[str, str] = Field(
        description="software that ran the simulated studies, and judged them"
    )
    study_file: str = Field(description="text of the study file")

    @model_validator(mode="after")
    def _speaks_of_the_same_biases(self) -> Self:
        """Every study tells every bias, and every subject what the first does."""
        biases, components = {one.bias for one in self.planted}, set()
        for study in self.studies:
            told = set(study.shares)
            if told != biases or set(study.p_values) != biases:
                raise ValueError(
                    f"the study {study.name} tells of {_listed(told)}, and not of the "
                    f"biases planted: {_listed(biases)}"
                )
            components |= {len(own) for own in study.shares.values()}
        if len(components) != 1 or 0 in components:
            raise ValueError("its studies have different numbers of components")
        looked_at = set(self.natures[0].errors)
        for nature in self.natures:
            if not biases <= looked_at or set(nature.errors) != looked_at:
                raise ValueError(
                    f"the subject {nature.subject} was not looked at for every bias"
                )
        return self


class Found(NamedTuple):
    """A certificate and the file that it was read from."""

    certificate: Certificate
    path: Path


def rate(count: int, of: int) -> Rate:
    """``count`` of so many studies."""
    interval = binomtest(count, of).proportion_ci(0.95, method="exact")
    low, high = number(interval.low), number(interval.high)
    return Rate(count=count, of=of, share=count / of, low=low or 0.0, high=high or 0.0)


def keys(part: type[Part] = Certificate, of: str = "") -> dict[str, str]:
    """What each key means, with the path that leads to it."""
    table: dict[str, str] = {}
    for name, field in part.model_fields.items():
        path = f"{of}.{name}" if of else name
        if field.description:
            table[path] = field.description
        # A rate or a range is explained once, where it stands alone.
        inner = [t for t in _types(field.annotation) if t not in (Rate, Range)]
        for other in inner:
            table |= keys(other, path)
    if of:
        return table
    return table | keys(Rate, "(a rate)") | keys(Range, "(a range)")


def write(certificate: Certificate, folder: Path) -> Path:
    """Write ``certificate.json``, with what its keys mean; returns its path."""
    path = folder / FILE
    write_json(path, {"keys": keys(), "certificate": certificate.model_dump()})
    return path


def load(path: Path) -> Certificate:
    """Read ``certificate.json``; raises ``ValueError`` for what is none."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        return Certificate.model_validate(whole["certificate"])
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the certificate {path}: {error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no certificate of this version of Penchant: expected the "
            f"certificate.json that `penchant certify` writes ({_first(error)})"
        ) from error


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _types(annotation: Any) -> list[type[Part]]:
    """The parts that an annotation is of."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [annotation]
    return [part for inner in get_args(annotation) for part in _types(inner)]


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        return f"{where}: {fault['msg']}" if where else str(fault["msg"])
    return f"{type(error).__name__}: {error}"
