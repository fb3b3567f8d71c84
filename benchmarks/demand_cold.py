"""Demand of items that the model has never seen: withheld from training, forecast without any history of theirs.

    python benchmarks/demand_cold.py daily|weekly --data DIR --json OUT --predictions DIR [--draws 0 1 2]

Protocol: a tenth of the items is withheld, drawn anew for each seed. The model is fitted on the other items and on
everything before the first of four test windows (daily h = 14, weekly h = 4), for a fixed number of steps and with no
calibration. A withheld item's units, households and realised prices are taken out of its own past, of its category's
totals and of its peers; cold is the forecast of what is left: category, department, the band of its list price within
the department, the announced promotions and the calendar. Warm is the same model on the same items with their history.
Beside them stand the quantiles of all periods of all other items of the same group over the last 56 days or 12 weeks,
the same for each item of a group; a group with no other item is widened to the department, and that to the shop. The
list price of an item is its median price before discounts, before the first test window. Intervals are over items, all
draws together, and paired. Settings were chosen on other draws and on the four windows before the test windows
(--validation).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demand_panels import SETTINGS, Setting
from benchmarks.demand_rows import peak_mb
from benchmarks.result import write_result
from features.catalog import price_bands
from features.panel.demand_panel import DemandPanel
from features.release.layout import QUANTILES, quantile_column
from training.demand.backtesting.metrics import pinball
from training.demand.config import DemandConfig
from training.demand.forecast import forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.trainer import fit_model
from training.evaluation.bootstrap import resampled_means

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

OURS: Final = "footfall"
WARM: Final = "footfall, warm"
PANELS: Final = ("daily", "weekly")
STEPS: Final = 300  # of training; fixed, so that no window has to choose them
SHARE: Final = 0.1  # of the items, withheld
NUM_BANDS: Final = 5
SPANS: Final = {"D": 56, "W": 12}  # periods behind the empirical quantiles
STATIC: Final = ("department", "price_band", "product_category")
# What must agree, for each baseline, and what must where no other item does.
GROUPS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "category_quantiles": (("product_category",), ("department",)),
    "category_and_price_quantiles": (("product_category", "price_band"), ("product_category",), ("department",)),
    "department_quantiles": (("department",),),
    "shop_quantiles": (),
}
RESAMPLES: Final = 1000


def with_price_band(panel: DemandPanel, path: Path, first_test: int) -> DemandPanel:
    """Return the panel with the band of each item's list price within its department."""
    frame = pd.read_parquet(path, columns=["unique_id", "ds", "y", "gross"])
    sold = frame[(frame["y"] > 0) & (frame["ds"] < panel.periods[first_test])]
    price = (sold["gross"] / sold["y"]).groupby(sold["unique_id"].astype(str)).median().reindex(panel.item_ids)
    cents = (100 * price).round().fillna(-1).to_numpy(np.int64)
    bands = price_bands(cents, panel.static["department"], NUM_BANDS).astype(str).astype(object)
    static = {**panel.static, "price_band": np.where(bands == "0", "", bands)}
    return dataclasses.replace(panel, static={name: static[name] for name in STATIC})


def withheld(panel: DemandPanel, items: Ints) -> DemandPanel:
    """Return the panel as if nobody had ever sold the items; their categories' totals lack them too."""
    units, observed = panel.units.copy(), {name: array.copy() for name, array in panel.observed.items()}
    category = panel.static["product_category"]
    for item in items:
        observed["cat_y"][category == category[item]] -= np.nan_to_num(units[item])
    units[items] = np.nan
    for array in observed.values():
        array[items] = 0
    return dataclasses.replace(panel, units=units, observed=observed)


def group_quantiles(panel: DemandPanel, items: Ints, origin: int, groups: Sequence[Sequence[str]]) -> Floats:
    """Return quantiles of all recent periods of the other items of each item's group, ``[I, 9]``.

    Args:
        panel: without a history of ``items``.
        items: rows of the panel.
        origin: first period forecast.
        groups: attributes that must agree; the first of which any other item agrees, else all items.
    """
    recent = panel.units[:, origin - SPANS[panel.frequency] : origin]
    found = []
    for item in items:
        same = [np.all([panel.static[name] == panel.static[name][item] for name in group], axis=0) for group in groups]
        pools = (recent[rows] for rows in same)
        pool = next((pool for pool in pools if np.isfinite(pool).any()), recent)
        found.append(np.nanquantile(pool, QUANTILES))
    return np.array(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """What was said of one draw's items, and what came.

    Args:
        items: rows of the panel, ``[I]``.
        origins: first period of each window.
        actual: units ``[I, W, H]``, NaN where unknown.
        quantiles: ``[I, W, H, 9]`` by forecaster.
        cpu_s, wall_s: of the fit.
    """

    items: Ints
    origins: tuple[int, ...]
    actual: Floats
    quantiles: Mapping[str, Floats]
    cpu_s: float
    wall_s: float

    @property
    def units(self) -> Floats:
        """Units of each item, ``[I]``."""
        return np.nansum(self.actual, axis=(1, 2))

    def loss(self, name: str) -> Floats:
        """Return a forecaster's pinball loss of each item, ``[I]``."""
        return np.nansum(pinball(self.actual, self.quantiles[name]), axis=(1, 2))

    def wql(self, name: str) -> float:
        """Return a forecaster's WQL."""
        return float(self.loss(name).sum() / self.units.sum())


def run_draw(panel: DemandPanel, config: DemandConfig, origins: tuple[int, ...]) -> Draw:
    """Withhold, fit, and forecast the withheld items from each origin; ``config.seed`` is the draw."""
    order = np.random.default_rng([config.seed, 1]).permutation(panel.num_items)
    items = np.sort(order[: round(SHARE * panel.num_items)])
    hidden = withheld(panel, items)
    cold, warm = PanelInputs.from_panel(hidden, config), PanelInputs.from_panel(panel, config)
    cpu, wall = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        model = fit_model(cold, config, fit_until=origins[0], directory=Path(work), steps=config.max_steps).model
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    horizon = config.horizon
    quantiles: dict[str, list[Floats]] = {name: [] for name in (OURS, WARM, *GROUPS)}
    for origin in origins:
        quantiles[OURS].append(forecast(model, cold, origin).quantiles[items])
        quantiles[WARM].append(forecast(model, warm, origin).quantiles[items])
        for name, groups in GROUPS.items():
            said = group_quantiles(hidden, items, origin, groups)
            quantiles[name].append(np.repeat(said[:, None], horizon, axis=1))
    return Draw(
        items=items,
        origins=origins,
        actual=np.stack([panel.units[items, origin : origin + horizon] for origin in origins], axis=1),
        quantiles={name: np.stack(values, axis=1) for name, values in quantiles.items()},
        cpu_s=cpu,
        wall_s=wall,
    )


def rows(draws: Mapping[int, Draw], config: DemandConfig) -> list[dict[str, Any]]:
    """Return one row a forecaster; ``difference`` is its WQL less that of the cold forecast, paired over items."""
    units = np.concatenate([draw.units for draw in draws.values()])
    names = [OURS, WARM, *GROUPS]
    losses = {name: np.concatenate([draw.loss(name) for draw in draws.values()]) for name in names}
    resampled = resampled_means(np.stack([units, *losses.values()], axis=1), resamples=RESAMPLES, seed=0)
    ratios = dict(zip(names, (resampled[:, 1:] / resampled[:, :1]).T, strict=True))
    found = []
    for name in names:
        wql, ours = losses[name].sum() / units.sum(), name in (OURS, WARM)
        low, high = np.quantile(ratios[name] - ratios[OURS], [0.025, 0.975])
        difference = {"mean": float(wql - losses[OURS].sum() / units.sum()), "low": float(low), "high": float(high)}
        found.append(
            {
                "model": name,
                "metrics": {"wql": float(wql)},
                "interval": {"wql": np.quantile(ratios[name], [0.025, 0.975]).tolist()},
                "difference": {} if name == OURS else {"wql": difference},
                "per_seed": {str(seed): {"wql": draw.wql(name)} for seed, draw in draws.items()},
                "fit_cpu_s": round(float(np.mean([draw.cpu_s for draw in draws.values()])), 1) if ours else 0.0,
                "fit_wall_s": round(float(np.mean([draw.wall_s for draw in draws.values()])), 1) if ours else 0.0,
                "peak_mb": peak_mb(),
                "config": dataclasses.asdict(config) if name == OURS else {},
                "note": f"{len(units)} items in {len(draws)} draws" if name == OURS else "",
            }
        )
    return found


def predictions(draw: Draw, panel: DemandPanel, seed: int) -> pd.DataFrame:
    """Return one row an item and period of the cold forecast: seed, unique_id, ds, cutoff, q0.1 ... q0.9."""
    shape, step = draw.actual.shape, pd.Timedelta(days=panel.period_days)
    origins = np.array(draw.origins)
    periods = origins[:, None] + np.arange(shape[2])  # [W, H]
    frame = pd.DataFrame(
        {
            "seed": seed,
            "unique_id": np.broadcast_to(panel.item_ids[draw.items][:, None, None], shape).ravel(),
            "ds": np.broadcast_to(panel.start + periods * step, shape).ravel(),
            "cutoff": np.broadcast_to((panel.start + (origins - 1) * step)[:, None], shape).ravel(),
            **{quantile_column(level): draw.quantiles[OURS][..., at].ravel() for at, level in enumerate(QUANTILES)},
        }
    )
    return frame[np.isfinite(draw.actual).ravel()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panel", choices=PANELS)
    parser.add_argument("--data", type=Path, required=True, help="directory with daily.parquet and weekly.parquet")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--validation", action="store_true", help="the four windows before the test windows")
    parser.add_argument("--config", type=json.loads, default={}, help="JSON object of settings to change")
    words = parser.parse_args()
    setting: Setting = SETTINGS[words.panel]
    config = dataclasses.replace(setting.config, **{"max_steps": STEPS, **words.config})
    panel = setting.read(words.data, config)
    later = setting.num_windows * config.horizon * (2 if words.validation else 1)
    first = panel.num_periods - later
    panel = with_price_band(panel, words.data / f"{setting.name}.parquet", first)
    origins = tuple(first + config.horizon * number for number in range(setting.num_windows))
    draws: dict[int, Draw] = {}
    for seed in words.draws:
        draw = draws[seed] = run_draw(panel, dataclasses.replace(config, seed=seed), origins)
        found = ", ".join(f"{name} {draw.wql(name):.4f}" for name in draw.quantiles)
        print(f"draw {seed}: {found}; {draw.cpu_s:.0f} CPU-s", file=sys.stderr, flush=True)
    results = rows(draws, config)
    write_result(
        words.json,
        benchmark="demand cold items",
        data=setting.data,
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=words.draws,
        results=results,
    )
    if words.predictions:
        words.predictions.mkdir(parents=True, exist_ok=True)
        frames = [predictions(draw, panel, seed) for seed, draw in draws.items()]
        pd.concat(frames).to_parquet(words.predictions / "quantiles.parquet", index=False)
    print(json.dumps({row["model"]: [row["metrics"], row["difference"]] for row in results}, indent=2))


if __name__ == "__main__":
    main()
