"""What Prometheus sees of webhooks, by endpoint; delivered / (delivered + dead) is the delivery rate."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class OutboxMetrics:
    """Counters of one process.

    Args:
        registry: where they are registered.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._attempts = Counter(
            "footfall_webhook_attempts",
            "Webhooks tried, by what came of it",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self._messages = Counter(
            "footfall_webhook_messages",
            "Webhooks done with, by how they ended",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self._pending = Gauge(
            "footfall_webhook_pending",
            "Webhooks that wait",
            ["endpoint"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._oldest = Gauge(
            "footfall_webhook_oldest_seconds",
            "How long the oldest waiting webhook has waited",
            ["endpoint"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )

        self._due = Gauge(
            "footfall_webhook_customers_due",
            "Customers whose triggers wait to be looked at",
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def behind(self, number: int) -> None:
        """Tell how many customers wait to be looked at."""
        self._due.set(number)

    def attempted(self, endpoint: str, outcome: str) -> None:
        """Count an attempt: ``ok`` or ``failed``."""
        self._attempts.labels(endpoint=endpoint, outcome=outcome).inc()

    def ended(self, endpoint: str, outcome: str, number: int = 1) -> None:
        """Count messages that were ``delivered``, given up (``dead``) or ``dropped``."""
        self._messages.labels(endpoint=endpoint, outcome=outcome).inc(number)

    def waiting(self, endpoint: str, *, number: int, oldest_seconds: float) -> None:
        """Tell how much waits."""
        self._pending.labels(endpoint=endpoint).set(number)
        self._oldest.labels(endpoint=endpoint).set(oldest_seconds)
