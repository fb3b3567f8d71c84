"""When a customer buys an item again: forecast from the item's gaps, and from the customer's own drawn to them.

    python benchmarks/replenishment.py synthetic --users 2000 --items 400 --days 365 --work DIR --json OUT
    python benchmarks/replenishment.py complete-journey --work DIR --json OUT

Items' cycles and the strength of the drawing are learned of gaps that end before the last 90 days. Asked about is
every purchase of the last 90 days that a customer made of an item bought before: how many days after the purchase
before it, from what was known then. Gaps are counted where they end, so that long ones are not cut off.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.audiences import ENGINE, write_data
from benchmarks.result import write_result
from features.engine import private_connection
from features.event_log import EventLog
from features.settings import ShopSettings
from features.triggers.cycles import OwnGaps, item_cycles, own_cycle, own_strength, purchase_gaps

Floats = npt.NDArray[np.float64]

TEST_DAYS: Final = 90
MANY_GAPS: Final = 3
RESAMPLES: Final = 400
REFERENCE: Final = "median gap of the item"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("synthetic", "complete-journey"))
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--shop-seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    asked, strength, cost = questions(write_data(arguments))
    size = f"{arguments.users} users, {arguments.items} items, {arguments.days} days, seed {arguments.shop_seed}"
    write_result(
        arguments.json,
        benchmark="replenishment",
        data=f"synthetic shop, {size}" if arguments.data == "synthetic" else "Complete Journey",
        protocol=f"{len(asked)} purchases of the last {TEST_DAYS} days by {asked['user_id'].nunique()} customers who had "
        f"bought the item before, of items with 5 gaps or more before these days; absolute error of the day, in days: "
        f"median_error, mean_error, and median_error_many where the customer had {MANY_GAPS} gaps of the item or more "
        f"({int((asked['num_gaps'] >= MANY_GAPS).sum())} purchases). 95% intervals over whole customers, differences paired",
        seeds=[arguments.shop_seed],
        results=rows_of(asked, strength, cost),
    )


def questions(data: Path) -> tuple[pd.DataFrame, float | None, float]:
    """Return one row a purchase asked about: user_id, gap_days, cycle_days of the item, num_gaps and sum_log before."""
    shop = ShopSettings.load(data)
    log = EventLog.build(data, data.parent / "event_log.parquet", shop=shop, engine=ENGINE)
    with private_connection(ENGINE, beside=data.parent) as connection:
        purchase_gaps(log.relation(connection, purpose="personalisation")).create("gaps")
        started = time.process_time()
        known = connection.table("gaps").filter(f"day <= DATE '{log.last_day}' - {TEST_DAYS}")
        strength = own_strength(known)
        item_cycles(known).create("cycles")
        cost = time.process_time() - started
        return _asked(connection, log), strength, cost


def _asked(connection: duckdb.DuckDBPyConnection, log: EventLog) -> pd.DataFrame:
    return connection.sql(f"""
        SELECT user_id, gap_days, cycle_days, num_gaps, coalesce(sum_log, 0) AS sum_log FROM (
            SELECT *, count(*) OVER before AS num_gaps, sum(ln(gap_days)) OVER before AS sum_log FROM gaps
            WINDOW before AS (PARTITION BY user_id, item_id ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) JOIN cycles USING (item_id) WHERE day > DATE '{log.last_day}' - {TEST_DAYS} ORDER BY ALL""").df()


def rows_of(asked: pd.DataFrame, strength: float | None, cost: float) -> list[dict[str, Any]]:
    own = [
        own_cycle(row.cycle_days, strength, OwnGaps(count=row.num_gaps, sum_log=row.sum_log))
        for row in asked.itertuples()
    ]
    many = asked["num_gaps"] >= MANY_GAPS
    alone = np.exp(asked["sum_log"] / asked["num_gaps"].clip(lower=1))
    drawn = f"own gaps, drawn to the item's median as {strength or math.inf:.1f} gaps would"
    by_own = f"geometric, from {MANY_GAPS} gaps on; else the item's median"
    forecasts = {
        "footfall": (np.array(own, float), drawn),
        REFERENCE: (asked["cycle_days"].to_numpy(float), ""),
        "own mean gap": (alone.where(many, asked["cycle_days"]).to_numpy(float), by_own),
    }
    errors = {name: np.abs(asked["gap_days"].to_numpy(float) - days) for name, (days, _) in forecasts.items()}
    draws = _draws(asked["user_id"], errors, many.to_numpy())
    return [
        {
            "model": name,
            "metrics": draws[name]["metrics"],
            "interval": draws[name]["interval"],
            **({} if name == "footfall" else {"difference": draws[name]["difference"]}),
            "fit_cpu_s": round(cost, 2) if name == "footfall" else None,
            "note": note,
        }
        for name, (_, note) in forecasts.items()
    ]


def _draws(users: pd.Series, errors: dict[str, Floats], many: npt.NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    """Medians and means, and how they vary when whole customers are drawn."""
    codes, names = pd.factorize(users)
    rng = np.random.default_rng(0)
    weights = [rng.poisson(1.0, len(names))[codes] for _ in range(RESAMPLES)]
    figures: dict[str, dict[str, Floats]] = {}
    points: dict[str, dict[str, float]] = {}
    for model, error in errors.items():
        order = np.argsort(error, kind="stable")
        few = order[many[order]]
        points[model] = _figures(error, order, few, np.ones(len(error)))
        drawn = [_figures(error, order, few, weight) for weight in weights]
        figures[model] = {name: np.array([one[name] for one in drawn]) for name in points[model]}
    return {
        model: {
            "metrics": {name: round(value, 3) for name, value in points[model].items()},
            "interval": {name: _bounds(values) for name, values in figures[model].items()},
            "difference": {
                name: dict(zip(("low", "high"), _bounds(figures["footfall"][name] - values), strict=True))
                | {"mean": round(points["footfall"][name] - points[model][name], 3)}
                for name, values in figures[model].items()
            },
        }
        for model in errors
    }


def _figures(
    error: Floats, order: npt.NDArray[np.integer], few: npt.NDArray[np.integer], weight: npt.NDArray[Any]
) -> dict[str, float]:
    return {
        "median_error": _median(error[order], weight[order]),
        "mean_error": float(np.average(error, weights=weight)),
        "median_error_many": _median(error[few], weight[few]),
    }


def _median(rising: Floats, weight: npt.NDArray[Any]) -> float:
    total = np.cumsum(weight)
    return float(rising[np.searchsorted(total, total[-1] / 2)])


def _bounds(values: Floats) -> list[float]:
    return [round(float(one), 3) for one in np.quantile(values, (0.025, 0.975))]


if __name__ == "__main__":
    main()
