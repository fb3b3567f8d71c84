"""Logs that several test files promote over or tune on, a simulated shop that several evaluate on.

Tests only read them. Files that ask for the same ones are of one xdist group, so that one worker makes them, once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from features.settings import EngineSettings
from features.sources.synthetic import generate
from tests.features.model_features import build_model_features
from tests.mlflow_databases import migrate_once
from tests.training import demand_promotion_world as demand_world
from tests.training import promotion_world as world
from training.evaluation.retrieval import evaluate_retrieval

__all__ = ["baselines_report", "demand_now", "demand_then", "last_week", "migrate_once", "simulated_shop", "today"]


@pytest.fixture(scope="session")
def last_week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.build(tmp_path_factory.mktemp("last_week"), days=30)


@pytest.fixture(scope="session")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.build(tmp_path_factory.mktemp("today"), days=35, new_item=True)


@pytest.fixture(scope="session")
def demand_then(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demand_world.build(tmp_path_factory.mktemp("then"), days=45)


@pytest.fixture(scope="session")
def demand_now(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demand_world.build(tmp_path_factory.mktemp("now"), days=49, new_item=True)


@pytest.fixture(scope="session")
def simulated_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data`` and ``features`` of a shop."""
    root: Path = tmp_path_factory.mktemp("simulated_shop")
    generate(root / "data", num_users=120, num_items=60, num_days=90, seed=3)
    build_model_features(root / "data", root / "features", engine=EngineSettings(threads=1))
    return root


@pytest.fixture(scope="session")
def baselines_report(simulated_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an evaluation reports of the simulated shop where no run is named."""
    store = tmp_path_factory.mktemp("baselines_report")
    evaluate_retrieval(simulated_shop / "features", store, resamples=20)
    report: dict[str, Any] = json.loads((store / "report" / "retrieval.json").read_text())
    return report
