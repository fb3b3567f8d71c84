"""Sums over any past span of any item, in one look-up each.

``sums[:, t]`` adds up the periods before ``t``, so a span ``[a, b)`` costs one subtraction::

    units        2  0  3
    sums      0  2  2  5          units in [1, 3) = 5 - 2 = 3
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.floating]

SOLD, SEEN, _NONZERO, _LOG = range(4)
NUM_BASIC: Final = 4
NONZERO_LOG_AND_UNITS: Final = [_NONZERO, _LOG, SOLD]


@dataclass(frozen=True, kw_only=True, eq=False)
class PrefixSums:
    """Prefix sums of an item's past, float64 ``[I, T + 1, C]``.

    Args:
        sums: channels: units, periods with data, periods with a sale, log1p units, then ``A`` plan features,
            their products with units, and ``O`` observed features; a period without data adds 0 to each.
        by_phase: units and periods with data of the same phase of the season, ``[I, T + season, 2]``:
            row ``t`` adds up rows ``t - season, t - 2 season, ...``; ``None`` without a season.
        last_sale: last period before ``t`` with a sale, int64 ``[I, T + 1]``, -1 where there is none.
        num_plan: A.
        season: periods in a season, 0 without.
    """

    sums: Tensor
    by_phase: Tensor | None
    last_sale: Tensor
    num_plan: int
    season: int

    @classmethod
    def build(cls, units: Array, *, plan: Array, observed: Array, season: int) -> PrefixSums:
        """Add up ``units`` ``[I, T]`` (NaN where nothing is known), ``plan`` ``[I, T, A]``, ``observed`` ``[I, T, O]``."""
        seen = np.isfinite(units).astype(np.float64)
        sold = np.where(seen > 0, units, 0.0).astype(np.float64)
        basic = np.stack([sold, seen, (sold > 0).astype(np.float64), np.log1p(sold)], axis=2)
        channels = np.concatenate(
            [basic, plan * seen[..., None], plan * sold[..., None], observed * seen[..., None]], axis=2
        )
        sums = np.zeros((channels.shape[0], channels.shape[1] + 1, channels.shape[2]))
        np.cumsum(channels, axis=1, out=sums[:, 1:])
        return cls(
            sums=torch.from_numpy(sums),
            by_phase=_sums_by_phase(basic[..., :2], season) if season else None,
            last_sale=_last_sale(sold),
            num_plan=plan.shape[2],
            season=season,
        )

    def within(self, items: Tensor, starts: Tensor, stops: Tensor) -> SpanSums:
        """Return the sums over ``[start, stop)`` of each item; the three broadcast, starts below 0 mean 0."""
        return SpanSums(
            channels=self.sums[items, stops] - self.sums[items, starts.clamp(min=0)], num_plan=self.num_plan
        )

    def same_phase(self, items: Tensor, origins: Tensor, steps: Tensor, cycles: int) -> tuple[Tensor, Tensor]:
        """Return mean units and count of the last ``cycles`` periods of the phase of ``origin + step``, before ``origin``.

        Args:
            items, origins: ``[B]``.
            steps: ``[H]``, 0 is the origin itself.
            cycles: cycles looked back.

        Returns:
            means and counts, float64 ``[B, H]``; 0 where there is none.
        """
        assert self.by_phase is not None
        # The first period of the phase that is not known yet: origin .. origin + season - 1.
        stop = origins[:, None] + steps % self.season
        start = (stop - cycles * self.season).clamp(min=0)
        start = torch.where(stop - cycles * self.season < 0, stop % self.season, start)
        total = self.by_phase[items[:, None], stop] - self.by_phase[items[:, None], start]
        return total[..., 0] / total[..., 1].clamp(min=1), total[..., 1]


@dataclass(frozen=True, kw_only=True, eq=False)
class SpanSums:
    """Sums over one span an entry, ``[..., C]``."""

    channels: Tensor
    num_plan: int

    def without(self, hidden: Tensor) -> SpanSums:
        """Return the sums with nothing in the rows that are hidden, bool ``[B]`` for ``[B, S, C]``."""
        return SpanSums(channels=self.channels.masked_fill(hidden[:, None, None], 0.0), num_plan=self.num_plan)

    @property
    def basic(self) -> Tensor:
        """Units, periods with data, with a sale, and log1p units, ``[..., 4]``."""
        return self.channels[..., :NUM_BASIC]

    @property
    def sold(self) -> Tensor:
        """Units."""
        return self.channels[..., SOLD]

    @property
    def seen(self) -> Tensor:
        """Periods with data."""
        return self.channels[..., SEEN]

    @property
    def nonzero(self) -> Tensor:
        """Periods with a sale."""
        return self.channels[..., _NONZERO]

    @property
    def log_units(self) -> Tensor:
        """log1p units."""
        return self.channels[..., _LOG]

    @property
    def plan(self) -> Tensor:
        """Plan features, ``[..., A]``."""
        return self.channels[..., NUM_BASIC : NUM_BASIC + self.num_plan]

    @property
    def plan_units(self) -> Tensor:
        """Products of plan features and units, ``[..., A]``."""
        return self.channels[..., NUM_BASIC + self.num_plan : NUM_BASIC + 2 * self.num_plan]

    @property
    def observed(self) -> Tensor:
        """Observed features, ``[..., O]``."""
        return self.channels[..., NUM_BASIC + 2 * self.num_plan :]


def _sums_by_phase(values: Array, season: int) -> Tensor:
    items, periods, channels = values.shape
    cycles = -(-periods // season) + 1
    padded = np.zeros((items, cycles * season, channels))
    padded[:, season : season + periods] = values  # a season of zeros first: nothing is known before period 0
    width = min(periods + season, cycles * season)
    table = padded.reshape(items, cycles, season, channels).cumsum(axis=1).reshape(items, cycles * season, channels)
    return torch.from_numpy(np.ascontiguousarray(table[:, :width]))


def _last_sale(sold: Array) -> Tensor:
    periods = np.where(sold > 0, np.arange(sold.shape[1]), -1)
    first = np.full((sold.shape[0], 1), -1)
    return torch.from_numpy(np.concatenate([first, np.maximum.accumulate(periods, axis=1)], axis=1))
