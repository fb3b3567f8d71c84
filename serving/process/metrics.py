"""What Prometheus sees: routes by their template and strategies, never an id of a user."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics:
    """Counters and histograms of one worker; the registry adds the workers up.

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

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count one request under its route's template, such as ``/v1/customers/{user_id}``."""
        self._requests.labels(route=route, status=str(status)).observe(seconds)

    def observe_recommendation(self, surface: str, strategy: str, seconds: float) -> None:
        """Count one answered recommendation."""
        self._recommended.labels(surface=surface, strategy=strategy).observe(seconds)

    def count_events(self, *, accepted: int, duplicates: int, rejected: int) -> None:
        """Count a batch of events."""
        for outcome, number in (("accepted", accepted), ("duplicate", duplicates), ("rejected", rejected)):
            self._events.labels(outcome=outcome).inc(number)

    def exposition(self) -> bytes:
        """Return what Prometheus scrapes, added up over all workers."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        for collector in self._collectors:
            together.register(collector)
        return generate_latest(together)
