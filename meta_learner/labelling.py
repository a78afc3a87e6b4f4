"""From a search vector to labels in [-1, 1], given the components found before."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from meta_learner.families import LabellingFamily
from meta_learner.label_distribution import (
    PENALTIES,
    STANDARD_STD,
    UNIFORM_STD,
    ascending,
    to_uniform,
)
from stimuli.space import StimulusSpace

REFERENCE_STIMULI = 512
"""Stimuli that stand for p(x) wherever an expectation over it is needed."""

ALTERNATIONS = 4
"""Rounds of projection and label map that make labels orthogonal and distributed."""

CONSTRUCTED = ("exact", "standardised")
"""Label distributions that hold by construction."""

Round = tuple[jax.Array, jax.Array]
"""What one round of projection takes away, and what its label map goes by."""


class Component(NamedTuple):
    """A frozen labelling of the series, ready to be evaluated anywhere.

    ``theta`` (genes,); ``offsets`` (rounds, components before + 1), what each
    round of projection takes away; ``maps`` (rounds, ...), what each label map
    needs: the sorted values of the reference stimuli, or mean and scale.
    """

    theta: jax.Array
    offsets: jax.Array
    maps: jax.Array


Series = tuple[Component, ...]


@dataclass(frozen=True)
class Labeller:
    """Makes labels: family, label distribution and orthogonality as one function.

    With ``label_distribution = "standardised"`` labels have mean 0 and standard
    deviation 1/2 by construction and any shape, with ``exact`` they are uniform
    on [-1, 1]; otherwise raw values are clipped to [-1, 1] and a penalty keeps
    their distribution. With ``orthogonality = "exact"`` what lies along
    frozen components is projected out, otherwise a penalty keeps it small.
    """

    space: StimulusSpace
    family: LabellingFamily
    label_distribution: str = "standardised"
    orthogonality: str = "exact"

    def evaluate(self, series: Series, component: Component, x: jax.Array) -> jax.Array:
        """Labels of stimuli by a component found after ``series``, shape ``(n,)``."""
        return self._apply(component, self._before(self.component_labels(series, x)), x)

    def labels(self, series: Series, theta: jax.Array, x: jax.Array) -> jax.Array:
        """Labels of stimuli ``(n, features)`` by ``theta``, shape ``(n,)``."""
        return self.evaluate(series, self.freeze(series, theta), x)

    def component_labels(self, series: Series, x: jax.Array) -> jax.Array:
        """Labels by every frozen component, shape ``(components, n)``."""
        found = jnp.zeros((0, x.shape[0]))
        for component in series:
            row = self._apply(component, self._before(found), x)
            found = jnp.concatenate([found, row[None]])
        return found

    def freeze(self, series: Series, theta: jax.Array) -> Component:
        """Settle projection and label map of ``theta`` on the reference stimuli."""
        reference = self.space.grid(REFERENCE_STIMULI)
        before = self._before(self.component_labels(series, reference))

        def settle(value: jax.Array, first: jax.Array) -> tuple[jax.Array, Round]:
            offset = self._offset(before, value)
            rest = value - offset @ before
            label_map = self._label_map(value, rest, first)
            return self._label(rest, label_map), (offset, label_map)

        raw = self._raw(theta, reference)
        _, rounds = jax.lax.scan(settle, raw, jnp.arange(self._rounds(series)) == 0)
        return Component(theta, *rounds)

    def penalties(self, series: Series, theta: jax.Array) -> jax.Array:
        """Label-distribution and orthogonality penalty, shape ``(2,)``.

        The second is the paper's equation 2 divided by the squared number of
        stimuli and by the squared power of a labelling: the sum of squared
        correlations with the series, at any number of stimuli. Zero where
        labellings meet the demand by construction.
        """
        reference = self.space.grid(REFERENCE_STIMULI)
        y = self.labels(series, theta, reference)
        divergence = PENALTIES.get(self.label_distribution)
        spread = divergence(y) if divergence else jnp.zeros(())
        if self.orthogonality == "exact":
            return jnp.stack([spread, jnp.zeros(())])
        overlap = self.component_labels(series, reference) @ y / y.shape[0]
        standardised = self.label_distribution == "standardised"
        power = (STANDARD_STD if standardised else UNIFORM_STD) ** 2
        return jnp.stack([spread, jnp.sum((overlap / power) ** 2)])

    def _raw(self, theta: jax.Array, x: jax.Array) -> jax.Array:
        """The family's function, kept finite should a search diverge."""
        raw = self.family.raw(self.space, theta, x)
        return jnp.clip(jnp.nan_to_num(raw), -1e15, 1e15)

    def _rounds(self, series: Series) -> int:
        constructed = self.label_distribution in CONSTRUCTED
        both = constructed and self.orthogonality == "exact"
        return ALTERNATIONS if both and series else 1

    def _before(self, found: jax.Array) -> jax.Array:
        """What to be orthogonal to: the constant and, if exact, ``found`` (k, n)."""
        constant = jnp.ones((1, found.shape[1]))
        if self.orthogonality != "exact":
            return constant
        return jnp.concatenate([constant, found])

    def _offset(self, before: jax.Array, value: jax.Array) -> jax.Array:
        """Coefficients of ``before`` in ``value``, by least squares."""
        if self.orthogonality != "exact":
            return jnp.zeros(1)  # the penalty deals with it
        # The small ridge is for components that are nearly alike or constant.
        ridge = 1e-5 * before.shape[1] * jnp.eye(before.shape[0])
        gram = before @ before.T + ridge
        return jax.scipy.linalg.solve(gram, before @ value, assume_a="pos")

    def _label_map(
        self, value: jax.Array, rest: jax.Array, first: jax.Array
    ) -> jax.Array:
        """What the label map of ``rest`` goes by; ``value`` is it before projection."""
        if self.label_distribution == "exact":
            return ascending(rest)
        if self.label_distribution == "standardised":
            # Where projection leaves next to nothing, rounding errors are no labels:
            # nor are they to grow in the rounds after, which correct by little.
            # Below 1e-24 the gradient of the root is infinite in float32.
            next_to_nothing = jnp.maximum(1e-6 * jnp.mean(value**2), 1e-24)
            least = jnp.where(first, next_to_nothing, STANDARD_STD**2 / 4)
            power = jnp.maximum(jnp.var(rest), least)
            return jnp.stack([jnp.mean(rest), STANDARD_STD * jax.lax.rsqrt(power)])
        return jnp.zeros(0)

    def _label(self, rest: jax.Array, label_map: jax.Array) -> jax.Array:
        if self.label_distribution == "exact":
            return to_uniform(rest, label_map)
        if self.label_distribution == "standardised":
            rest = (rest - label_map[0]) * label_map[1]
        return jnp.clip(rest, -1.0, 1.0)

    def _apply(
        self, component: Component, before: jax.Array, x: jax.Array
    ) -> jax.Array:
        def again(value: jax.Array, settled: Round) -> tuple[jax.Array, None]:
            offset, label_map = settled
            return self._label(value - offset @ before, label_map), None

        raw = self._raw(component.theta, x)
        rounds = (component.offsets, component.maps)
        return jax.lax.scan(again, raw, rounds)[0]


@partial(jax.jit, static_argnums=0)
def freeze(labeller: Labeller, series: Series, theta: jax.Array) -> Component:
    """Compiled :meth:`Labeller.freeze`."""
    return labeller.freeze(series, theta)


@partial(jax.jit, static_argnums=0)
def component_labels(labeller: Labeller, series: Series, x: jax.Array) -> jax.Array:
    """Compiled :meth:`Labeller.component_labels`."""
    return labeller.component_labels(series, x)


@partial(jax.jit, static_argnums=0)
def labels_of_each(labeller: Labeller, series: Series, x: jax.Array) -> jax.Array:
    """Labels of stimuli ``(n, features)`` by each of many series, one after another.

    Arrays of ``series`` have a leading axis; shape ``(series, components, n)``.
    """
    labels: jax.Array = jax.lax.map(
        lambda one: labeller.component_labels(one, x), series
    )
    return labels
