"""From the sections of a study file to what they name."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from simulated_subjects.catalogue import LEARNERS
from simulated_subjects.learner import Learner
from simulated_subjects.private_noise import PrivateNoise


def build(
    catalogue: Mapping[str, type[Any]],
    section: str,
    choice: str | None,
    options: Mapping[str, Any],
    faults: list[str],
) -> Any:
    """One catalogue entry made from the options of its section.

    The option ``choice`` names the entry; without it there is but one. Returns
    None where there are faults, which are added to ``faults``.
    """
    options = dict(options)
    name = options.pop(choice, None) if choice else next(iter(catalogue))
    if name not in catalogue:
        known = ", ".join(sorted(catalogue))
        faults.append(f"{section}.{choice}: expected one of {known}, got {name!r}")
        return None
    entry = catalogue[name]
    names = [field.name for field in dataclasses.fields(entry)]
    for unknown in sorted(set(options) - set(names)):
        known = ", ".join(names) or "none"
        faults.append(f"{section}.{unknown}: {name} has no such option; it has {known}")
    known_options = {key: options[key] for key in options if key in names}
    try:
        return TypeAdapter(entry).validate_python(known_options)
    except ValidationError as error:
        faults += faults_of(error, section)
        return None


def build_learner(section: str, options: Mapping[str, Any], faults: list[str]) -> Any:
    """The learner of a section, behind its ``label_noise`` if that is given."""
    own = {key: value for key, value in options.items() if key != "label_noise"}
    learner: Learner | None = build(LEARNERS, section, "learner", own, faults)
    if learner is None or "label_noise" not in options:
        return learner
    wrap = AfterValidator(partial(PrivateNoise, learner=learner))
    try:
        noise = TypeAdapter(Annotated[float, wrap])
        return noise.validate_python(options["label_noise"])
    except ValidationError as error:
        faults += faults_of(error, section, "label_noise")
        return None


def faults_of(error: ValidationError, *section: str) -> list[str]:
    """One line per fault: where, what was expected, what came."""
    lines = []
    for fault in error.errors():
        where = ".".join(map(str, (*section, *fault["loc"]))) or "study file"
        came = fault["input"]
        got = "" if isinstance(came, dict) else f" (got {came!r})"
        lines.append(f"{where}: {_plainly(fault['msg'])}{got}")
    return lines


def _plainly(told: str) -> str:
    """What pydantic tells of a fault, without its jargon."""
    if told == "Extra inputs are not permitted":
        return "a study file has no such setting"
    return told.removeprefix("Value error, ").replace("Input should be", "expected", 1)
