"""The panels that demand forecasts are measured on: daily and weekly groceries, and Walmart's departments by week."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig

KNOWN_AHEAD: Final = ("hol", "disp", "mail")
OBSERVED: Final = ("price_realised", "hh", "cat_y")
STATIC: Final = ("product_category", "department")

DOLLARS: Final = 100  # a unit of the Walmart panel
WEEKS_IN_A_YEAR: Final = 52


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A panel: its files, its period, its windows, and how the model is set for it.

    Args:
        name: of the panel.
        frequency: of its periods.
        num_windows: at its end, of a horizon each, none of which overlap.
        config: of the model.
        read: reads the panel from the data's directory; ``config.horizon`` periods of the plan follow its end.
        data: in words, for tables.
        scale: what a unit stands for in the file; predictions are written in the file's own unit.
    """

    name: str
    frequency: Literal["D", "W"]
    num_windows: int
    config: DemandConfig
    read: Callable[[Path, DemandConfig], DemandPanel]
    data: str
    scale: float = 1.0


def read_panel(path: Path, setting: Setting) -> DemandPanel:
    """Read a long table of ``unique_id, ds, y, ...`` as a panel; a period before an item's first row is unknown."""
    return _groceries(path, setting.frequency, setting.config)


def _groceries(path: Path, frequency: Literal["D", "W"], config: DemandConfig) -> DemandPanel:
    frame = pd.read_parquet(path)
    ids = np.sort(frame["unique_id"].unique())

    def wide(name: str) -> Any:
        return frame.pivot_table(index="unique_id", columns="ds", values=name, sort=True).loc[ids].to_numpy(np.float32)

    units = wide("y")
    holidays = frame.groupby("ds")["hol"].first().sort_index().to_numpy(np.float32)
    plan = {"hol": np.broadcast_to(holidays, units.shape)} | {
        name: np.nan_to_num(wide(name)) for name in ("disp", "mail")
    }
    static = frame.groupby("unique_id")[list(STATIC)].first().loc[ids]
    return DemandPanel(
        item_ids=ids.astype(str).astype(object),
        start=pd.Timestamp(frame["ds"].min()),
        frequency=frequency,
        units=units,
        known_ahead={name: beyond_the_end(array, config.horizon) for name, array in plan.items()},
        observed={name: wide(name) for name in OBSERVED},
        static={name: static[name].astype(object).to_numpy() for name in STATIC},
    )


def beyond_the_end(array: Any, periods: int) -> Any:
    """Return the array with its last column repeated: the file ends with the last window, nothing reads further."""
    return np.concatenate([array, np.repeat(array[:, -1:], periods, axis=1)], axis=1)


def read_walmart(directory: Path, config: DemandConfig) -> DemandPanel:
    """Read ``train, features, stores`` as a panel of store-departments by week.

    Sales are dollars, some below zero where returns outweigh a week's sales: those are taken as 0, and the rest are
    rounded to whole hundreds of dollars, since the model forecasts counts. Kept are store-departments that are known
    in 52 or more weeks before the last eight: a year, so that each has shown every season once. Holidays are known
    ahead; markdowns, weather, prices and unemployment are left out, for the network as for boosted trees.
    """
    sales = pd.read_parquet(directory / "train.parquet")
    weeks = np.sort(sales["date"].unique())
    wide = sales.pivot_table(index=["store", "dept"], columns="date", values="weekly_sales").reindex(columns=weeks)
    known_before = wide.iloc[:, : len(weeks) - WALMART_WINDOWS * config.horizon].notna().sum(axis=1)
    wide = wide[known_before >= WEEKS_IN_A_YEAR]
    stores, departments = (wide.index.get_level_values(name) for name in ("store", "dept"))
    about = pd.read_parquet(directory / "features.parquet")
    ahead = weeks[-1] + np.arange(1, config.horizon + 1) * np.timedelta64(7, "D")
    holiday = about.groupby("date")["isholiday"].first().reindex([*weeks, *ahead]).to_numpy(np.float32)
    kinds = pd.read_parquet(directory / "stores.parquet").set_index("store")["type"]
    return DemandPanel(
        item_ids=np.array([f"{store}-{dept}" for store, dept in wide.index], object),
        start=pd.Timestamp(weeks[0]),
        frequency="W",
        units=np.round(np.maximum(wide.to_numpy(np.float32), 0) / DOLLARS),
        known_ahead={"holiday": np.broadcast_to(holiday, (len(wide), len(holiday)))},
        observed={},
        static={
            "department": departments.astype(str).astype(object).to_numpy(),
            "store": stores.astype(str).astype(object).to_numpy(),
            "type": kinds.loc[stores].astype(object).to_numpy(),
        },
    )


WALMART_WINDOWS: Final = 2
_DAILY: Final = DemandConfig(horizon=14, lead_time_days=7, max_steps=600, validate_every_steps=150)
_WEEKLY: Final = DemandConfig(
    horizon=4,
    spans=(1, 2, 4, 8, 13, 26),
    level_span=8,
    min_history=8,
    context_length=26,
    lead_time_days=7,
    max_steps=600,
    validate_every_steps=100,
)
# The weekly settings, reaching back a year further, as this panel shows each week of the year twice, for twice the steps:
# on the two windows before the test windows .0605 to .0611 WQL with 1,200 and 1,500 steps, .0629 with 600.
_TWO_YEARS: Final = dataclasses.replace(
    _WEEKLY, spans=(*_WEEKLY.spans, WEEKS_IN_A_YEAR), context_length=WEEKS_IN_A_YEAR, max_steps=1200
)
DAILY: Final = Setting(
    name="daily",
    frequency="D",
    num_windows=4,
    config=_DAILY,
    read=lambda directory, config: _groceries(directory / "daily.parquet", "D", config),
    data="daily",
)
WEEKLY: Final = Setting(
    name="weekly",
    frequency="W",
    num_windows=4,
    config=_WEEKLY,
    read=lambda directory, config: _groceries(directory / "weekly.parquet", "W", config),
    data="weekly",
)
WALMART: Final = Setting(
    name="walmart",
    frequency="W",
    num_windows=WALMART_WINDOWS,
    config=_TWO_YEARS,
    read=read_walmart,
    data="Walmart, weekly sales of store-departments in whole hundreds of dollars",
    scale=DOLLARS,
)
SETTINGS: Final = {setting.name: setting for setting in (DAILY, WEEKLY, WALMART)}
