"""A store of each kind, and a clock that tests set."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from serving.live.opening import open_live
from serving.live.settings import LiveSettings
from serving.live.store import LiveStore
from tests.serving.clock import Clock
from tests.serving.live.live_rows import NOW_US, Open
from tests.serving.redis_process import RedisProcess


@pytest.fixture
def wall() -> Clock:
    return Clock(NOW_US)


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The settings that name a store of this test's own."""
    if request.param == "sqlite":
        return {"file": str(tmp_path / "events.sqlite")}
    process: RedisProcess = request.getfixturevalue("redis_process")
    return {"url": process.url, "prefix": f"t{abs(hash(str(tmp_path)))}"}


@pytest.fixture
def open_store(place: dict[str, str], wall: Clock) -> Open:
    """Open the test's store, as each worker does."""

    def opened(**more: object) -> LiveStore:
        chosen = msgspec.convert(place | {"max_events": 5, "timeout_ms": 5_000} | more, LiveSettings)
        return open_live(chosen, Path(), wall=wall)

    return opened


@pytest.fixture
def live(open_store: Open) -> LiveStore:
    return open_store()
