"""One gate a queue: what each may hold, and for how long."""

from __future__ import annotations

from collections.abc import Mapping

from serving.access.gate import Gate
from serving.access.settings import LimitSettings
from serving.api.roles import Lane


def gates_of(limits: LimitSettings) -> Mapping[Lane, Gate]:
    """Return the gates of one worker.

    Args:
        limits: the longest waits, and how many recommend calls are computed together: the batch at work and the one
            that gathers are always let in.
    """
    bulk = 1 + limits.bulk_waiting
    return {
        "recommend": Gate(max_wait_seconds=limits.max_wait_seconds, at_least=2 * limits.max_batch),
        "write": Gate(max_wait_seconds=limits.write_wait_seconds, at_least=32),
        "lookup": Gate(max_wait_seconds=limits.lookup_wait_seconds, at_least=32),
        "bulk": Gate(max_wait_seconds=limits.lookup_wait_seconds, at_least=bulk, at_most=bulk),
    }
