"""Reorder points and calibration on the daily panel, beside what a negative binomial would have to hold.

    python benchmarks/demand_service.py --data DIR --json OUT [--seeds 0 1 2]

Protocol: the daily panel, h = 14, four windows over the last 56 days; the reorder point covers the total of the
first 7 days of each. Steps are chosen on the four windows before the first test window; the model is then fitted on everything
before the first test window. From there on the row footfall goes with the time: at each origin its weights are updated by a
few small steps on the 56 days before it, and its calibration is fitted anew, on how its forecasts of earlier weeks missed;
those before the first test window are made by the model that chose the steps, updated every 14 days alike. In the row
footfall_fitted_once the weights stay as fitted and the calibration goes with the time; footfall_uncalibrated is footfall
before its calibration. Nothing at or after an origin is read. negative_binomial_history reads the 56 days before each origin,
negative_binomial_lightgbm is fitted once on everything before the first test window, the same with _refitted anew at each
origin: the rows to compare footfall with are the first and the last, those of footfall_fitted_once the first two.
A reference's service-stock curve is its mean reorder point
by the service that it achieved, over many levels asked; ``needs90`` is the stock on that curve where it achieves what
footfall achieved at .90, ``less90`` is footfall's stock less that, with a 95% interval over draws of items.
Footfall's service and stock of an item are means over seeds. ``pit80``, ``pit_low`` and ``pit_high`` are shares of the
randomised PIT within [.1, .9] and in the tails (exact, nothing is drawn); ``perfect90`` is what a forecaster would
serve whose distributions are footfall's and true: whole units overshoot.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demand_panels import DAILY, read_panel
from benchmarks.demand_training import Followed, train
from benchmarks.result import write_result
from features.demand.calibration import PitBounds
from training.demand.backtesting.backtest import Backtest, Forecaster, backtest, rolling_origins
from training.demand.backtesting.classes import CLASSES, demand_classes
from training.demand.baselines.negative_binomial import dispersion, negative_binomial
from training.demand.baselines.tree_features import TreeFeatures
from training.demand.baselines.trees import STRIDES, TreeConfig, direct_trees, trees_are_installed
from training.demand.forecast import Forecast, MixtureTotals
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.rolling import RollingForecaster
from training.evaluation.bootstrap import resampled_means

Floats = npt.NDArray[np.float64]

LEAD: Final = 7
TARGETS: Final = (0.9, 0.95)
CURVE: Final = tuple(
    np.round([*np.arange(0.5, 0.9, 0.025), *np.arange(0.9, 0.99, 0.005), 0.99, 0.995, 0.999], 4).tolist()
)
RECENT: Final = 56  # days that a reference without a model looks back
RESAMPLES: Final = 2000
FITTED_ONCE: Final = "footfall_fitted_once"
UNCALIBRATED: Final = "footfall_uncalibrated"
OURS: Final = ("footfall", FITTED_ONCE, UNCALIBRATED)


@dataclass(frozen=True, kw_only=True)
class HistoryCounts:
    """A negative binomial around the recent mean, with each item's own dispersion by moments."""

    horizon: int

    def __call__(self, units: npt.NDArray[np.floating]) -> Forecast:
        """Return the forecast after ``units`` ``[I, T]``, NaN where nothing is known."""
        recent = units[:, -RECENT:]
        known = np.isfinite(recent)
        mean = np.where(known, recent, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)  # [I]
        totals = [self._dispersion(recent, mean, length) for length in range(1, self.horizon + 1)]
        ahead = np.repeat(mean[:, None], self.horizon, axis=1)
        return negative_binomial(ahead, totals[0][:, None], total_alpha=np.stack(totals, axis=1))

    @staticmethod
    def _dispersion(recent: npt.NDArray[np.floating], mean: Floats, length: int) -> Floats:
        runs = np.lib.stride_tricks.sliding_window_view(recent, length, axis=1).sum(axis=2)
        return dispersion(runs, np.broadcast_to(length * mean[:, None], runs.shape), axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """What a forecaster served and held, ``[I, Q]`` by level asked, and how many lead times an item has, ``[I]``."""

    served: Floats
    stock: Floats
    count: Floats

    @classmethod
    def of(cls, found: Backtest, levels: Sequence[float]) -> Served:
        """Add up the windows of a backtest."""
        total = found.lead_total[..., None]  # [I, W, 1]
        points = found.reorder_points[..., [found.levels.index(level) for level in levels]]
        known = np.isfinite(total)
        return cls(
            served=(known & (total <= points)).sum(axis=1).astype(float),
            stock=np.where(known, points, 0).sum(axis=1, dtype=float),
            count=known.sum(axis=(1, 2)).astype(float),
        )

    @classmethod
    def averaged(cls, seeds: Sequence[Served]) -> Served:
        """Return the mean over seeds of each item: a seed is no further item."""
        return cls(
            served=np.mean([one.served for one in seeds], axis=0),
            stock=np.mean([one.stock for one in seeds], axis=0),
            count=seeds[0].count,
        )


def compared(ours: Served, reference: Served) -> dict[str, tuple[float, float, float]]:
    """Return ``needs`` and ``less`` at each target, and the latter as a share, with 95% intervals over items."""
    columns = np.concatenate([ours.count[:, None], ours.served, ours.stock, reference.served, reference.stock], axis=1)
    draws = resampled_means(columns, resamples=RESAMPLES, seed=0)
    both = np.concatenate([columns.mean(axis=0, keepdims=True), draws])  # the first row is the data's own
    both = both[:, 1:] / both[:, :1]
    cuts = np.cumsum([len(TARGETS), len(TARGETS), reference.served.shape[1]])
    service, stock, curve_service, curve_stock = np.split(both, cuts, axis=1)
    found = {}
    for column, target in enumerate(TARGETS):
        pairs = zip(service[:, column], curve_service, curve_stock, strict=True)
        needs = np.array([np.interp(served, *curve) for served, *curve in pairs])
        less = stock[:, column] - needs
        for name, values in {"needs": needs, "less": less, "less_share": less / needs}.items():
            low, high = np.quantile(values[1:], [0.025, 0.975])
            found[f"{name}{100 * target:.0f}"] = (float(values[0]), float(low), float(high))
    return found


def metrics_of(served: Served) -> dict[str, float]:
    """Return service and stock at the targets, over all known lead times."""
    count = served.count.sum()
    values = {}
    for column, target in enumerate(TARGETS):
        name = f"{100 * target:.0f}"
        values |= {f"service{name}": float(served.served[:, column].sum() / count)}
        values |= {f"stock{name}": float(served.stock[:, column].sum() / count)}
    return values


def by_window(found: Backtest) -> dict[str, float]:
    """Return the service at .90 of each window, ``service90_window1`` being the earliest."""
    values = {}
    for number in range(len(found.origins)):
        served = metrics_of(Served.of(found.window(number), TARGETS))
        values[f"service90_window{number + 1}"] = served["service90"]
    return values


def calibration_of(pit: PitBounds, classes: npt.NDArray[np.str_]) -> dict[str, float]:
    """Return PIT shares of all items and of each class of demand."""
    values = pit.shares()
    for name in CLASSES:
        rows = classes == name
        if rows.any():
            some = PitBounds(low=pit.low[rows], high=pit.high[rows])
            values |= {f"{share}_{name}": found for share, found in some.shares().items()}
    return values


def perfect(forecaster: RollingForecaster, origins: Sequence[int]) -> dict[str, float]:
    """Return what the calibrated reorder points would serve if the distributions were true."""
    lead = np.full(forecaster.inputs.num_items, LEAD)
    covered = []
    for origin in origins:
        totals = forecaster(origin).totals
        assert isinstance(totals, MixtureTotals)
        points = totals.total_quantiles(lead, TARGETS)[1]
        covered.append([totals.total_cdf(lead, points[:, column]).mean() for column in range(len(TARGETS))])
    return {
        f"perfect{100 * target:.0f}": float(values) for target, values in zip(TARGETS, np.mean(covered, 0), strict=True)
    }


def references(panel: Any, inputs: PanelInputs, test: tuple[int, ...]) -> dict[str, Served]:
    """Return the service-stock curves of negative binomials on the 7-day total."""
    horizon, units = inputs.config.horizon, inputs.units.numpy()
    history = HistoryCounts(horizon=horizon)
    forecasters: dict[str, Any] = {"negative_binomial_history": lambda origin: history(units[:, :origin])}
    if trees_are_installed():
        config, features = TreeConfig(stride=STRIDES[panel.frequency]), TreeFeatures.of(panel, horizon)
        fits = {origin: direct_trees(features, origin, config) for origin in test}
        forecasters["negative_binomial_lightgbm"] = fits[test[0]]
        forecasters["negative_binomial_lightgbm_refitted"] = lambda origin: fits[origin](origin)
    asked = {"lead_periods": LEAD, "service_levels": (*CURVE, *TARGETS)}
    return {
        name: Served.of(backtest(one, inputs, test, **asked), sorted({*CURVE, *TARGETS}))
        for name, one in forecasters.items()
    }


def at_targets(curve: Served) -> Served:
    """Return a curve at the targets alone."""
    levels = sorted({*CURVE, *TARGETS})
    columns = [levels.index(target) for target in TARGETS]
    return dataclasses.replace(curve, served=curve.served[:, columns], stock=curve.stock[:, columns])


def row(model: str, per_seed: Mapping[str, Mapping[str, float]], **more: Any) -> dict[str, Any]:
    names = next(iter(per_seed.values()))
    means = {name: float(np.mean([values[name] for values in per_seed.values()])) for name in names}
    found = {"model": model, "metrics": means, "interval": {}, "per_seed": per_seed}
    return found | {"fit_cpu_s": 0.0, "fit_wall_s": 0.0, "peak_mb": peak_mb(), "config": {}, "note": ""} | more


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory with daily.parquet")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    words = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    panel = read_panel(words.data / "daily.parquet", DAILY)
    inputs = PanelInputs.from_panel(panel, DAILY.config)
    test = rolling_origins(panel.num_periods, horizon=DAILY.config.horizon, windows=DAILY.num_windows)
    classes = demand_classes(inputs.units[:, : test[0]].numpy())
    started = time.perf_counter()
    curves = references(panel, inputs, test)
    logging.info("references: %.0f s", time.perf_counter() - started)
    ours: dict[str, list[Served]] = {name: [] for name in OURS}
    per_seed: dict[str, dict[str, dict[str, float]]] = {name: {} for name in OURS}
    costs: dict[str, list[Followed]] = {name: [] for name in OURS}
    steps = []
    for seed in words.seeds:
        trained = train(panel, inputs, dataclasses.replace(DAILY.config, seed=seed), test)
        steps.append(trained.steps)
        for name in OURS:
            followed = trained.fitted_once if name == FITTED_ONCE else trained.updated
            forecaster: Forecaster = followed.forecaster
            if name == UNCALIBRATED:
                forecaster = followed.forecaster.uncalibrated
            found = backtest(forecaster, inputs, test, lead_periods=LEAD, service_levels=TARGETS)
            ours[name].append(Served.of(found, TARGETS))
            costs[name].append(followed)
            values = metrics_of(ours[name][-1]) | by_window(found) | calibration_of(found.pit, classes)
            if name != UNCALIBRATED:
                values |= perfect(followed.forecaster, test)
            per_seed[name][str(seed)] = values
            logging.info("seed %d, %s: %s", seed, name, json.dumps(values))
    rows = []
    for name, seeds in ours.items():
        against = {one: compared(Served.averaged(seeds), curve) for one, curve in curves.items()}
        rows.append(
            row(
                name,
                per_seed[name],
                interval={
                    f"{key}_{one}": list(value) for one, found in against.items() for key, value in found.items()
                },
                fit_cpu_s=round(float(np.mean([one.cpu_s for one in costs[name]])), 1),
                fit_wall_s=round(float(np.mean([one.wall_s for one in costs[name]])), 1),
                config=dataclasses.asdict(DAILY.config),
                note=f"{steps} steps; intervals are [value, low, high]",
            )
        )
    rows += [row(name, {"0": metrics_of(at_targets(curve))}) for name, curve in curves.items()]
    write_result(
        words.json,
        benchmark="demand_service",
        data="daily",
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=words.seeds,
        results=rows,
    )
    print(json.dumps({found["model"]: found["metrics"] | found["interval"] for found in rows}, indent=2))


if __name__ == "__main__":
    main()
