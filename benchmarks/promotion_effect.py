"""How often the interval of a promotion's estimated effect holds the truth, in simulated shops.

    python benchmarks/promotion_effect.py --json OUT [--worlds 240] [--jobs 2]

Protocol: each world is a small synthetic shop (version 1 of the generator, another seed each) run day by day; units sold
and opening stock of each item-day, and the announced plan (discount, display), make the panel, as the log would. The truth
comes from the generator's choice probabilities (``features.sources.synthetic.uplift``): over the promoted item-days that
an estimate is about, units expected as they were promoted, over units expected had that item's own promotion alone been
taken back that day. Errors and widths are of the logarithm of the uplift. The oracle is told each item-day's expected
units without the promotion, up to the shop's one level, and how units scatter; only the uplift is left to it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from features import columns as c
from features.panel.demand_panel import DemandPanel
from features.sources.synthetic.settings import FIRST_DAY, GENERATOR_VERSION, MECHANICS, Size
from features.sources.synthetic.simulation import History
from features.sources.synthetic.uplift import PromotedDays, run_with_uplift
from features.sources.synthetic.world import World, draw_world
from training.demand.effects.promotions import ANY, PRICE_CUT, Estimate, promotion_estimates

USERS, ITEMS, DAYS, WORLDS = 800, 100, 91, 240
OURS: Final = "footfall"
NO_STOCK: Final = "footfall, stock unknown"
NAIVE: Final = "promoted days over other days of the same items"
ORACLE: Final = "oracle"
_NORMAL: Final = NormalDist().inv_cdf(0.975)

Row = dict[str, Any]  # model, what, error, width, covered


def panel_of(world: World, history: History) -> tuple[DemandPanel, np.ndarray]:
    """Return what a log of this shop would make: the panel, and opening stock ``[I, T]``.

    A day is NaN before launch, after retirement, and with an empty shelf.
    """
    days = world.size.num_days
    units = np.zeros((days, world.items.num_items), np.float32)
    sold = history.purchases
    np.add.at(units, (sold["day"], sold["item"]), sold["units"])
    day = np.arange(days)[:, None]
    here = (world.items.launch_day <= day) & (day < world.items.retire_day) & (history.stock > 0)
    plan = {c.PROMOTION: world.prices.discount, c.DISPLAY: world.prices.display}
    panel = DemandPanel(
        item_ids=world.items.item_id,
        start=pd.Timestamp(FIRST_DAY),
        frequency="D",
        units=np.where(here, units, np.float32(np.nan)).T,
        known_ahead={name: np.ascontiguousarray(values[:days].T, dtype=np.float32) for name, values in plan.items()},
        static={c.CATEGORY: world.items.leaf_path[world.items.leaf]},
        planned=tuple(plan),
    )
    return panel, history.stock.T.astype(np.float64)


def grid_of(values: np.ndarray, promoted: PromotedDays, shape: tuple[int, ...]) -> np.ndarray:
    """Lay values of promoted item-days on ``[I, T]``, 0 elsewhere."""
    grid = np.zeros(shape)
    grid[promoted.item, promoted.day] = values
    return grid


def true_uplift(name: str, cells: np.ndarray, promoted: PromotedDays) -> float:
    """Return the logarithm of the true uplift over the cells."""
    without = promoted.without_promotion
    if name.startswith(PRICE_CUT):
        without = promoted.without_cut
    elif name == c.DISPLAY:
        without = promoted.without_display
    with_, less = (grid_of(values, promoted, cells.shape)[cells].sum() for values in (promoted.with_promotion, without))
    return float(np.log(with_ / less))


def row_of(model: str, what: str, error: float, width: float) -> Row:
    return {"model": model, "what": what, "error": error, "width": width, "covered": abs(error) <= width / 2}


def estimated(model: str, found: Iterable[Estimate], promoted: PromotedDays) -> list[Row]:
    rows = []
    for one in found:
        effect = one.effect
        if effect.uplift is None or effect.low is None or effect.high is None:
            continue
        what = "category" if effect.category else effect.name
        error = np.log(effect.uplift) - true_uplift(effect.name, one.cells, promoted)
        few = {"few": bool(effect.note)}
        rows.append(row_of(model, what, float(error), float(np.log(effect.high / effect.low))) | few)
    return rows


def oracle(history: History, world: World, units: np.ndarray, cells: np.ndarray, promoted: PromotedDays) -> Row:
    """Know everything but the uplift: sum of units over sum of units expected without, over the same cells."""
    rate = history.rate.T
    with_, without = (
        grid_of(values, promoted, cells.shape)[cells]
        for values in (promoted.with_promotion, promoted.without_promotion)
    )
    plain = np.isfinite(units) & (world.prices.discount[: units.shape[1]].T == 0) & (history.stock.T > 0)
    short = history.stock.T - 2 * rate < 6
    enough = plain & ~short  # the level is read off days that could not sell out
    level = units[enough].sum() / rate[enough].sum()
    extra = np.where(world.items.is_consumable, MECHANICS.extra_units, 0.0)
    scatter = np.broadcast_to(((1 + extra) ** 2 + extra)[:, None] / (1 + extra)[:, None], units.shape)
    variance = (with_ * scatter[cells]).sum() / with_.sum() ** 2 + scatter[enough].mean() / units[enough].sum()
    error = np.log(units[cells].sum() / level / without.sum()) - np.log(with_.sum() / without.sum())
    return row_of(ORACLE, ANY, float(error), float(2 * _NORMAL * np.sqrt(variance)))


def naive(panel: DemandPanel, promoted: PromotedDays) -> Row:
    """Compare promoted days with the other days of the items that were promoted, by Poisson counts."""
    flag = panel.known_ahead[c.PROMOTION] > 0
    rows = flag.any(axis=1)
    known = np.isfinite(panel.units) & rows[:, None]
    on, off = panel.units[known & flag], panel.units[known & ~flag]
    error = np.log(on.mean() / off.mean()) - true_uplift(ANY, known & flag, promoted)
    return row_of(NAIVE, ANY, float(error), float(2 * _NORMAL * np.sqrt(1 / on.sum() + 1 / off.sum())))


def try_world(seed: int, *, users: int, items: int, days: int) -> list[Row]:
    started = time.process_time()
    world = draw_world(Size(num_users=users, num_items=items, num_days=days, seed=seed))
    history, promoted = run_with_uplift(world)
    panel, stock = panel_of(world, history)
    generated = time.process_time()
    found = promotion_estimates(panel, stock=stock)
    spent = time.process_time() - generated
    rows = estimated(OURS, found, promoted)
    rows[0] |= {"cpu_s": spent, "world_cpu_s": generated - started, "truth": true_uplift(ANY, found[0].cells, promoted)}
    rows[0] |= {"item_days": found[0].effect.num_item_days}
    rows += estimated(NO_STOCK, promotion_estimates(panel)[:1], promoted)
    rows.append(oracle(history, world, panel.units, found[0].cells, promoted))
    rows.append(naive(panel, promoted))
    return [{"seed": seed} | row for row in rows]


def summary(rows: pd.DataFrame) -> dict[str, float]:
    return {
        "coverage95": float(rows["covered"].mean()),
        "median_width": float(rows["width"].median()),
        "bias": float(rows["error"].mean()),
        "rmse": float(np.sqrt(np.square(rows["error"]).mean())),
        "num_estimates": len(rows),
    }


def intervals(rows: pd.DataFrame) -> dict[str, list[float]]:
    """Return 95% intervals: Clopper and Pearson's of the coverage, the normal one of the bias."""
    hits, count = int(rows["covered"].sum()), len(rows)
    exact = stats.binomtest(hits, count).proportion_ci(method="exact")
    reach = _NORMAL * float(rows["error"].std(ddof=1)) / count**0.5
    mean = float(rows["error"].mean())
    return {"coverage95": [float(exact.low), float(exact.high)], "bias": [mean - reach, mean + reach]}


def results(frame: pd.DataFrame, size: dict[str, int]) -> list[dict[str, Any]]:
    found = []
    for (model, what), rows in frame.groupby(["model", "what"], sort=False):
        note = ""
        if (model, what) == (OURS, ANY):
            note = (
                f"any promotion, whole shop; true uplift {np.exp(rows['truth'].mean()):.2f} in the mean, "
                f"{rows['item_days'].median():.0f} promoted item-days; a world takes {rows['world_cpu_s'].mean():.2f} CPU-s"
            )
        elif what == "category":
            note = f"any promotion, by category; {int(rows['few'].astype(bool).sum())} of these rows carry a warning"
        found.append(
            {
                "model": str(model),
                "effect": str(what),
                "metrics": summary(rows),
                "interval": intervals(rows),
                "per_seed": {},
                "fit_cpu_s": round(float(rows["cpu_s"].mean()), 3) if rows["cpu_s"].notna().any() else 0.0,
                "fit_wall_s": 0.0,
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
                "config": size,
                "note": note,
            }
        )
    return found


def run(task: Callable[[int], list[Row]], seeds: Iterable[int], jobs: int) -> pd.DataFrame:
    if jobs == 1:
        return pd.DataFrame([row for seed in seeds for row in task(seed)])
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return pd.DataFrame([row for rows in pool.map(task, seeds) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=WORLDS)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--jobs", type=int, default=1)
    words = parser.parse_args()
    size = {"users": words.users, "items": words.items, "days": words.days}
    seeds = range(words.first_seed, words.first_seed + words.worlds)
    frame = run(partial(try_world, **size), seeds, words.jobs)
    rows = results(frame, size)
    write_result(
        words.json,
        benchmark="promotion_effect",
        data=f"synthetic shop, generator version {GENERATOR_VERSION}",
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=list(seeds),
        results=rows,
    )
    print(json.dumps({f"{row['model']}: {row['effect']}": row["metrics"] for row in rows}, indent=2))


if __name__ == "__main__":
    main()
