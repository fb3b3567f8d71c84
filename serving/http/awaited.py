"""How long a customer's newest event waits for an answer that can know of it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from serving import timings

_MOST_CUSTOMERS: Final = 10_000


class Awaited:
    """Customers whose events were acknowledged by this worker and who got no answer from it since.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()

    def acknowledged(self, rows: Iterable[Any]) -> None:
        """Note whose events were just kept; rows as they were sent."""
        now = self._clock()
        for row in rows:
            user_id = row.get("user_id") if isinstance(row, dict) else None
            if isinstance(user_id, str):
                self._since[user_id] = now
        while len(self._since) > _MOST_CUSTOMERS:
            self._since.popitem(last=False)

    def answered(self, user_id: str | None) -> None:
        """Tell how long a customer's event has waited, where one has."""
        if user_id is not None and (since := self._since.pop(user_id, None)) is not None:
            timings.measured("lag_answered", self._clock() - since)
