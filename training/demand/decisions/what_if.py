"""The network as a file that serving can ask about another plan: ``what_if.onnx`` and the inputs of every item.

Everything an item brings to the forecast origin is fixed and kept beside the network, an array a file; the plan of the
horizon alone is left open. What follows from the plan is computed inside the network (``plan_features``), so that
whoever asks fills in the plan's own columns and nothing else.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from features import columns as c
from features.demand.plan_columns import PLANNED_PRICE, PlanColumn, PlanColumns
from features.panel.demand_panel import DemandPanel
from features.release import layout
from training.demand.boosted.pooled import AnyModel, PooledModel, pool, tree_components
from training.demand.forecast import distributions
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.inputs.plan_features import with_plan
from training.demand.inputs.windows import Windows
from training.demand.network.distributions import CountMixture
from training.demand.network.model import DemandModel
from training.onnx_export import quiet_export

log = logging.getLogger(__name__)

USUAL: Final = "usual_plan"
INPUTS: Final = (*(one.name for one in dataclasses.fields(Windows)), USUAL)
# What boosted trees say under the plan as it is, and the network's mean there; only where they have a share.
TREES: Final = (
    "trees_log_mean",
    "trees_log_size",
    "trees_total_log_mean",
    "trees_total_log_size",
    "as_planned_log_mean",
)
OUTPUTS: Final = tuple(f"{of}_{name}" for of in ("period", "total") for name in ("log_weight", "log_mean", "log_size"))
_LEAST: Final = 1e-6  # units; what a logarithm of a mean is kept away from 0 by
_REALISED_PRICE: Final = "realised_price"


class PlannedDemand(nn.Module):
    """A demand model whose inputs that follow from the plan are computed from it.

    Args:
        model: trained.
    """

    def __init__(self, model: DemandModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return both mixtures, ``[B, H, K]`` three times for periods and three times for totals.

        Args:
            inputs: in the order of ``INPUTS``; ``horizon`` as under any plan.
        """
        values = dict(zip(INPUTS, inputs, strict=True))
        usual = values.pop(USUAL)
        values["horizon"] = with_plan(values["horizon"], values["horizon_plan"], usual)
        period, total = self.model(Windows(**values))
        return (*_tensors(period), *_tensors(total))


class PooledDemand(nn.Module):
    """The same with the share of boosted trees, which follow the network: a plan moves their means as it moves the network's.

    Args:
        model: network and trees.
    """

    def __init__(self, model: PooledModel) -> None:
        super().__init__()
        self.network, self.share = model.network, model.share

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return both mixtures, ``[B, H, K + 1]`` three times for periods and three times for totals.

        Args:
            inputs: in the order of ``INPUTS`` and ``TREES``.
        """
        said = PlannedDemand(self.network)(*inputs[: len(INPUTS)])
        trees = dict(zip(TREES, inputs[len(INPUTS) :], strict=True))
        period, total = (
            CountMixture(log_weight=weight, log_mean=mean, log_size=size) for weight, mean, size in (said[:3], said[3:])
        )
        # The announced plan's mean ends in the same place as this one's where nothing is changed.
        moved = torch.log(period.mean + _LEAST) - trees["as_planned_log_mean"]
        before = torch.exp(trees["trees_log_mean"])
        moved_total = torch.log((before * torch.exp(moved)).cumsum(1)) - torch.log(before.cumsum(1))
        return (
            *_tensors(pool(period, _component(trees, "trees_", moved), self.share)),
            *_tensors(pool(total, _component(trees, "trees_total_", moved_total), self.share)),
        )


def _component(trees: Mapping[str, Tensor], prefix: str, moved: Tensor) -> CountMixture:
    log_mean = (trees[f"{prefix}log_mean"] + moved)[..., None]
    return CountMixture(
        log_weight=torch.zeros_like(log_mean), log_mean=log_mean, log_size=trees[f"{prefix}log_size"][..., None]
    )


def write_what_if(directory: Path, model: AnyModel, panel: DemandPanel, inputs: PanelInputs) -> None:
    """Write the network, its inputs at the panel's end, and what was planned before; nothing where no plan can vary.

    Args:
        directory: of the part's draft.
        model: trained.
        panel: what the inputs were laid out from.
        inputs: of the panel.
    """
    columns = plan_columns(panel, inputs)
    if not columns.columns:
        log.info("demand: no column of the plan can be varied; the part answers no what-if")
        return
    found = what_if_inputs(inputs)
    if isinstance(model, DemandModel):
        network: nn.Module = PlannedDemand(model)
    else:
        network, found = PooledDemand(model), found | tree_inputs(model, inputs)
    export_network(network, {name: tensor[:2] for name, tensor in found.items()}, directory / layout.WHAT_IF_MODEL)
    target = directory / layout.WHAT_IF
    target.mkdir()
    for name, tensor in found.items():
        np.save(target / f"{name}.npy", tensor.numpy())
    pd.DataFrame({c.ITEM_ID: panel.item_ids}).to_parquet(target / "items.parquet", index=False)
    columns.save(target)


def what_if_inputs(inputs: PanelInputs) -> dict[str, Tensor]:
    """Return what the network reads of each item at the panel's end, ``[I, ...]`` by name."""
    items = torch.arange(inputs.num_items)
    origins = torch.full_like(items, inputs.num_periods)
    with torch.inference_mode():
        windows = inputs.windows(items, origins)
        return {one.name: getattr(windows, one.name) for one in dataclasses.fields(Windows)} | {
            USUAL: inputs.usual_plan(items, origins)
        }


def tree_inputs(model: PooledModel, inputs: PanelInputs) -> dict[str, Tensor]:
    """Return ``TREES`` of each item at the panel's end, float32 ``[I, H]`` by name."""
    origin = inputs.num_periods
    single, total = distributions(model.network, inputs, origin)
    found = tree_components(model.trees.quantiles(origin), single, total)
    values = [getattr(one, name)[..., 0] for one in found for name in ("log_mean", "log_size")]
    return dict(zip(TREES, [*values, torch.log(single.mean + _LEAST)], strict=True))


def export_network(model: nn.Module, example: Mapping[str, Tensor], path: Path) -> None:
    """Write a model as one ONNX file with dynamic batch; ``example`` holds two items' inputs by name, in the model's order."""
    batch = torch.export.Dim("batch")
    with quiet_export(), torch.no_grad():
        program = torch.onnx.export(
            model.eval(),
            tuple(one.clone() for one in example.values()),
            dynamo=True,
            input_names=list(example),
            output_names=list(OUTPUTS),
            dynamic_shapes=(tuple({0: batch} for _ in example),),
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)


def plan_columns(panel: DemandPanel, inputs: PanelInputs) -> PlanColumns:
    """Return the columns of the plan that may be varied, and what each item had planned before the panel's end."""
    names = _varied(panel, inputs)
    past = [np.asarray(panel.known_ahead[name])[:, : panel.num_periods] for name in names]
    seen = [_seen(panel, name, values) for name, values in zip(names, past, strict=True)]
    together = np.stack([values != 0 for values in past], axis=2) if past else np.zeros((0, 0, 0), bool)
    bits = (together * (1 << np.arange(len(names)))).sum(axis=2) if past else np.zeros(0, int)
    return PlanColumns(
        columns=tuple(
            PlanColumn(name=name, position=inputs.plan_names.index(name), low=low, high=high)
            for name, (low, high) in zip(names, seen, strict=True)
        ),
        patterns=tuple(int(bit) for bit in np.unique(bits)),
    )


def _varied(panel: DemandPanel, inputs: PanelInputs) -> list[str]:
    """Announced columns; where none is marked as such, those that differ between items."""
    announced = {*panel.planned, *getattr(panel, "announced", ())}
    own = inputs.plan_names[len(inputs.plan_names) - inputs.num_item_plan :]
    return [name for name in inputs.plan_names if name in (announced or own)]


def _seen(
    panel: DemandPanel, name: str, planned: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the least and the most each item had planned, ``[I]``; NaN where nothing. Prices count as realised too."""
    arrays = [planned]
    if name == PLANNED_PRICE and _REALISED_PRICE in panel.observed:
        arrays.append(np.asarray(panel.observed[_REALISED_PRICE]))
    values = np.concatenate(arrays, axis=1)
    low = np.where(values != 0, values, np.inf).min(axis=1)
    high = np.where(values != 0, values, -np.inf).max(axis=1)
    return (
        np.where(np.isfinite(low), low, np.nan).astype(np.float32),
        np.where(np.isfinite(high), high, np.nan).astype(np.float32),
    )


def _tensors(mixture: CountMixture) -> tuple[Tensor, Tensor, Tensor]:
    return mixture.log_weight, mixture.log_mean, mixture.log_size
