"""Logs that several test files promote over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training import promotion_world as world


@pytest.fixture(scope="module")
def last_week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.build(tmp_path_factory.mktemp("last_week"), days=30)


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.build(tmp_path_factory.mktemp("today"), days=35, new_item=True)
