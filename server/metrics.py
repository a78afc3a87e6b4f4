"""Numbers for Prometheus: what was asked, how long it took, where studies stand."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from server.events import Fact, kind_of
from server.protocol import REQUESTS
from server.studies import Studies

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """The metrics of one server process."""

    def __init__(self, studies: Studies) -> None:
        """Counts from now on; gauges are read when they are asked for."""
        self._studies = studies
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        messages = Counter(
            "penchant_messages",
            "Messages answered, by kind and refusal.",
            ["kind", "refusal"],
            registry=self._registry,
        )
        seconds = Histogram(
            "penchant_message_seconds",
            "Time from a message to its reply, on disk included.",
            ["kind"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        facts = Counter(
            "penchant_events",
            "Events stored, by study and kind.",
            ["study", "kind"],
            registry=self._registry,
        )
        # Looked up once: that takes longer than to count.
        self._messages, self._seconds = cache(messages.labels), cache(seconds.labels)
        self._facts = cache(facts.labels)
        self._registry.register(self)
        studies.told.append(self._count)

    @contextmanager
    def answering(self, kind: str) -> Iterator[Callable[[str], None]]:
        """Measures one message; what it gives is called with the refusal, or ''."""
        # A stranger's word must not become a label: each is kept for ever.
        known = kind if kind in REQUESTS else "unknown"
        begun = time.perf_counter()

        def done(refusal: str) -> None:
            self._seconds(known).observe(time.perf_counter() - begun)
            self._messages(known, refusal).inc()

        yield done

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Gauges of the studies open here, as prometheus-client asks for them."""
        gauges = {
            name: GaugeMetricFamily(f"penchant_{name}", about, labels=["study"])
            for name, about in (
                ("open_sessions", "Sessions under way."),
                ("sessions_ended", "Sessions that are over."),
                ("sessions_planned", "Sessions that the study takes."),
                ("best_error", "Lowest generalisation error so far."),
                ("healthy", "Whether what is heard is stored, and the search works."),
            )
        }
        for name, desk in self._studies.open_desks().items():
            summary = desk.summary() | {"healthy": desk.healthy}
            for key, gauge in gauges.items():
                if summary[key] is not None:
                    gauge.add_metric([name], float(summary[key]))
        yield from gauges.values()

    def _count(self, study: str, fact: Fact) -> None:
        self._facts(study, kind_of(fact)).inc()
