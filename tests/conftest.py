"""What every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.redis_process import RedisProcess

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many workers as cores: threads of torch, BLAS and faiss would only take turns. Libraries read it when loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REQUIRE_ALL = os.environ.get("FOOTFALL_REQUIRE_ALL") == "1"


def require(condition: object, reason: str) -> None:
    """Skip the test with its reason where something is missing; fail it where everything must be there."""
    if condition:
        return
    if REQUIRE_ALL:
        pytest.fail(f"FOOTFALL_REQUIRE_ALL is set, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A headless browser, for looking at pages as people do."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    require(found, "no Chromium on PATH; install the package chromium")
    assert found is not None
    return Path(found)


@pytest.fixture(scope="session")
def java() -> Path:
    """A Java runtime, for a local Spark session."""
    found = shutil.which("java")
    require(found, "no java on PATH; install a Java 17 runtime for the Spark tests")
    assert found is not None
    return Path(found)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share a module's world on one worker, which makes that world once; others go anywhere."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None and _shares_a_world(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _shares_a_world(item: pytest.Item) -> bool:
    fixtures = getattr(item, "_fixtureinfo", None)
    held = {} if fixtures is None else fixtures.name2fixturedefs
    return any(definition.scope == "module" for definitions in held.values() for definition in definitions)


@pytest.fixture(scope="session")
def redis_program() -> Path:
    """A Redis server to start."""
    found = shutil.which("redis-server")
    require(found, "no redis-server on PATH; install the package redis-server")
    assert found is not None
    return Path(found)


@pytest.fixture(scope="session")
def redis_process(redis_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """One Redis for all tests that neither stop nor empty it; each uses a prefix of its own."""
    process = RedisProcess(tmp_path_factory.mktemp("redis"), redis_program)
    yield process
    process.kill()
