"""What each part of the demand network is worth, on validation windows.

    python benchmarks/demand_ablations.py daily|weekly --data DIR --json OUT [--seeds 0] [--steps 600] [--only NAME ...]

Protocol: the four windows just before the test windows, which are not looked at. Every row is trained on everything
before the first of them, for the same number of steps, with the same windows; its last weights are scored. WQL;
``pit80``, the share of the randomised PIT within [.1, .9]; ``service90`` and ``stock90`` of the reorder point for
seven days at .90, uncalibrated. A head of quantiles has no totals, and its PIT is what nine quantiles tell.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.demand_networks import (
    LinearNetwork,
    NoSimilarPeriods,
    PooledContext,
    QuantileHead,
    Quantiles,
    ZeroInflatedHead,
)
from benchmarks.demand_panels import SETTINGS, read_panel
from benchmarks.result import write_result
from features.demand.calibration import PitBounds
from features.release.layout import QUANTILES
from training.demand.backtesting import metrics
from training.demand.backtesting.backtest import rolling_origins
from training.demand.config import DemandConfig
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.inputs.windows import InputSizes
from training.demand.network.distributions import CountMixture
from training.demand.network.model import DemandNetwork
from training.demand.network.module import DemandModule

log = logging.getLogger(__name__)

LEAD_DAYS: Final = 7
EMA_DECAY: Final = 0.99
Build = Callable[[InputSizes, DemandConfig], nn.Module]


def without_similar(sizes: InputSizes, config: DemandConfig) -> nn.Module:
    network = DemandNetwork(sizes, config)
    network.similar = NoSimilarPeriods(network.similar.out_size)  # type: ignore[assignment]
    return network


def pooled(sizes: InputSizes, config: DemandConfig) -> nn.Module:
    network = DemandNetwork(sizes, config)
    network.similar = PooledContext(sizes, config, network.similar.out_size)  # type: ignore[assignment]
    return network


def zero_inflated(sizes: InputSizes, config: DemandConfig) -> nn.Module:
    network = DemandNetwork(sizes, config)
    network.head = ZeroInflatedHead(config.hidden_size, config.num_components)
    return network


def quantiles(sizes: InputSizes, config: DemandConfig) -> nn.Module:
    network = DemandNetwork(sizes, config)
    network.head = QuantileHead(config.hidden_size)  # type: ignore[assignment]
    return network


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row: what it changes."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    build: Build = DemandNetwork
    average: bool = False
    note: str = ""


VARIANTS: Final = (
    Variant(name="reference", note="two members on disjoint halves of each batch, three negative binomials each"),
    Variant(name="one member", changes={"num_members": 1}),
    Variant(name="four members", changes={"num_members": 4}),
    Variant(name="weights averaged", average=True, note=f"exponential moving average, decay {EMA_DECAY}"),
    Variant(name="no similar periods", build=without_similar, note="no attention to periods with a like plan"),
    Variant(name="pooled context", build=pooled, note="N-HiTS-like stacks in the place of the attention"),
    Variant(name="linear", build=LinearNetwork, note="D-Linear-like: linear maps of trend, remainder, state and plan"),
    Variant(name="quantile head", build=quantiles, note="monotone quantiles by pinball loss; no loss on totals",
            changes={"total_weight": 0.0}),
    Variant(name="one component", changes={"num_components": 1}),
    Variant(name="two components", changes={"num_components": 2}),
    Variant(name="zero-inflated", build=zero_inflated, note="one negative binomial and a chance of nothing",
            changes={"num_components": 2}),
    Variant(name="totals weigh 1", changes={"total_weight": 1.0}, note="weight of the loss on totals, else .2"),
    Variant(name="big sellers weigh more", changes={"volume_power": 0.5}, note="windows weigh (1 + level) ^ .5"),
)  # fmt: skip


class Training(DemandModule):
    """A demand training that counts its own steps, around any network."""

    def __init__(self, inputs: PanelInputs, config: DemandConfig, build: Build, *, fit_until: int) -> None:
        super().__init__(inputs, config, fit_until=fit_until)
        torch.manual_seed(config.seed)
        self.model.members = nn.ModuleList(build(inputs.sizes, config) for _ in range(config.num_members))
        self.done = 0

    @property
    def global_step(self) -> int:
        """Steps done."""
        return self.done

    def log(self, *_: Any, **__: Any) -> None:
        """Say nothing."""


def train(inputs: PanelInputs, config: DemandConfig, variant: Variant, *, fit_until: int) -> Training:
    training = Training(inputs, config, variant.build, fit_until=fit_until)
    found = training.configure_optimizers()
    optimizer, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    mean = torch.optim.swa_utils.AveragedModel(
        training.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA_DECAY)
    )
    for step in range(config.max_steps):
        training.done = step
        training.training_step(None, step).backward()
        nn.utils.clip_grad_norm_(training.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if variant.average:
            mean.update_parameters(training.model)
    if variant.average:
        training.model = mean.module
    return training


def said(training: Training, origin: int) -> tuple[Any, CountMixture]:
    """Return the pooled forecasts of periods and totals of all items, ``[I, H]`` both."""
    items = torch.arange(training.inputs.num_items)
    windows = training.inputs.windows(items, torch.full_like(items, origin))
    with torch.inference_mode():
        found = [member(windows) for member in training.model.members]
    kind = type(found[0][0])
    return kind.pooled([single for single, _ in found]), CountMixture.pooled([total for _, total in found])


def score(training: Training, origins: Sequence[int], lead: int) -> dict[str, float]:
    training.model.eval()
    units, levels, low, high, sums, points = [], [], [], [], [], []
    for origin in origins:
        single, total = said(training, origin)
        actual = training.inputs.targets_at(origin)
        units.append(actual.numpy())
        levels.append(_quantiles(single))
        bounds = _pit(single, actual, levels[-1])
        low.append(bounds[0])
        high.append(bounds[1])
        sums.append(actual[:, :lead].sum(1).numpy())
        points.append(total.at(items_of(actual), torch.full((len(actual),), lead - 1)).quantiles((0.9,))[:, 0].numpy())
    pit = PitBounds(low=np.stack(low, 1), high=np.stack(high, 1)).shares()
    values = {"wql": metrics.wql(np.stack(units, 1), np.stack(levels, 1)), "pit80": pit["pit80"]}
    if isinstance(single, CountMixture):
        values["service90"], values["stock90"] = metrics.service(np.stack(sums), np.stack(points))
    return values


def items_of(actual: Tensor) -> Tensor:
    return torch.arange(len(actual))


def _quantiles(single: Any) -> Any:
    return (single.values if isinstance(single, Quantiles) else single.quantiles(QUANTILES)).numpy()


def _pit(single: Any, actual: Tensor, levels: Any) -> tuple[Any, Any]:
    if isinstance(single, Quantiles):
        return metrics.pit_between(actual.numpy(), levels)
    return single.cdf(actual - 1).numpy(), single.cdf(actual).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panel", choices=("daily", "weekly"))
    parser.add_argument("--data", type=Path, required=True, help="directory with daily.parquet and weekly.parquet")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", nargs="+", help="names of rows; all by default")
    words = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    setting = SETTINGS[words.panel]
    base = dataclasses.replace(setting.config, max_steps=words.steps)
    panel = read_panel(words.data / f"{setting.name}.parquet", setting)
    origins = rolling_origins(panel.num_periods, horizon=base.horizon, windows=2 * setting.num_windows)
    origins = origins[: setting.num_windows]
    lead, rows = -(-LEAD_DAYS // panel.period_days), []
    for variant in [one for one in VARIANTS if not words.only or one.name in words.only]:
        per_seed, cpu, wall = {}, time.process_time(), time.perf_counter()
        for seed in words.seeds:
            config = dataclasses.replace(base, seed=seed, **variant.changes)
            inputs = PanelInputs.from_panel(panel, config)
            training = train(inputs, config, variant, fit_until=origins[0])
            per_seed[str(seed)] = score(training, origins, lead)
        names = next(iter(per_seed.values()))
        means = {name: float(np.mean([values[name] for values in per_seed.values()])) for name in names}
        log.info("%s: %s", variant.name, json.dumps(means))
        rows.append(
            {
                "model": variant.name,
                "metrics": means,
                "interval": {},
                "per_seed": per_seed,
                "fit_cpu_s": round((time.process_time() - cpu) / len(words.seeds), 1),
                "fit_wall_s": round((time.perf_counter() - wall) / len(words.seeds), 1),
                "peak_mb": 0.0,
                "config": variant.changes,
                "note": variant.note,
            }
        )
        write_result(
            words.json,
            benchmark="demand_ablations",
            data=setting.name,
            protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()) + f" {words.steps} steps.",
            seeds=words.seeds,
            results=rows,
        )
    print(json.dumps({row["model"]: row["metrics"] for row in rows}, indent=2))


if __name__ == "__main__":
    main()
