"""Feature directories for tests of what reads sequences, panel or log, and no customer table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.build import build_features
from features.stages.interface import Build, Finished
from features.stages.on_duckdb import DuckDBStages


def build_model_features(data: Path, out: Path, **options: Any) -> dict[str, Any]:
    """``build_features`` without its longest stage: three quarters of the work on a shop of some hundred events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DuckDBStages, "customers", _not_built)
        return build_features(data, out, **options)


def _not_built(stages: DuckDBStages, build: Build) -> Finished:
    """Write no file, so that whoever reads the table fails."""
    return Finished(counts={"customers": 0})
