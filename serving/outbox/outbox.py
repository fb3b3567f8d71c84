"""The outbox at work: a thread that fills it and one that sends for each endpoint, wherever a lease allows it."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from serving.engine import Engine
from serving.outbox.delivery import Delivery
from serving.outbox.feed import Feed
from serving.outbox.leases import Lease
from serving.outbox.marks import Marks
from serving.outbox.messages import Messages
from serving.outbox.metrics import OutboxMetrics
from serving.outbox.posting import Poster
from serving.outbox.settings import WebhookEndpoint, WebhookSettings
from serving.outbox.signing import Signer
from serving.surfaces.clock import wall_clock_us

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 1.0
_FEED_LEASE_SECONDS: Final = 30.0
_TIDY_EVERY: Final = 10  # passes
_STOP_SECONDS: Final = 5.0
_FEED: Final = "feed of all"  # no endpoint can be called so


class Outbox:
    """Everything over one file.

    Args:
        settings: endpoints and pauses; secrets are read here, so that a wrong one is told at start.
        store: the release store.
        engine: returns what answers now.
        metrics: what is counted; the process's own where left out.

    Raises:
        ConfigError: a secret is missing or readable by others.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        store: Path,
        engine: Callable[[], Engine],
        *,
        metrics: OutboxMetrics | None = None,
    ) -> None:
        self.settings = settings
        self.path = settings.file(store)
        self.messages = Messages(self.path)
        self._engine = engine
        self._metrics = metrics or OutboxMetrics()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.feed = Feed(
            settings, self.messages, Marks(self.path), engine, sleep=self._stop.wait, tell=self._metrics.behind
        )
        self._feed_lease = Lease(self.path, "feed", seconds=_FEED_LEASE_SECONDS)
        self.deliveries = [self._delivery(endpoint) for endpoint in settings.endpoints]

    def forget(self) -> int:
        """Drop all that is about customers on the erasure list; return how many messages there were."""
        return self.feed.tidy(self._engine().is_erased)

    def start(self) -> None:
        """Begin, in the background, until the process ends."""
        work: list[tuple[str, Callable[[int], None]]] = [(_FEED, self._feed_pass)]
        if self.settings.send:
            work += [(one.endpoint.name, self._delivery_pass(one)) for one in self.deliveries]
        for name, step in work:
            thread = threading.Thread(target=self._repeat, args=(name, step), name=_thread_name(name), daemon=True)
            self._threads.append(thread)
            thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the threads, and let other processes have the leases of those that ended; within a few seconds."""
        if self._stop.is_set():
            return
        self._stop.set()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
        # Who still waits for a receiver keeps the lease until it runs out: nobody else shall send the same meanwhile.
        busy = {thread.name for thread in self._threads if thread.is_alive()}
        if _thread_name(_FEED) not in busy:
            self._feed_lease.leave()
        for one in self.deliveries:
            if _thread_name(one.endpoint.name) not in busy:
                one.poster.close()
                one.lease.leave()

    def fill(self, *, everyone: bool = False) -> int:
        """Fill the outbox once, where no other process does; return how many messages were added.

        Args:
            everyone: look at everyone with recent events, not at those alone who did something since.
        """
        if not self._feed_lease.take():
            return 0
        if everyone:
            self.feed.mark_everyone()
        return self.feed.run_once(lambda: self._goes_on() and self._feed_lease.take())

    def _feed_pass(self, number: int) -> None:
        self.fill()
        if number % _TIDY_EVERY == 0 and self._feed_lease.take():
            self.forget()

    def _delivery_pass(self, delivery: Delivery) -> Callable[[int], None]:
        name = delivery.endpoint.name

        def step(_: int) -> None:
            if not delivery.lease.take():
                return
            delivery.run_once(self._goes_on)
            number, oldest_us = self.messages.waiting(name)
            oldest_s = 0.0 if oldest_us is None else max(0.0, (wall_clock_us() - oldest_us) / 1e6)
            self._metrics.waiting(name, number=number, oldest_seconds=oldest_s)

        return step

    def _goes_on(self) -> bool:
        return not self._stop.is_set()

    def _repeat(self, name: str, step: Callable[[int], None]) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                step(number)
            except Exception as error:
                # The error's own words may hold ids.
                _log.error("webhooks: %s failed and is tried again: %s", name, type(error).__name__)
            number += 1
            self._stop.wait(_POLL_SECONDS)

    def _delivery(self, endpoint: WebhookEndpoint) -> Delivery:
        return Delivery(
            endpoint=endpoint,
            settings=self.settings,
            messages=self.messages,
            lease=Lease(self.path, f"send {endpoint.name}", seconds=2 * self.settings.timeout_seconds + 10),
            signer=Signer.of(endpoint),
            may_send=lambda user_id: self._engine().may_write_to(user_id),
            poster=Poster(self.settings.timeout_seconds),
            metrics=self._metrics,
        )


def _thread_name(work: str) -> str:
    return f"webhooks-{work}"
