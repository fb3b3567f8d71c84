"""Demand forecasts beside baselines, on daily or weekly panels by rolling origin.

    python benchmarks/demand.py daily --data DIR --json OUT --predictions DIR [--seeds 0 1 2] [--without autoets]

Protocol: daily h = 14 with four windows over the last 56 days, weekly h = 4 with four windows over the last
16 weeks, walmart h = 4 with two windows over the last 8 weeks. Steps and calibration are chosen on as many windows just
before the first test window, by a model that ends before them; then every model is fitted once on everything before
the first test window, and only its context moves on with each window.
Known ahead are the holidays and, of the groceries, the plan (``hol, disp, mail``; weekday and season are computed from
the date); all else (realised price, households, category units) is read up to the origin only, or not at all.
Walmart's sales are whole hundreds of dollars, negative weeks are 0, and store-departments with a year's history are
kept; its markdowns, weather and economy are not read by anyone. Reorder points cover a lead time of 7 days.

AutoETS runs in an environment of its own (``--environment``; about 600 MB, made where it is missing): statsforecast
asks for an older pandas. LightGBM and mlforecast come with ``pip install footfall[baselines]``. Nothing is cached.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.autoets import environment, fit_autoets
from benchmarks.demand_panels import SETTINGS
from benchmarks.demand_rows import Measured, rows, write_predictions
from benchmarks.demand_training import train
from benchmarks.result import write_result
from features.panel.demand_panel import DemandPanel
from training.demand.backtesting.backtest import (
    Backtest,
    Forecaster,
    backtest,
    baseline_forecasters,
    model_forecaster,
    rolling_origins,
    season_periods,
)
from training.demand.baselines.recursive_trees import recursive_trees
from training.demand.baselines.tree_features import TreeFeatures
from training.demand.baselines.trees import STRIDES, Ensemble, QuantileTrees, TreeConfig, direct_trees
from training.demand.config import DemandConfig
from training.demand.fit import OURS
from training.demand.inputs.panel_inputs import PanelInputs

HERE: Final = Path(__file__).parent
TREES: Final[dict[str, Callable[[TreeFeatures, int, TreeConfig], Forecaster]]] = {
    "lightgbm_recursive": recursive_trees,
    "lightgbm_direct": direct_trees,
    "lightgbm_quantiles": QuantileTrees.fit,
}
ENSEMBLE: Final = "lightgbm_ensemble"
AUTOETS: Final = "autoets"
CHEAP: Final = ("seasonal_naive", "empirical_quantiles", "croston_sba")
MODELS: Final = (OURS, *CHEAP, AUTOETS, *TREES, ENSEMBLE)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A panel and the windows at its end."""

    panel: DemandPanel
    inputs: PanelInputs
    test: tuple[int, ...]
    asked: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, panel: DemandPanel, config: DemandConfig, *, windows: int, stride: int | None = None) -> Problem:
        """Lay windows at the panel's end, a horizon apart unless a stride says otherwise."""
        test = rolling_origins(panel.num_periods, horizon=config.horizon, windows=windows, stride=stride)
        lead = -(-config.lead_time_days // panel.period_days)
        asked = {"lead_periods": lead, "service_levels": config.service_levels}
        return cls(panel=panel, inputs=PanelInputs.from_panel(panel, config), test=test, asked=asked)

    def score(self, forecaster: Forecaster) -> Backtest:
        """Ask a forecaster at each window's origin."""
        return backtest(forecaster, self.inputs, self.test, **self.asked)


def run_ours(problem: Problem, config: DemandConfig, seeds: list[int]) -> Measured:
    found, trained = [], []
    for seed in seeds:
        one = train(problem.inputs, dataclasses.replace(config, seed=seed), problem.test)
        print(
            f"seed {seed}: {one.steps} steps, validation WQL {one.validation_wql:.4f}, {one.cpu_s:.0f} CPU-s",
            file=sys.stderr,
        )
        trained.append(one)
        found.append(problem.score(model_forecaster(one.model, problem.inputs, calibration=one.calibration)))
    return Measured(
        model=OURS,
        found=tuple(found),
        seeds=tuple(seeds),
        fit_cpu_s=float(np.mean([one.cpu_s for one in trained])),
        fit_wall_s=float(np.mean([one.wall_s for one in trained])),
        threads=torch.get_num_threads(),
        config=dataclasses.asdict(config),
        note=f"{[one.steps for one in trained]} steps; fit time a seed holds the choice of steps, the calibration and "
        "the final fit",
    )


def run_cheap(problem: Problem, wanted: set[str]) -> list[Measured]:
    found = baseline_forecasters(problem.inputs)
    return [Measured(model=name, found=(problem.score(one),)) for name, one in found.items() if name in wanted]


def run_autoets(problem: Problem, directory: Path) -> Measured:
    wall_from, horizon = time.perf_counter(), problem.inputs.config.horizon
    season = season_periods(problem.inputs)
    python = environment(directory)
    units = problem.inputs.units.numpy()
    forecaster, cpu = fit_autoets(units, problem.test, horizon=horizon, season=season, python=python)
    return Measured(
        model=AUTOETS,
        found=(problem.score(forecaster),),
        fit_cpu_s=cpu,
        fit_wall_s=time.perf_counter() - wall_from,
        config={
            "package": "statsforecast 2.1.1",
            "model": "ZNZ",
            "season_length": season,
            "fallback": "HistoricAverage",
        },
        note="fitted anew at each origin; its own intervals, at 0 where below; normal totals",
    )


def run_trees(problem: Problem, wanted: set[str], *, threads: int) -> list[Measured]:
    config = TreeConfig(stride=STRIDES[problem.panel.frequency], threads=threads)
    features = TreeFeatures.of(problem.panel, problem.inputs.config.horizon)
    measured, members = [], []
    for name, learn in TREES.items():
        if not wanted & {name, ENSEMBLE}:
            continue
        cpu_from, wall_from = time.process_time(), time.perf_counter()
        forecaster = learn(features, problem.test[0], config)
        cpu, wall = time.process_time() - cpu_from, time.perf_counter() - wall_from
        print(f"{name}: {cpu:.0f} CPU-s", file=sys.stderr)
        members.append(forecaster)
        measured.append(_trees(problem, name, forecaster, config, cpu=cpu, wall=wall))
    if ENSEMBLE in wanted:
        ensemble = Ensemble(members=tuple(members))
        cpu, wall = (sum(getattr(one, cost) for one in measured) for cost in ("fit_cpu_s", "fit_wall_s"))
        measured.append(_trees(problem, ENSEMBLE, ensemble, config, cpu=cpu, wall=wall))
    return [one for one in measured if one.model in wanted]


def _trees(
    problem: Problem, name: str, forecaster: Forecaster, config: TreeConfig, *, cpu: float, wall: float
) -> Measured:
    return Measured(
        model=name,
        found=(problem.score(forecaster),),
        fit_cpu_s=cpu,
        fit_wall_s=wall,
        threads=config.threads,
        config=dataclasses.asdict(config) | {"packages": "lightgbm 4.7.0, mlforecast 1.0.2"},
    )


def chosen_models(words: argparse.Namespace) -> set[str]:
    return set(words.only or MODELS) - set(words.without)


def protocol() -> str:
    return " ".join((__doc__ or "").split("Protocol: ")[1].split("\n\n")[0].split())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panel", choices=sorted(SETTINGS))
    parser.add_argument("--data", type=Path, required=True, help="directory with the panel's files")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--config", type=json.loads, default={}, help="JSON object of the model's settings to change")
    parser.add_argument("--windows", type=int, help="how many test windows, if not as the protocol has it")
    parser.add_argument(
        "--stride", type=int, help="periods from one origin to the next; below the horizon they overlap"
    )
    parser.add_argument("--only", nargs="+", choices=MODELS, help="leave all others out")
    parser.add_argument("--without", nargs="+", choices=MODELS, default=[], help="leave these out")
    parser.add_argument("--environment", type=Path, default=HERE.parent / ".venv-statsforecast")
    parser.add_argument("--tree-threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    words = arguments()
    setting, wanted = SETTINGS[words.panel], chosen_models(words)
    config = dataclasses.replace(setting.config, **words.config)
    panel = setting.read(words.data, config)
    problem = Problem.of(panel, config, windows=words.windows or setting.num_windows, stride=words.stride)
    print(f"{setting.data}: {panel.num_items} series, {panel.num_periods} periods", file=sys.stderr)
    measured = [run_ours(problem, config, words.seeds)] if OURS in wanted else []
    measured += run_cheap(problem, wanted)
    measured += [run_autoets(problem, words.environment)] if AUTOETS in wanted else []
    measured += run_trees(problem, wanted, threads=words.tree_threads)
    usual = words.windows is None and words.stride is None and config.horizon == setting.config.horizon
    found = rows(measured, problem.inputs, panel=setting.name if usual else "", ours=OURS)
    write_result(
        words.json,
        benchmark="demand",
        data=setting.data,
        protocol=protocol() if usual else f"{protocol()} Here: h = {config.horizon}, origins {problem.test}.",
        seeds=words.seeds,
        results=found,
    )
    if words.predictions:
        write_predictions(words.predictions, measured, panel, ours=OURS, scale=setting.scale)
    print(json.dumps({one["model"]: one["metrics"] for one in found}, indent=2))


if __name__ == "__main__":
    main()
