"""The labellings that a study has found so far, as pictures; worked out when asked."""

import threading
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from meta_learner.labelling import Component, Labeller, Series, freeze
from meta_learner.spectrum import GRID, orders_of
from meta_learner.subject_search import SubjectSearch
from server.picture import picture
from server.protocol import ProtocolError
from server.study import StudyState
from server.study_file import Study

Floats = NDArray[np.float64]

_KEPT = 16
"""Pictures that are kept: a few watchers look at the same."""


class Stand(NamedTuple):
    """Where a search stands: what was found, and how far the next one is.

    ``search`` is the state of the search; ``told`` says whether it has learnt
    anything of the component under way.
    """

    series: Series
    search: Any
    component: int
    generation: int
    fitted: int
    told: bool
    finished: bool


def stand_of(state: StudyState) -> Stand:
    """Where the search of a study stands; arrays are shared, none is changed."""
    begun = state.fitted if state.study.by_model else state.generation
    return Stand(
        state.series,
        state.search,
        state.component,
        state.generation,
        state.fitted,
        begun > 0,
        state.finished,
    )


class Asked(NamedTuple):
    """A picture: of which component of how many, and how far the search is in it."""

    component: int
    components: int
    generation: int | None
    fitted: int | None

    @property
    def provisional(self) -> bool:
        """Whether the component is not frozen yet."""
        return self.fitted is not None


class Gallery:
    """Pictures of a study's labellings. May be used by several threads."""

    def __init__(self, study: Study) -> None:
        """Nothing is drawn yet."""
        self._study = study
        self._lock = threading.Lock()
        self._drawn: dict[Asked, dict[str, Any]] = {}
        self._powers: list[list[float]] = []

    def asked(self, stand: Stand, component: int | None = None) -> Asked:
        """The picture of a component, by default of the newest; not drawn.

        Raises :class:`ProtocolError`, 404, where there is no such component yet.
        """
        found = len(stand.series)
        ahead = self._ahead(stand)
        there = found + ahead
        chosen = there - 1 if component is None else component
        if not 0 <= chosen < there:
            raise ProtocolError(
                404,
                "no_labelling",
                f"expected a component below {there}; ask again when a generation ends"
                if there
                else "no generation has ended yet: ask again then",
            )
        if chosen < found:
            return Asked(chosen, there, None, None)
        return Asked(chosen, there, stand.generation, stand.fitted)

    def drawn(self, asked: Asked) -> dict[str, Any] | None:
        """A picture, if it is drawn; never waits."""
        with self._lock:
            known = self._drawn.get(asked._replace(components=0))
        if known is None:
            return None
        return known | {
            "component": asked.component,
            "components": asked.components,
            "generation": asked.generation,
            "provisional": asked.provisional,
        }

    def draw(self, stand: Stand, component: int | None = None) -> None:
        """Draw a picture as the search stands; slow the first time.

        Raises as :meth:`asked`.
        """
        asked = self.asked(stand, component)
        if self.drawn(asked) is not None:
            return
        series = self._series(stand) if asked.provisional else stand.series
        picture = self._draw(series, asked.component)
        with self._lock:
            self._drawn[asked._replace(components=0)] = picture
            for old in list(self._drawn)[:-_KEPT]:
                del self._drawn[old]

    def power(self, series: Series) -> list[list[float]]:
        """Share of power of each frozen component per order, the rest above; slow."""
        for i in range(len(self._powers), len(series)):
            self._powers.append(self._power(series, i).tolist())
        return self._powers[: len(series)]

    def _ahead(self, stand: Stand) -> int:
        """How many components are there beside those frozen: where the search is."""
        if stand.finished or not stand.told:
            return 0
        if isinstance(self._study.search, SubjectSearch):
            return 0 if stand.series else self._study.file.study.components
        return int(len(stand.series) < self._study.file.study.components)

    def _series(self, stand: Stand) -> Series:
        """Components found, and as they would be if the search ended now."""
        study, series = self._study, stand.series
        if isinstance(study.search, SubjectSearch):
            rows = study.search.best(stand.search, study.file.study.components)
        else:
            rows = study.search.best(stand.search)[None]
        for theta in rows:
            series = (*series, freeze(study.labeller, series, theta))
        return series

    def _draw(self, series: Series, chosen: int) -> dict[str, Any]:
        labeller = self._study.labeller
        before, component = series[:chosen], series[chosen]

        def label_of(x: Any) -> Floats:
            return _labels_at(labeller, before, component, x)

        drawn = picture(labeller.space, label_of)
        share = self._power(series, chosen).tolist()
        names = orders_of(labeller.space).names
        return drawn | {"power": {"orders": names, "share": share}}

    def _power(self, series: Series, chosen: int) -> Floats:
        labeller = self._study.labeller
        orders = orders_of(labeller.space)
        labels = _labels_at(labeller, series[:chosen], series[chosen], orders.x)
        return orders.power(labels).round(5)


def _labels_at(
    labeller: Labeller, series: Series, component: Component, x: jax.Array
) -> Floats:
    """Labels of stimuli; many of them in pieces of one size, compiled once for all."""
    parts = []
    for start in range(0, len(x), GRID):
        part = x[start : start + GRID]
        short = GRID - len(part) if len(x) > GRID else 0
        filled = jnp.concatenate([part, jnp.repeat(part[:1], short, 0)])
        label = _labels(labeller, series, component, filled)
        parts.append(np.asarray(label, np.float64)[: len(part)])
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=0)
def _labels(
    labeller: Labeller, series: Series, component: Component, x: jax.Array
) -> jax.Array:
    return labeller.evaluate(series, component, x)
