"""Forecasts of all items from one origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from features.demand.calibration import DemandCalibration
from features.release.layout import QUANTILES
from training.demand.boosted.pooled import AnyModel
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.distributions import CountMixture
from training.demand.network.model import DemandModel

Floats = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]

_ITEMS_AT_ONCE: Final = 512


class TotalForecast(Protocol):
    """What can say how much the next periods need in all."""

    def total_quantiles(self, periods: npt.NDArray[np.integer], levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Return mean ``[I]`` and quantiles ``[I, Q]`` of the total of each item's first ``periods`` ``[I]``.

        A quantile is the smallest whole number of units that covers the total with at least that probability.
        """


class Cdf(Protocol):
    """Probabilities of counts."""

    def __call__(self, units: npt.NDArray[np.floating]) -> Probabilities:
        """Return P(X <= units) of each item and period, ``[I, H]``; NaN where ``units`` ``[I, H]`` is NaN."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What ``I`` items may sell in the ``H`` periods from an origin.

    Args:
        mean: expected units, float32 ``[I, H]``.
        quantiles: units at the levels of ``layout.QUANTILES``, float32 ``[I, H, 9]``.
        totals: of the first periods together; not what the quantiles add up to.
        cdf: of single periods; ``None`` from a forecaster that knows quantiles alone.
    """

    mean: Floats
    quantiles: Floats
    totals: TotalForecast
    cdf: Cdf | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class MixtureTotals:
    """Totals of the first 1 .. H periods as distributions, ``[I, H]``, read through their calibration."""

    mixture: CountMixture
    calibration: DemandCalibration = field(default_factory=DemandCalibration)

    def total_quantiles(self, periods: npt.NDArray[np.integer], levels: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Return mean ``[I]`` and quantiles ``[I, Q]`` of the total of each item's first ``periods`` ``[I]``."""
        chosen = self._of(periods)
        return chosen.mean.numpy(), chosen.quantiles(self.calibration.levels(levels, of="total")).numpy()

    def total_cdf(self, periods: npt.NDArray[np.integer], units: npt.NDArray[np.floating]) -> Probabilities:
        """Return P(total of the first ``periods`` <= ``units``), ``[I]`` like both; NaN where ``units`` is NaN."""
        raw = self._of(periods).cdf(torch.from_numpy(np.asarray(units, np.float64)))
        return self.calibration.covered_at(raw.numpy(), of="total")

    def _of(self, periods: npt.NDArray[np.integer]) -> CountMixture:
        return self.mixture.at(torch.arange(len(periods)), torch.from_numpy(np.asarray(periods, np.int64) - 1))


def forecast(
    model: AnyModel, inputs: PanelInputs, origin: int, *, calibration: DemandCalibration | None = None
) -> Forecast:
    """Return the forecasts of all items from ``origin``; nothing at or after it is read but plan and calendar.

    Args:
        model: trained.
        inputs: the panel.
        origin: first period forecast.
        calibration: the level to read the forecast at, and what each quantile is asked as; by default as it is.
    """
    calibration = calibration or DemandCalibration()
    single, total = (found.scaled(calibration.level) for found in distributions(model, inputs, origin))

    def cdf(units: npt.NDArray[np.floating]) -> Probabilities:
        raw = single.cdf(torch.from_numpy(np.asarray(units, np.float64)))
        return calibration.covered_at(raw.numpy(), of="period")

    return Forecast(
        mean=single.mean.numpy(),
        quantiles=single.quantiles(calibration.levels(QUANTILES, of="period")).numpy(),
        totals=MixtureTotals(mixture=total, calibration=calibration),
        cdf=cdf,
    )


def distributions(model: AnyModel, inputs: PanelInputs, origin: int) -> tuple[CountMixture, CountMixture]:
    """Return what the model itself says of single periods and of totals of the first 1 .. H, ``[I, H]`` both."""
    if not isinstance(model, DemandModel):
        return model.pooled(*distributions(model.network, inputs, origin), origin=origin)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        chunks = [
            model(inputs.windows(items, torch.full_like(items, origin)))
            for items in torch.split(torch.arange(inputs.num_items), _ITEMS_AT_ONCE)
        ]
        found = CountMixture.concatenated([one for one, _ in chunks]), CountMixture.concatenated([t for _, t in chunks])
    model.train(was_training)
    return found
