"""Logs that several test files promote over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mlflow_databases import migrate_once
from tests.training import promotion_world as world

__all__ = ["last_week", "migrate_once", "today"]


@pytest.fixture(scope="module")
def last_week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.build(tmp_path_factory.mktemp("last_week"), days=30)


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.build(tmp_path_factory.mktemp("today"), days=35, new_item=True)
