"""How long to wait after a failure."""

from __future__ import annotations

import datetime as dt
import email.utils
import random
from typing import Final

from serving.outbox.settings import WebhookSettings

_SPREAD: Final = 0.25
_LONGEST_SECONDS: Final = 24 * 3600.0
_MOST_DOUBLINGS: Final = 40


def pause_seconds(num_failures: int, settings: WebhookSettings, rng: random.Random) -> float:
    """Return the pause after so many failures in a row: doubled each time, and spread so that senders do not march in step.

    Args:
        num_failures: 1 or more.
        settings: first and longest pause.
        rng: of the spread.
    """
    doubled = settings.first_retry_seconds * 2.0 ** min(num_failures - 1, _MOST_DOUBLINGS)
    return min(doubled, settings.max_retry_seconds) * rng.uniform(1 - _SPREAD, 1 + _SPREAD)


def retry_after_seconds(value: str | None, *, now_s: float) -> float | None:
    """Return what a `Retry-After` header asks for (RFC 9110, 10.2.3), at most a day; ``None`` where it says nothing.

    >>> retry_after_seconds("120", now_s=0), retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", now_s=20.0)
    (120.0, 40.0)
    >>> retry_after_seconds("soon", now_s=0)
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        seconds = float(value)
    else:
        try:
            at = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp() - now_s
    return min(max(0.0, seconds), _LONGEST_SECONDS)
