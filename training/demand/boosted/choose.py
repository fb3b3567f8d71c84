"""How much of a forecast boosted trees get: the share that the validation windows lose least with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.panel.demand_panel import DemandPanel
from features.release.layout import QUANTILES
from training.demand.backtesting import metrics
from training.demand.baselines.trees import trees_are_installed
from training.demand.boosted.pooled import AnyModel, PooledModel, pool, tree_components
from training.demand.boosted.trees import DIRECTORY, BoostedTrees
from training.demand.forecast import distributions
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel

SHARES: Final = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)

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
    losses = _wql_by_share(network, trees, inputs, origins)
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


def _wql_by_share(
    network: DemandModel, trees: BoostedTrees, inputs: PanelInputs, origins: Sequence[int]
) -> dict[float, float]:
    """Return the WQL over the windows from ``origins`` with each share; both are asked once a window."""
    said: dict[float, list[npt.NDArray[np.float32]]] = {share: [] for share in (0.0, *SHARES)}
    for origin in origins:
        single, total = distributions(network, inputs, origin)
        of_trees, _ = tree_components(trees.quantiles(origin), single, total)
        for share, quantiles in said.items():
            found = pool(single, of_trees, share) if share else single
            quantiles.append(found.quantiles(QUANTILES).numpy())
    came = np.stack([inputs.targets_at(origin).numpy() for origin in origins], axis=1)
    return {share: float(metrics.wql(came, np.stack(quantiles, axis=1))) for share, quantiles in said.items()}
