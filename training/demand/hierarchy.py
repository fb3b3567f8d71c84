"""Totals of brands, categories and the shop that add up, with honest quantiles: from joint samples of all items.

Quantiles do not add up: the sum of items' .9 quantiles is far above the shop's. Nor are items independent: a warm
Saturday lifts them together, and the sum of independent samples is far too narrow. So past windows lend their pattern.
In each of ``W`` past windows, every outcome had a place in its forecast (the randomised PIT), and a normal score
``z = Phi^-1(place)``. A sample mixes whole past windows with one set of random weights for all items and periods::

    xi_w ~ N(0, 1);   x_ih = sum_w xi_w z_wih / sqrt(sum_w z_wih^2);   units_ih = F_ih^-1(Phi(x_ih))

``x_ih`` is standard normal, so each item keeps its own distribution; between items and periods ``x`` has the covariance
of the past errors, so what erred together errs together again. This is a Gaussian copula with the covariance of past
windows. (An empirical copula, as the Schaake shuffle of Clark et al. 2004, takes one past window at a time: of few
windows, it makes as few different totals.) A total is the sum of its items' samples: in every sample, totals add up to the unit.

W past windows, S samples, I items, H periods
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import special

from features import columns as c
from features.demand.calibration import DemandCalibration, PitBounds
from features.errors import DataError
from features.panel.demand_panel import DemandPanel
from features.release import layout
from training.demand.boosted.pooled import AnyModel
from training.demand.calibrate import pit_bounds
from training.demand.decisions.orders import period_days
from training.demand.forecast import distributions
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.distributions import CountMixture

NUM_SAMPLES: Final = 400
ROUND: Final = 50  # samples that share one draw of where past counts lay in their forecasts
MOST_WINDOWS: Final = 26
FEWEST_WINDOWS: Final = 4
SHOP: Final = "shop"
_TOP: Final = 0.9995  # a heavy tail is read no further: its table of probabilities would have no end

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class JointSamples:
    """Samples of all items and periods together.

    Args:
        units: int32 ``[S, I, H]``.
        mean: the forecasts' own means, float64 ``[I, H]``: what the samples' means scatter around.
    """

    units: Counts
    mean: Floats

    def of(self, items: npt.NDArray[np.bool_]) -> tuple[Ints, Floats]:
        """Return samples ``[S, H]`` and means ``[H]`` of the total of some items."""
        return self.units[:, items].sum(axis=1, dtype=np.int64), self.mean[items].sum(axis=0)


def past_origins(origin: int, *, horizon: int, season: int, first: int) -> tuple[int, ...]:
    """Return origins of past windows that end before ``origin``, whole seasons before it, oldest first.

    Windows may overlap. Whole seasons keep weekdays in their places.

    >>> past_origins(100, horizon=14, season=7, first=70)
    (72, 79, 86)

    Args:
        origin: of the forecast.
        horizon: H.
        season: periods after which the calendar comes round; windows start that many periods apart.
        first: fewest periods before a window.
    """
    newest = origin - -(-horizon // season) * season
    return tuple(range(newest, first - 1, -season))[:MOST_WINDOWS][::-1]


def joint_samples(
    forecast: CountMixture,
    past: PitBounds,
    *,
    calibration: DemandCalibration | None = None,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
) -> JointSamples:
    """Draw samples of all items and periods together.

    Args:
        forecast: of single periods, ``[I, H]``.
        past: where outcomes lay in their forecasts, ``[I, W, H]``; NaN is drawn anywhere.
        calibration: of the forecasts; read as in ``forecast``.
        num_samples: S.
        seed: of the draws.

    Raises:
        DataError: the past is of other items or periods.
    """
    shape = tuple(forecast.log_mean.shape[:2])
    if (past.low.shape[0], past.low.shape[2]) != shape:
        raise DataError(f"Samples: expected past windows of items and periods {shape}, found {past.low.shape}.")
    rng = np.random.default_rng(seed)
    rounds = -(-num_samples // ROUND)
    levels = np.concatenate([_levels(past, min(ROUND, num_samples - ROUND * n), rng) for n in range(rounds)], axis=2)
    period = (calibration or DemandCalibration()).period
    asked = np.interp(levels, [0.0, *period.covered, 1.0], [0.0, *period.asked, 1.0])
    found = forecast.inverse_cdf(torch.from_numpy(asked.clip(1 - _TOP, _TOP)))  # [I, H, S]
    return JointSamples(
        units=np.ascontiguousarray(np.moveaxis(found.numpy().astype(np.int32), 2, 0)),
        mean=forecast.mean.double().numpy(),
    )


def _levels(past: PitBounds, num_samples: int, rng: np.random.Generator) -> Floats:
    """Return levels that lie together as past outcomes did, even over (0, 1) in each cell, ``[I, H, S]``.

    An outcome of a count lies anywhere in an interval of its forecast: each call draws anew where.
    """
    items, windows, horizon = past.low.shape
    if not windows:
        return rng.random((items, horizon, num_samples))
    anywhere = rng.random(past.low.shape)
    place = np.where(past.known, past.low + anywhere * (past.high - past.low), anywhere)
    score = special.ndtri(place.clip(1 - _TOP, _TOP))
    score /= np.maximum(np.sqrt(np.square(score).sum(axis=1, keepdims=True)), 1e-9)
    return special.ndtr(np.moveaxis(score, 1, 2) @ rng.standard_normal((windows, num_samples)))


def joint_forecast(
    model: AnyModel,
    inputs: PanelInputs,
    origin: int,
    *,
    calibration: DemandCalibration | None = None,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
) -> JointSamples:
    """Return joint samples from ``origin``; the pattern of errors comes from windows that end before it.

    With fewer than ``FEWEST_WINDOWS`` of them, items are drawn as if independent, and a warning says so.
    """
    config = inputs.config
    season = max(1, inputs.sums.season if inputs.frequency == "D" else 1)
    origins = past_origins(origin, horizon=config.horizon, season=season, first=config.min_history)
    if len(origins) < FEWEST_WINDOWS:
        log.warning("totals: %d past windows are too few; items are taken as independent", len(origins))
        origins = ()
    past = _past(model, inputs, origins)
    single, _ = distributions(model, inputs, origin)
    single = single.scaled(calibration.level if calibration else 0.0)
    return joint_samples(single, past, calibration=calibration, num_samples=num_samples, seed=seed)


def write_totals(
    directory: Path, model: AnyModel, panel: DemandPanel, inputs: PanelInputs, calibration: DemandCalibration
) -> None:
    """Write the totals of the panel's next horizon, ``layout.TOTALS``."""
    samples = joint_forecast(model, inputs, panel.num_periods, calibration=calibration)
    frame = totals_frame(samples, groups_of(panel), list(period_days(panel, inputs.config.horizon)))
    frame.to_parquet(directory / layout.TOTALS, index=False)
    log.info("totals: %d of %d levels, from %d samples", frame["key"].nunique(), frame["level"].nunique(), NUM_SAMPLES)


def _past(model: AnyModel, inputs: PanelInputs, origins: Sequence[int]) -> PitBounds:
    if origins:
        return pit_bounds(model, inputs, origins)[0]
    nothing = np.zeros((inputs.num_items, 0, inputs.config.horizon))
    return PitBounds(low=nothing, high=nothing)


def groups_of(panel: DemandPanel) -> dict[str, npt.NDArray[np.object_]]:
    """Return the key of each item at each level of totals: the shop, top-level categories, brands; ``[I]`` each.

    Items without a brand make a total of their own, under ``""``: what is left out would not add up.
    """
    found = {SHOP: np.full(panel.num_items, SHOP, object)}
    for name in (c.CATEGORY, c.BRAND):
        values = panel.static.get(name)
        if values is not None:
            found[name] = np.array([str(value).split("/")[0] if value else "" for value in values], object)
    return found


def totals_frame(
    samples: JointSamples, groups: Mapping[str, npt.NDArray[np.object_]], days: Sequence[pd.Timestamp]
) -> pd.DataFrame:
    """Return totals by level, key and period, and of the whole horizon: ``level, key, day, mean, q0.1 ... q0.9``.

    Args:
        samples: of all items.
        groups: key of each item, by level, ``[I]`` each.
        days: first day of each period, H; the whole horizon has none.
    """
    frames = [
        _group_frame(samples, level, str(key), keys == key, days)
        for level, keys in groups.items()
        for key in np.unique(keys.astype(str))
    ]
    return pd.concat(frames, ignore_index=True)


def _group_frame(
    samples: JointSamples, level: str, key: str, items: npt.NDArray[np.bool_], days: Sequence[pd.Timestamp]
) -> pd.DataFrame:
    units, mean = samples.of(items)
    units = np.concatenate([units, units.sum(axis=1, keepdims=True)], axis=1)
    quantiles = np.quantile(units, layout.QUANTILES, axis=0, method="inverted_cdf")  # [9, H + 1]
    return pd.DataFrame(
        {
            "level": level,
            "key": key,
            c.DAY: [*(pd.Timestamp(day).date() for day in days), None],
            "mean": np.append(mean, mean.sum()),
            **{layout.quantile_column(q): quantiles[n] for n, q in enumerate(layout.QUANTILES)},
        }
    )
