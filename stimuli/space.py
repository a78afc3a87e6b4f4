"""What every stimulus space offers: the contract of this folder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Feature:
    """One coordinate of a stimulus: its name, unit and range."""

    name: str
    unit: str
    low: float
    high: float


class StimulusSpace(Protocol):
    """A set of stimuli with an input distribution p(x).

    Implementations are frozen dataclasses whose fields are the options that a
    study file may set.
    """

    @property
    def features(self) -> tuple[Feature, ...]:
        """Coordinates of a stimulus ``x``, shape ``(features,)``."""
        ...

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw ``n`` stimuli from p(x), shape ``(n, features)``."""
        ...

    def present(self, x: Any) -> dict[str, Any]:
        """Physical parameters of one stimulus, for a client to show; JSON-able."""
        ...

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """Basis functions orthonormal under p(x), constant first.

        Returns values ``(n, functions)`` and the order of each, ``(functions,)``.
        """
        ...

    def view(self, x: jax.Array) -> jax.Array:
        """Places of stimuli in a picture, shape ``(n, 2)``."""
        ...

    def grid(self, n: int) -> jax.Array:
        """About ``n`` stimuli that cover the space evenly, ``(about n, features)``."""
        ...


@runtime_checkable
class FromFile(Protocol):
    """What is made from a file: what that holds is part of a study."""

    def content(self) -> bytes:
        """The file's content."""
        ...


@runtime_checkable
class HasFiles(Protocol):
    """A space whose stimuli are files, named as ``file`` of what ``present`` gives."""

    @property
    def folder(self) -> Path | None:
        """What the names are relative to, absolute; None where nothing is a file."""
        ...

    @property
    def files(self) -> list[str]:
        """Name of each, none of them twice."""
        ...


@runtime_checkable
class HasPictures(Protocol):
    """A space whose stimuli are pixels."""

    @property
    def pictures(self) -> dict[str, NDArray[np.float32]]:
        """Pixels ``(side, side)`` in [0, 1], by file or as ``<number>.png``."""
        ...


def highest_degree(space: StimulusSpace, functions: int, most: int) -> int:
    """Highest degree, 1 to ``most``, whose basis has at most so many functions."""
    x = space.grid(64)

    def size(degree: int) -> int:
        try:
            shapes = jax.eval_shape(partial(space.basis, degree=degree), x)
        except ValueError:  # a table with few stimuli has no more
            return functions + 1
        return int(shapes[0].shape[1])

    return max((d for d in range(2, most + 1) if size(d) <= functions), default=1)
