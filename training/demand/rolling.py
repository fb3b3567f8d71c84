"""A forecaster that goes with the time: at each origin its weights and its calibration know every outcome before it.

A model learns once, and then the weeks come that it was to forecast. What it said of them and what came is news three
times over. The weights are brought up to date a horizon apart (``network.update``). Then there is the level that the shop
has now (``level``), and how wide the forecasts should be (``LevelMap``): the calibration of an origin is made of all
windows a week apart that a model had not learnt from, as far as their outcomes are known at that origin (online
calibration; Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift"). Each window is forecast by
the model as it stood at the window's own origin.

The level comes before the spread: a forecast that is too low by a tenth looks too narrow, and one that is too high looks
wide enough. Past forecasts are therefore read at the level that was known when they were made, before their spread is
judged.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.demand.calibration import DemandCalibration, LevelMap, PitBounds
from training.demand.boosted.pooled import AnyModel
from training.demand.calibrate import bounds_at, stacked
from training.demand.config import DemandConfig
from training.demand.forecast import Forecast, distributions, forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.level import WeekRatio, level_after
from training.demand.network.update import UpToDate

log = logging.getLogger(__name__)

Models = Callable[[int], AnyModel]  # by origin: has learnt from nothing at or after it

_WEEK: Final = {"D": 7, "W": 1}  # periods: the shortest stretch that holds every day of the week


@dataclass(frozen=True, kw_only=True, eq=False)
class PastWindow:
    """What a model said from an origin that it had not learnt from, and what came.

    Args:
        origin: first period forecast.
        ratio: of the first week; ``None`` where it tells no level.
        period: where outcomes lay in the forecasts of periods at the level of that time, ``[I, 1, H]``.
        total: the same of totals of the first 1 .. H periods.
    """

    origin: int
    ratio: WeekRatio | None
    period: PitBounds
    total: PitBounds

    def until(self, origin: int) -> PastWindow:
        """Return the window as it stood at a later origin: what came from there on is unknown."""
        steps = np.arange(self.period.low.shape[2])
        unknown = self.origin + steps >= origin
        return dataclasses.replace(self, period=_blank(self.period, unknown), total=_blank(self.total, unknown))


@dataclass(frozen=True, kw_only=True, eq=False)
class RollingCalibration:
    """What is known at an origin of how forecasts have missed.

    Args:
        windows: a week apart, oldest first.
        week: periods in a week, at most H.
        horizon: H.
    """

    windows: tuple[PastWindow, ...]
    week: int
    horizon: int

    @classmethod
    def of(cls, models: Models, inputs: PanelInputs, *, first: int, until: int) -> RollingCalibration:
        """Follow the models from the first period that none has learnt from up to ``until``."""
        horizon = inputs.config.horizon
        nothing = cls(windows=(), week=min(horizon, _WEEK[inputs.frequency]), horizon=horizon)
        return nothing.going_on(models, inputs, first=first, until=until)

    def going_on(self, models: Models, inputs: PanelInputs, *, first: int, until: int) -> RollingCalibration:
        """Return the same with the windows from ``first`` on of models that may have been fitted anew.

        The level goes on too: models fitted eight weeks apart miss the same weeks by the same ratio.
        """
        found = self
        for origin in range(first, until - self.week + 1, self.week):
            window = _window(models(origin), inputs, origin, week=self.week, level=found.level_at(origin))
            found = dataclasses.replace(found, windows=(*found.windows, window))
        return found

    def level_at(self, origin: int) -> float:
        """Return the logarithm of the factor on every mean of a forecast from ``origin``."""
        return level_after([window.ratio for window in self._known(origin) if window.ratio is not None])

    def __call__(self, origin: int) -> DemandCalibration:
        """Return the calibration of a forecast from ``origin``; of later outcomes nothing is read."""
        known = [window.until(origin) for window in self._known(origin)]
        if not known:
            return DemandCalibration()
        apart = -(-self.horizon // self.week)  # windows of single periods must not overlap: a day is no two days
        found = DemandCalibration(
            level=self.level_at(origin),
            period=LevelMap.fit(stacked([window.period for window in known[::-apart]])),
            total=LevelMap.fit(stacked([window.total for window in known]), doubt=False),
        )
        log.info(
            "demand: calibrated on %d weeks; means x %.3f; level .9 is asked as %.3f of periods, %.3f of totals",
            *(len(known), np.exp(found.level)),
            *(found.levels((0.9,), of="period")[0], found.levels((0.9,), of="total")[0]),
        )
        return found

    def _known(self, origin: int) -> list[PastWindow]:
        return [window for window in self.windows if window.origin + self.week <= origin]


@dataclass(frozen=True, kw_only=True, eq=False)
class RollingForecaster:
    """A forecaster whose weights and calibration are those that could be had at each origin.

    Args:
        inputs: the panel.
        config: settings of the updates.
        models: by origin.
        calibration: by origin.
    """

    inputs: PanelInputs
    config: DemandConfig
    models: Models
    calibration: RollingCalibration

    @classmethod
    def of(
        cls, model: AnyModel, inputs: PanelInputs, config: DemandConfig, *, first: int, until: int
    ) -> RollingForecaster:
        """Follow a fitted model.

        Args:
            model: has learnt from everything before ``first``, and from nothing at or after it.
            inputs: the panel.
            config: settings; with ``update_steps`` 0 the weights stay as they were fitted.
            first: first period that may be asked.
            until: outcomes before it make the calibration.
        """
        models = UpToDate(fitted=model, inputs=inputs, config=config, first=first)
        calibration = RollingCalibration.of(models, inputs, first=first, until=until)
        return cls(inputs=inputs, config=config, models=models, calibration=calibration)

    def going_on(self, model: AnyModel, *, first: int, until: int) -> RollingForecaster:
        """Return the forecaster of a model fitted anew on everything before ``first``; the calibration goes on."""
        models = UpToDate(fitted=model, inputs=self.inputs, config=self.config, first=first)
        calibration = self.calibration.going_on(models, self.inputs, first=first, until=until)
        return dataclasses.replace(self, models=models, calibration=calibration)

    def __call__(self, origin: int) -> Forecast:
        """Return the forecast from an origin; nothing at or after it is read but plan and calendar."""
        return forecast(self.models(origin), self.inputs, origin, calibration=self.calibration(origin))

    def uncalibrated(self, origin: int) -> Forecast:
        """Return the same as the network says it, weights up to date."""
        return forecast(self.models(origin), self.inputs, origin)


def _window(model: AnyModel, inputs: PanelInputs, origin: int, *, week: int, level: float) -> PastWindow:
    single, total = distributions(model, inputs, origin)
    units = inputs.targets_at(origin).double()
    first = units[:, :week].numpy().sum(axis=1)
    return PastWindow(
        origin=origin,
        ratio=WeekRatio.of(first, total.mean[:, week - 1].numpy()),
        period=bounds_at(single.scaled(level), units),
        total=bounds_at(total.scaled(level), units.cumsum(1)),
    )


def _blank(found: PitBounds, steps: npt.NDArray[np.bool_]) -> PitBounds:
    return PitBounds(low=np.where(steps, np.nan, found.low), high=np.where(steps, np.nan, found.high))
