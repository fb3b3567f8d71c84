"""Which of two apps a request meets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.process.direct import direct


@pytest.mark.parametrize(
    ("scope", "meets"),
    [
        ({"type": "http", "path": "/v1/recommend"}, "ours"),
        ({"type": "http", "path": "/metrics"}, "ours"),
        ({"type": "http", "path": "/livez"}, "bentoml"),
        ({"type": "http", "path": "/readyz"}, "bentoml"),
        ({"type": "lifespan"}, "bentoml"),
        ({"type": "websocket", "path": "/v1/recommend"}, "bentoml"),
    ],
)
def test_direct_when_a_request_comes_then_only_the_workers_own_life_is_bentoml_s(
    scope: dict[str, Any], meets: str
) -> None:
    met: list[str] = []

    async def ours(*_: object) -> None:
        met.append("ours")

    async def theirs(*_: object) -> None:
        met.append("bentoml")

    asyncio.run(direct(ours, besides=theirs)(scope, None, None))  # type: ignore[arg-type]
    assert met == [meets]
