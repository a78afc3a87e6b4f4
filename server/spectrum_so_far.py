"""The bias spectrum of a study that runs, kept up to date a session at a time."""

import threading
import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meta_learner.labelling import Labeller, Series
from meta_learner.spectrum import (
    LEVEL,
    candidates_labelled,
    error_spectrum,
    orders_of,
)
from server.events import Event, GenerationAsked, SessionEnded, SessionOpened

Floats = NDArray[np.float64]

PATIENCE_S = 0.3
"""How long one answer may work on labellings; what is left over is for the next one."""

SHUFFLES = 200
"""Permutations that the null of a spectrum is told from."""

_HOW = (
    "regression of each session's relative error on the power of its labelling in each "
    f"order, {LEVEL:.0%} confidence intervals; null: the same with errors shuffled "
    "among the sessions of each generation"
)

_Slot = tuple[int, int]
"""Component and generation."""


class _Scored(NamedTuple):
    """What a finished session tells: its candidate, and its error in label units."""

    slot: _Slot
    candidate: int
    error: float


class SpectrumSoFar:
    """Errors of finished sessions, and the power of the labellings they were on.

    Labellings are evaluated when somebody wants to know, not when a session ends: that
    takes longer than a trial may wait. May be used by several threads.
    """

    def __init__(self) -> None:
        """No session has ended yet."""
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._theta: dict[_Slot, NDArray[np.float32]] = {}
        self._known: dict[_Slot, tuple[Floats, Floats]] = {}
        """Power (candidates, orders + 1) and variance (candidates,)."""
        self._under: dict[str, SessionOpened] = {}
        self._scored: list[_Scored] = []
        self.waiting = 0
        """Sessions that the last answer did not come to yet."""
        self._seen = -1
        self._answer: tuple[int, dict[str, Any]] | None = None

    def note(self, event: Event) -> None:
        """Take in one event of the journal, in its order."""
        fact = event.fact
        match fact:
            case GenerationAsked():
                slot = fact.component, fact.generation
                with self._lock:
                    self._theta[slot] = np.array(fact.theta, np.float32)
            case SessionOpened():
                self._under[fact.session] = fact
            case SessionEnded() if fact.status != "lost":
                opened = self._under.pop(fact.session, None)
                if opened and fact.status == "finished" and fact.error is not None:
                    slot = opened.component, opened.generation
                    with self._lock:
                        self._scored.append(_Scored(slot, opened.candidate, fact.error))

    @property
    def stale(self) -> bool:
        """Whether another answer would tell more than the last one."""
        with self._lock:
            return self._seen != len(self._scored) or self.waiting > 0

    def answer(
        self, labeller: Labeller, series: Series, patience_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """The spectrum, of as many sessions as ``patience_s`` seconds allow.

        ``series`` are the components found; ``waiting`` in the reply says how many
        sessions are still to be looked at, by asking again.
        """
        with self._working:
            with self._lock:
                scored = list(self._scored)
                self._seen = len(scored)
            self._evaluate(labeller, series, scored, patience_s)
            ready = [one for one in scored if one.slot in self._known]
            if self._answer is None or self._answer[0] != len(ready):
                self._answer = len(ready), self._spectrum(labeller, ready)
            self.waiting = sum(one.slot in self._theta for one in scored)
            return self._answer[1] | {"waiting": self.waiting}

    def _evaluate(
        self,
        labeller: Labeller,
        series: Series,
        scored: list[_Scored],
        patience_s: float,
    ) -> None:
        """Power of the labellings of generations that sessions have scored."""
        until = time.monotonic() + patience_s
        orders = orders_of(labeller.space)
        for slot in dict.fromkeys(one.slot for one in scored):
            if slot not in self._theta or slot[0] > len(series):
                continue
            theta = self._theta[slot]
            found = candidates_labelled(labeller, series[: slot[0]], theta, orders)
            self._known[slot] = found.power, found.variance
            with self._lock:
                del self._theta[slot]
            if time.monotonic() > until:
                return

    def _spectrum(self, labeller: Labeller, ready: list[_Scored]) -> dict[str, Any]:
        names = orders_of(labeller.space).names
        if not ready:
            nothing: dict[str, Any] = {"orders": names, "sessions": 0, "null": None}
            blank = [None] * len(names)
            return nothing | dict.fromkeys(("error", "low", "high"), blank)
        power = np.array([self._known[s.slot][0][s.candidate] for s in ready])
        variance = np.array([self._known[s.slot][1][s.candidate] for s in ready])
        errors = np.array([one.error for one in ready]) / np.maximum(variance, 1e-12)
        found = error_spectrum(power, errors)
        return {
            "orders": names,
            "error": _plain(found.error),
            "low": _plain(found.low),
            "high": _plain(found.high),
            "sessions": len(ready),
            "how": _HOW,
            "null": _null(power, errors, [one.slot for one in ready], found.error),
        }


def _null(
    power: Floats, errors: Floats, slots: list[_Slot], found: Floats
) -> dict[str, list[float | None]] | None:
    """What the spectrum would be if errors had nothing to do with labellings.

    Median and 90 % range of spectra of errors shuffled within each generation, which
    keeps what changes as a search goes on.
    """
    told = np.isfinite(found)
    blocks: dict[_Slot, list[int]] = {}
    for i, slot in enumerate(slots):
        blocks.setdefault(slot, []).append(i)
    if not told.any() or all(len(block) < 2 for block in blocks.values()):
        return None
    rng = np.random.default_rng(0)
    shuffled = np.empty((len(errors), SHUFFLES))
    for block in blocks.values():
        own = np.repeat(errors[block, None], SHUFFLES, 1)
        shuffled[block] = rng.permuted(own, axis=0)
    shares = power[:, told] / power[:, told].sum(1, keepdims=True)
    spectra = np.full((len(found), SHUFFLES), np.nan)
    spectra[told] = np.maximum(np.linalg.pinv(shares) @ shuffled, 0.0)
    low, middle, high = (
        np.where(told, np.quantile(np.nan_to_num(spectra), q, axis=1), np.nan)
        for q in (0.05, 0.5, 0.95)
    )
    return {"low": _plain(low), "median": _plain(middle), "high": _plain(high)}


def _plain(values: Floats) -> list[float | None]:
    """Numbers as JSON knows them."""
    return [round(float(v), 5) if np.isfinite(v) else None for v in values]
