"""Boosted trees of a demand part: a LightGBM model a level, all steps at once.

They read what the trees among the baselines read (``training.demand.baselines.tree_features``). Five levels cost little
more than half of nine, and what is read of them is where a count lies and how widely it scatters.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import ReleaseError
from features.files import staged_directory
from features.panel.demand_panel import DemandPanel
from training.demand.baselines.tree_features import TreeFeatures
from training.demand.baselines.trees import STRIDES, QuantileTrees, TreeConfig, library
from training.demand.inputs.panel_inputs import PanelInputs

DIRECTORY: Final = "boosted"  # beside the network's weights
LEVELS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
_FILE: Final = "q{level}.txt"  # LightGBM's own text format

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoostedTrees:
    """Trees that have learnt from everything before some period, and the panel that they are asked about.

    Args:
        models: one a level of ``LEVELS``.
    """

    models: QuantileTrees

    @classmethod
    def fit(cls, panel: DemandPanel, inputs: PanelInputs, *, until: int) -> BoostedTrees:
        """Learn from everything before ``until``.

        Args:
            panel: units and plan.
            inputs: of the panel: its horizon, codes of attributes, seed and threads.
            until: first period that is not read.
        """
        config = inputs.config
        trees = TreeConfig(stride=STRIDES[panel.frequency], seed=config.seed, threads=_threads(config.num_threads))
        return cls(models=QuantileTrees.fit(_features(panel, inputs), until, trees, levels=LEVELS))

    def quantiles(self, origin: int) -> Floats:
        """Return units at ``LEVELS`` from an origin, in order, ``[I, H, 5]``."""
        return self.models.level_quantiles(origin)

    def save(self, directory: Path) -> None:
        """Write one text file a level; the directory appears whole or not at all."""
        with staged_directory(directory) as aside:
            for level, booster in zip(LEVELS, self.models.boosters, strict=True):
                booster.save_model(str(aside / _FILE.format(level=level)))

    @classmethod
    def load(cls, directory: Path, panel: DemandPanel, inputs: PanelInputs) -> BoostedTrees:
        """Read what ``save`` wrote, for questions about a panel laid out as theirs was.

        Raises:
            ConfigError: LightGBM is not installed.
            ReleaseError: a file is missing or cannot be read, or the panel has other columns.
        """
        features, boosters = _features(panel, inputs), []
        for level in LEVELS:
            path = directory / _FILE.format(level=level)
            boosters.append(_booster(path))
            width = boosters[-1].num_feature()
            if width != (found := features.rows(panel.num_periods).shape[2]):
                raise ReleaseError(f"{path}: expected a panel of {width} inputs, found {found}; train again.")
        return cls(models=QuantileTrees(features=features, boosters=tuple(boosters), levels=LEVELS))


def _booster(path: Path) -> Any:
    lightgbm = library("lightgbm")
    try:
        return lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        raise ReleaseError(f"{path}: expected boosted trees, found {error}; train again.") from None


def _features(panel: DemandPanel, inputs: PanelInputs) -> TreeFeatures:
    """Lay the panel out for trees; attributes have the codes that the network reads, the same for every panel."""
    found = TreeFeatures.of(panel, inputs.config.horizon)
    return dataclasses.replace(found, codes=inputs.static.numpy())


def _threads(asked: int) -> int:
    return asked or int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1
