"""What boosted trees read of a panel: one row an item, origin and period ahead.

Shapes: I items, T past periods, H horizon, F features.

Units are read before the origin only; calendar and plan of the horizon as they stood at the origin. Nothing that is
known only afterwards (prices, views, households) is read at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.panel.demand_panel import DemandPanel
from training.demand.inputs.panel_arrays import YEARLY_PREFIX, first_phase, season_of, static_codes

Floats = npt.NDArray[np.floating]

LAGS: Final = {"D": (1, 2, 3, 7, 14), "W": (1, 2, 3, 4)}
SPANS: Final = {"D": (7, 14, 28, 56, 112), "W": (2, 4, 8, 13, 26)}
CYCLES: Final = (1, 2, 4, 8)  # means over so many of the same phase of the season
_USUAL: Final = 3  # the span, by place, whose mean plan is what an item is used to


@dataclass(frozen=True, kw_only=True, eq=False)
class TreeFeatures:
    """A panel laid out for boosted trees.

    Args:
        panel: as it is.
        horizon: H.
        season: periods in a season; 0 where the panel is too short to have shown one twice.
        plan: names of the panel's columns that are read.
        own: those of them that belong to items, and not to the calendar.
        sums: prefix sums of units, of known periods and of periods with a sale, each ``[I, T + 1]``.
        plan_sums: prefix sums of each ``own`` column over known periods, ``[I, T + 1]``.
        last_sale: last period before ``t`` with a sale, ``[I, T + 1]``; -1 where there is none.
        codes: static attributes, int64 ``[I, S]``.
    """

    panel: DemandPanel
    horizon: int
    season: int
    plan: tuple[str, ...]
    own: tuple[str, ...]
    sums: tuple[Floats, Floats, Floats]
    plan_sums: tuple[Floats, ...]
    last_sale: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, panel: DemandPanel, horizon: int) -> TreeFeatures:
        """Lay out a panel; time of year is left out where its panel is too short to have shown it twice."""
        season = season_of(panel)
        units = np.asarray(panel.units)
        known = np.isfinite(units)
        plan = tuple(
            name for name in panel.known_ahead if not name.startswith(YEARLY_PREFIX) or (season and _weekly(panel))
        )
        own = tuple(name for name in plan if not _shared(panel, name))
        sold = np.where(known & (units > 0), np.arange(units.shape[1]), -1)
        before = np.full((len(units), 1), -1)
        return cls(
            panel=panel,
            horizon=horizon,
            season=season,
            plan=plan,
            own=own,
            sums=(_prefix(np.where(known, units, 0.0)), _prefix(known), _prefix(known & (units > 0))),
            plan_sums=tuple(
                _prefix(np.where(known, np.asarray(panel.known_ahead[name])[:, : units.shape[1]], 0)) for name in own
            ),
            last_sale=np.concatenate([before, np.maximum.accumulate(sold, axis=1)], axis=1),
            codes=static_codes(panel.static, panel.num_items)[0],
        )

    @property
    def num_codes(self) -> int:
        """Codes without an order, at the end of a row: the phase of the season where there is one, and static attributes."""
        return self.codes.shape[1] + bool(self.season)

    def rows(self, origin: int) -> npt.NDArray[np.float32]:
        """Return the features of each item and period ahead, ``[I, H, F]``; NaN where the past is too short."""
        shared = self._past(origin)
        ahead = self.panel.as_known_at(origin).known_ahead
        return np.stack([self._row(origin, step, shared, ahead) for step in range(self.horizon)], axis=1)

    def targets(self, origin: int) -> npt.NDArray[np.float32]:
        """Return the units of the horizon, ``[I, H]``, NaN where unknown or beyond the panel."""
        found = np.asarray(self.panel.units[:, origin : origin + self.horizon], np.float32)
        return np.pad(found, ((0, 0), (0, self.horizon - found.shape[1])), constant_values=np.nan)

    def lessons(self, origins: Sequence[int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the rows ``[N, F]`` and units ``[N]`` of all known cells of the horizons of some origins."""
        rows, units = [], []
        for origin in origins:
            wanted = self.targets(origin)
            known = np.isfinite(wanted)
            rows.append(self.rows(origin)[known])
            units.append(wanted[known])
        return np.concatenate(rows), np.concatenate(units)

    def phase(self, period: int) -> int:
        """Return where a period stands in its season: the weekday, or the week of the year."""
        return (first_phase(self.panel) + period) % self.season if self.season else 0

    def _past(self, origin: int) -> Floats:
        """What does not depend on the period ahead, ``[I, F']``."""
        units = self.panel.units
        lags = LAGS[self.panel.frequency]
        spans = SPANS[self.panel.frequency]
        never = np.full(len(units), np.nan)
        columns: list[Floats] = [units[:, origin - lag] if lag <= origin else never for lag in lags]
        columns += [self._mean(self.sums[0], origin, span) for span in spans]
        columns += [self._mean(self.sums[2], origin, span) for span in spans[2:4]]
        columns += [self._mean(sums, origin, spans[_USUAL]) for sums in self.plan_sums]
        return np.stack([*columns, origin - self.last_sale[:, origin]], axis=1)

    def _mean(self, sums: Floats, origin: int, span: int) -> Floats:
        start = max(0, origin - span)
        count = self.sums[1][:, origin] - self.sums[1][:, start]
        total = sums[:, origin] - sums[:, start]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def _row(self, origin: int, step: int, shared: Floats, ahead: Mapping[str, Floats]) -> Floats:
        period = origin + step
        alike = np.ones(len(shared))
        columns: list[Floats] = [step * alike]
        columns += [ahead[name][:, period] for name in self.plan]
        columns += [ahead[name][:, period - 1] for name in self.own]
        columns += self._same_phase(origin, step)
        codes = [self.phase(period) * alike] if self.season else []
        return np.column_stack([shared, *columns, *codes, self.codes]).astype(np.float32)

    def _same_phase(self, origin: int, step: int) -> list[Floats]:
        """Return mean units of the latest known seasons' same phase, ``[I]`` for each of ``CYCLES``."""
        if not self.season:
            return []
        latest = origin + step - self.season * (step // self.season + 1)
        found = []
        for cycles in CYCLES:
            periods = np.arange(latest, -1, -self.season)[:cycles]
            values = self.panel.units[:, periods]
            count = np.isfinite(values).sum(axis=1)
            found.append(np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan))
        return found


def training_origins(first: int, until: int, *, horizon: int, stride: int) -> range:
    """Return origins whose horizon is over before ``until``, the latest first, none before ``first``.

    >>> list(training_origins(10, 30, horizon=7, stride=4))
    [23, 19, 15, 11]
    """
    return range(until - horizon, first - 1, -stride)


def _prefix(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _shared(panel: DemandPanel, name: str) -> bool:
    array = panel.known_ahead[name]
    return name not in {*panel.planned, *panel.announced} and bool((array == array[:1]).all())


def _weekly(panel: DemandPanel) -> bool:
    return panel.frequency == "W"


def plan_frame(features: TreeFeatures, origin: int, periods: npt.NDArray[np.integer]) -> pd.DataFrame:
    """Return what is known of some periods as it stood at an origin, one row an item and period: ``unique_id, ds, ...``."""
    ahead = features.panel.as_known_at(origin).known_ahead
    items = np.arange(features.panel.num_items)
    columns = {"unique_id": np.repeat(items, len(periods)), "ds": np.tile(periods, len(items))}
    columns |= {name: np.asarray(ahead[name])[:, periods].ravel() for name in features.plan}
    if features.season:
        columns["phase"] = np.tile([features.phase(int(period)) for period in periods], len(items))
    return pd.DataFrame(columns)
