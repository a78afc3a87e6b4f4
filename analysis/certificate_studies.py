"""The simulated studies of a certificate: the study file, with other subjects."""

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from meta_learner.objective import CONTRASTS
from server.study_file import Study

NOBODY = {"learner": "unteachable"}
"""A subject without any bias: it answers at random."""

BLANK = "none"
"""What studies of such subjects are called, and thus no bias can be."""

_NAME = re.compile(r"[^A-Za-z0-9]+")


class Simulated(NamedTuple):
    """One simulated study: its name, file, and the bias of its subjects, if any.

    ``subject`` is the file of the planted subject.
    """

    name: str
    bias: str | None
    subject: Path | None
    seed: int
    text: str


def simulated(
    study: Study,
    folder: Path,
    where: Path,
    bias: str | None,
    number: int,
    subject: Path | None,
) -> Simulated:
    """Study ``number`` of subjects with a bias, as a study file for a folder.

    All as in the study, which lies in ``folder``, but for name, seed and simulated
    subjects. Files are named from ``where`` it will lie.
    """
    name = f"{slug(bias) if bias else BLANK}-{number}"
    seed = crc32(f"{study.seed} certificate {name}".encode()) % 2**31
    learner: dict[str, Any] = dict(NOBODY)
    if subject is not None:
        path = Path(os.path.relpath(subject, where)).as_posix()
        learner = {"learner": "procedural", "subject": path}
    whole = tomllib.loads(study.text)
    whole["study"] |= {"name": f"certify-{name}"[:64], "seed": seed}
    path = whole["stimuli"].get("path")
    if isinstance(path, str):
        whole["stimuli"]["path"] = Path(
            os.path.relpath(folder / path, where)
        ).as_posix()
    if not study.file.groups:
        whole["simulated_subject"] = _in_place_of(
            whole.get("simulated_subject", {}), learner
        )
    for group, old in whole.get("groups", {}).items():
        # Of a contrast the neglected group is taught nothing.
        contrast = study.objective.aim in CONTRASTS
        blank = contrast and group != study.file.objective.chosen
        whole["groups"][group] = _in_place_of(old, NOBODY if blank else learner)
    return Simulated(name, bias, subject, seed, toml(whole))


def slug(bias: str) -> str:
    """A bias as part of a file's name."""
    return _NAME.sub("-", bias).strip("-").lower()[:40] or "bias"


def toml(tables: Mapping[str, Any]) -> str:
    """A mapping of tables as TOML: a section each, tables within it inline."""
    plain = {k: v for k, v in tables.items() if not isinstance(v, dict)}
    lines = [f"{_key(k)} = {_value(v)}" for k, v in plain.items()]
    for name, table in tables.items():
        if isinstance(table, dict):
            rows = [f"{_key(k)} = {_value(v)}" for k, v in table.items()]
            lines += ["", f"[{_key(name)}]", *rows]
    return "\n".join(lines).lstrip("\n") + "\n"


def _in_place_of(old: Mapping[str, Any], learner: Mapping[str, Any]) -> dict[str, Any]:
    """Another learner that perceives its labels as the old one does."""
    noise = {name: old[name] for name in ("label_noise",) if name in old}
    return {**learner, **noise}


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(text: str) -> str:
    # Strings of JSON are strings of TOML but for one control character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{'-' if value < 0 else ''}inf"
    if isinstance(value, dict):
        rows = (f"{_key(k)} = {_value(v)}" for k, v in value.items())
        return "{" + ", ".join(rows) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)
