"""What is announced ahead of a period: the shop's plan, and regressors from outside.

A row counts only if it was announced before its period began. Of several rows for one item and day one is kept: the
newest of those announced at least ``horizon`` periods ahead, which every forecast up to that horizon may use; else the
oldest. How many periods ahead it was is kept beside it, and ``DemandPanel.as_known_at`` blanks it for origins before.

A week is the mean of its days, by the same rule: it keeps the days announced ``horizon`` weeks ahead; where there are
none, those announced first. So nothing that is announced later changes what was known before.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.engine import sql_text
from features.errors import DataError
from features.panel.demand_panel import Floats
from features.panel.grid import PanelGrid
from features.settings import ShopSettings

PLANNED_PRICE: Final = "planned_price"
PLANNED: Final = {PLANNED_PRICE: c.PRICE, c.PROMOTION: c.PROMOTION, c.DISPLAY: c.DISPLAY, c.MAILER: c.MAILER}
OUTSIDE: Final = "outside"  # what names of outside regressors begin with
_MOST_AHEAD: Final = np.iinfo(np.int16).max

Int16s = npt.NDArray[np.int16]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Regressors:
    """Outside regressors: those announced ahead, with how many periods, and those known only afterwards."""

    known_ahead: dict[str, Floats] = field(default_factory=dict)
    announced: dict[str, Int16s] = field(default_factory=dict)
    observed: dict[str, Floats] = field(default_factory=dict)


def plan_arrays(grid: PanelGrid, shop: ShopSettings) -> tuple[dict[str, Floats], Int16s | None]:
    """Return the plan's arrays that hold anything, ``[I, T + H]``, and how many periods ahead each cell was announced."""
    values = ", ".join(f"coalesce({column}, 0) AS {name}" for name, column in PLANNED.items())
    source = f"SELECT row, day, announced_at, {values} FROM plan JOIN panel_items USING (item_id)"
    arrays = grid.cells(_announced(grid, shop, source, values=", ".join(PLANNED)), ahead=True)
    daily_ahead = arrays.pop("periods_ahead")
    if not daily_ahead.any():
        return {}, None
    used, ahead = _used_days(grid, daily_ahead)
    _warn_of_short_plan(grid, ahead)
    planned = {
        name: _mean_of(grid, np.where(used, array, 0), of_days=array > 0 if name == PLANNED_PRICE else None)
        for name, array in arrays.items()
    }
    return {name: array for name, array in planned.items() if array.any()}, ahead


def regressor_arrays(grid: PanelGrid, shop: ShopSettings) -> Regressors:
    """Return the arrays of the regressors table by name, ``outside_`` before each.

    A name whose rows all lack ``announced_at`` is known only afterwards: a day without a value keeps the last one, never
    a later one, and is 0 before the first. A name with announcements is known ahead: a day without a value is 0. A row
    without an item is of all items; an item's own row wins, by the rule above.

    Raises:
        DataError: a name cannot be a column's.
    """
    found = Regressors()
    for name, num_rows, num_announced in _names(grid):
        column = f"{OUTSIDE}_{name}"
        if num_announced == 0:
            found.observed[column] = _observed(grid, name)
            continue
        if num_announced < num_rows:
            logger.warning(
                "regressors: %d of %d rows of %r lack announced_at and are left out: a regressor is announced, or not",
                *(num_rows - num_announced, num_rows, name),
            )
        found.known_ahead[column], found.announced[column] = _known_ahead(grid, shop, name)
    return found


def _names(grid: PanelGrid) -> list[tuple[str, int, int]]:
    rows = grid.connection.execute(
        "SELECT name, count(*), count(announced_at) FROM regressors GROUP BY name ORDER BY name"
    ).fetchall()
    for name, *_ in rows:
        if not re.fullmatch(r"[\w-]{1,64}", name):
            raise DataError(
                f"regressors: expected names of up to 64 letters, digits, _ and -, found {name!r}; rename it."
            )
    return [(str(name), int(num_rows), int(announced)) for name, num_rows, announced in rows]


def _observed(grid: PanelGrid, name: str) -> Floats:
    where = f"name = {sql_text(name)}"
    own = grid.cells(
        f"SELECT row, day, value FROM regressors JOIN panel_items USING (item_id) WHERE {where}", empty=np.nan
    )
    shared = grid.cells(
        f"SELECT 0 AS row, day, value FROM regressors WHERE {where} AND item_id IS NULL", empty=np.nan, num_rows=1
    )
    daily = np.where(np.isfinite(own["value"]), own["value"], shared["value"])
    return grid.averaged(last_known(daily))


def last_known(values: Floats) -> Floats:
    """Return each value, or the last one before it where it is NaN; 0 before the first.

    >>> last_known(np.array([[np.nan, 3, np.nan, 5.0]])).tolist()
    [[0.0, 3.0, 3.0, 5.0]]
    """
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(values.shape[1]), 0), axis=1)
    return np.nan_to_num(np.take_along_axis(values, last, axis=1))


def _known_ahead(grid: PanelGrid, shop: ShopSettings, name: str) -> tuple[Floats, Int16s]:
    where = f"name = {sql_text(name)} AND announced_at IS NOT NULL"
    sources = {
        None: f"SELECT row, day, announced_at, value FROM regressors JOIN panel_items USING (item_id) WHERE {where}",
        1: f"SELECT 0 AS row, day, announced_at, value FROM regressors WHERE {where} AND item_id IS NULL",
    }
    own, shared = (
        grid.cells(_announced(grid, shop, source, values="value"), ahead=True, num_rows=num_rows)
        for num_rows, source in sources.items()
    )
    # A row of its own that came too late for the horizon must not displace what was already announced for all items.
    early = own["periods_ahead"] >= grid.horizon
    first = (shared["periods_ahead"] < grid.horizon) & (own["periods_ahead"] >= shared["periods_ahead"])
    daily = {name: np.where(early | first, own[name], shared[name]) for name in own}
    used, ahead = _used_days(grid, daily["periods_ahead"])
    return _mean_of(grid, np.where(used, daily["value"], 0)), ahead


def _announced(grid: PanelGrid, shop: ShopSettings, source: str, *, values: str) -> str:
    """Return SQL for the one row of each cell: row, day, periods_ahead, values.

    With weeks from 1 May and a row for 10 May, in the week of 8 May: announced on 7 May it is one week ahead, known from
    the origin 8 May on; announced on 30 April it is two ahead; announced on 8 May it does not count.
    """
    days = grid.period_days
    announced = f"CAST(timezone({sql_text(shop.time_zone)}, announced_at) AS DATE)"
    before = f"(day - {announced} - {grid.day_number} % {days})"  # days from the announcement to the period's first
    return f"""
        SELECT row, day, least(periods_ahead, {_MOST_AHEAD}) AS periods_ahead, {values}
        FROM (SELECT *, CASE WHEN {before} >= 1 THEN ({before} - 1) // {days} + 1 ELSE 0 END AS periods_ahead
              FROM ({source}) WHERE {grid.day_number} >= 0)
        WHERE periods_ahead >= 1
        QUALIFY row_number() OVER (
            PARTITION BY row, day
            ORDER BY periods_ahead >= {grid.horizon} DESC,
                     CASE WHEN periods_ahead >= {grid.horizon} THEN -epoch_us(announced_at) ELSE epoch_us(announced_at) END
        ) = 1"""


def _used_days(grid: PanelGrid, daily_ahead: Floats) -> tuple[npt.NDArray[np.bool_], Int16s]:
    """Return which days a period keeps, ``[rows, days]``, and how many periods ahead it was announced, ``[rows, periods]``."""
    by_period = grid.by_period(daily_ahead)
    early = by_period >= grid.horizon
    first = (by_period > 0) & (by_period == by_period.max(axis=2, keepdims=True))
    used = np.where(early.any(axis=2, keepdims=True), early, first)
    ahead = np.where(used, by_period, _MOST_AHEAD).min(axis=2)
    return used.reshape(daily_ahead.shape), np.where(used.any(axis=2), ahead, 0).astype(np.int16)


def _mean_of(grid: PanelGrid, daily: Floats, *, of_days: npt.NDArray[np.bool_] | None = None) -> Floats:
    """Return each period's mean over its days, or over those that ``of_days`` marks; 0 where it marks none."""
    if grid.period_days == 1 or of_days is None:
        return grid.averaged(daily).astype(np.float32)
    count = grid.by_period(of_days & (daily != 0)).sum(axis=2)
    return (grid.by_period(daily).sum(axis=2) / np.maximum(count, 1)).astype(np.float32)


def _warn_of_short_plan(grid: PanelGrid, ahead: Int16s) -> None:
    """Say so where the plan ends within the horizon: beyond it, nothing is planned as far as anyone knows."""
    last = int(np.flatnonzero(ahead.any(axis=0)).max())
    if last < ahead.shape[1] - 1:
        day = grid.days[(last + 1) * grid.period_days - 1].date()
        logger.warning(
            "plan: announced up to %s, the horizon ends on %s; the days between are forecast as if nothing were planned",
            *(day, grid.days[-1].date()),
        )
