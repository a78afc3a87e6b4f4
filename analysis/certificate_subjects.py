"""The planted subjects of a certificate: made once, kept, and looked at."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.certificate import Nature
from analysis.certificate_judge import share_in_span
from analysis.certificate_studies import BLANK, slug
from analysis.page import number
from meta_learner.assignment import named_key
from server.study_file import Study
from simulated_subjects.planted_family import Family, family
from simulated_subjects.planting import (
    CONTRAST,
    HIDDEN,
    LEARNING_RATE,
    LIMIT,
    STEPS,
    UPBRINGING,
    WAVE,
    Subject,
    fresh,
    plant,
    relative_error,
)
from simulated_subjects.procedural_file import load, save
from simulated_subjects.procedure import PROCEDURES
from simulated_subjects.upbringing import Upbringing
from stimuli.space import FromFile, StimulusSpace

ATTEMPTS = 3
"""Seeds that an upbringing is tried with, before it is given up."""

_ALIKE = 0.99
"""Share of each function of a family in another's span, from which on they are one."""

_TOLD = 0
"""Seed of the labellings by which subjects are looked at: the same for all."""


class Bias(NamedTuple):
    """A bias by name, and what it is planted from: the same name, or a file."""

    name: str
    source: str

    @property
    def content(self) -> bytes:
        """What the bias depends on."""
        if self.source.endswith(".csv"):
            return Path(self.source).read_bytes()
        return self.name.encode()

    @property
    def origin(self) -> str:
        """The source as subjects tell it: the same in whatever folder a file lies."""
        if self.source.endswith(".csv"):
            of = hashlib.sha256(self.content).hexdigest()
            return f"{Path(self.source).name} (SHA-256 {of})"
        return self.name


class Raised(NamedTuple):
    """A planted subject: the file that it is kept in, its bias, its number."""

    path: Path
    bias: str
    number: int


def biases(
    names: Sequence[str],
    study: Study,
    strict: bool,
    beside: Mapping[Bias, Family] | None = None,
) -> tuple[dict[Bias, Family], dict[str, str]]:
    """The labellings of each bias, and why others are left out.

    A name that ends in ``.csv`` is a file. One that is the same as another here is left
    out; those of ``beside`` come first. Raises ``ValueError`` for one that the
    space does not have, if ``strict``, and where there is none at all.
    """
    there: dict[Bias, Family] = dict(beside or {})
    left_out: dict[str, str] = {}
    key = named_key(study.seed, "certificate")
    for text in dict.fromkeys(names):
        if text in {other.source for other in there}:
            continue
        is_file = text.endswith(".csv")
        bias = Bias(Path(text).stem if is_file else text, text)
        if slug(bias.name) == BLANK:
            raise ValueError(
                f"no bias can be called {bias.name}, as studies without any are: "
                "rename the file"
            )
        try:
            own = family(text, study.labeller.space, study.design.training_stimuli, key)
        except ValueError as error:
            if strict:
                raise
            left_out[bias.name] = str(error)
            continue
        if slug(bias.name) in {slug(other.name) for other in there}:
            fault = f"two biases have the name {bias.name}: rename a file"
            if strict:
                raise ValueError(fault)
            left_out[bias.name] = fault
            continue
        if same := next((b for b, other in there.items() if _alike(own, other)), None):
            left_out[bias.name] = (
                f"from {study.design.training_stimuli} training stimuli its labellings "
                f"are those of {same.name}"
            )
            continue
        there[bias] = own
    if not there:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ValueError(f"the stimulus space has none of the biases ({reasons})")
    return there, left_out


def raise_all(
    wanted: Sequence[Bias],
    study: Study,
    folder: Path,
    each: int,
    upbringing: Upbringing = UPBRINGING,
) -> Iterator[Raised]:
    """Plant ``each`` subjects with every bias, one after the other.

    A subject that ``folder`` has from the same bias, space, number of training stimuli,
    upbringing and software is taken as it is. Raises ``ValueError`` where none comes
    of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    space, training = study.labeller.space, study.design.training_stimuli
    for bias in wanted:
        for number_ in range(1, each + 1):
            of = _fingerprint(bias, space, training, upbringing)
            path = folder / f"{slug(bias.name)}-{number_}-{of}.safetensors"
            if not _is_whole(path):
                _plant(bias, space, training, number_, upbringing, path)
            yield Raised(path, bias.name, number_)


def natures(
    raised: Sequence[Raised], families: Mapping[str, Family], study: Study
) -> list[Nature]:
    """How well each subject, and an untaught one, generalises every bias."""
    training = study.design.training_stimuli
    told = []
    for own in raised:
        subject = load(own.path)
        told.append(
            Nature(
                subject=own.path.name,
                bias=own.bias,
                seed=int(subject.about["seed"]),
                sha256=hashlib.sha256(own.path.read_bytes()).hexdigest(),
                errors=_errors(subject, families, training),
            )
        )
    untaught = fresh(len(study.labeller.space.features))
    errors = _errors(untaught, families, training)
    none = Nature(subject="untaught", bias=None, seed=None, sha256=None, errors=errors)
    return [*told, none]


def _alike(one: Family, other: Family) -> bool:
    """Whether two families are the same labellings of the same stimuli."""
    if one.x.shape != other.x.shape or not np.array_equal(one.x, other.x):
        return False
    mine, others = (np.asarray(own.functions) for own in (one, other))
    shares = [
        # Columns of zeros are there to make up the number.
        share_in_span(a.T[a.any(0)], b).min()
        for a, b in ((mine, others), (others, mine))
    ]
    return bool(min(shares) > _ALIKE)


def _plant(
    bias: Bias,
    space: StimulusSpace,
    training: int,
    seed: int,
    upbringing: Upbringing,
    path: Path,
) -> None:
    """Write one subject; an upbringing that diverged begins anew from other seeds."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            # Seeds of subjects are far apart, so that no attempts coincide.
            subject = plant(
                bias.source, space, training, seed + 1000 * (attempt - 1), upbringing
            )
            break
        except ValueError:
            if attempt == ATTEMPTS:
                raise
    save(path, subject._replace(about=subject.about | {"bias": bias.origin}))


def _is_whole(path: Path) -> bool:
    try:
        load(path)
    except (OSError, ValueError):
        return False
    return True


def _fingerprint(
    bias: Bias, space: StimulusSpace, training: int, upbringing: Upbringing
) -> str:
    """What an upbringing depends on, in eight characters."""
    content = space.content() if isinstance(space, FromFile) else b""
    network = (HIDDEN, WAVE, PROCEDURES["npbml"], STEPS, LEARNING_RATE, LIMIT)
    software = [version(name) for name in ("penchant", "jax")]
    told = f"{space!r} {training} {upbringing!r} {network} {CONTRAST} {software}"
    return hashlib.sha256(bias.content + content + told.encode()).hexdigest()[:8]


def _errors(
    subject: Subject, families: Mapping[str, Family], training: int
) -> dict[str, float]:
    """Relative error on labellings of each bias."""
    return {
        name: number(relative_error(subject, own, training, _TOLD)) or 0.0
        for name, own in families.items()
    }
