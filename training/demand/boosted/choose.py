"""How much of a forecast boosted trees get: the share that the validation windows lose least with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from features.panel.demand_panel import DemandPanel
from features.release.layout import QUANTILES
from training.demand.backtesting import metrics
from training.demand.baselines.trees import trees_are_installed
from training.demand.boosted.pooled import AnyModel, PooledModel
from training.demand.boosted.trees import BoostedTrees
from training.demand.forecast import distributions
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel

SHARES: Final = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
DIRECTORY: Final = "boosted"  # beside the network's weights

log = logging.getLogger(__name__)


def with_best_share(
    network: DemandModel,
    panel: DemandPanel,
    inputs: PanelInputs,
    *,
    until: int,
    origins: Sequence[int],
    directory: Path,
) -> AnyModel:
    """Return the network with the share of trees that the validation windows ask for; the network itself where that is 0.

    Args:
        network: trained on everything before ``until``.
        panel: what ``inputs`` were laid out from.
        inputs: with the settings.
        until: first period that trees must not see.
        origins: of the validation windows.
        directory: keeps the trees; those of an earlier attempt are read back.
    """
    if not wanted(inputs):
        return network
    trees = fitted(panel, inputs, until=until, directory=directory)
    losses = {0.0: _wql(network, inputs, origins)}
    losses |= {share: _wql(PooledModel(network=network, trees=trees, share=share), inputs, origins) for share in SHARES}
    share = min(losses, key=lambda one: losses[one])
    log.info("demand: boosted trees have a share of %g; WQL by share: %s", share, losses)
    return PooledModel(network=network, trees=trees, share=share) if share else network


def with_share_of(
    model: AnyModel, network: DemandModel, panel: DemandPanel, inputs: PanelInputs, *, until: int, directory: Path
) -> AnyModel:
    """Return a network that was fitted anew with the share of trees that an earlier model has, fitted anew too."""
    if isinstance(model, DemandModel):
        return network
    trees = fitted(panel, inputs, until=until, directory=directory)
    return PooledModel(network=network, trees=trees, share=model.share)


def wanted(inputs: PanelInputs) -> bool:
    """Return whether trees are tried: by the setting, and by default where a panel has shown the year twice."""
    asked = inputs.config.boosted_trees
    if asked != "auto":
        return asked == "always"
    if inputs.last_year is not None and not trees_are_installed():
        log.info("demand: boosted trees are not tried; `pip install footfall[baselines]` brings them")
    return inputs.last_year is not None and trees_are_installed()


def fitted(panel: DemandPanel, inputs: PanelInputs, *, until: int, directory: Path) -> BoostedTrees:
    """Return trees of everything before ``until``, read from the directory where they are there."""
    kept = directory / DIRECTORY
    if not kept.is_dir():
        log.info("demand: growing boosted trees on periods before %d", until)
        BoostedTrees.fit(panel, inputs, until=until).save(kept)
    return BoostedTrees.load(kept, panel, inputs)


def _wql(model: AnyModel, inputs: PanelInputs, origins: Sequence[int]) -> float:
    said = [distributions(model, inputs, origin)[0].quantiles(QUANTILES).numpy() for origin in origins]
    came = [inputs.targets_at(origin).numpy() for origin in origins]
    return float(metrics.wql(np.stack(came, axis=1), np.stack(said, axis=1)))
