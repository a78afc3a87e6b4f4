"""Responses like those of a recorded population: a model fitted to a CSV."""

import functools
import math
import operator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from numpy.typing import NDArray

from stimuli.polynomials import hermite, powers
from stimuli.population_model import Floats, Model, fit
from stimuli.space import Feature
from stimuli.table import TableFile, read_table

MOST_FUNCTIONS = 600
"""Largest basis that is computed: its cost grows with the square of this."""

_REFERENCE = 2**16
"""Draws under which the basis is made orthonormal."""


# Compared by identity, as a table is.
@dataclass(frozen=True, eq=False)
class Recorded:
    """Fresh population responses, from a generative model of recorded ones.

    Paper, section 6: "generative modelling could be used to fit the neural data
    distribution and new samples drawn from that". The CSV is as a table's, ``id``
    and a column for each neuron with its unit; a row is one response. Inside, a
    stimulus is its features as z-scores over the recording.

    The principal components that make up ``variance_kept`` of the z-scores'
    variance are a Gaussian mixture; how many parts, up to ``most_parts``, and of
    which kind of covariance is chosen by the Bayesian information criterion.
    The mixture is then shifted and stretched to have mean and covariance of
    the recording, which fits of few parameters do not have. The other
    components are independent Gaussian noise, so that nothing is impossible.
    A Gaussian knows no bounds: rates close to zero may come out just below.

    Raises ``ValueError`` with the line for anything the file has wrong.
    """

    path: str
    variance_kept: float = 0.99
    most_parts: int = 8

    def __post_init__(self) -> None:
        """Read the file and fit, so that it is refused before a study begins."""
        if not 0 < self.variance_kept <= 1:
            raise ValueError(
                f"variance_kept must be above 0 and at most 1, got {self.variance_kept}"
            )
        if not 1 <= self.most_parts <= 100:
            raise ValueError(f"most_parts must be 1 to 100, got {self.most_parts}")
        if "file" in self._file.rows[0]:
            raise ValueError(
                f"{self.path} has a column 'file', but fresh responses have none to "
                "show: leave the column out, or use the space 'table'"
            )
        _ = self.model

    @property
    def features(self) -> tuple[Feature, ...]:
        """The columns with their units; a model of them has no bounds."""
        return tuple(
            Feature(f.name, f.unit, -math.inf, math.inf) for f in self._file.features
        )

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Draw ``n`` fresh responses, shape ``(n, features)``."""
        part_key, key = jax.random.split(key)
        rank = jax.random.uniform(part_key, (n,))
        noise = jax.random.normal(key, (n, len(self._file.features)))
        return self._place(self._components(rank, noise))

    def present(self, x: Any) -> dict[str, Any]:
        """Response of each neuron by its column's header, in its own unit.

        To a millionth of the column's standard deviation.
        """
        centre, spread = self._units
        physical = np.asarray(x, float) * spread + centre
        digits = 6 - np.floor(np.log10(spread)).astype(int)
        columns = [column for column in self._file.rows[0] if column != "id"]
        return {
            column: round(value, digit)
            for column, value, digit in zip(
                columns, physical.tolist(), digits.tolist(), strict=True
            )
        }

    def basis(self, x: jax.Array, degree: int) -> tuple[jax.Array, jax.Array]:
        """Polynomials of the leading components, orthonormal under the model.

        Products of Hermite polynomials, made orthonormal on a large sample,
        lowest total degree first; the order of a function is its total degree.
        Raises ``ValueError`` for a degree that gives too many of them.
        """
        kept = self.model.kept
        functions = math.comb(kept + degree, degree)
        if functions > MOST_FUNCTIONS:
            raise ValueError(
                f"degree {degree} of {kept} components gives {functions} basis "
                f"functions: expected at most {MOST_FUNCTIONS}; lower the degree or "
                "variance_kept"
            )
        exponents = np.array(powers(kept, degree))
        mixing = jnp.asarray(self._mixing(degree), jnp.float32)
        products = _products(self._leading(x), exponents)
        return products @ mixing.T, jnp.asarray(exponents.sum(1))

    def view(self, x: jax.Array) -> jax.Array:
        """The first two principal components, in z-scores of the features."""
        flat = x @ jnp.asarray(self.model.axes[:, :2], jnp.float32)
        return jnp.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))

    def grid(self, n: int) -> jax.Array:
        """``n`` quasi-random responses with mean and covariance of the model.

        The moments are not corrected where ``n`` is too few to estimate them.
        """
        kept = self.model.kept
        points = self._quasi_random(n, len(self._file.features))
        if n > 4 * kept:
            leading = points[:, :kept] - points[:, :kept].mean(0)
            root = np.linalg.cholesky(leading.T @ leading / n)
            points[:, :kept] = np.linalg.solve(root, leading.T).T
        return self._place(jnp.asarray(points, jnp.float32))

    def content(self) -> bytes:
        """The file, as it is now."""
        return Path(self.path).read_bytes()

    @property
    def z_scores(self) -> Floats:
        """The recording itself, ``(rows, features)``."""
        centre, spread = self._units
        return (self._file.values - centre) / spread

    @cached_property
    def model(self) -> Model:
        """What was fitted to the recording."""
        return fit(self.z_scores, self.variance_kept, self.most_parts)

    @cached_property
    def _file(self) -> TableFile:
        return read_table(Path(self.path))

    @property
    def _units(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of each column, in its unit."""
        return self._file.values.mean(0), self._file.values.std(0)

    def _components(self, rank: jax.Array, noise: jax.Array) -> jax.Array:
        """Principal components of variance 1, of uniform ``rank`` (n,) and noise.

        ``noise`` (n, features) is N(0, I); ``rank`` chooses the part.
        """
        model = self.model
        part = jnp.searchsorted(
            jnp.asarray(model.weights.cumsum()[:-1], jnp.float32), rank
        )
        means = jnp.asarray(model.means, jnp.float32)
        roots = jnp.asarray(model.roots, jnp.float32)
        leading = noise[:, : model.kept]
        of_each = jnp.einsum("nj,pij->pni", leading, roots) + means[:, None]
        leading = jnp.take_along_axis(of_each, part[None, :, None], 0)[0]
        return jnp.concatenate([leading, noise[:, model.kept :]], 1)

    def _place(self, components: jax.Array) -> jax.Array:
        """Stimuli of principal components of variance 1."""
        scaled = self.model.axes * self.model.scale
        return components @ jnp.asarray(scaled.T, jnp.float32)

    def _leading(self, x: jax.Array) -> jax.Array:
        """Leading principal components of variance 1, of stimuli."""
        kept = self.model.kept
        scaled = self.model.axes[:, :kept] / self.model.scale[:kept]
        return x @ jnp.asarray(scaled, jnp.float32)

    def _quasi_random(self, n: int, components: int) -> Floats:
        """So many components of ``n`` points, ``(n, components)``, always the same."""
        sobol = scipy.stats.qmc.Sobol(components + 1, rng=0)
        cube = sobol.random_base2(max(n - 1, 1).bit_length())[:n]
        cube = np.clip(cube, 1e-7, 1 - 1e-7)
        noise = scipy.stats.norm.ppf(cube[:, 1:])
        # Called while something else is compiled too: these are plain numbers.
        with jax.ensure_compile_time_eval():
            found = self._components(jnp.asarray(cube[:, 0]), jnp.asarray(noise))
        return np.array(found, float)

    def _mixing(self, degree: int) -> Floats:
        """From products to orthonormal functions, ``(functions, functions)``."""
        if degree not in self._mixings:
            exponents = np.array(powers(self.model.kept, degree))
            gram = np.zeros((len(exponents),) * 2)
            for points in np.array_split(self._basis_sample, _REFERENCE // 2**12):
                with jax.ensure_compile_time_eval():
                    products = np.asarray(_products(jnp.asarray(points), exponents))
                gram += products.T.astype(float) @ products
            # Gram-Schmidt, lowest degree first, as one triangular matrix.
            root = np.linalg.cholesky(gram / _REFERENCE)
            self._mixings[degree] = np.linalg.inv(root)
        return self._mixings[degree]

    @cached_property
    def _mixings(self) -> dict[int, Floats]:
        return {}

    @cached_property
    def _basis_sample(self) -> NDArray[np.float32]:
        """Leading components of what the basis is orthonormal under."""
        return self._quasi_random(_REFERENCE, self.model.kept).astype(np.float32)


def _products(components: jax.Array, exponents: NDArray[np.int64]) -> jax.Array:
    """Products of Hermite polynomials, ``(n, kept)`` to ``(n, functions)``."""
    single = hermite(components, int(exponents.max()))
    # One factor at a time: of a grid, known when compiling, a product over an axis
    # would be folded by a slow interpreter.
    factors = (single[:, i, order] for i, order in enumerate(exponents.T))
    return functools.reduce(operator.mul, factors)
