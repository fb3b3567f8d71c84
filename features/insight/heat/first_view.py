"""How long customers think: from the first look at an item to buying it.

    ann   looks at the sofa on Monday, again on Friday, buys it on Saturday     5 days
    bob   looks at the sofa on Sunday; the log ends on Monday                   not yet: watched for 1 day
    cho   buys the sofa without having looked                                   no wait: counted apart

Most looks never end in a purchase, and those near the end of the log had no time to. So waits are of those who buy
within a horizon, and the share of looks that have been bought within t comes from Kaplan and Meier's estimate, in which
a look without a purchase counts for as long as it was watched. Plain quantiles of the waits seen would be too short:
long ones are cut off by the end of the log.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import pandas as pd
from narwhals.typing import IntoFrameT

from features import columns as c
from features.errors import ConfigError
from features.insight.by import BYS, By, frames_for, rows_sql, value_sql
from features.insight.collecting import collected
from features.insight.definitions import check_choice, check_whole
from features.insight.intervals import wilson
from features.insight.retention.periods import of_types
from features.insight.retention.survival import kaplan_meier, quantile, share_within
from features.tables.sql import run

QUANTILES: Final = (0.25, 0.5, 0.75, 0.9)
_MINUTE_US: Final = 60_000_000
_DAY_MINUTES: Final = 24 * 60


def first_view_waits(
    events: IntoFrameT,
    *,
    last_at: dt.datetime,
    by: By = "shop",
    items: IntoFrameT | None = None,
    horizon_days: int = 30,
    since: dt.datetime | None = None,
) -> IntoFrameT:
    """Return how many looks (first views of an item by a customer) were bought after how many minutes, or not.

    Args:
        events: rows of the event log: user_id, event_type, item_id, ts.
        last_at: the log's last instant, UTC, to which looks were watched.
        by: shop, category (the top-level one) or item.
        items: item_id and category, for categories.
        horizon_days: looks are watched no longer than this.
        since: of looks, and purchases without one, from this instant on; earlier rows tell which looks are the first.

    Returns:
        value, minutes (whole, rounded down), came (bought then), gone (watched for so long, not bought), unseen
        (pairs of a customer and an item that were bought before any look).
    """
    end, horizon = int(last_at.timestamp() * 1_000_000), horizon_days * _DAY_MINUTES
    begin = 0 if since is None else int(since.timestamp() * 1_000_000)
    view = f"CASE WHEN {c.EVENT_TYPE} = '{c.VIEW}' THEN unix_micros({c.TS}) END"
    text = f"""
        WITH rows_of_both AS (
            SELECT user_id, {c.ITEM_ID}, {value_sql(by)} AS value, {view} AS viewed_us,
                   CASE WHEN {c.EVENT_TYPE} = '{c.PURCHASE}' THEN unix_micros({c.TS}) END AS bought_us
            {rows_sql(by, of_types((c.VIEW, c.PURCHASE)) + f" AND {c.ITEM_ID} IS NOT NULL")}
        ),
        pairs AS (
            SELECT user_id, {c.ITEM_ID}, min(value) AS value, min(viewed_us) AS viewed_us, min(bought_us) AS bought_us,
                   max(bought_us) AS last_us
            FROM rows_of_both GROUP BY user_id, {c.ITEM_ID}
        ),
        -- few pairs were bought before the first look and again after it: for these alone the rows are read again
        again AS (
            SELECT user_id, {c.ITEM_ID}, min(rows_of_both.bought_us) AS again_us
            FROM rows_of_both JOIN (SELECT * FROM pairs WHERE bought_us < viewed_us AND last_us >= viewed_us) AS early
                 USING (user_id, {c.ITEM_ID})
            WHERE rows_of_both.bought_us >= early.viewed_us GROUP BY user_id, {c.ITEM_ID}
        ),
        looks AS (
            SELECT value, viewed_us, CASE WHEN bought_us >= viewed_us THEN bought_us ELSE again_us END AS bought_us,
                   CASE WHEN bought_us >= {begin} AND (bought_us < viewed_us OR viewed_us IS NULL) THEN 1 ELSE 0 END
                   AS unseen
            FROM pairs LEFT JOIN again USING (user_id, {c.ITEM_ID})
            WHERE coalesce(pairs.viewed_us, pairs.bought_us) >= {begin}
        ),
        waits AS (
            SELECT value, unseen, viewed_us IS NOT NULL AS looked, bought_us IS NOT NULL AS bought,
                   CAST(floor((coalesce(bought_us, {end}) - viewed_us) / {_MINUTE_US}) AS BIGINT) AS minutes
            FROM looks
        ),
        watched AS (
            SELECT value, unseen, CASE WHEN looked THEN least(minutes, {horizon}) ELSE 0 END AS minutes,
                   CASE WHEN looked AND bought AND minutes < {horizon} THEN 1 ELSE 0 END AS came,
                   CASE WHEN looked AND NOT (bought AND minutes < {horizon}) THEN 1 ELSE 0 END AS gone
            FROM waits
        )
        SELECT value, minutes, CAST(sum(came) AS BIGINT) AS came, CAST(sum(gone) AS BIGINT) AS gone,
               CAST(sum(unseen) AS BIGINT) AS unseen
        FROM watched GROUP BY value, minutes
    """
    return run(text, **frames_for(by, events, items))


def time_to_purchase(
    events: Any,
    *,
    last_at: dt.datetime,
    by: By = "shop",
    items: Any = None,
    horizon_days: int = 30,
    since: dt.datetime | None = None,
) -> pd.DataFrame:
    """Return how long customers think before they buy, a row a category.

    Args:
        events: as of ``first_view_waits``, of any engine.
        last_at: the log's last instant, UTC.
        by: shop, category (the top-level one) or item.
        items: item_id and category, of the same engine, for categories.
        horizon_days: of those who buy within so many days.
        since: of first views from this instant on; the log before it tells which are the first.

    Returns:
        value, looks, bought (within the horizon), censored (watched for less than the horizon and not bought so far),
        unseen (pairs of a customer and an item bought before any look), share (of looks bought within the horizon,
        Kaplan-Meier) with low and high (95%), and for each of ``QUANTILES`` minutes_25, minutes_25_low,
        minutes_25_high and so on: by then so much of what is bought within the horizon is bought; the interval inverts
        Wilson's of the share (Woodruff 1952). Missing where nothing was bought.

    Raises:
        ConfigError: an argument does not fit.
    """
    check_choice("by", by, BYS)
    check_whole("horizon_days", horizon_days, least=1)
    for name, at in (("last_at", last_at), ("since", since)):
        if at is not None and at.tzinfo is None:
            raise ConfigError(f"{name}: expected an instant with its zone, found {at!r}.")
    counts = collected(
        first_view_waits(events, last_at=last_at, by=by, items=items, horizon_days=horizon_days, since=since)
    )
    rows = [_row(value, part, horizon_days * _DAY_MINUTES) for value, part in counts.groupby("value")]
    return (
        pd.DataFrame(rows).sort_values("looks", ascending=False, ignore_index=True, kind="stable") if rows else counts
    )


def _row(value: Any, counts: pd.DataFrame, horizon: int) -> dict[str, Any]:
    counts = counts.sort_values("minutes", ignore_index=True)
    looks, bought = int((counts["came"] + counts["gone"]).sum()), int(counts["came"].sum())
    row: dict[str, Any] = {
        "value": value,
        "looks": looks,
        "bought": bought,
        "censored": int(counts.loc[counts["minutes"] < horizon, "gone"].sum()),
        "unseen": int(counts["unseen"].sum()),
    }
    seen = counts[counts["came"] + counts["gone"] > 0]
    curve = kaplan_meier(seen["minutes"].to_numpy(), seen["came"], seen["gone"])
    row |= share_within(curve, horizon) if looks else {"share": np.nan, "low": np.nan, "high": np.nan}
    for share in QUANTILES:
        low, high = wilson(share * bought, bought)
        for name, level in (("", share), ("_low", float(low)), ("_high", float(high))):
            row[f"minutes_{share * 100:.0f}{name}"] = quantile(curve, level * row["share"]) if bought else np.nan
    return row
