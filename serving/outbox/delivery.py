"""Sends one endpoint's messages, one after the other, and judges the answers.

At least once: a process that dies between the receiver's answer and its own note sends again, under the same
`webhook-id`. In the order in which they were added, except that what failed comes again later.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx

from serving.outbox.leases import Lease
from serving.outbox.messages import Messages, Pending
from serving.outbox.metrics import OutboxMetrics
from serving.outbox.pauses import pause_seconds, retry_after_seconds
from serving.outbox.posting import Posted, Poster
from serving.outbox.settings import WebhookEndpoint, WebhookSettings
from serving.outbox.signing import Signer
from serving.surfaces.clock import wall_clock_us

_log = logging.getLogger(__name__)
_PAGE: Final = 50
_OK: Final = 2  # hundreds
# After so many failures in a row the fault is the receiver's, and the messages behind must not use up their attempts.
_FAILURES_BEFORE_PAUSE: Final = 3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an attempt.

    Args:
        said: ``HTTP 503``, or the kind of a network error; never the receiver's words.
        is_ok: the receiver took it.
        is_gone: it wants no more of them, ever.
        retry_after_s: how long it asks to be left alone.
    """

    said: str
    is_ok: bool = False
    is_gone: bool = False
    retry_after_s: float | None = None


@dataclass(kw_only=True)
class Delivery:
    """One endpoint's messages on their way.

    Args:
        endpoint: the receiver.
        settings: of the outbox.
        messages: where they are kept.
        lease: of sending to this endpoint.
        signer: signs with its secrets.
        may_send: whether a customer may still be written about; asked right before each attempt.
        poster: makes the attempts.
        metrics: what is counted.
        wall: the present, UTC microseconds.
        rng: spreads the pauses.
    """

    endpoint: WebhookEndpoint
    settings: WebhookSettings
    messages: Messages
    lease: Lease
    signer: Signer
    may_send: Callable[[str], bool]
    poster: Poster
    metrics: OutboxMetrics
    wall: Callable[[], int] = wall_clock_us
    rng: random.Random = field(default_factory=random.Random)
    _failures: int = 0
    _paused_until_us: int = 0

    def run_once(self, keeps_going: Callable[[], bool] = lambda: True) -> int:
        """Send what is due, as long as the lease is ours and the receiver is not paused; return how many were tried.

        Args:
            keeps_going: asked before each message, such as whether the process ends.
        """
        num_tried = 0
        while keeps_going() and self.lease.take() and not self._is_paused:
            page = self.messages.due(self.endpoint.name, now_us=self.wall(), limit=_PAGE)
            if not page:
                break
            for message in page:
                if self._is_paused or not keeps_going() or not self.lease.take():
                    return num_tried
                num_tried += self._handle(message)
        return num_tried

    @property
    def is_gone(self) -> bool:
        """Whether the receiver said once that it is gone; ``retry`` takes that back."""
        return self.messages.is_gone(self.endpoint.name)

    @property
    def _is_paused(self) -> bool:
        # A pause that lies further ahead than any is long was set before the clock was set back.
        ahead_s = (self._paused_until_us - self.wall()) / 1e6
        return 0 < ahead_s <= max(86_400.0, 2 * self.settings.max_retry_seconds) or self.is_gone

    def _handle(self, message: Pending) -> bool:
        """Send or drop a message; return whether it was tried."""
        name = self.endpoint.name
        if message.subject is not None and not self.may_send(message.subject):
            self.messages.finish(message.seq, "dropped", said="no consent, or erased")
            self.metrics.ended(name, "dropped")
            return False
        outcome = self._attempt(message)
        self.metrics.attempted(name, "ok" if outcome.is_ok else "failed")
        if outcome.is_ok:
            self._failures = 0
            self.messages.finish(message.seq, "delivered", said=outcome.said)
            self.metrics.ended(name, "delivered")
        else:
            self._failed(message, outcome)
        return True

    def _attempt(self, message: Pending) -> Outcome:
        headers = self.signer.headers(message.message_id, message.body, at_s=self.wall() // 1_000_000)
        headers |= {"content-type": "application/json", "user-agent": "footfall-webhooks/1"}
        try:
            return self._judged(self.poster.post(self.endpoint.url, message.body, headers))
        except (httpx.HTTPError, OSError) as error:
            return Outcome(said=type(error).__name__)

    def _judged(self, posted: Posted) -> Outcome:
        status = posted.status
        asked = retry_after_seconds(posted.headers.get("retry-after"), now_s=self.wall() / 1e6)
        is_asking = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        return Outcome(
            said=f"HTTP {status}",
            is_ok=status // 100 == _OK,
            is_gone=status == HTTPStatus.GONE,
            retry_after_s=asked if is_asking else None,
        )

    def _failed(self, message: Pending, outcome: Outcome) -> None:
        name, now_us = self.endpoint.name, self.wall()
        if outcome.is_gone:
            self.messages.note_gone(name, gone=True)
            number = self.messages.give_up_all(name, said=outcome.said)
            self.metrics.ended(name, "dead", number)
            _log.warning(
                "webhooks: endpoint %s is gone (410); %d messages set aside, none are sent any more", name, number
            )
            return
        self._failures += 1
        num_failed = message.attempts + 1
        if num_failed >= self.settings.max_attempts:
            self.messages.give_up(message.seq, said=outcome.said)
            self.metrics.ended(name, "dead")
            _log.warning(
                "webhooks: %s to %s given up after %d attempts: %s", message.message_id, name, num_failed, outcome.said
            )
        else:
            pause_s = max(pause_seconds(num_failed, self.settings, self.rng), outcome.retry_after_s or 0.0)
            self.messages.postpone(message.seq, next_us=now_us + int(pause_s * 1e6), said=outcome.said)
        self._pause(outcome, now_us)

    def _pause(self, outcome: Outcome, now_us: int) -> None:
        """Leave the receiver alone for as long as it asks, or longer and longer while nothing arrives."""
        pause_s = outcome.retry_after_s
        if pause_s is None and self._failures >= _FAILURES_BEFORE_PAUSE:
            pause_s = pause_seconds(self._failures - _FAILURES_BEFORE_PAUSE + 1, self.settings, self.rng)
        if pause_s is not None:
            self._paused_until_us = now_us + int(pause_s * 1e6)
            _log.info("webhooks: %s is left alone for %.0f s: %s", self.endpoint.name, pause_s, outcome.said)
