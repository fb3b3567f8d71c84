"""A panel's columns as arrays on scales that a network can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.demand.plan_columns import symlog
from features.panel.calendar import DAYS_IN_YEAR
from features.panel.demand_panel import DemandPanel

SEASONS: Final = {"D": 7, "W": 52}  # periods after which the calendar comes round
YEARLY_PREFIX: Final = "week_of_year"  # what the calendar's features of the time of year are called
NUM_HARMONICS: Final = 3  # enough to tell seven weekdays apart
DAYS_IN_MONTH: Final = 31


def season_of(panel: DemandPanel) -> int:
    """Return the periods of the season, 0 where the panel is too short to have shown it twice."""
    season = SEASONS[panel.frequency]
    return season if panel.num_periods >= 2 * season else 0


def stack(arrays: list[npt.NDArray[np.float32]], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return arrays of one shape as one with a last axis; of width 0 where there are none."""
    return np.stack(arrays, axis=2) if arrays else np.zeros((*shape, 0), np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanArrays:
    """Calendar and plan of a panel, float32 on the log scale.

    Args:
        values: ``[I, T + H, P]``: the season's and the month's waves, what all items share (calendar), what differs (plan).
        num_item_plan: features of the last kind, A.
        names: as the panel has them, ``[P]``; blank for the waves.
        announced: columns of the shop's plan, bool ``[P]``, which may not be known yet at an origin.
        outside: how many periods ahead each cell was announced of the columns that are announced on their own,
            int16 ``[I, T + H]`` by column.
    """

    values: npt.NDArray[np.float32]
    num_item_plan: int
    names: tuple[str, ...]
    announced: npt.NDArray[np.bool_]
    outside: dict[int, npt.NDArray[np.int16]]

    @classmethod
    def of(cls, panel: DemandPanel, horizon: int, season: int) -> PlanArrays:
        """Lay out what is known ahead, for the panel's periods and ``horizon`` more.

        Time of year is left out of a panel of less than two years: to a model that never saw a December, it is
        a trend to run away with.
        """
        width = panel.num_periods + horizon
        names = [name for name in panel.known_ahead if _shown_twice(name, panel)]
        arrays = {name: np.nan_to_num(symlog(np.asarray(panel.known_ahead[name])[:, :width])) for name in names}
        # What is announced is laid out alike whatever it holds: nothing of the future may decide on a column's place.
        announced = {*panel.planned, *panel.announced}
        shared = [name for name in names if name not in announced and bool((arrays[name] == arrays[name][:1]).all())]
        own = [name for name in names if name not in shared]
        shape = (panel.num_items, width)
        calendar = season_waves(first_phase(panel), width, season) + month_waves(panel, width)
        waves = [np.broadcast_to(wave, shape) for wave in calendar]
        return cls(
            values=stack([*waves, *(arrays[name] for name in shared + own)], shape),
            num_item_plan=len(own),
            names=("",) * len(waves) + (*shared, *own),
            announced=np.array([False] * len(waves) + [name in panel.planned for name in shared + own], bool),
            outside={
                len(waves) + len(shared) + own.index(name): np.array(ahead[:, :width])
                for name, ahead in panel.announced.items()
            },
        )


def _shown_twice(name: str, panel: DemandPanel) -> bool:
    return not name.startswith(YEARLY_PREFIX) or panel.num_periods * panel.period_days >= 2 * DAYS_IN_YEAR


def first_phase(panel: DemandPanel) -> int:
    """Return where the first period stands in its season: the weekday, or the week of the year."""
    start = pd.Timestamp(panel.start)
    return int(start.weekday() if panel.frequency == "D" else start.isocalendar().week - 1)


def season_waves(phase: int, periods: int, season: int) -> list[npt.NDArray[np.float32]]:
    """Return sines and cosines of the season, ``[periods]`` each; none without a season."""
    if not season:
        return []
    angle = 2 * np.pi * (phase + np.arange(periods)) / season
    return [wave(k * angle).astype(np.float32) for k in range(1, NUM_HARMONICS + 1) for wave in (np.sin, np.cos)]


def month_waves(panel: DemandPanel, periods: int) -> list[npt.NDArray[np.float32]]:
    """Return sines and cosines of the day's place in its month, ``[periods]`` each.

    Wages and benefits are paid on days of the month, and households shop when they come. None for weeks, which blur
    it, and none for a panel that has not seen two months.
    """
    if panel.frequency != "D" or panel.num_periods < 2 * DAYS_IN_MONTH:
        return []
    days = pd.date_range(panel.start, periods=periods)
    angle = 2 * np.pi * (np.asarray(days.day) - 1) / np.asarray(days.days_in_month)
    return [wave(k * angle).astype(np.float32) for k in range(1, NUM_HARMONICS + 1) for wave in (np.sin, np.cos)]


def static_codes(
    static: Mapping[str, npt.NDArray[np.object_]], num_items: int
) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """Return codes ``[I, S]`` from 1 upwards, 0 where blank, and the number of codes of each attribute."""
    columns, sizes = [], []
    for values in static.values():
        text = pd.Series(values, dtype=object).fillna("").astype(str)
        codes, names = pd.factorize(text.where(text != ""), sort=True)
        columns.append(codes + 1)
        sizes.append(len(names) + 1)
    return np.stack(columns, axis=1).astype(np.int64) if columns else np.zeros((num_items, 0), np.int64), tuple(sizes)
