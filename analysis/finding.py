"""One study's result: tables, components, and how far they are from the null."""

from collections.abc import Iterable
from typing import NamedTuple

from analysis.distance import REPLICATES, Distance, distances_from_null, null_power
from analysis.frames import Frames, frames
from analysis.record import Record, read
from analysis.recovery import Floats, Recovered, recover
from meta_learner.spectrum import Orders, orders_of
from server.events import Event


class Finding(NamedTuple):
    """All that figures and report show of one study.

    ``null`` is the power of null series, (replicates, components, orders + 1);
    ``distances`` has one entry per component.
    """

    title: str
    record: Record
    recovered: Recovered
    null: Floats
    distances: list[Distance]
    frames: Frames

    @property
    def orders(self) -> Orders:
        """The orders of its stimulus space."""
        return orders_of(self.record.study.labeller.space)


def find(title: str, events: Iterable[Event], replicates: int = REPLICATES) -> Finding:
    """Analyse one journal, finished or not."""
    record = read(events)
    recovered = recover(record)
    null = null_power(record, recovered.generations, replicates)
    names = orders_of(record.study.labeller.space).names
    distances = distances_from_null(recovered.power, null, names)
    tables = frames(record, recovered)
    return Finding(title, record, recovered, null, distances, tables)
