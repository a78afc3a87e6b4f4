"""How much of a true space of components was found, where the truth may have ties."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TIED = 0.2
"""Eigenvalues that differ by less than this share count as equal."""


class Reference(NamedTuple):
    """The true ``k`` leading components, rows of unit length in one basis.

    ``leading`` (r, functions) belong to it for certain; of ``tied`` (t, functions),
    whose eigenvalues are equal to the last one's, any k - r directions are as true
    as any others.
    """

    leading: Floats
    tied: Floats


def reference(values: Floats, rows: Floats, k: int) -> Reference:
    """Reference of ``k`` components from all eigenvalues, largest first, and rows."""
    last = values[k - 1]
    leading = values > last / (1 - TIED)
    tied = ~leading & (values >= last * (1 - TIED))
    return Reference(rows[leading], rows[tied])


def overlap_with(true: Reference, found: Floats) -> float:
    """Overlap of ``found`` (k, functions), orthonormal rows, with a reference.

    Mean squared cosine of principal angles, 0 to 1, to that space of k dimensions
    which holds all of ``leading`` and, of ``tied``, what suits ``found`` best: finding
    another member of a degenerate group is no fault.
    """
    k = len(found)
    certain = np.sum((found @ true.leading.T) ** 2)
    cosines = np.linalg.svd(found @ true.tied.T, compute_uv=False)
    return float(certain + np.sum(cosines[: k - len(true.leading)] ** 2)) / k
