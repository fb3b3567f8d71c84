"""Look-alikes of a category's buyers: how many buy there in the next four weeks, beside the most active and everybody.

    python benchmarks/audiences.py synthetic --work DIR --json OUT
    python benchmarks/audiences.py complete-journey --work DIR --json OUT

As of a day four weeks before the log ends, the seed of each category is who bought there in the four weeks before; as
many customers who have never bought there are chosen, by look-alikes, by activity, or not at all (everybody). The
figure is the share of them that buys there in the last four weeks. Nothing behind the day is looked at when choosing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd

from benchmarks.result import write_result
from features.audiences.look_alikes import CustomerVectors, look_alikes
from features.customers.basics import BASICS
from features.customers.table import CustomerTable
from features.event_log import EventLog
from features.rules.session import RuleSession
from features.settings import EngineSettings, ShopSettings
from features.sources.complete_journey import import_complete_journey
from features.sources.synthetic import generate
from features.tags.lifts import clustered_ratio

PERIOD_DAYS: Final = 28
LEAST_SEED: Final = 30
METHODS: Final = ("look-alikes", "most active")
ENGINE: Final = EngineSettings(threads=1, memory_limit="2GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("synthetic", "complete-journey"))
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--shop-seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    started = time.process_time()
    chosen, num_seeds = choices(write_data(arguments))
    cost = time.process_time() - started
    results = [row_of(method, chosen, cost) for method in METHODS]
    size = f"{arguments.users} users, {arguments.items} items, {arguments.days} days, seed {arguments.shop_seed}"
    write_result(
        arguments.json,
        benchmark="audiences",
        data=f"synthetic shop, {size}" if arguments.data == "synthetic" else "Complete Journey",
        protocol=f"{num_seeds} categories with {LEAST_SEED} or more buyers in the 28 days up to the day; as many customers "
        "chosen who never bought there; outcome: a purchase there in the last 28 days. Lift over everybody else who never "
        "bought there, 95% interval over whole customers.",
        seeds=[arguments.shop_seed],
        results=results,
    )


def write_data(arguments: argparse.Namespace) -> Path:
    data: Path = arguments.work / "data"
    if not data.exists():
        if arguments.data == "synthetic":
            size = {"num_users": arguments.users, "num_items": arguments.items, "num_days": arguments.days}
            generate(data, **size, seed=arguments.shop_seed)
        else:
            import_complete_journey(data, engine=ENGINE)
    return data


def choices(data: Path) -> tuple[pd.DataFrame, int]:
    """One row a category and customer that never bought there: whom each method chose, and who bought."""
    shop = ShopSettings.load(data)
    log = EventLog.build(data, data.parent / "event_log.parquet", shop=shop, engine=ENGINE)
    day = log.last_day - dt.timedelta(days=PERIOD_DAYS)
    customers = CustomerTable.build(log, data / "items.parquet", as_of=day, shop=shop, engine=ENGINE, parts=BASICS)
    later = buyers(log, data, day)
    parts, num_seeds = [], 0
    with RuleSession.open(log, data / "items.parquet", customers, shop=shop, engine=ENGINE) as session:
        vectors = CustomerVectors.from_session(session)
        known = session.connection.sql("""
            SELECT regexp_replace(category, '/.*', '') AS category, user_id, max(at_us) AS last_us FROM rule_rows
            WHERE event_type = 'purchase' AND category IS NOT NULL GROUP BY ALL""").df()
        activity = session.connection.sql("SELECT user_id, count(*) AS events FROM rule_rows GROUP BY ALL").df()
        since = session.as_of_us - PERIOD_DAYS * 86_400_000_000
    activity = activity.sort_values(["events", "user_id"], ascending=[False, True])["user_id"]
    for category, rows in known.groupby("category"):
        seed = rows.loc[rows["last_us"] > since, "user_id"]
        if len(seed) < LEAST_SEED:
            continue
        num_seeds += 1
        outside = vectors.user_ids.difference(pd.Index(rows["user_id"]))
        alike = look_alikes(seed, vectors, n=len(vectors.user_ids))["user_id"]
        ranked = {"look-alikes": alike, "most active": activity}
        part = pd.DataFrame({"user_id": outside, "bought": outside.isin(later.get(category, []))})
        for method, order in ranked.items():
            part[method] = outside.isin(order[order.isin(outside)].head(len(seed)))
        parts.append(part)
    return pd.concat(parts, ignore_index=True), num_seeds


def buyers(log: EventLog, data: Path, day: dt.date) -> dict[str, pd.Index]:
    """Who bought in each category after the day."""
    events = log.to_pandas(["user_id", "item_id", "event_type", "local_day"], purpose="analytics")
    later = events[(events["event_type"] == "purchase") & (events["local_day"] > pd.Timestamp(day))]
    items = pd.read_parquet(data / "items.parquet", columns=["item_id", "category"]).dropna()
    later = later.merge(items.assign(category=items["category"].str.replace("/.*", "", regex=True)), on="item_id")
    return {str(name): pd.Index(rows["user_id"].unique()) for name, rows in later.groupby("category")}


def row_of(method: str, chosen: pd.DataFrame, cost: float) -> dict[str, Any]:
    picked = chosen[method].to_numpy()
    frame = pd.DataFrame({"user_id": chosen["user_id"], "in": picked.astype(int), "out": 1 - picked.astype(int)})
    frame["hit_in"] = frame["in"] * chosen["bought"]
    frame["hit_out"] = frame["out"] * chosen["bought"]
    sums = frame.groupby("user_id").sum()
    lift = clustered_ratio(*(sums[name].to_numpy(float) for name in ("hit_in", "hit_out", "in", "out")))
    rates = {f"rate_{side}": float(sums[f"hit_{side}"].sum() / max(sums[side].sum(), 1)) for side in ("in", "out")}
    return {
        "model": "footfall" if method == "look-alikes" else method,
        "metrics": {"lift": lift.value, **rates, "num_chosen": int(picked.sum())},
        "interval": {"lift": [lift.low, lift.high]},
        "fit_cpu_s": round(cost, 1),
        "note": "chosen customers that buy in the category, over the others that never bought there",
    }


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
