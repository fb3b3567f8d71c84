"""What Prometheus sees of exposures."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter


@cache
def lost_lists() -> Counter:
    """Return this process's counter of lists that were shown and could not be kept."""
    return Counter("footfall_exposures_lost", "Lists shown in experiments that could not be kept as exposures")
