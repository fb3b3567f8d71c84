"""The demand panel of a log: items × local days, or weeks of them.

What is known ahead of a period and what only afterwards are kept apart:

    known ahead   day of week, week of year, public holidays; the plan: price, promotion, display, mailer; and outside
                  regressors that are announced
    observed      revenue, realised price, views, carts, favourites, heat of the category; and outside regressors
                  that are not announced

A realised price is carried forward from the last sale and never backward: a price that moves only on days of
sale would give away which days those are, so it is no input of a day that is still to come. What announced means
stands in ``panel_plan``, how days become weeks in ``panel_grid``.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from features import columns as c
from features.catalog import price_bands
from features.engine import private_connection, sql_text
from features.event_log import EventLog
from features.panel.calendar import calendar_features
from features.panel.demand_panel import DemandPanel, Floats
from features.panel.grid import PanelGrid
from features.panel.plan import plan_arrays, regressor_arrays
from features.panel.source_tables import (
    PanelSettings,
    choose_items,
    count_item_days,
    days_with_items,
    log_left_out,
    register_tables,
)
from features.settings import EngineSettings, ShopSettings

__all__ = ["PanelSettings", "build_panel", "carried_forward"]

OBSERVED: Final = ("revenue", "num_views", "num_carts", "num_favourites")
HEAT_DAYS: Final = 28  # what is usual for a category: its mean over this many days

logger = logging.getLogger(__name__)


def build_panel(
    log: EventLog,
    data: Path,
    *,
    shop: ShopSettings,
    settings: PanelSettings | None = None,
    engine: EngineSettings = EngineSettings(),
    days: Path | None = None,
) -> DemandPanel:
    """Build the panel from the rows that may serve analytics, and from the data directory's other tables.

    A day is NaN before the item's first sale or creation, whichever came first, and when stock stood at 0 with
    nothing sold. Otherwise a day without a sale is 0. A week is NaN where one of its days is.

    Args:
        log: the clean log; the first and last local day with an item event bound the panel.
        data: a data directory; ``items``, ``plan``, ``inventory`` and ``regressors`` may be missing.
        shop: zone and country.
        settings: items, periods and horizon; the defaults where left out.
        engine: memory limit, threads, where to spill; beside the log where that is empty.
        days: sums by item and day of the log that a cluster made; see ``register_tables``.

    Raises:
        DataError: the log is shorter than a period, or a table holds two rows for what it has one of.
    """
    settings = settings or PanelSettings()
    with private_connection(engine, beside=log.path.parent) as connection:
        register_tables(connection, log, Path(data), days=days)
        first_day, last_day = days_with_items(connection, log, days=days)
        choose_items(connection, settings, shop, last_day)
        count_item_days(connection, days=days)
        grid = PanelGrid.of(
            connection,
            first_day=first_day,
            last_day=last_day,
            frequency=settings.frequency,
            horizon=settings.horizon,
        )
        log_left_out(connection)
        panel = _panel(grid, shop)
    if panel.num_items == 0:
        logger.warning(
            "panel: no item has %d purchases; no demand model can be trained: lower panel.min_purchases",
            settings.min_purchases,
        )
    logger.info(
        "panel: %d items (at least %d purchases or new, at most %d of each) x %d periods (%s) + %d ahead, "
        "%.1f%% of periods missing",
        *(panel.num_items, settings.min_purchases, settings.max_items),
        *(panel.num_periods, settings.frequency, settings.horizon),
        100 * float(np.isnan(panel.units).mean()) if panel.units.size else 0.0,
    )
    return panel


def _panel(grid: PanelGrid, shop: ShopSettings) -> DemandPanel:
    daily = grid.cells(f"""
        SELECT row, {c.LOCAL_DAY} AS day, num_units, priced_units, {", ".join(OBSERVED)}
        FROM item_days JOIN panel_items USING (item_id)""")
    stock = grid.cells("SELECT row, day, stock FROM inventory JOIN panel_items USING (item_id)", empty=np.nan)["stock"]
    units = _with_missing_days(grid, daily.pop("num_units"), stock)
    sums = {name: grid.summed(array) for name, array in daily.items()}
    planned, announced_ahead = plan_arrays(grid, shop)
    outside = regressor_arrays(grid, shop)
    calendar = calendar_features(grid.days, shop.country, period_days=grid.period_days)
    items = grid.items
    return DemandPanel(
        item_ids=items[c.ITEM_ID].to_numpy(zero_copy_only=False).astype(object),
        start=pd.Timestamp(grid.first_day),
        frequency=grid.frequency,
        units=grid.summed(units),
        known_ahead={name: np.tile(values, (grid.num_items, 1)) for name, values in calendar.items()}
        | planned
        | outside.known_ahead,
        observed={
            "realised_price": carried_forward(sums["revenue"], sums["priced_units"]),
            **{name: sums[name] for name in OBSERVED},
            "category_heat": _category_heat(grid, items[c.CATEGORY].to_pylist()),
        }
        | outside.observed,
        static=_static(grid, items, shop),
        planned=tuple(planned),
        announced_ahead=announced_ahead,
        announced=outside.announced,
        opening_stock=stock if grid.period_days == 1 and np.isfinite(stock).any() else None,
    )


def _static(grid: PanelGrid, items: pa.Table, shop: ShopSettings) -> dict[str, npt.NDArray[np.object_]]:
    """Return what the catalogue says of each item, from wide to narrow: blank where it says nothing."""
    category, brand = (items[name].to_numpy(zero_copy_only=False).astype(object) for name in (c.CATEGORY, c.BRAND))
    catalog = grid.connection.sql(
        "SELECT item_id, coalesce(price, -1) AS price, coalesce(category, '') AS category FROM items ORDER BY item_id"
    ).df()
    bands = price_bands(catalog["price"].to_numpy(np.int64), catalog["category"].to_numpy(object), shop.num_price_bands)
    names = pd.Series(bands, index=catalog["item_id"]).astype(str).replace("0", "")
    return {
        "department": np.array([path.split("/")[0] for path in category], object),
        "price_band": names.reindex(items[c.ITEM_ID].to_pylist()).fillna("").to_numpy(object),
        c.CATEGORY: category,
        c.BRAND: brand,
    }


def _with_missing_days(grid: PanelGrid, units: Floats, stock: Floats) -> Floats:
    """Return daily units with NaN on the days that say nothing."""
    launches = (
        grid.connection.sql(f"""
        SELECT date_diff('day', {sql_text(str(grid.first_day))}::DATE, least(first_sale, created)) AS launch
        FROM panel_items ORDER BY row""")
        .to_arrow_table()["launch"]
        .to_numpy()
    )
    before_launch = np.arange(grid.num_days) < launches[:, None]
    sold_out = (stock == 0) & (units == 0)
    return np.where(before_launch | sold_out, np.float32(np.nan), units)


def carried_forward(revenue: Floats, priced_units: Floats) -> Floats:
    """Return the price realised on each day, or on the last day of sale before it; 0 before the first.

    >>> carried_forward(np.array([[0, 600, 0, 900.0]]), np.array([[0, 2, 0, 3.0]])).tolist()
    [[0.0, 300.0, 300.0, 300.0]]
    """
    sold = priced_units > 0
    price = np.divide(revenue, priced_units, out=np.zeros_like(revenue), where=sold)
    last_sale = np.maximum.accumulate(np.where(sold, np.arange(sold.shape[1]), 0), axis=1)
    return np.take_along_axis(price, last_sale, axis=1)


def _category_heat(grid: PanelGrid, category: list[Any]) -> Floats:
    """Return units of each item's top-level category in a period, as a share of their mean over ``HEAT_DAYS`` days.

    1 is usual. Periods before the panel count as nothing known, not as 0; a category that sold nothing is 0.
    """
    top = [path.split("/")[0] for path in category]
    sold = grid.connection.sql(f"""
        SELECT string_split(coalesce(category, ''), '/')[1] AS top, {grid.day_number} AS number, sum(num_units) AS units
        FROM (SELECT *, {c.LOCAL_DAY} AS day FROM sold_days) LEFT JOIN items USING (item_id) GROUP BY ALL""").df()
    wide = sold.pivot_table(index="top", columns="number", values="units", aggfunc="sum", fill_value=0.0)
    daily = wide.reindex(columns=range(grid.num_days), fill_value=0.0).astype(float)
    by_period = pd.DataFrame(grid.summed(daily.to_numpy()), index=daily.index)
    usual = by_period.T.rolling(HEAT_DAYS // grid.period_days, min_periods=1).mean().T
    heat = (by_period / usual.where(usual > 0)).fillna(0.0)
    return heat.reindex(top).fillna(0.0).to_numpy(np.float32)
