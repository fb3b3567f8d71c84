"""One customer's year in figures: pure functions over that customer's own rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from features import columns as c

_MOST_NAMED: Final = 3
_DUE_SHARE: Final = 0.8  # of the usual time between two purchases: from then on an item is due again
_LONG_PAST: Final = 3.0  # times as long as usual: no longer due, but given up


@dataclass(frozen=True, kw_only=True)
class Favourite:
    """What came most often.

    Args:
        name: of a category, brand or item.
        units: bought.
        orders: in so many orders.
    """

    name: str
    units: int
    orders: int


@dataclass(frozen=True, kw_only=True)
class Due:
    """An item that is bought in a rhythm.

    Args:
        title: of the item.
        last_day: when it was bought last.
        every_days: median of the days between purchases.
    """

    title: str
    last_day: dt.date
    every_days: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Year:
    """A customer's year.

    Args:
        first_day: of the span.
        last_day: of the span.
        days_seen: on which the customer came.
        orders: distinct ones.
        units: bought.
        spend: minor units, refunds taken off.
        categories: top-level, most units first.
        brands: the same.
        items: by orders, then units.
        months: orders by the first day of each month of the span, rising.
        busiest_hour: local hour of most orders; of equals the earliest.
        weeks_in_a_row: longest run of calendar weeks with an order.
        first: day and items of the first order.
        last: day and items of the last one.
        saved: minor units below list prices.
        units_saved_on: bought at a discount.
        coupons: orders in which one was used.
        due: items that are due again.
    """

    first_day: dt.date
    last_day: dt.date
    days_seen: int
    orders: int
    units: int
    spend: int
    categories: Sequence[Favourite]
    brands: Sequence[Favourite]
    items: Sequence[Favourite]
    months: Mapping[dt.date, int]
    busiest_hour: int | None
    weeks_in_a_row: int
    first: tuple[dt.date, Sequence[str]] | None
    last: tuple[dt.date, Sequence[str]] | None
    saved: int
    units_saved_on: int
    coupons: int
    due: Sequence[Due]

    @classmethod
    def of(cls, rows: pd.DataFrame, *, first_day: dt.date, last_day: dt.date, min_discount_percent: int) -> Year:
        """Sum a customer's rows up.

        Args:
            rows: event_type, local_day, local_hour, order_id, item_id, title, category, brand, quantity, price,
                list_price, coupon_id; one customer's, oldest first, up to ``last_day``. Earlier ones than
                ``first_day`` only tell in what rhythm items are bought.
            first_day: of the span.
            last_day: of the span.
            min_discount_percent: smaller differences from the list price are no discount.
        """
        span = rows[(rows[c.LOCAL_DAY] >= pd.Timestamp(first_day)) & (rows[c.LOCAL_DAY] <= pd.Timestamp(last_day))]
        bought, every = _bought(span), _bought(rows)
        saved = _saved(bought, min_discount_percent)
        refunded = _amount(span[span[c.EVENT_TYPE] == c.REFUND]).sum()
        orders = bought.groupby("order", sort=False).agg(day=(c.LOCAL_DAY, "first"), hour=(c.LOCAL_HOUR, "first"))
        return cls(
            first_day=first_day,
            last_day=last_day,
            days_seen=int(span[c.LOCAL_DAY].nunique()),
            orders=len(orders),
            units=int(bought["units"].sum()),
            spend=int(bought["amount"].sum() - refunded),
            categories=favourites(bought.assign(name=bought[c.CATEGORY].str.split("/").str[0])),
            brands=favourites(bought.assign(name=bought[c.BRAND])),
            items=favourites(bought.assign(name=_called(bought)), by=("orders", "units")),
            months=_by_month(orders["day"], first_day, last_day),
            busiest_hour=None if orders.empty else int(orders["hour"].mode().min()),
            weeks_in_a_row=longest_run(((orders["day"] - pd.Timestamp(0)).dt.days + 3) // 7),  # a Monday begins a week
            first=_order(bought, 0),
            last=_order(bought, -1),
            saved=int(saved.sum()),
            units_saved_on=int(bought.loc[saved > 0, "units"].sum()),
            coupons=int(bought.loc[bought[c.COUPON_ID].notna(), "order"].nunique()),
            due=due_again(every, as_of=last_day),
        )


def favourites(bought: pd.DataFrame, by: Sequence[str] = ("units", "orders")) -> list[Favourite]:
    """Return the names that were bought most; unknown names are left out.

    Args:
        bought: name, units, order.
        by: what counts first and second; then the name.
    """
    known = bought[bought["name"].notna() & (bought["name"] != "")]
    found = known.groupby("name").agg(units=("units", "sum"), orders=("order", "nunique")).reset_index()
    top = found.sort_values([*by, "name"], ascending=[False, False, True])[:_MOST_NAMED]
    return [Favourite(name=str(name), units=int(u), orders=int(o)) for name, u, o in top.to_numpy(object)]


def longest_run(numbers: pd.Series) -> int:
    """Return how many of the numbers follow each other without a gap.

    >>> longest_run(pd.Series([1, 2, 2, 3, 7, 8]))
    3
    """
    distinct = np.unique(numbers.to_numpy(np.int64))
    if not len(distinct):
        return 0
    breaks = np.flatnonzero(np.diff(distinct) != 1)
    return int(np.diff(np.concatenate([[-1], breaks, [len(distinct) - 1]])).max())


def due_again(bought: pd.DataFrame, *, as_of: dt.date) -> list[Due]:
    """Return items bought in a rhythm of which the next purchase is due, the latest first.

    Bought on days 0, 20 and 42: every 21 days (the median). Due from 0.8 of that after the last one on, until three
    times as long went by.

    Args:
        bought: item_id, title, local_day of all purchases up to ``as_of``.
        as_of: the day of the question.
    """
    found = []
    for item_id, rows in bought.groupby(c.ITEM_ID, sort=False):
        days = np.unique(rows[c.LOCAL_DAY].to_numpy("datetime64[D]").astype(np.int64))
        if len(days) < 3:  # one gap is no rhythm
            continue
        every = float(np.median(np.diff(days)))
        since = (as_of - dt.date(1970, 1, 1)).days - int(days[-1])
        if _DUE_SHARE * every <= since <= _LONG_PAST * every:
            title = str(_called(rows).iloc[-1]) if rows[c.TITLE].notna().any() else str(item_id)
            last = dt.date(1970, 1, 1) + dt.timedelta(days=int(days[-1]))
            found.append((since / every, Due(title=title, last_day=last, every_days=round(every))))
    return [due for _, due in sorted(found, key=lambda pair: (-pair[0], pair[1].title))][:_MOST_NAMED]


def _bought(rows: pd.DataFrame) -> pd.DataFrame:
    bought = rows[rows[c.EVENT_TYPE] == c.PURCHASE]
    day = bought[c.LOCAL_DAY].dt.strftime("day %Y-%m-%d")
    return bought.assign(units=_units(bought), amount=_amount(bought), order=bought[c.ORDER_ID].fillna(day))


def _units(rows: pd.DataFrame) -> pd.Series:
    return rows[c.QUANTITY].astype("Int64").fillna(1)


def _amount(rows: pd.DataFrame) -> pd.Series:
    return _units(rows) * rows[c.PRICE].astype("Int64").fillna(0)


def _saved(bought: pd.DataFrame, percent: int) -> pd.Series:
    price, usual = (bought[name].astype("Float64") for name in (c.PRICE, "list_price"))
    cheap = (price * 100 <= usual * (100 - percent)).fillna(value=False)
    return (((usual - price) * bought["units"]).where(cheap, 0.0)).fillna(0.0)


def _called(rows: pd.DataFrame) -> pd.Series:
    return rows[c.TITLE].fillna(rows[c.ITEM_ID])


def _by_month(days: pd.Series, first_day: dt.date, last_day: dt.date) -> dict[dt.date, int]:
    months = pd.date_range(first_day.replace(day=1), last_day, freq="MS")
    numbers = (days.dt.year * 12 + days.dt.month).value_counts()
    return {month.date(): int(numbers.get(month.year * 12 + month.month, 0)) for month in months}


def _order(bought: pd.DataFrame, place: int) -> tuple[dt.date, Sequence[str]] | None:
    if bought.empty:
        return None
    lines = bought[bought["order"] == bought["order"].iloc[place]]
    titles = list(dict.fromkeys(map(str, _called(lines))))
    return lines[c.LOCAL_DAY].iloc[0].date(), titles[:_MOST_NAMED]
