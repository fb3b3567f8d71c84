"""The demand panel of a log: items × local days.

What is known ahead of a day and what only afterwards are kept apart:

    known ahead   day of week, week of year, public holidays; and the plan: price, promotion, display, mailer
    observed      realised price, views, carts, favourites, heat of the category

A plan row counts only if it was announced on a local day before its own. One row is kept a cell: the newest of
those announced at least ``horizon`` days ahead, which every forecast up to that horizon may use; else the oldest.
``announced_ahead`` keeps how many days ahead it was, and ``DemandPanel.as_known_at`` blanks it for origins that
came before.

A realised price is carried forward from the last sale and never backward: a price that moves only on days of
sale would give away which days those are, so it is no input of a day that is still to come.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from features import columns as c
from features.calendar_features import calendar_features
from features.contract.tables import INVENTORY, ITEMS, PLAN, SQL_TYPES, Table
from features.demand_panel import DemandPanel, Floats
from features.engine import private_connection, sql_name, sql_text
from features.errors import ConfigError, DataError
from features.event_log import EventLog
from features.settings import EngineSettings, ShopSettings
from features.tables.item_days import item_days

PLANNED: Final = {
    "planned_price": c.PRICE,
    c.PROMOTION: c.PROMOTION,
    c.DISPLAY: c.DISPLAY,
    c.MAILER: c.MAILER,
}
OBSERVED: Final = ("num_views", "num_carts", "num_favourites")
HEAT_DAYS: Final = 28  # what is usual for a category: its mean over this many days

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PanelSettings:
    """Which items the demand panel holds, and how far ahead it knows.

    Args:
        min_purchases: an item needs this many purchase rows.
        max_items: of these, the ones with the most purchase rows; 0 keeps all.
        horizon: days after the last one for which the calendar and the plan are given.
    """

    min_purchases: int = 30
    max_items: int = 2000
    horizon: int = 14

    def __post_init__(self) -> None:
        if self.min_purchases < 1 or self.max_items < 0 or self.horizon < 1:
            raise ConfigError(f"panel: expected min_purchases >= 1, max_items >= 0, horizon >= 1, found {self}.")


def build_panel(
    log: EventLog,
    data: Path,
    *,
    shop: ShopSettings,
    settings: PanelSettings = PanelSettings(),
    engine: EngineSettings = EngineSettings(),
) -> DemandPanel:
    """Build the panel from the rows that may serve analytics, and from the data directory's items, plan and stock.

    A day is NaN before the item's first sale or creation, whichever came first, and when stock stood at 0 with
    nothing sold. Otherwise a day without a sale is 0.

    Args:
        log: the clean log; the first and last local day with an item event bound the panel.
        data: a data directory; ``items``, ``plan`` and ``inventory`` may be missing.
        shop: zone and country.
        settings: items and horizon.
        engine: memory limit, threads, where to spill; beside the log where that is empty.
    """
    with private_connection(engine, beside=log.path.parent) as connection:
        _register(connection, log, Path(data), settings)
        first_day, last_day = _days_with_items(connection, log)
        grid = _Grid(connection=connection, first_day=first_day, last_day=last_day, horizon=settings.horizon)
        panel = _panel(grid, shop)
    if panel.num_items == 0:
        logger.warning(
            "panel: no item has %d purchases; no demand model can be trained: lower panel.min_purchases",
            settings.min_purchases,
        )
    logger.info(
        "panel: %d items (at least %d purchases, at most %d items) x %d days + %d ahead, %.1f%% of days missing",
        *(panel.num_items, settings.min_purchases, settings.max_items, panel.num_periods, settings.horizon),
        100 * float(np.isnan(panel.units).mean()) if panel.units.size else 0.0,
    )
    return panel


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Items × days, and how rows of a query land on it."""

    connection: duckdb.DuckDBPyConnection
    first_day: dt.date
    last_day: dt.date
    horizon: int

    @property
    def num_items(self) -> int:
        return self.connection.table("panel_items").shape[0]

    @property
    def num_days(self) -> int:
        return (self.last_day - self.first_day).days + 1

    @property
    def items(self) -> pa.Table:
        return self.connection.sql("SELECT * FROM panel_items ORDER BY row").to_arrow_table()

    def cells(self, query: str, *, ahead: bool = False, empty: float = 0.0) -> dict[str, Floats]:
        """Scatter a query's rows (row, day, values ...) over ``[I, T]``, or ``[I, T + H]`` when ``ahead``."""
        width = self.num_days + (self.horizon if ahead else 0)
        table = self.connection.sql(f"""
            SELECT row, date_diff('day', {sql_text(str(self.first_day))}::DATE, day) AS period, * EXCLUDE (row, day)
            FROM ({query}) WHERE period >= 0 AND period < {width}""").to_arrow_table()
        at = table["row"].to_numpy(), table["period"].to_numpy()
        arrays = {}
        for name in table.column_names[2:]:
            arrays[name] = np.full((self.num_items, width), empty, np.float32)
            arrays[name][at] = table[name].to_numpy()
        return arrays


def _register(connection: duckdb.DuckDBPyConnection, log: EventLog, data: Path, settings: PanelSettings) -> None:
    """Make tables ``item_days`` (all items), ``panel_items`` (row by item) and views over the contract's tables."""
    for table in (ITEMS, PLAN, INVENTORY):
        _view(connection, data, table)
    item_days(log.relation(connection, purpose=c.ANALYTICS)).create("item_days")
    limit = f"LIMIT {settings.max_items}" if settings.max_items else ""
    connection.execute(f"""
        CREATE TEMP TABLE panel_items AS
        WITH chosen AS (
            SELECT item_id, min({c.LOCAL_DAY}) FILTER (num_purchases > 0) AS first_sale
            FROM item_days GROUP BY item_id HAVING sum(num_purchases) >= {settings.min_purchases}
            ORDER BY sum(num_purchases) DESC, item_id {limit}
        )
        SELECT row_number() OVER (ORDER BY item_id) - 1 AS row, item_id, first_sale, created_at,
               coalesce(category, '') AS category, coalesce(brand, '') AS brand
        FROM chosen LEFT JOIN items USING (item_id)""")


def _days_with_items(connection: duckdb.DuckDBPyConnection, log: EventLog) -> tuple[dt.date, dt.date]:
    """Return the first and last day on which any item was seen or sold; messages and logins open no shop."""
    first_day, last_day = connection.execute(
        f"SELECT min({c.LOCAL_DAY}), max({c.LOCAL_DAY}) FROM item_days"
    ).fetchall()[0]
    return (log.first_day, log.last_day) if first_day is None else (first_day, last_day)


def _view(connection: duckdb.DuckDBPyConnection, data: Path, table: Table) -> None:
    path = data / f"{table.name}.parquet"
    names = ", ".join(map(sql_name, table.column_names))
    if path.is_file():
        source = f"SELECT {names} FROM read_parquet({sql_text(path)})"
    else:
        nothing = ", ".join(f"NULL::{SQL_TYPES[column.kind]} AS {sql_name(column.name)}" for column in table.columns)
        source = f"SELECT {nothing} WHERE false"
    try:
        connection.execute(f"CREATE TEMP VIEW {table.name} AS {source}")
    except duckdb.Error as error:
        raise DataError(
            f"{path}: expected the contract's table {table.name!r}, found something else ({error})."
        ) from None


def _panel(grid: _Grid, shop: ShopSettings) -> DemandPanel:
    items = grid.items
    sales = grid.cells(f"""
        SELECT row, {c.LOCAL_DAY} AS day, num_units, revenue, priced_units, {", ".join(OBSERVED)}
        FROM item_days JOIN panel_items USING (item_id)""")
    planned, announced_ahead = _plan(grid, shop)
    days = pd.date_range(grid.first_day, periods=grid.num_days + grid.horizon, freq="D")
    calendar = {
        name: np.tile(values, (grid.num_items, 1)) for name, values in calendar_features(days, shop.country).items()
    }
    return DemandPanel(
        item_ids=items[c.ITEM_ID].to_numpy(zero_copy_only=False).astype(object),
        start=pd.Timestamp(grid.first_day),
        frequency="D",
        units=_with_missing_days(grid, shop, sales["num_units"]),
        known_ahead=calendar | planned,
        observed={
            "realised_price": carried_forward(sales["revenue"], sales["priced_units"]),
            **{name: sales[name] for name in OBSERVED},
            "category_heat": _category_heat(grid, items[c.CATEGORY].to_pylist()),
        },
        static={name: items[name].to_numpy(zero_copy_only=False).astype(object) for name in (c.CATEGORY, c.BRAND)},
        planned=tuple(planned),
        announced_ahead=announced_ahead,
    )


def _with_missing_days(grid: _Grid, shop: ShopSettings, units: Floats) -> Floats:
    """Return units with NaN on the days that say nothing."""
    created = f"CAST(timezone({sql_text(shop.time_zone)}, created_at) AS DATE)"
    launches = (
        grid.connection.sql(f"""
        SELECT date_diff('day', {sql_text(str(grid.first_day))}::DATE, least(first_sale, {created})) AS launch
        FROM panel_items ORDER BY row""")
        .to_arrow_table()["launch"]
        .to_numpy()
    )
    before_launch = np.arange(grid.num_days) < launches[:, None]
    stock = grid.cells("SELECT row, day, stock FROM inventory JOIN panel_items USING (item_id)", empty=np.nan)["stock"]
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


def _plan(grid: _Grid, shop: ShopSettings) -> tuple[dict[str, Floats], npt.NDArray[np.int16] | None]:
    """Return the plan's arrays that hold anything, and how many days ahead each cell was announced."""
    values = ", ".join(f"{column} AS {name}" for name, column in PLANNED.items())
    arrays = grid.cells(
        f"""
        SELECT row, day, least(days_ahead, 32767) AS days_ahead,
               {", ".join(f"coalesce({name}, 0) AS {name}" for name in PLANNED)}
        FROM (
            SELECT row, day, announced_at, {values},
                   day - CAST(timezone({sql_text(shop.time_zone)}, announced_at) AS DATE) AS days_ahead
            FROM plan JOIN panel_items USING (item_id)
        ) WHERE days_ahead >= 1
        QUALIFY row_number() OVER (
            PARTITION BY row, day
            ORDER BY days_ahead >= {grid.horizon} DESC, CASE WHEN days_ahead >= {grid.horizon} THEN -epoch_us(announced_at)
                     ELSE epoch_us(announced_at) END
        ) = 1""",
        ahead=True,
    )
    days_ahead = arrays.pop("days_ahead")
    if not days_ahead.any():
        return {}, None
    return {name: array for name, array in arrays.items() if array.any()}, days_ahead.astype(np.int16)


def _category_heat(grid: _Grid, category: list[Any]) -> Floats:
    """Return units of each item's top-level category that day, as a share of their mean over ``HEAT_DAYS`` days.

    1 is usual. Days before the log count as nothing known, not as 0; a category that sold nothing is 0.
    """
    top = [path.split("/")[0] for path in category]
    sold = grid.connection.sql(f"""
        SELECT string_split(coalesce(category, ''), '/')[1] AS top,
               date_diff('day', {sql_text(str(grid.first_day))}::DATE, {c.LOCAL_DAY}) AS period, sum(num_units) AS units
        FROM item_days LEFT JOIN items USING (item_id) GROUP BY ALL""").df()
    wide = sold.pivot_table(index="top", columns="period", values="units", aggfunc="sum", fill_value=0.0)
    daily = wide.reindex(columns=range(grid.num_days), fill_value=0.0).astype(float)
    usual = daily.T.rolling(HEAT_DAYS, min_periods=1).mean().T
    heat = (daily / usual.where(usual > 0)).fillna(0.0)
    return heat.reindex(top).fillna(0.0).to_numpy(np.float32)
