"""Each model's credit beside what channels truly bring: in the simulated shop, and in small worlds worked out by hand.

    python benchmarks/attribution.py --json OUT [--seeds 5] [--runs 6]

The truth of the simulated shop is what it would lose without a channel (``features.sources.synthetic.channel_truth``):
the same customers, prices and campaigns without its cause, averaged over runs. Customers who come by themselves do so
straight, by organic search or by referral; the truth credits none of these, so each model's credit of them is
compared as one, ``own accord``. error: sum over the five causes of |credit - truth| / sum of their truth. ratio of a
channel: credit / truth; its interval over seeds is mean +- 1.96 standard errors.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import duckdb
import numpy as np
import pandas as pd

from benchmarks.attribution_worlds import WORLDS, SmallWorld
from benchmarks.result import write_result
from features.insight.attribution import MODELS, AttributionDefinition, JourneyCounts, attribute
from features.insight.attribution.credits import Credits
from features.settings import ShopSettings
from features.sources.synthetic.channel_truth import CAUSES, true_contributions
from features.sources.synthetic.frames import events_table
from features.sources.synthetic.settings import GENERATOR_VERSION, SHOP, Size
from features.sources.synthetic.simulation import Simulation
from features.sources.synthetic.world import World, draw_world
from features.tables.local_time import with_local_time

USERS, ITEMS, DAYS = 3000, 150, 120
OWN: Final = "own accord"
# name in results -> how it is set; the project's own row is what the page shows first
VARIANTS: Final[dict[str, AttributionDefinition]] = {
    **{model: AttributionDefinition(models=(model,)) for model in MODELS},
    "markov, order 2": AttributionDefinition(models=("markov",), markov_order=2),
    "shapley, conversions": AttributionDefinition(models=("shapley",), coalitions="conversions"),
}


def counts_of(world: World, shop: ShopSettings) -> JourneyCounts:
    """Return the journeys of a world's log, all of its rows."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        events = connection.from_arrow(events_table(world, Simulation(world).run().events))
        return JourneyCounts.of_events(with_local_time(events, time_zone=shop.time_zone))


def credit_by_cause(credit: Credits) -> dict[str, float]:
    """Return the conversions of each cause; whoever came by itself is one."""
    by_touch = dict(zip(credit.touches, credit.found[:, 0].tolist(), strict=True))
    causes = {cause: by_touch.pop(cause, 0.0) for cause in CAUSES}
    return {**causes, OWN: sum(by_touch.values())}


def one_seed(seed: int, num_runs: int) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, float]]:
    """Return the truth, each model's credit, both by cause, and the truth's standard errors, of one shop."""
    world = draw_world(Size(num_users=USERS, num_items=ITEMS, num_days=DAYS, seed=seed))
    table = true_contributions(world, num_runs=num_runs)
    counts = counts_of(world, SHOP)
    credit = {
        name: credit_by_cause(next(iter(attribute(counts, definition, num_samples=0).values())))
        for name, definition in VARIANTS.items()
    }
    truth, errors = (dict(zip(table["channel"], table[name], strict=True)) for name in ("orders", "orders_error"))
    return truth, credit, errors


def error_of(credit: dict[str, float], truth: dict[str, float]) -> float:
    """Return how much credit is misplaced among the causes, as a share of what they truly bring."""
    return sum(abs(credit[cause] - truth[cause]) for cause in CAUSES) / sum(truth[cause] for cause in CAUSES)


def shop_rows(num_seeds: int, num_runs: int) -> list[dict[str, Any]]:
    """Return the truth's row and one a model."""
    started = time.process_time()
    seeds = [one_seed(seed, num_runs) for seed in range(num_seeds)]
    truths = pd.DataFrame([truth for truth, _, _ in seeds])
    errors = pd.DataFrame([error for _, _, error in seeds])
    rows: list[dict[str, Any]] = [
        {
            "model": "truth",
            "metrics": {f"orders {name}": round(float(value), 1) for name, value in truths.mean().items()},
            "per_seed": {f"orders {name}": [round(float(x), 1) for x in truths[name].to_numpy()] for name in truths},
            "interval": {},
            "config": {f"standard error {name}": round(float(value), 1) for name, value in errors.mean().items()},
            "note": "orders lost without the channel",
        }
    ]
    for name in VARIANTS:
        ratio = pd.DataFrame([{x: credit[name][x] / truth[x] for x in truth} for truth, credit, _ in seeds])
        error = np.array([error_of(credit[name], truth) for truth, credit, _ in seeds])
        rows.append(
            {
                "model": name,
                "metrics": {"error": round(float(error.mean()), 4)}
                | {f"ratio {x}": round(float(value), 3) for x, value in ratio.mean().items()},
                "interval": {f"ratio {x}": _around(ratio[x].to_numpy()) for x in ratio} | {"error": _around(error)},
                "per_seed": {"error": [round(x, 4) for x in error.tolist()]},
                "note": "credit over truth; own accord: direct, organic search and referral together",
            }
        )
    rows[0]["fit_cpu_s"] = round(float(time.process_time() - started), 1)
    return rows


def _around(values: np.ndarray) -> list[float]:
    reach = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return [round(float(values.mean() - reach), 4), round(float(values.mean() + reach), 4)]


def world_rows(world: SmallWorld) -> list[dict[str, Any]]:
    """Return the truth's row of a small world, and one a model that paths alone are enough for."""
    counts = JourneyCounts.of_paths(world.paths)
    touches = [touch for touch in counts.touches if any(touch in path for path in world.paths)]
    truth = {touch: world.truth.get(touch, 0.0) for touch in touches}
    rows = [
        {
            "model": f"{world.name}: truth",
            "metrics": {f"share {x}": y for x, y in _shares(truth).items()},
            "note": world.story,
        }
    ]
    for name, definition in VARIANTS.items():
        if name == "time_decay":
            continue
        credit = next(iter(attribute(counts, definition, num_samples=0).values()))
        found = dict(zip(credit.touches, credit.found[:, 0].tolist(), strict=True))
        share, true = _shares({touch: found[touch] for touch in touches}), _shares(truth)
        misplaced = sum(abs(share[touch] - true[touch]) for touch in touches) / 2
        metrics = {f"share {touch}": round(value, 3) for touch, value in share.items()}
        rows.append({"model": f"{world.name}: {name}", "metrics": {"misplaced": round(misplaced, 3)} | metrics})
    return rows


def _shares(values: dict[str, float]) -> dict[str, float]:
    total = sum(values.values())
    return {name: value / total for name, value in values.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=6, help="of each world, with and without each channel")
    arguments = parser.parse_args()
    rows = shop_rows(arguments.seeds, arguments.runs)
    rows += [row for world in WORLDS for row in world_rows(world)]
    for row in rows:
        print(row["model"], row["metrics"], file=sys.stderr)
    if arguments.json:
        write_result(
            arguments.json,
            benchmark="attribution",
            data=f"synthetic shop (generator version {GENERATOR_VERSION}), {USERS} users, {ITEMS} items, {DAYS} days; small "
            "worlds of benchmarks/attribution_worlds.py",
            protocol=f"truth: orders lost without a channel, the same world run again, mean of {arguments.runs} runs a seed; "
            "credit from the log of one run, 30 days of look-back; error: sum of |credit - truth| over the five causes / "
            "sum of their truth; misplaced: share of the credit that is at the wrong touch",
            seeds=list(range(arguments.seeds)),
            results=rows,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
