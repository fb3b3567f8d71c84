"""Demand forecasts beside baselines, on daily or weekly panels by rolling origin.

    python benchmarks/demand.py daily --data DIR --json OUT --predictions DIR [--seeds 0]

Protocol: daily h = 14 with four windows over the last 56 days, weekly h = 4 with four windows over the last
16 weeks. The number of steps is chosen on the windows just before the first test window; then the model is
fitted once on everything before the first test window, and only its context moves on with each window.
Known ahead are the holidays and the plan (``hol, disp, mail``; weekday and season are computed from the date);
realised price, households and category units are read up to the origin only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from features.demand_panel import DemandPanel
from features.release.layout import QUANTILES, quantile_column
from training.demand.backtest import Backtest, backtest, baseline_forecasters, model_forecaster, summary, wql_intervals
from training.demand.config import DemandConfig
from training.demand.fit import GATE, OURS
from training.demand.inputs import PanelInputs
from training.demand.model import DemandModel
from training.demand.trainer import fit_model

NUM_WINDOWS: Final = 4
KNOWN_AHEAD: Final = ("hol", "disp", "mail")
OBSERVED: Final = ("price_realised", "hh", "cat_y")
STATIC: Final = ("product_category", "department")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One of the two panels: its file, its period, and how the model is set for it."""

    name: str
    frequency: Literal["D", "W"]
    config: DemandConfig


DAILY: Final = Setting(
    name="daily",
    frequency="D",
    config=DemandConfig(horizon=14, lead_time_days=7, max_steps=600, validate_every_steps=150),
)
WEEKLY: Final = Setting(
    name="weekly",
    frequency="W",
    config=DemandConfig(
        horizon=4,
        spans=(1, 2, 4, 8, 13, 26),
        level_span=8,
        min_history=8,
        context_length=26,
        lead_time_days=7,
        max_steps=600,
        validate_every_steps=100,
    ),
)
SETTINGS: Final = {setting.name: setting for setting in (DAILY, WEEKLY)}


def read_panel(path: Path, setting: Setting) -> DemandPanel:
    """Read a long table of ``unique_id, ds, y, ...`` as a panel; a period before an item's first row is unknown."""
    frame = pd.read_parquet(path)
    ids = np.sort(frame["unique_id"].unique())

    def wide(name: str) -> Any:
        return frame.pivot_table(index="unique_id", columns="ds", values=name, sort=True).loc[ids].to_numpy(np.float32)

    units = wide("y")
    holidays = frame.groupby("ds")["hol"].first().sort_index().to_numpy(np.float32)
    plan = {"hol": np.broadcast_to(holidays, units.shape)} | {
        name: np.nan_to_num(wide(name)) for name in ("disp", "mail")
    }
    static = frame.groupby("unique_id")[list(STATIC)].first().loc[ids]
    return DemandPanel(
        item_ids=ids.astype(str).astype(object),
        start=pd.Timestamp(frame["ds"].min()),
        frequency=setting.frequency,
        units=units,
        known_ahead={name: beyond_the_end(array, setting.config.horizon) for name, array in plan.items()},
        observed={name: wide(name) for name in OBSERVED},
        static={name: static[name].astype(object).to_numpy() for name in STATIC},
    )


def beyond_the_end(array: Any, periods: int) -> Any:
    """Return the array with its last column repeated: the file ends with the last window, nothing reads further."""
    return np.concatenate([array, np.repeat(array[:, -1:], periods, axis=1)], axis=1)


def fit(inputs: PanelInputs, config: DemandConfig, test: tuple[int, ...]) -> tuple[DemandModel, int]:
    """Choose the steps on the windows before the first test window, then fit on everything before it."""
    first = test[0]
    validation = tuple(first - config.horizon * back for back in range(NUM_WINDOWS, 0, -1))
    with tempfile.TemporaryDirectory() as work:
        chosen = fit_model(
            inputs, config, fit_until=validation[0], directory=Path(work) / "choose", validation_origins=validation
        )
        print(f"chosen: {chosen.steps} steps, validation WQL {chosen.score:.4f}", file=sys.stderr)
        final = fit_model(inputs, config, fit_until=first, directory=Path(work) / "final", steps=chosen.steps)
    return final.model, chosen.steps


def predictions(found: Backtest, panel: DemandPanel, seed: int) -> pd.DataFrame:
    """Return one row a series and period: seed, unique_id, ds, cutoff, mean, q0.1 ... q0.9; known periods only."""
    items, windows, horizon = found.actual.shape
    step = pd.Timedelta(days=panel.period_days)
    origins = np.array(found.origins)
    periods = origins[:, None] + np.arange(horizon)  # [W, H]
    shape = (items, windows, horizon)
    frame = pd.DataFrame(
        {
            "seed": seed,
            "unique_id": np.broadcast_to(panel.item_ids[:, None, None], shape).ravel().astype(np.int64),
            "ds": np.broadcast_to(panel.start + periods * step, shape).ravel(),
            "cutoff": np.broadcast_to((panel.start + (origins - 1) * step)[:, None], shape).ravel(),
            "mean": found.mean.ravel(),
            **{quantile_column(level): found.quantiles[..., i].ravel() for i, level in enumerate(QUANTILES)},
        }
    )
    return frame[np.isfinite(found.actual).ravel()]


def row(model: str, per_seed: dict[str, dict[str, float]], interval: list[float], **more: Any) -> dict[str, Any]:
    names = next(iter(per_seed.values()))
    means = {name: float(np.mean([values[name] for values in per_seed.values()])) for name in names}
    found = {"model": model, "metrics": means, "interval": {"wql": interval}, "per_seed": per_seed}
    return found | {"fit_cpu_s": 0.0, "fit_wall_s": 0.0, "peak_mb": peak_mb(), "config": {}, "note": ""} | more


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panel", choices=sorted(SETTINGS))
    parser.add_argument("--data", type=Path, required=True, help="directory with daily.parquet and weekly.parquet")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--config", type=json.loads, default={}, help="JSON object of settings to change")
    words = parser.parse_args()
    setting = SETTINGS[words.panel]
    config = dataclasses.replace(setting.config, **words.config)
    panel = read_panel(words.data / f"{setting.name}.parquet", setting)
    inputs = PanelInputs.from_panel(panel, config)
    test = tuple(panel.num_periods - config.horizon * back for back in range(NUM_WINDOWS, 0, -1))
    lead = -(-config.lead_time_days // panel.period_days)
    asked = {"lead_periods": lead, "service_levels": config.service_levels}
    baselines = {name: backtest(one, inputs, test, **asked) for name, one in baseline_forecasters(inputs).items()}
    ours, per_seed, cpu, wall, steps, frames = None, {}, [], [], [], []
    for seed in words.seeds:
        cpu_from, wall_from = time.process_time(), time.perf_counter()
        model, num_steps = fit(inputs, dataclasses.replace(config, seed=seed), test)
        cpu.append(time.process_time() - cpu_from)
        wall.append(time.perf_counter() - wall_from)
        steps.append(num_steps)
        found = backtest(model_forecaster(model, inputs), inputs, test, **asked)
        ours = ours or found
        per_seed[str(seed)] = summary(found, inputs, config.service_levels)
        frames.append(predictions(found, panel, seed))
    assert ours is not None
    alone, less = wql_intervals({OURS: ours} | baselines, against=GATE)
    rows = [
        row(
            OURS,
            per_seed,
            [alone[OURS].low, alone[OURS].high],
            fit_cpu_s=round(float(np.mean(cpu)), 1),
            fit_wall_s=round(float(np.mean(wall)), 1),
            config=dataclasses.asdict(config),
            note=f"{steps} steps; fit time holds the choice of steps and the final fit; WQL less the gate "
            f"{less[OURS].mean:.4f} [{less[OURS].low:.4f}, {less[OURS].high:.4f}], paired over series, first seed",
        )
    ]
    for name, one in baselines.items():
        rows.append(row(name, {"0": summary(one, inputs, config.service_levels)}, [alone[name].low, alone[name].high]))
    write_result(
        words.json,
        benchmark="demand",
        data=setting.name,
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=words.seeds,
        results=rows,
    )
    if words.predictions:
        words.predictions.mkdir(parents=True, exist_ok=True)
        pd.concat(frames).to_parquet(words.predictions / "quantiles.parquet", index=False)
    print(json.dumps({found["model"]: found["metrics"] for found in rows}, indent=2))


if __name__ == "__main__":
    main()
