"""The engines that table functions are held equal on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features.engine import connect
from features.settings import EngineSettings
from tests.features.engines import start_spark


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(EngineSettings(memory_limit="500MB", threads=1), spill=tmp_path_factory.mktemp("spill")) as opened:
        yield opened


@pytest.fixture(scope="session")
def spark(java: Path) -> Iterator[Any]:
    session = start_spark()
    yield session
    session.stop()
