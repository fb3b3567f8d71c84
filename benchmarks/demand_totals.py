"""Totals of categories and the shop: how often their 80% interval holds, beside two ways of adding up.

    python benchmarks/demand_totals.py --data DIR --json OUT [--steps 300] [--work DIR]

Protocol: the daily Complete Journey panel, h = 14. The model is trained on everything before the last twelve windows of 14
days, and forecasts the last eight; each time, errors of up to 26 windows before (starting a week apart, some of them within
the training) give the pattern in which items move together. ``footfall`` sums joint samples, ``independent`` sums samples
of each item alone, ``summed_quantiles`` adds items' quantiles up. ``coverage80`` is the expected share of randomised PIT
values in [.1, .9] (of the nine quantiles); ``width80`` the mean of (.9 quantile less .1 quantile) by units sold. A
horizon's total is of its 14 days; items count in a total from their first day.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demand_panels import DAILY, read_panel
from benchmarks.result import write_result
from features.demand.calibration import PitBounds
from features.release.layout import QUANTILES
from training.demand.backtesting.metrics import pit80, wql
from training.demand.boosted.pooled import AnyModel
from training.demand.calibrate import pit_bounds
from training.demand.forecast import distributions
from training.demand.hierarchy import joint_samples, past_origins
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.trainer import fit_model

BEFORE, TESTED = 12, 8
OURS, INDEPENDENT, SUMMED = "footfall", "independent", "summed_quantiles"
LEVELS: Final = {"shop": None, "department": "department", "category": "product_category"}

Found = dict[
    tuple[str, str], list[tuple[np.ndarray, np.ndarray]]
]  # (model, level): units [H + 1], quantiles [H + 1, 9]


def windows_of(model: AnyModel, inputs: PanelInputs, origins: set[int]) -> dict[int, PitBounds]:
    """Return where outcomes lay, by origin, ``[I, 1, H]`` each."""
    return {origin: pit_bounds(model, inputs, [origin])[0] for origin in sorted(origins)}


def joined(windows: list[PitBounds], num_items: int, horizon: int) -> PitBounds:
    if not windows:
        return PitBounds(low=np.zeros((num_items, 0, horizon)), high=np.zeros((num_items, 0, horizon)))
    return PitBounds(
        low=np.concatenate([one.low for one in windows], axis=1),
        high=np.concatenate([one.high for one in windows], axis=1),
    )


def with_whole(values: np.ndarray, axis: int) -> np.ndarray:
    """Append the total over the horizon along ``axis``."""
    return np.concatenate([values, values.sum(axis=axis, keepdims=True)], axis=axis)


def quantiles_of(units: np.ndarray) -> np.ndarray:
    """Return quantiles ``[H + 1, 9]`` of samples ``[S, H]``."""
    return np.quantile(with_whole(units, 1), QUANTILES, axis=0, method="inverted_cdf").T


def try_window(
    model: AnyModel, inputs: PanelInputs, origin: int, *, past: PitBounds, keys: dict[str, np.ndarray], found: Found
) -> None:
    single, _ = distributions(model, inputs, origin)
    each = single.quantiles(QUANTILES).numpy()  # [I, H, 9]
    actual = np.nan_to_num(inputs.targets_at(origin).numpy())
    ours = joint_samples(single, past, seed=origin)
    alone = joint_samples(single, joined([], *actual.shape), seed=origin)
    for level, rows in members(keys):
        units = with_whole(actual[rows].sum(axis=0), 0)
        found.setdefault((OURS, level), []).append((units, quantiles_of(ours.of(rows)[0])))
        found.setdefault((INDEPENDENT, level), []).append((units, quantiles_of(alone.of(rows)[0])))
        found.setdefault((SUMMED, level), []).append((units, with_whole(each[rows].sum(axis=0), 0)))


def members(keys: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for level, values in keys.items():
        for key in np.unique(values):
            yield level, values == key


def row(model: str, level: str, totals: list[tuple[np.ndarray, np.ndarray]], **more: Any) -> dict[str, Any]:
    units, quantiles = (np.stack(parts) for parts in zip(*totals, strict=True))  # [N, H + 1], [N, H + 1, 9]
    metrics: dict[str, float] = {"num_totals": len(units)}
    for name, at in (("day", slice(None, -1)), ("horizon", slice(-1, None))):
        wide = quantiles[:, at, -1] - quantiles[:, at, 0]
        metrics |= {
            f"coverage80_{name}": pit80(units[:, at], quantiles[:, at]),
            f"width80_{name}": float(wide.sum() / units[:, at].sum()),
            f"wql_{name}": wql(units[:, at], quantiles[:, at]),
        }
    found = {"model": model, "level": level, "metrics": metrics, "interval": {}, "per_seed": {}}
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return found | {"fit_cpu_s": 0.0, "fit_wall_s": 0.0, "peak_mb": peak, "config": {}, "note": ""} | more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory with daily.parquet")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keeps the trained model, and takes it from there")
    words = parser.parse_args()
    torch.set_num_threads(1)
    config = dataclasses.replace(DAILY.config, seed=words.seed, num_threads=1, max_steps=words.steps)
    panel = read_panel(words.data / "daily.parquet", DAILY)
    inputs = PanelInputs.from_panel(panel, config)
    first = panel.num_periods - BEFORE * config.horizon
    started = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as aside:
        model = fit_model(inputs, config, fit_until=first, directory=words.work or Path(aside), steps=words.steps).model
    spent = time.process_time() - started[0], time.perf_counter() - started[1]
    tested = [panel.num_periods - config.horizon * back for back in range(TESTED, 0, -1)]
    past = {one: past_origins(one, horizon=config.horizon, season=7, first=config.min_history) for one in tested}
    places = windows_of(model, inputs, {origin for origins in past.values() for origin in origins})
    keys = {
        name: panel.static[column] if column else np.full(panel.num_items, "shop") for name, column in LEVELS.items()
    }
    found: Found = {}
    for origin in tested:
        known = joined([places[one] for one in past[origin]], panel.num_items, config.horizon)
        try_window(model, inputs, origin, past=known, keys=keys, found=found)
        print(f"origin {origin}: {len(past[origin])} past windows", file=sys.stderr, flush=True)
    more = {"fit_cpu_s": round(spent[0], 1), "fit_wall_s": round(spent[1], 1), "config": dataclasses.asdict(config)}
    rows = [row(name, level, totals, **(more if name == OURS else {})) for (name, level), totals in found.items()]
    write_result(
        words.json,
        benchmark="demand_totals",
        data=DAILY.name,
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=[words.seed],
        results=rows,
    )
    print(json.dumps([{"model": r["model"], "level": r["level"], **r["metrics"]} for r in rows], indent=2))


if __name__ == "__main__":
    main()
