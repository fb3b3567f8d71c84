"""Forecasts of all items from one origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from features.release.layout import QUANTILES
from training.demand.distributions import CountMixture
from training.demand.inputs import PanelInputs
from training.demand.model import DemandModel

Floats = npt.NDArray[np.float32]

_ITEMS_AT_ONCE: Final = 512


class TotalForecast(Protocol):
    """What can say how much the next periods need in all."""

    def total_quantiles(self, periods: npt.NDArray[np.integer], levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Return mean ``[I]`` and quantiles ``[I, Q]`` of the total of each item's first ``periods`` ``[I]``.

        A quantile is the smallest whole number of units that covers the total with at least that probability.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What ``I`` items may sell in the ``H`` periods from an origin.

    Args:
        mean: expected units, float32 ``[I, H]``.
        quantiles: units at the levels of ``layout.QUANTILES``, float32 ``[I, H, 9]``.
        totals: of the first periods together; not what the quantiles add up to.
    """

    mean: Floats
    quantiles: Floats
    totals: TotalForecast


@dataclass(frozen=True, kw_only=True, eq=False)
class MixtureTotals:
    """Totals of the first 1 .. H periods as distributions, ``[I, H]``."""

    mixture: CountMixture

    def total_quantiles(self, periods: npt.NDArray[np.integer], levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Return mean ``[I]`` and quantiles ``[I, Q]`` of the total of each item's first ``periods`` ``[I]``."""
        chosen = self.mixture.at(torch.arange(len(periods)), torch.from_numpy(np.asarray(periods, np.int64) - 1))
        return chosen.mean.numpy(), chosen.quantiles(levels).numpy()


def forecast(model: DemandModel, inputs: PanelInputs, origin: int) -> Forecast:
    """Return the forecasts of all items from ``origin``; nothing at or after it is read but plan and calendar."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        chunks = [
            model(inputs.windows(items, torch.full_like(items, origin)))
            for items in torch.split(torch.arange(inputs.num_items), _ITEMS_AT_ONCE)
        ]
        single = CountMixture.concatenated([single for single, _ in chunks])
        found = Forecast(
            mean=single.mean.numpy(),
            quantiles=single.quantiles(QUANTILES).numpy(),
            totals=MixtureTotals(mixture=CountMixture.concatenated([total for _, total in chunks])),
        )
    model.train(was_training)
    return found
