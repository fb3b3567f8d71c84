"""Randomised campaigns of whole synthetic shops, read from the log's tables: part of ``benchmarks/experiments.py``."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.insight.experiments.analysis import analyse_experiment
from features.insight.experiments.assignments import from_tags
from features.insight.experiments.definition import ExperimentDefinition
from features.sources.synthetic import generate
from features.tables.local_time import with_local_time
from features.tables.visits import VISIT_EVENTS

METRIC: Final = {"count": "days", "of": list(VISIT_EVENTS), "covariate_days": 28, "window_days": 7}
NUM_USERS, NUM_ITEMS, NUM_DAYS = 3000, 200, 120


def campaigns_of_shop(
    connection: duckdb.DuckDBPyConnection, out: Path, seed: int
) -> Iterator[tuple[float, dict[str, dict[str, Any]]]]:
    """Yield each randomised campaign's planted effect, and the row of ``lifts`` by method that the log gives."""
    generate(out, num_users=NUM_USERS, num_items=NUM_ITEMS, num_days=NUM_DAYS, seed=seed)
    truth = json.loads((out / "truth" / "truth.json").read_text())
    members = pd.read_parquet(out / "truth" / "campaign_users.parquet")
    events = with_local_time(connection.read_parquet(str(out / "events.parquet")), time_zone=truth["time_zone"])
    users = connection.read_parquet(str(out / "users.parquet"))
    midnight = pd.Timestamp(truth["first_day"], tz=truth["time_zone"])
    definition = ExperimentDefinition.parse(
        "campaign", {"control": "holdout", "metrics": {"visit_days": METRIC}}, where="benchmark"
    )
    for campaign in truth["campaigns"]:
        name, start = campaign["campaign_id"], midnight + pd.DateOffset(days=campaign["day"])
        if not campaign["randomised"] or campaign["day"] < 28 or campaign["day"] + 8 > truth["num_days"]:
            continue
        of = members[members["campaign_id"] == name]
        planted = float((of["expected_treated"] - of["expected_control"]).mean())
        assigned = from_tags(users, column=f"tag_{name}", assigned_at=start.to_pydatetime().astimezone(dt.UTC))
        table = analyse_experiment(events, assigned, definition).lifts.set_index("method")
        yield planted, {str(method): dict(row) for method, row in table.iterrows()}
