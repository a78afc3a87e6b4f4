"""The grid of a sweep: every combination of values, each a checked study file."""

import contextlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from analysis.certificate_studies import toml
from server.study_file import Study, StudyFileError
from server.sweep import Setting, as_set

Axes = dict[str, list[Any]]
"""Values to try, by dotted key of a study file."""


def axes_of(options: Sequence[str]) -> Axes:
    """From ``key=value,value`` each; values are TOML, or else text.

    Raises ``ValueError`` for one that is not of this form, or names a key again.
    """
    axes: Axes = {}
    for option in options:
        key, equals, values = option.partition("=")
        key = key.strip()
        if not equals or "." not in key.strip(".") or not values.strip():
            raise ValueError(
                f"--set {option}: expected a key of the study file and its values, as "
                "search.population=16,32"
            )
        if key == "study.seed":
            raise ValueError("--set study.seed: seeds are numbered by --seeds")
        if key in axes:
            raise ValueError(f"--set {key} is there twice: name all values at once")
        axes[key] = _alike([_value(text) for text in _apart(values)])
        if len(axes[key]) > len({repr(value) for value in axes[key]}):
            raise ValueError(f"--set {option}: a value is there twice")
    return axes


def settings_of(path: Path, axes: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """Every combination of values, in the study file ``path``.

    Raises :class:`StudyFileError` that names every value, or combination of them, with
    which it is no study, or nobody could simulate it.
    """
    try:
        whole = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyFileError(f"cannot read study file {path}: {error}") from error
    settings, faults = [], dict[str, None]()
    with contextlib.chdir(path.absolute().parent):
        its_own = _tried(whole, {})
        for values in product(*axes.values()):
            chosen = dict(zip(axes, values, strict=True))
            tried = its_own if not chosen else _tried(whole, chosen)
            if isinstance(tried, Study):
                settings.append(Setting(_plain(chosen), tried))
                continue
            known = () if isinstance(its_own, Study) else its_own
            faults |= dict.fromkeys(
                f"{path}: {fault}" if fault in known else _told(fault, chosen)
                for fault in tried
            )
    if faults:
        raise StudyFileError("\n".join(faults))
    return settings


def _tried(whole: Mapping[str, Any], chosen: Mapping[str, Any]) -> Study | list[str]:
    """The study with some keys set, or its faults."""
    try:
        study = Study(toml(_with(whole, chosen)))
        study.stand_ins()
    except StudyFileError as error:
        return [line.strip() for line in str(error).strip().splitlines()]
    return study


def _told(fault: str, chosen: Mapping[str, Any]) -> str:
    """A fault, after the settings that may be to blame, as they were typed."""
    where, _, why = fault.partition(": ")
    named = {k: v for k, v in chosen.items() if f"{k}.".startswith(f"{where}.")}
    named = named or {k: v for k, v in chosen.items() if where.startswith(f"{k}.")}
    return f"{as_set(named or chosen)}: {why if named else fault}"


def _with(whole: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with some keys set, those that are not there yet too."""
    tables = {k: dict(v) if isinstance(v, dict) else v for k, v in whole.items()}
    for key, value in values.items():
        *sections, last = key.split(".")
        at = tables
        for section in sections:
            below = at.get(section, {})
            if not isinstance(below, dict):
                raise StudyFileError(f"{key}: {section} is a value, not a section")
            at[section] = dict(below)
            at = at[section]
        at[last] = value
    return tables


def _apart(values: str) -> Iterator[str]:
    """Texts between commas, but for those within brackets or quotes."""
    begun, depth, quote = "", 0, ""
    for letter in values:
        if letter == "," and not depth and not quote:
            yield begun
            begun = ""
            continue
        if letter in "\"'" and quote in ("", letter):
            quote = "" if quote else letter
        elif not quote:
            depth += (letter in "[{") - (letter in "]}")
        begun += letter
    yield begun


def _value(text: str) -> Any:
    """A value of TOML; what is none is text, so that names need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _alike(values: list[Any]) -> list[Any]:
    """Numbers of one kind: whole numbers beside others are taken as those."""
    if {type(value) for value in values} == {int, float}:
        return [float(value) for value in values]
    return values


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As columns of a table hold them: lists as text."""
    return {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in values.items()
    }
