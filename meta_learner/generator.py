"""Data sets from noise: a meta-learner that makes the inputs as well as the labels.

Paper, section 6: "a single meta-learner that creates not only the label, but
also the data ... carefully regularised to avoid trivial input distributions".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from numpy.typing import NDArray

from meta_learner.families import perceptron, perceptron_genes
from meta_learner.gradient import Gradient, State
from meta_learner.label_distribution import STANDARD_STD
from simulated_subjects.learner import Learner, UnsupervisedLearner

REFERENCE_NOISE = 512
"""Noise samples that stand for N(0, I) wherever an expectation is needed."""

_CLUMPING_NOISE = 128
"""The first of them, for what takes all pairs; a power of 2 keeps them balanced."""


class Scale(NamedTuple):
    """What standardises outputs: ``centre`` and ``factor``, both (outputs,)."""

    centre: jax.Array
    factor: jax.Array


@dataclass(frozen=True)
class Generator:
    """Perceptron from noise N(0, I) to an input and its label.

    Inputs have mean 0 and a total variance of ``inputs`` by construction, so
    that nothing is gained by scale; labels have mean 0 and standard deviation
    1/2 and are clipped to [-1, 1], as :class:`meta_learner.labelling.Labeller`
    does. Genes are from N(0, 1), as in every labelling family.
    """

    inputs: int
    noise: int = 8
    hidden: tuple[int, ...] = (32,)
    activation: Literal["relu", "tanh"] = "tanh"

    def __post_init__(self) -> None:
        """Refuse sizes for which there is no network."""
        for name, sizes in (
            ("inputs", (self.inputs,)),
            ("noise", (self.noise,)),
            ("hidden", self.hidden),
        ):
            if not all(1 <= size <= 4096 for size in sizes):
                raise ValueError(f"{name} must be 1 to 4096, got {sizes}")

    @property
    def genes(self) -> int:
        """Weights and biases of all layers."""
        return perceptron_genes(self._widths)

    def settle(self, theta: jax.Array) -> Scale:
        """Mean and scale of the outputs over the reference noise."""
        raw = self._raw(theta, jnp.asarray(_reference(self.noise)))
        power = jnp.maximum(jnp.var(raw, 0), 1e-12)
        inputs, label = power[:-1], power[-1:]
        factor = jnp.sqrt(self.inputs / inputs.sum()) * jnp.ones(self.inputs)
        return Scale(raw.mean(0), jnp.concatenate([factor, STANDARD_STD * label**-0.5]))

    def pairs(
        self, theta: jax.Array, scale: Scale, noise: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Inputs ``(n, inputs)`` and labels ``(n,)`` of noise ``(n, noise)``."""
        raw = self._raw(theta, noise)
        made = (raw - scale.centre[None]) * scale.factor[None]
        return made[:, :-1], jnp.clip(made[:, -1], -1.0, 1.0)

    def draw(
        self, theta: jax.Array, key: jax.Array, n: int
    ) -> tuple[jax.Array, jax.Array]:
        """A data set of fresh noise: inputs ``(n, inputs)`` and labels ``(n,)``."""
        noise = jax.random.normal(key, (n, self.noise))
        return self.pairs(theta, self.settle(theta), noise)

    def reference(self, theta: jax.Array) -> jax.Array:
        """Inputs of the reference noise, ``(reference, inputs)``."""
        noise = jnp.asarray(_reference(self.noise))
        return self.pairs(theta, self.settle(theta), noise)[0]

    def _raw(self, theta: jax.Array, noise: jax.Array) -> jax.Array:
        return perceptron(theta, noise, self._widths, self.activation)

    @property
    def _widths(self) -> Sequence[int]:
        return (self.noise, *self.hidden, self.inputs + 1)


def _reference(dimensions: int) -> NDArray[np.float32]:
    cube = scipy.stats.qmc.Sobol(dimensions, rng=0).random_base2(
        REFERENCE_NOISE.bit_length() - 1
    )
    points: NDArray[np.float32] = scipy.stats.norm.ppf(cube).astype(np.float32)
    return points


# What is trivial: inputs along few directions, or at few points.


def participation(x: jax.Array) -> jax.Array:
    """Participation ratio of inputs ``(n, inputs)``: dimensions they fill evenly.

    (sum of eigenvalues)^2 / sum of squared eigenvalues of their covariance; by
    traces, which have a gradient wherever eigenvalues coincide.
    """
    covariance = jnp.cov(x, rowvar=False, bias=True).reshape(x.shape[1], x.shape[1])
    return jnp.trace(covariance) ** 2 / jnp.sum(covariance**2)


def concentration(x: jax.Array) -> jax.Array:
    """How little of the dimensions there are inputs ``(n, inputs)`` fill: 0 to 1."""
    return 1 - participation(x) / x.shape[1]


def clumping(x: jax.Array, key: jax.Array) -> jax.Array:
    """Energy distance of inputs ``(n, inputs)`` to the Gaussian of their covariance.

    Divided by twice the mean distance between the two, which bounds it to 0 to 1
    (Szekely & Rizzo 2013). Of inputs at a few points it is large, of inputs in a
    subspace it need not be: that Gaussian lies in the subspace too. It is drawn
    as random sums of the inputs, which needs no root of the covariance and has
    a gradient where that is singular.
    """
    n = len(x)
    from_centre = x - x.mean(0)[None]
    like = jax.random.normal(key, (n, n)) @ from_centre / jnp.sqrt(n)
    between = _distances(from_centre, like).mean()
    # A point's distance to itself, 0, is no distance between two.
    pairs = n / (n - 1)
    within = pairs * _distances(from_centre, from_centre).mean()
    gaussian = pairs * _distances(like, like).mean()
    return (2 * between - within - gaussian) / (2 * between)


def _distances(a: jax.Array, b: jax.Array) -> jax.Array:
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return jnp.sqrt(jnp.maximum(squared, 1e-6))


# What a subject makes of a data set.


class Task(Protocol):
    """How badly one individual does on a data set; hashable."""

    def error(
        self, key: jax.Array, data: tuple[jax.Array, jax.Array], n: int
    ) -> jax.Array:
        """Error after learning from the first ``n`` of inputs and labels."""
        ...


@dataclass(frozen=True)
class Supervised:
    """Relative generalisation error of a learner of labels."""

    learner: Learner

    def error(
        self, key: jax.Array, data: tuple[jax.Array, jax.Array], n: int
    ) -> jax.Array:
        """Mean squared error of the rest, in variances of its labels."""
        x, y = data
        answer = self.learner.predict(self.learner.train(key, x[:n], y[:n]), x[n:])
        return jnp.mean((answer - y[n:]) ** 2) / jnp.maximum(jnp.var(y[n:]), 1e-6)


@dataclass(frozen=True)
class Unsupervised:
    """How far a representation is from the similarity structure of its inputs."""

    learner: UnsupervisedLearner

    def error(
        self, key: jax.Array, data: tuple[jax.Array, jax.Array], n: int
    ) -> jax.Array:
        """:func:`dissimilarity` on the rest of the inputs; labels do not matter."""
        x, _ = data
        state = self.learner.train(key, x[:n])
        return dissimilarity(x[n:], self.learner.embed(state, x[n:]))


def dissimilarity(x: jax.Array, z: jax.Array) -> jax.Array:
    """||X X^T - Z Z^T||^2 / ||X X^T||^2 of inputs and their representation.

    ``x`` (m, inputs) and ``z`` (m, dimensions), about their means. Section 6.
    """
    x, z = (rows - rows.mean(0)[None] for rows in (x, z))
    similarity = x @ x.T
    power = jnp.maximum(jnp.sum(similarity**2), 1e-12)
    return jnp.sum((similarity - z @ z.T) ** 2) / power


# The meta-loss and its descent.


class Measured(NamedTuple):
    """Per meta-step: mean ``error``; ``concentration`` and ``clumping`` of inputs.

    NaN for error and clumping that have no weight.
    """

    error: jax.Array
    concentration: jax.Array
    clumping: jax.Array


@dataclass(frozen=True)
class DataProblem:
    """What is differentiated: generator, subject, and the weights of the meta-loss.

    With ``error_weight = 0`` no subject is trained: the null. Static argument
    of compiled code.
    """

    generator: Generator
    task: Task
    training_stimuli: int = 30
    test_stimuli: int = 50
    error_weight: float = 1.0
    concentration_weight: float = 0.02
    clumping_weight: float = 1.0

    def meta_loss(
        self, theta: jax.Array, key: jax.Array, individuals: int
    ) -> tuple[jax.Array, Measured]:
        """Meta-loss over so many newly born individuals, and its parts."""
        clump_key, *keys = jax.random.split(key, 1 + individuals)
        x = self.generator.reference(theta)
        error = clumps = jnp.full((), jnp.nan)  # not evaluated
        if self.error_weight:
            error = jax.vmap(partial(self._error, theta))(jnp.stack(keys)).mean()
        if self.clumping_weight:
            clumps = clumping(x[:_CLUMPING_NOISE], clump_key)
        parts = Measured(error, concentration(x), clumps)
        weights = (self.error_weight, self.concentration_weight, self.clumping_weight)
        weighed = [w * part for w, part in zip(weights, parts, strict=True) if w]
        loss = sum(weighed, jnp.zeros(()))
        return loss, parts

    def _error(self, theta: jax.Array, key: jax.Array) -> jax.Array:
        data_key, born = jax.random.split(key)
        n = self.training_stimuli
        data = self.generator.draw(theta, data_key, n + self.test_stimuli)
        return self.task.error(born, data, n)


@partial(jax.jit, static_argnums=(0, 1, 4))
def descend(
    search: Gradient, problem: DataProblem, state: State, key: jax.Array, steps: int
) -> tuple[State, Measured]:
    """Take ``steps`` meta-steps; noise and individuals are fresh at each.

    Returns where the descent then stands and what each step measured, (steps,).
    """
    slope_of = jax.grad(problem.meta_loss, has_aux=True)

    def step(state: State, i: jax.Array) -> tuple[State, Measured]:
        slope, measured = slope_of(
            state.theta, jax.random.fold_in(key, i), search.population
        )
        return search.step(state, slope), measured

    return jax.lax.scan(step, state, jnp.arange(steps))
