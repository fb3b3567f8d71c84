"""BentoML's own endpoint over the same tower and index, at its best settings: log, tracing and metrics off.

``Plain`` is an ``async`` method, which BentoML runs on its loop rather than in a thread, and takes the events as they are
rather than as pydantic models: both are quicker. ``Batched`` leaves the batching to BentoML.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bentoml

from benchmarks.serving_peers import STORE_VARIABLE, Ranking

_OFF: Final[dict[str, Any]] = {
    "workers": 1,
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": ".*"},
}


@bentoml.service(name="plain", **_OFF)
class Plain:
    """One call, one answer."""

    def __init__(self) -> None:
        self._ranking = Ranking(Path(os.environ[STORE_VARIABLE]))

    @bentoml.api(route="/v1/recommend")  # type: ignore[untyped-decorator]
    async def recommend(self, events: list[dict[str, Any]], k: int) -> dict[str, Any]:
        """Answer one request."""
        return self._ranking.answer_parsed([(events, k)])[0]


@bentoml.service(name="batched", **_OFF)
class Batched:
    """Calls gathered by BentoML."""

    def __init__(self) -> None:
        self._ranking = Ranking(Path(os.environ[STORE_VARIABLE]))

    @bentoml.api(route="/v1/recommend", batchable=True, max_batch_size=32, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    def recommend(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer several requests together."""
        return self._ranking.answer_parsed([(request["events"], request["k"]) for request in requests])
