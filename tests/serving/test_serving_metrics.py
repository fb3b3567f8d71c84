"""What Prometheus sees of batches, the store and the lag of events."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from serving import timings
from serving.http.awaited import Awaited
from serving.process.metrics import ServiceMetrics


def test_metrics_when_things_were_measured_then_each_is_counted_under_its_name() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    for surface in ("for_you", "for_you", "similar"):
        metrics.observe_recommendation(surface, "history", 0.003)
    metrics.observe_batch(8, 3, 0.004)
    metrics.observe_timing("store_read", 0.001)
    metrics.observe_timing("lag_answered", -0.5)  # clocks differ
    metrics.observe_timing("something_else", 1.0)
    labels = {"surface": "for_you", "strategy": "history"}
    assert registry.get_sample_value("footfall_recommend_seconds_count", labels) == 2
    assert registry.get_sample_value("footfall_recommend_batch_sum") == 8
    assert registry.get_sample_value("footfall_recommend_waiting") == 3
    assert registry.get_sample_value("footfall_live_store_seconds_count", {"operation": "read"}) == 1
    assert registry.get_sample_value("footfall_event_lag_seconds_sum", {"until": "answered"}) == 0


def test_metrics_when_measured_on_a_loop_then_counted_a_moment_later_or_when_asked_for() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)

    def count() -> float | None:
        return registry.get_sample_value("footfall_live_cache_seconds_count", {"outcome": "held"})

    async def measure() -> list[float | None]:
        found = []
        for _ in range(2):
            metrics.observe_timing("cache_held", 0.001)
        found.append(count())
        for _ in range(100):
            if count():
                break
            await asyncio.sleep(0.01)
        found.append(count())
        metrics.observe_timing("cache_held", 0.001)
        assert b'footfall_live_cache_seconds_count{outcome="held"} 3.0' in metrics.exposition()
        return found

    assert asyncio.run(measure()) == [0, 2]


def test_awaited_when_a_customer_is_answered_then_the_wait_since_the_last_event_is_told_once() -> None:
    told: list[tuple[str, float]] = []
    timings.tell(lambda name, seconds: told.append((name, seconds)))
    now = iter([1.0, 2.0, 5.0])
    awaited = Awaited(clock=lambda: next(now))
    awaited.acknowledged([{"user_id": "a"}, {"user_id": 7}, "no row"])
    awaited.acknowledged([{"user_id": "a"}])
    for user_id in ("b", None, "a", "a"):
        awaited.answered(user_id)
    timings.tell(lambda *_: None)
    assert told == [("lag_answered", 3.0)]
