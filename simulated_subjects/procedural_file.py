"""A planted subject as a file: safetensors, so numbers only, and what they are of."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from simulated_subjects.perceptron import Perceptron
from simulated_subjects.planting import Subject
from simulated_subjects.procedure import LossTerm, Parts, Rule, born
from stimuli import random_keys

_KEY = "penchant"
"""Under which a file says what its arrays are of."""

_REMEMBERED = "remembered"


# A header of JSON nested without end is no header either.
_NO_SUBJECT = (SafetensorError, KeyError, ValueError, TypeError, RecursionError)


class _Parts(BaseModel):
    model_config = ConfigDict(extra="forbid")

    initialisation: bool
    preconditioning: bool
    loss: tuple[LossTerm, ...]
    modulation: bool
    rates: bool


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    parts: _Parts
    steps: Annotated[int, Field(ge=1, le=10_000)]
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    error: Literal["squared"]
    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None


class _Network(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[int, Field(ge=1, le=4096)]
    hidden: Annotated[
        tuple[Annotated[int, Field(ge=1, le=4096)], ...],
        Field(min_length=1, max_length=16),
    ]
    outputs: Literal[1]
    bias: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    wave: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _About(BaseModel):
    """What a file says of its arrays."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    rule: _Rule
    network: _Network
    about: dict[str, str]


def save(path: Path, subject: Subject) -> None:
    """Write a subject; what was there before is replaced as a whole."""
    leaves = {_REMEMBERED: subject.remembered, **_named(subject.procedure)}
    arrays = {name: np.asarray(leaf) for name, leaf in leaves.items()}
    told = {
        "version": 1,
        "rule": asdict(subject.rule),
        "network": asdict(subject.network),
        "about": subject.about,
    }
    content = save_arrays(arrays, metadata={_KEY: json.dumps(told, sort_keys=True)})
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def load(path: Path) -> Subject:
    """Read a subject; raises ``ValueError`` for what is none, naming the file."""
    return of_bytes(read(path), str(path))


def read(path: Path) -> bytes:
    """The file's content; raises ``ValueError`` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"cannot read the subject {path}: {error.strerror}; `penchant plant` makes "
            "such files, and a study file names them relative to itself"
        ) from error


def of_bytes(content: bytes, name: str) -> Subject:
    """The subject of a file's content; ``name`` is the file's, for errors."""
    try:
        told = _About.model_validate_json(_metadata(content)[_KEY])
        arrays = load_arrays(content)
    except _NO_SUBJECT as error:
        raise ValueError(
            f"{name} is no subject that `penchant plant` made: {_first_line(error)}"
        ) from error
    rule = told.rule.model_dump()
    parts = Parts(**rule.pop("parts"))
    whole = Rule(parts, **rule)
    network = Perceptron(**told.network.model_dump())
    outline = jax.eval_shape(lambda: born(whole, network, random_keys.key(0)))
    wanted = {key: leaf.shape for key, leaf in _named(outline).items()}
    remembered = arrays.get(_REMEMBERED, np.zeros(0))
    if remembered.ndim != 2 or remembered.shape[1] != network.inputs:
        raise ValueError(
            f"{name}: {_REMEMBERED} has shape {remembered.shape}, expected stimuli of "
            f"{network.inputs} features"
        )
    shapes = wanted | {_REMEMBERED: remembered.shape}
    for key in sorted({*shapes, *arrays}):
        got = arrays[key].shape if key in arrays else None
        if got != shapes.get(key):
            raise ValueError(
                f"{name}: {key} has shape {got}, expected {shapes.get(key)}"
            )
        if arrays[key].dtype != np.float32 or not np.isfinite(arrays[key]).all():
            raise ValueError(f"{name}: {key} is not all finite 32-bit numbers")
    leaves = [jnp.asarray(arrays[key]) for key in wanted]
    procedure = jax.tree.unflatten(jax.tree.structure(outline), leaves)
    return Subject(whole, network, procedure, jnp.asarray(remembered), told.about)


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by their paths, in the order of the tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _metadata(content: bytes) -> dict[str, str]:
    """Of a safetensors file: length of a JSON header, and that header.

    The library gives metadata only of files on disk, and the content that is hashed
    is to be the one that is read.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header["__metadata__"]
    return metadata


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    if isinstance(error, KeyError):
        return f"it says nothing of {error}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
