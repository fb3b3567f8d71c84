"""Price bands browsed against price bands bought: do customers look at dear items and buy cheap ones?

A band is an item's place among the prices of its top-level category (1 the cheapest), so that a dear apple is not a
cheap sofa. Browsing is weighted by the seconds that were spent, buying by units.

    band   seconds looked   units bought   browsed  bought   difference
    1      100              6              .25      .60      +.35
    2      300              4              .75      .40      -.35

A view without a dwell time counts as long as the mean of those with one; a log of none at all counts views. Intervals
are of sums over customers (the delta method, Taylor's linearised ratio): with seconds d and units p of a customer, of
which d_b and p_b in the band, its influence on the difference is (p_b - bought p) / P - (d_b - browsed d) / D.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrameT

from features import columns as c
from features.insight.by import TOP_CATEGORY
from features.insight.collecting import collected
from features.insight.definitions import check_choice, check_whole
from features.insight.intervals import Z, ratio
from features.insight.retention.periods import of_types
from features.tables.prices import price_bands
from features.tables.sql import run

_BYS: Final = ("shop", "category")
# Products that are summed over customers: l and b are a band's seconds and units, all_l and all_b a customer's in all.
_PRODUCTS: Final = {
    "l_l": ("l", "l"),
    "l_all_l": ("l", "all_l"),
    "b_b": ("b", "b"),
    "b_all_b": ("b", "all_b"),
    "l_b": ("l", "b"),
    "l_all_b": ("l", "all_b"),
    "all_l_b": ("all_l", "b"),
}


def price_band_sums(events: IntoFrameT, items: IntoFrameT, *, num_bands: int, by: str = "shop") -> IntoFrameT:
    """Return seconds looked and units bought in each band, with the sums of products over customers.

    Args:
        events: rows of the event log: user_id, event_type, item_id, quantity, dwell_ms.
        items: item_id, category and price; items without a price are left out.
        num_bands: bands of each top-level category.
        by: shop, or category (the top-level one).

    Returns:
        value (blank for the shop), band, looked (seconds), bought (units), num_customers, num_timed and num_views (views with a dwell
        time, and all), the sums of ``_PRODUCTS`` over customers with the band, and of_ll, of_bb, of_lb over all.
    """
    value = TOP_CATEGORY if by == "category" else "''"
    bands = price_bands(items, num_bands=num_bands)
    sums = ", ".join(f"CAST(sum({x} * {y}) AS DOUBLE) AS {name}" for name, (x, y) in _PRODUCTS.items())
    text = f"""
        WITH known AS (SELECT {c.ITEM_ID}, price_band AS band, coalesce({value}, '') AS value
                       FROM {{bands}} JOIN (SELECT {c.ITEM_ID}, {c.CATEGORY} FROM {{items}}) AS named
                       USING ({c.ITEM_ID})),
        rows_of_both AS (
            SELECT user_id, value, band, {c.EVENT_TYPE} = '{c.VIEW}' AS is_view, dwell_ms,
                   CASE WHEN {c.EVENT_TYPE} = '{c.PURCHASE}' THEN coalesce({c.QUANTITY}, 1) ELSE 0 END AS units
            FROM {{events}} JOIN known USING ({c.ITEM_ID}) WHERE {of_types((c.VIEW, c.PURCHASE))}
        ),
        typical AS (SELECT coalesce(avg(CASE WHEN is_view THEN dwell_ms END), 1000) AS dwell_ms FROM rows_of_both),
        each_band AS (
            SELECT user_id, value, band, sum(CAST(units AS DOUBLE)) AS b,
                   sum(CASE WHEN is_view THEN coalesce(rows_of_both.dwell_ms, typical.dwell_ms) / 1000 ELSE 0 END) AS l,
                   sum(CASE WHEN is_view THEN 1 ELSE 0 END) AS num_views,
                   sum(CASE WHEN is_view AND rows_of_both.dwell_ms IS NOT NULL THEN 1 ELSE 0 END) AS num_timed
            FROM rows_of_both CROSS JOIN typical GROUP BY user_id, value, band
        ),
        each_one AS (SELECT user_id, value, sum(l) AS all_l, sum(b) AS all_b FROM each_band GROUP BY user_id, value),
        of_band AS (
            SELECT value, band, sum(l) AS looked, sum(b) AS bought, CAST(count(*) AS BIGINT) AS num_customers,
                   CAST(sum(num_timed) AS BIGINT) AS num_timed,
                   CAST(sum(num_views) AS BIGINT) AS num_views, {sums}
            FROM each_band JOIN each_one USING (user_id, value) GROUP BY value, band
        ),
        of_all AS (SELECT value, sum(all_l * all_l) AS of_ll, sum(all_b * all_b) AS of_bb, sum(all_l * all_b) AS of_lb
                   FROM each_one GROUP BY value)
        SELECT * FROM of_band JOIN of_all USING (value)
    """
    return run(text, events=events, items=items, bands=bands)


def price_band_shares(events: Any, items: Any, *, num_bands: int, by: str = "shop") -> pd.DataFrame:
    """Return what is browsed against what is bought, a row a band.

    Args:
        events: as of ``price_band_sums``, of any engine.
        items: item_id, category and price, of the same engine.
        num_bands: bands of each top-level category, such as ``num_price_bands`` of the shop.
        by: shop, or category (the top-level one).

    Returns:
        value (blank for the shop), band (1 the cheapest), looked (seconds), bought (units), num_customers, browsed_share,
        bought_share, difference (bought - browsed), low, high (95%), and timed (the share of views whose time is
        known).

    Raises:
        ConfigError: an argument does not fit.
    """
    check_choice("by", by, _BYS)
    check_whole("num_bands", num_bands, least=1)
    table = collected(price_band_sums(events, items, num_bands=num_bands, by=by))
    table = table.sort_values(["value", "band"], ignore_index=True)
    looked, bought = (table.groupby("value")[name].transform("sum") for name in ("looked", "bought"))
    table["browsed_share"], table["bought_share"] = ratio(table["looked"], looked), ratio(table["bought"], bought)
    table["difference"] = table["bought_share"] - table["browsed_share"]
    reach = Z * np.sqrt(np.maximum(_variance(table, looked, bought), 0))
    table["low"], table["high"] = table["difference"] - reach, table["difference"] + reach
    table["timed"] = ratio(table["num_timed"], table["num_views"])
    names = [
        "value",
        "band",
        "looked",
        "bought",
        "num_customers",
        "browsed_share",
        "bought_share",
        "difference",
        "low",
        "high",
        "timed",
    ]
    return table[names]


def _variance(table: pd.DataFrame, looked: pd.Series, bought: pd.Series) -> pd.Series:
    """Return the sum of squares of customers' influences on the difference."""
    s, q = table["browsed_share"], table["bought_share"]
    of_bought = (table["b_b"] - 2 * q * table["b_all_b"] + q**2 * table["of_bb"]) / bought**2
    of_looked = (table["l_l"] - 2 * s * table["l_all_l"] + s**2 * table["of_ll"]) / looked**2
    common = table["l_b"] - s * table["all_l_b"] - q * table["l_all_b"] + q * s * table["of_lb"]
    return of_bought + of_looked - 2 * common / (looked * bought)
