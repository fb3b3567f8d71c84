"""Demand forecasts beside baselines, on daily or weekly panels by rolling origin.

    python benchmarks/demand.py daily --data DIR --json OUT --predictions DIR [--seeds 0 1 2] [--refit-baselines]

Protocol: daily h = 14 with four windows over the last 56 days, weekly h = 4 with four windows over the last
16 weeks, walmart h = 4 with two windows over the last 8 weeks. Steps are chosen on as many windows just before the first test
window, by a model that ends before them; then the network is fitted on everything before the first test window. From
there on the row footfall goes with the time: its weights are updated a horizon apart, which is at each origin unless windows
overlap, by a few small steps on the last four horizons before the update, and its calibration is fitted anew at each
origin, on how its forecasts of earlier weeks missed (those before the first test window by the model that chose the steps,
updated alike). In the row footfall_fitted_once the weights stay as fitted; the calibration goes with the time. On walmart, whose
panel shows the year twice, boosted trees of our own have a share in both, chosen on the windows that choose the steps and
fitted with the network; footfall_network is the row without them. Nothing at or after an origin is read. The boosted trees
lightgbm_* are fitted once, on everything before the first test window, and only what they look back on moves on: they are
compared with footfall_fitted_once. The rows lightgbm_*_refitted are fitted anew at
each origin, on everything before it; they, AutoETS (fitted anew at each origin too) and the baselines that are worked
out from all that is known at each origin are compared with footfall.
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.autoets import environment, fit_autoets
from benchmarks.demand_panels import SETTINGS
from benchmarks.demand_rows import Measured, rows, write_predictions
from benchmarks.demand_training import Followed, train
from benchmarks.result import write_result
from features.panel.demand_panel import DemandPanel
from training.demand.backtesting.backtest import (
    Backtest,
    Forecaster,
    backtest,
    baseline_forecasters,
    rolling_origins,
    season_periods,
)
from training.demand.baselines.recursive_trees import recursive_trees
from training.demand.baselines.tree_features import TreeFeatures
from training.demand.baselines.trees import STRIDES, Ensemble, QuantileTrees, TreeConfig, direct_trees
from training.demand.config import DemandConfig
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.measured import OURS

HERE: Final = Path(__file__).parent
TREES: Final[dict[str, Callable[[TreeFeatures, int, TreeConfig], Forecaster]]] = {
    "lightgbm_recursive": recursive_trees,
    "lightgbm_direct": direct_trees,
    "lightgbm_quantiles": QuantileTrees.fit,
}
FITTED_ONCE: Final = f"{OURS}_fitted_once"
NETWORK: Final = f"{OURS}_network"  # without the boosted trees' share, where they have one
REFITTED: Final = "_refitted"  # marks the rows of trees that are fitted anew at each origin
ENSEMBLE: Final = "lightgbm_ensemble"
AUTOETS: Final = "autoets"
CHEAP: Final = ("seasonal_naive", "empirical_quantiles", "croston_sba")
MODELS: Final = (OURS, FITTED_ONCE, NETWORK, *CHEAP, AUTOETS, *TREES, ENSEMBLE)


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


@dataclass(kw_only=True)
class Seeds:
    """What a row of ours said and cost, seed by seed."""

    found: list[Backtest] = field(default_factory=list)
    followed: list[Followed] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)


def run_ours(problem: Problem, config: DemandConfig, seeds: list[int], wanted: set[str]) -> list[Measured]:
    named = {name: Seeds() for name in (OURS, FITTED_ONCE, NETWORK) if name in wanted}
    for seed in seeds if named else ():
        trained = train(problem.panel, problem.inputs, dataclasses.replace(config, seed=seed), problem.test)
        chosen = f"{trained.steps} steps, boosted trees {trained.boosted_share:g}"
        print(f"seed {seed}: {chosen}, validation WQL {trained.validation_wql:.4f}", file=sys.stderr)
        followed = {OURS: trained.updated, FITTED_ONCE: trained.fitted_once, NETWORK: trained.network}
        for name, kept in named.items():
            one = followed[name]
            kept.followed.append(one)
            kept.steps.append(trained.steps)
            kept.shares.append(trained.boosted_share)
            kept.found.append(problem.score(one.forecaster))
            print(f"{name}: {one.cpu_s:.0f} CPU-s", file=sys.stderr)
    return [_ours(name, kept, seeds, config) for name, kept in named.items() if name != NETWORK or any(kept.shares)]


def _ours(name: str, kept: Seeds, seeds: list[int], config: DemandConfig) -> Measured:
    how = "weights left as fitted" if name == FITTED_ONCE else "weights updated"
    return Measured(
        model=name,
        found=tuple(kept.found),
        seeds=tuple(seeds),
        fit_cpu_s=float(np.mean([one.cpu_s for one in kept.followed])),
        fit_wall_s=float(np.mean([one.wall_s for one in kept.followed])),
        threads=torch.get_num_threads(),
        config=dataclasses.asdict(config),
        note=f"{kept.steps} steps, boosted trees' share {'left out' if name == NETWORK else kept.shares}; {how}, "
        "calibration of each origin; fit time a seed holds the choice of steps and share, the final fit and all of these",
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


def run_trees(problem: Problem, wanted: set[str], *, threads: int, refit: bool) -> list[Measured]:
    config = TreeConfig(stride=STRIDES[problem.panel.frequency], threads=threads)
    features = TreeFeatures.of(problem.panel, problem.inputs.config.horizon)
    asked = {name: learn for name, learn in TREES.items() if wanted & {name, ENSEMBLE}}
    measured = []
    for mark, origins in (("", problem.test[:1]), (REFITTED, problem.test))[: 1 + refit]:
        fits = {name: Trees.fit(learn, features, origins, config) for name, learn in asked.items()}
        if fits and ENSEMBLE in wanted:
            fits[ENSEMBLE] = Trees.ensemble(list(fits.values()))
        measured += [_trees(problem, name, mark, one, config) for name, one in fits.items() if name in wanted]
    return measured


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Boosted trees and what they cost."""

    forecaster: Forecaster
    cpu_s: float
    wall_s: float

    @classmethod
    def fit(
        cls,
        learn: Callable[[TreeFeatures, int, TreeConfig], Forecaster],
        features: TreeFeatures,
        origins: tuple[int, ...],
        config: TreeConfig,
    ) -> Trees:
        """Fit at each of some origins."""
        cpu_from, wall_from = time.process_time(), time.perf_counter()
        fits = {origin: learn(features, origin, config) for origin in origins}
        cpu, wall = time.process_time() - cpu_from, time.perf_counter() - wall_from
        print(f"{learn.__qualname__} at {list(origins)}: {cpu:.0f} CPU-s", file=sys.stderr)
        return cls(forecaster=latest(fits), cpu_s=cpu, wall_s=wall)

    @classmethod
    def ensemble(cls, members: list[Trees]) -> Trees:
        """Return the mean of some."""
        return cls(
            forecaster=Ensemble(members=tuple(one.forecaster for one in members)),
            cpu_s=sum(one.cpu_s for one in members),
            wall_s=sum(one.wall_s for one in members),
        )


def latest(fits: Mapping[int, Forecaster]) -> Forecaster:
    """Ask, at each origin, the fit that had the most to learn from and nothing at or after it; ``fits`` by their ends."""
    return lambda origin: fits[max(until for until in fits if until <= origin)](origin)


def _trees(problem: Problem, name: str, mark: str, trees: Trees, config: TreeConfig) -> Measured:
    return Measured(
        model=name + mark,
        found=(problem.score(trees.forecaster),),
        fit_cpu_s=trees.cpu_s,
        fit_wall_s=trees.wall_s,
        threads=config.threads,
        config=dataclasses.asdict(config) | {"packages": "lightgbm 4.7.0, mlforecast 1.0.2"},
        note="fitted anew at each origin" if mark else "fitted once, before the first test window",
        rival=OURS if mark else FITTED_ONCE,
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
    parser.add_argument("--refit-baselines", action="store_true", help="boosted trees fitted anew at each origin, too")
    return parser.parse_args()


def main() -> None:
    words = arguments()
    setting, wanted = SETTINGS[words.panel], chosen_models(words)
    config = dataclasses.replace(setting.config, **words.config)
    panel = setting.read(words.data, config)
    problem = Problem.of(panel, config, windows=words.windows or setting.num_windows, stride=words.stride)
    print(f"{setting.data}: {panel.num_items} series, {panel.num_periods} periods", file=sys.stderr)
    measured = run_ours(problem, config, words.seeds, wanted)
    measured += run_cheap(problem, wanted)
    measured += [run_autoets(problem, words.environment)] if AUTOETS in wanted else []
    measured += run_trees(problem, wanted, threads=words.tree_threads, refit=words.refit_baselines)
    usual = words.windows is None and words.stride is None and config.horizon == setting.config.horizon
    found = rows(measured, problem.inputs, panel=setting.name if usual else "")
    write_result(
        words.json,
        benchmark="demand",
        data=setting.data,
        protocol=protocol() if usual else f"{protocol()} Here: h = {config.horizon}, origins {problem.test}.",
        seeds=words.seeds,
        results=found,
    )
    if words.predictions:
        write_predictions(words.predictions, measured, panel, scale=setting.scale)
    print(json.dumps({one["model"]: one["metrics"] for one in found}, indent=2))


if __name__ == "__main__":
    main()
