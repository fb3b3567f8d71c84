"""Price sensitivity against the truth of simulated shops, beside simpler estimates and an oracle.

python benchmarks/price_sensitivity.py --json OUT

Each customer of a simulated shop has a true sensitivity. Estimates see the log; the oracle also knows taste,
conversion and the formula of the choice, and takes the posterior mean of the sensitivity given the same carts: what
the log can tell at all. Reported is Spearman's rank correlation with the truth over all customers who viewed an item,
and as a share of the oracle's. The estimate was chosen, and its constants set, on the shops of seeds 101 to 103.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import duckdb
import numpy as np
import pandas as pd

from benchmarks.result import write_result
from features.engine import private_connection
from features.event_log import EventLog
from features.settings import EngineSettings, ProfileSettings, ShopSettings
from features.sources.synthetic import campaigns, generate
from features.sources.synthetic.settings import MECHANICS
from features.sources.synthetic.truth import Truth, rows_of
from features.tables.price_sensitivity import category_slopes, occasions, price_cells, price_sensitivity, shop_slope
from features.tables.prices import list_prices

SIZE: Final = {"num_users": 3000, "num_items": 600, "num_days": 365}
ENGINE: Final = EngineSettings(memory_limit="1GB", threads=1)
PROFILE: Final = ProfileSettings()
GRID: Final = np.linspace(-3, 3, 41)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--shops", type=Path, help="keep the shops here and use them again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = {seed: _shop(arguments.shops or Path(temporary), seed) for seed in arguments.seeds}
    rows = [_row(model, found) for model in next(iter(found.values()))]
    for row in rows:
        print(row["model"], row["metrics"], file=sys.stderr)
    if arguments.json:
        write_result(
            arguments.json,
            benchmark="price sensitivity",
            data="simulated shops of {num_users:,} customers, {num_items:,} items, {num_days} days".format(**SIZE),
            protocol="rank correlation with the true sensitivity over customers with a view; share of the oracle's",
            seeds=arguments.seeds,
            results=rows,
        )
    return 0


def _shop(directory: Path, seed: int) -> dict[str, dict[str, float]]:
    """Return correlation, share of the oracle's and CPU seconds by model."""
    data = directory / f"s{seed}"
    if not data.exists():
        generate(data, seed=seed, engine=ENGINE, **SIZE)
    log_path = data / "event_log.parquet"
    if not log_path.exists():
        EventLog.build(data, log_path, shop=ShopSettings.load(data), engine=ENGINE)
    log, truth = EventLog.open(log_path), Truth.load(data / "truth")
    with private_connection(ENGINE, beside=data) as connection:
        estimates = _estimates(connection, log, data)
        views = connection.sql(_VIEWS.format(log=log_path)).df()
    known = pd.Series(truth.users.price_sensitivity, index=truth.users.user_id)
    oracle = _oracle(views, truth)
    seen = oracle.index
    best = _correlation(oracle, known[seen])
    scores = {name: (_correlation(values.reindex(seen), known[seen]), cpu) for name, (values, cpu) in estimates.items()}
    scores["oracle"] = (best, 0.0)
    return {name: {"spearman": r, "share": r / best, "cpu_s": cpu} for name, (r, cpu) in scores.items()}


def _estimates(connection: duckdb.DuckDBPyConnection, log: EventLog, data: Path) -> dict[str, tuple[pd.Series, float]]:
    rows, items = log.relation(connection, purpose="analytics"), connection.read_parquet(str(data / "items.parquet"))
    started, days = time.process_time(), PROFILE.list_price_days
    list_prices(rows, as_of=log.last_day, days=days, percent=PROFILE.list_price_percent).create("listed")
    occasions(rows, connection.table("listed"), as_of=log.last_day, days=days).create("seen")
    seen = connection.table("seen")
    price_cells(seen).create("cells")
    cells = connection.table("cells")
    category_slopes(cells, items, shop_slope(cells)).create("slopes")
    ours = price_sensitivity(seen, connection.table("slopes")).df().set_index("user_id")["price_sensitivity"]
    cpu = time.process_time() - started
    simple = connection.sql(
        _SIMPLE.format(cheap=f"price * 100 <= list_price * {100 - PROFILE.min_discount_percent}")
    ).df()
    simple = simple.set_index("user_id")
    return {
        "footfall": (ours, cpu),
        "observed over expected": (simple["ratio"], 0.0),
        "share taken less share seen": (simple["difference"], 0.0),
        "share taken at a discount": (simple["taken_share"], 0.0),
    }


# What a customer took at a discount: as a share, beside the share of what it saw, and over what the items' rates at
# the list price and the shop's ratio between the two would have it take (Mantel-Haenszel within items).
_SIMPLE: Final = """
    WITH o AS (SELECT *, ({cheap})::INT AS cheap FROM seen),
    i AS (SELECT item_id, sum(cheap) AS n1, sum(1 - cheap) AS n0, sum(cheap * taken) AS d1,
                 sum((1 - cheap) * taken) AS d0 FROM o GROUP BY item_id),
    r AS (SELECT sum(d1 * n0 / (n1 + n0)) / sum(d0 * n1 / (n1 + n0)) AS ratio, sum(d0 + d1) / sum(n0 + n1) AS mean FROM i),
    a AS (SELECT item_id, (d0 + d1 + 5 * mean) / (n0 + n1 * ratio + 5) AS rate, ratio FROM i, r),
    u AS (SELECT user_id, sum(cheap) AS seen1, count(*) AS seen, sum(cheap * taken) AS taken1, sum(taken) AS taken,
                 sum(rate * ratio * cheap) AS e1, sum(rate * (1 - cheap)) AS e0 FROM o JOIN a USING (item_id) GROUP BY user_id)
    SELECT user_id, (taken1 + 10) / ((taken + 3) / (e1 + e0 + 3) * e1 + 10) AS ratio,
           (taken1 + 5 * sum(taken1) OVER () / sum(taken) OVER ()) / (taken + 5)
             - (seen1 + 20 * sum(seen1) OVER () / sum(seen) OVER ()) / (seen + 20) AS difference,
           coalesce(taken1 / nullif(taken, 0), 0) AS taken_share
    FROM u"""
_VIEWS: Final = """
    SELECT user_id, item_id, any_value(channel) AS channel, date_diff('day', DATE '2024-02-05', min(local_day)) AS day,
           max((event_type = 'cart')::INT) AS taken
    FROM read_parquet('{log}') WHERE for_analytics AND event_type IN ('view', 'cart')
    GROUP BY user_id, item_id, session_id HAVING bool_or(event_type = 'view')"""


def _oracle(views: pd.DataFrame, truth: Truth) -> pd.Series:
    """Posterior mean of each customer's sensitivity, given its carts and everything else that is true."""
    user, item = rows_of(views["user_id"], truth.users.user_id), rows_of(views["item_id"], truth.items.item_id)
    named = user >= 0
    views, user, item = views[named], user[named], item[named]
    day, taken = views["day"].to_numpy(), views["taken"].to_numpy()
    angle = truth.users.drift[user] * day
    taste = np.cos(angle)[:, None] * truth.users.taste[user, 0] + np.sin(angle)[:, None] * truth.users.taste[user, 1]
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    match = (taste * truth.items.vectors[item]).sum(axis=1)
    channel = views["channel"].map({name: effect for name, (_, _, effect) in campaigns.CHANNELS.items()}).fillna(0)
    odds = MECHANICS.cart_base + MECHANICS.cart_taste * match + truth.users.conversion[user] + channel.to_numpy()
    odds += np.where(_first_bought(truth, user, item) < day, np.log(MECHANICS.owned_factor), 0.0)
    x = truth.prices.log_ratio[day, item]
    grid, weight = np.exp(np.log(2.5) + 0.5 * GRID), np.exp(-0.5 * GRID**2)
    likelihood = np.stack(
        [np.bincount(user, taken * (odds - s * x) - np.logaddexp(0, odds - s * x), truth.users.num_users) for s in grid]
    )
    posterior = np.exp(likelihood - likelihood.max(axis=0)) * weight[:, None]
    mean = (posterior * grid[:, None]).sum(axis=0) / posterior.sum(axis=0)
    seen = np.unique(user)
    return pd.Series(mean[seen], index=truth.users.user_id[seen])


def _first_bought(truth: Truth, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Day on which each pair's durable item was first bought; infinite where it never was."""
    bought = truth.purchases
    keys = ("user_id", truth.users.user_id), ("item_id", truth.items.item_id)
    owner, owned = (rows_of(bought[name].to_numpy(), ids) for name, ids in keys)
    durable = ~truth.items.is_consumable[owned]
    first = (
        pd.Series(bought["day"].to_numpy()[durable], index=[owner[durable], owned[durable]]).groupby(level=[0, 1]).min()
    )
    return first.reindex(pd.MultiIndex.from_arrays([user, item])).fillna(np.inf).to_numpy()


def _correlation(estimate: pd.Series, truth: pd.Series) -> float:
    return float(estimate.fillna(estimate.mean()).rank().corr(truth.rank()))


def _row(model: str, found: dict[int, dict[str, dict[str, float]]]) -> dict[str, Any]:
    per_seed = {
        str(seed): {name: round(by[model][name], 4) for name in ("spearman", "share")} for seed, by in found.items()
    }
    means = {
        name: float(np.mean([by[model][name] for by in found.values()])) for name in ("spearman", "share", "cpu_s")
    }
    return {
        "model": model,
        "metrics": {"spearman": round(means["spearman"], 4), "share_of_oracle": round(means["share"], 4)},
        "per_seed": per_seed,
        "fit_cpu_s": round(means["cpu_s"], 2),
        "note": "",
    }


if __name__ == "__main__":
    sys.exit(main())
