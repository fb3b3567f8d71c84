"""What a shop knows of each item besides its sales: lead time, price, cost, and what lies on the shelf."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.build import ITEMS_FILE
from features.demand.stock import STOCK_FILE
from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemFacts:
    """Facts of a panel's items, ``[I]`` each; NaN where unknown.

    Args:
        lead_time_days: from an order to its delivery, int64, 1 or more.
        price: of a unit, minor units.
        cost: of a unit, minor units.
        active: whether the shop still sells the item.
        on_hand: units on the shelf when the log ends; an order that is under way is not known, and not counted.
        stock_note: why stock is unknown, where it is; blank where it is known of every item.
    """

    lead_time_days: npt.NDArray[np.int64]
    price: Floats
    cost: Floats
    active: npt.NDArray[np.bool_]
    on_hand: Floats
    stock_note: str

    @classmethod
    def load(cls, features: Path, panel: DemandPanel, config: DemandConfig) -> ItemFacts:
        """Read the items table and the newest stock of a feature directory."""
        names = [c.ITEM_ID, c.LEAD_TIME_DAYS, c.PRICE, c.COST, c.ACTIVE]
        items = pd.read_parquet(features / ITEMS_FILE, columns=names).drop_duplicates(c.ITEM_ID).set_index(c.ITEM_ID)
        items = items.reindex(panel.item_ids)
        on_hand, note = _stock(features / STOCK_FILE, panel, config)
        days = _numbers(items[c.LEAD_TIME_DAYS])
        return cls(
            lead_time_days=np.maximum(np.where(np.isnan(days), config.lead_time_days, days), 1).astype(np.int64),
            price=_numbers(items[c.PRICE]),
            cost=_numbers(items[c.COST]),
            active=items[c.ACTIVE].astype("boolean").fillna(True).to_numpy(bool),
            on_hand=on_hand,
            stock_note=note,
        )

    @classmethod
    def unknown(cls, lead_time_days: npt.NDArray[np.int64]) -> ItemFacts:
        """Return what is left where lead times alone are known."""
        nothing = np.full(len(lead_time_days), np.nan)
        return cls(
            lead_time_days=lead_time_days,
            price=nothing,
            cost=nothing,
            active=np.ones(len(lead_time_days), bool),
            on_hand=nothing,
            stock_note="no stock was given",
        )


def _stock(path: Path, panel: DemandPanel, config: DemandConfig) -> tuple[Floats, str]:
    unknown = np.full(panel.num_items, np.nan)
    if not path.is_file():
        return unknown, "the data hold no inventory table"
    counts = pd.read_parquet(path).set_index(c.ITEM_ID).reindex(panel.item_ids)
    end = panel.start + pd.Timedelta(days=panel.num_periods * panel.period_days)  # the day after the log
    age = (end - pd.to_datetime(counts[c.DAY])).dt.days.to_numpy(np.float64)
    fresh = age <= config.decisions.max_stock_age_days + 1
    found = np.where(fresh, _numbers(counts["on_hand"]), unknown)
    if fresh.all():
        return found, ""
    limit = config.decisions.max_stock_age_days
    return found, f"{(~fresh).sum()} of {len(fresh)} items have no count of stock within {limit} days of the log's end"


def _numbers(values: pd.Series) -> Floats:
    return np.asarray(values.astype("Float64").to_numpy(np.float64, na_value=np.nan), np.float64)
