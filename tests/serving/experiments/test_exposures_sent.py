"""What is kept as shown is what was sent: no list that favourites stood in for, and none that somebody else looked at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from serving.access.settings import LimitSettings
from serving.api.errors import RequestError
from serving.api.schemas import RecommendRequest
from serving.engine import Answered, Engine
from serving.engines import Engines
from serving.experiments.arm import Arm
from serving.experiments.exposures import ExposureWriter
from serving.experiments.wishes import Wishes, WishList
from serving.http.app import ServiceApp
from serving.process.metrics import ServiceMetrics
from serving.process.settings import ServeSettings
from serving.release.state import ReleaseState
from tests.serving.asking import engine_over
from tests.serving.tiny_release import TinyRelease

SECONDS = 0.3


class Slow(Engine):
    """Takes its time for lists of five."""

    def answered(
        self, requests: Sequence[RecommendRequest], arms: Sequence[Arm | None] = ()
    ) -> list[Answered | RequestError]:
        if any(request.k == 5 for request in requests):
            time.sleep(2 * SECONDS)
        return super().answered(requests, arms)


def test_exposures_when_favourites_stand_in_or_someone_looks_then_nothing_is_kept(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text("experiments: {home: {variants: {control: {}}}}\n")
    found = WishList.read(None, path)
    log = ExposureWriter(tmp_path / "log", flush_seconds=60)
    engine = engine_over(tiny_state, tiny, tmp_path, exposures=log)
    monkeypatch.setattr(engine, "__class__", Slow)
    app = ServiceApp(ServeSettings(limits=LimitSettings(recommend_seconds=SECONDS)), version="test")
    app.attach(Engines(engine, wishes=Wishes(lambda: found)), ServiceMetrics(CollectorRegistry()))

    async def ask(**request: Any) -> dict[str, Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return dict((await client.post("/v1/recommend", json=request)).json())

    async def all_of_it() -> None:
        sent: list[str] = []
        num_late = 0
        for computed in ("as is quick", "in a thread", "in a thread"):
            if computed == "in a thread":  # as what was slow lately is: there favourites can stand in for it
                monkeypatch.setattr(app._handlers._batcher, "_loop_seconds", 0)
            late = await ask(user_id="user-4", k=5)
            await asyncio.sleep(3 * SECONDS)
            sent += [] if late.get("degraded") else [item["item_id"] for item in late["items"]]
            assert [row["item_id"] for row in log.of(["user-4"])] == sent
            num_late += "degraded" in late
        assert num_late
        assert "degraded" not in await ask(user_id="user-6", k=3, preview=True)
        assert not log.of(["user-6"])
        kept = await ask(user_id="user-6", k=3)
        assert [row["item_id"] for row in log.of(["user-6"])] == [item["item_id"] for item in kept["items"]]

    asyncio.run(all_of_it())
