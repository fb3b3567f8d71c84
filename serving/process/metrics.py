"""What Prometheus sees: routes by their template and strategies, never an id of a user."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Sequence
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

# What was measured is written so many seconds later, a lot at once: on a request's way each takes three times as long.
_WRITTEN_AFTER_SECONDS: Final = 0.1
# By then every worker has counted what it measured before.
_SETTLED_SECONDS: Final = 0.2
_MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_LAGS: Final = (0.01, 0.1, 0.5, 1, 5, 30, 60, 300, 3_600, 21_600, 86_400)
_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics:
    """Counters and histograms of one worker; the registry adds the workers up.

    What is measured within an event loop is counted 0.1 s later, by ``exposition`` before that.

    Args:
        registry: BentoML's is the process's own; its supervisor names the directory where workers meet.
        collectors: tell what is the same in every worker, such as which release is served.
    """

    content_type: Final = CONTENT_TYPE_LATEST

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, collectors: Sequence[Collector] = ()) -> None:
        self._collectors = collectors
        self._registry = registry
        self._requests = Histogram(
            "footfall_request_seconds",
            "Time to answer a request",
            ["route", "status"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._recommended = Histogram(
            "footfall_recommend_seconds",
            "Time to recommend, by surface and by what answered",
            ["surface", "strategy"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._events = Counter("footfall_events", "Events sent, by what became of them", ["outcome"], registry=registry)
        self._batch_size = Histogram(
            "footfall_recommend_batch", "Requests computed together", buckets=_SIZES, registry=registry
        )
        self._batch_seconds = Histogram(
            "footfall_recommend_batch_seconds", "Time to compute a batch", buckets=_BUCKETS, registry=registry
        )
        self._waiting = Gauge(
            "footfall_recommend_waiting",
            "Requests that wait for the next batch",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._store = Histogram(
            "footfall_live_store_seconds",
            "Time to read live state for a batch of requests, or to keep a batch of events",
            ["operation"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._live_cache = Histogram(
            "footfall_live_cache_seconds",
            'The part of footfall_live_store_seconds{operation="read"} that a worker\'s memory of live state took: held, '
            "where it knew of all customers of a batch, or filled, where it read the file for some",
            ["outcome"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._lag = Histogram(
            "footfall_event_lag_seconds",
            "acknowledged: from when the newest event of a request happened until it was kept; answered: from then until "
            "the same worker's next answer to its customer",
            ["until"],
            buckets=_LAGS,
            registry=registry,
        )
        # Finding the child of a set of labels takes longer than counting: each is found once.
        self._children: dict[tuple[str, ...], Histogram] = {}
        self._timed = {"store": self._store, "cache": self._live_cache, "lag": self._lag}
        self._noted: deque[tuple[Histogram, float]] = deque()
        self._is_due = False  # what is noted will be counted

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count one request under its route's template, such as ``/v1/customers/{user_id}``."""
        self._note(self._histogram(self._requests, "requests", route, str(status)), seconds)

    def observe_recommendation(self, surface: str, strategy: str, seconds: float) -> None:
        """Count one answered recommendation."""
        self._note(self._histogram(self._recommended, "recommended", surface, strategy), seconds)

    def observe_batch(self, size: int, waiting: int, seconds: float) -> None:
        """Count one batch of recommendations."""
        self._note(self._batch_size, size)
        self._note(self._batch_seconds, seconds)
        self._waiting.set(waiting)

    def observe_timing(self, name: str, seconds: float) -> None:
        """Keep what ``serving.timings`` tells, such as ``store_read``, ``cache_held`` or ``lag_answered``."""
        kind, _, of = name.partition("_")
        family = self._timed.get(kind)
        if family is not None:
            self._note(self._histogram(family, kind, of), max(0.0, seconds))

    def count_events(self, *, accepted: int, duplicates: int, rejected: int) -> None:
        """Count a batch of events."""
        for outcome, number in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
            self._events.labels(outcome=outcome).inc(number)

    def count_noted(self) -> None:
        """Count what was measured and is not counted yet; from any thread."""
        self._is_due = False
        with contextlib.suppress(IndexError):  # another thread took the last one
            while self._noted:
                histogram, value = self._noted.popleft()
                histogram.observe(value)

    def _note(self, histogram: Histogram, value: float) -> None:
        self._noted.append((histogram, value))
        if self._is_due:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # on a thread, or where nobody waits
            self.count_noted()
            return
        self._is_due = True
        loop.call_later(_WRITTEN_AFTER_SECONDS, self.count_noted)

    def _histogram(self, family: Histogram, *names: str) -> Histogram:
        child = self._children.get(names)
        if child is None:
            child = self._children[names] = family.labels(*names[1:])
        return child

    async def settled(self) -> None:
        """Wait until all that was measured by now is counted, in the other workers too."""
        if _MULTIPROCESS in os.environ:
            await asyncio.sleep(_SETTLED_SECONDS)

    def exposition(self) -> bytes:
        """Return what Prometheus scrapes, added up over all workers."""
        self.count_noted()
        if _MULTIPROCESS not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        for collector in self._collectors:
            together.register(collector)
        return generate_latest(together)
