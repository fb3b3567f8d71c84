"""Coupons: how many were given and used, how soon, and what was bought with them.

What was bought with a coupon is not what the coupon brought: part of it would have been bought anyway. ``returns`` says what
a held-out group tells about that.
"""

from __future__ import annotations

from typing import Final, TypeVar

import pandas as pd

from features import columns as c
from features.insight.campaigns.outcomes import AMOUNT, ORDER
from features.insight.intervals import LEVEL, ratio, wilson
from features.tables.sql import run

_DAY_US: Final = 86_400_000_000
_BEFORE_US: Final = 2 * _DAY_US  # a coupon may be given this long after the message that tells of it
_AFTER_US: Final = _DAY_US
_LEAST_SHARE: Final = 0.5

FrameT = TypeVar("FrameT")

_GIVEN: Final = f"""
    SELECT {c.COUPON_ID}, {c.USER_ID}, min(unix_micros(issued_at)) AS issued_us, max(value) AS value,
        max(unix_micros(expires_at)) AS expires_us
    FROM {{coupons}} GROUP BY 1, 2
"""


def coupon_use(events: FrameT, coupons: FrameT, *, last_at_us: int) -> FrameT:
    """Return what became of each coupon.

    Args:
        events: rows of the event log; a purchase with a coupon_id uses it.
        coupons: the contract's table.
        last_at_us: the log's last instant, UTC microseconds: what has not expired by then may still be used.

    Returns:
        coupon_id, issued (customers who got it), used (of them, who used it), open (of them, who still may), late (of
        those who used it, after it expired), not_issued (customers who used it without having got it), orders,
        revenue (minor units paid for what it was used on), discount (its value times orders), value (mean, minor
        units), days_to_use (mean of those who used it; missing where nobody did).
    """
    text = f"""
        WITH given AS ({_GIVEN}),
        used AS (
            SELECT {c.COUPON_ID}, {c.USER_ID}, min(unix_micros({c.TS})) AS used_us, count(DISTINCT {ORDER}) AS orders,
                sum({AMOUNT}) AS revenue
            FROM {{events}} WHERE {c.EVENT_TYPE} = '{c.PURCHASE}' AND {c.COUPON_ID} IS NOT NULL GROUP BY 1, 2
        ),
        each AS (
            SELECT coalesce(given.{c.COUPON_ID}, used.{c.COUPON_ID}) AS {c.COUPON_ID},
                CASE WHEN given.{c.USER_ID} IS NULL THEN 0 ELSE 1 END AS has,
                CASE WHEN used.{c.USER_ID} IS NULL THEN 0 ELSE 1 END AS did,
                issued_us, expires_us, used_us, value, coalesce(orders, 0) AS orders, coalesce(revenue, 0) AS revenue
            FROM given FULL OUTER JOIN used
                ON given.{c.COUPON_ID} = used.{c.COUPON_ID} AND given.{c.USER_ID} = used.{c.USER_ID}
        )
        SELECT {c.COUPON_ID}, CAST(sum(has) AS BIGINT) AS issued, CAST(sum(has * did) AS BIGINT) AS used,
            CAST(sum(CASE WHEN has = 1 AND did = 0 AND (expires_us IS NULL OR expires_us > {last_at_us}) THEN 1 ELSE 0
                END) AS BIGINT) AS open,
            CAST(sum(CASE WHEN has * did = 1 AND used_us > expires_us THEN 1 ELSE 0 END) AS BIGINT) AS late,
            CAST(sum((1 - has) * did) AS BIGINT) AS not_issued, CAST(sum(orders) AS BIGINT) AS orders,
            CAST(sum(revenue) AS BIGINT) AS revenue, CAST(sum(has * orders * coalesce(value, 0)) AS BIGINT) AS discount,
            CAST(avg(value) AS DOUBLE) AS value,
            CAST(sum(CASE WHEN has * did = 1 THEN used_us - issued_us END) AS DOUBLE)
                / nullif(sum(has * did), 0) / {_DAY_US} AS days_to_use
        FROM each GROUP BY {c.COUPON_ID}
    """
    return run(text, events=events, coupons=coupons)


def coupon_campaigns(events: FrameT, coupons: FrameT) -> FrameT:
    """Return the campaign that gave each coupon: the one that wrote to most of its holders when they got it.

    A message counts from two days before the coupon was given to a day after. Coupons of which fewer than half of the
    holders were written to by one campaign have none.

    Returns:
        coupon_id, campaign_id, share (of the holders).
    """
    text = f"""
        WITH given AS ({_GIVEN}),
        sent AS (
            SELECT DISTINCT {c.CAMPAIGN_ID}, {c.USER_ID}, unix_micros({c.TS}) AS sent_us
            FROM {{events}} WHERE {c.EVENT_TYPE} = 'message_sent' AND {c.CAMPAIGN_ID} IS NOT NULL
        ),
        pairs AS (
            SELECT given.{c.COUPON_ID}, sent.{c.CAMPAIGN_ID}, count(DISTINCT given.{c.USER_ID}) AS told
            FROM given JOIN sent ON given.{c.USER_ID} = sent.{c.USER_ID}
            WHERE sent_us BETWEEN issued_us - {_BEFORE_US} AND issued_us + {_AFTER_US} GROUP BY 1, 2
        ),
        ranked AS (
            SELECT *, row_number() OVER (PARTITION BY {c.COUPON_ID} ORDER BY told DESC, {c.CAMPAIGN_ID}) AS place
            FROM pairs
        ),
        holders AS (SELECT {c.COUPON_ID}, count(*) AS holders FROM given GROUP BY 1)
        SELECT ranked.{c.COUPON_ID}, ranked.{c.CAMPAIGN_ID}, CAST(told AS DOUBLE) / holders AS share
        FROM ranked JOIN holders ON ranked.{c.COUPON_ID} = holders.{c.COUPON_ID}
        WHERE place = 1 AND told >= {_LEAST_SHARE} * holders
    """
    return run(text, events=events, coupons=coupons)


def coupon_customers(events: FrameT, coupons: FrameT) -> FrameT:
    """Return how many customers stand behind a campaign's coupons, each once however many coupons it got.

    Returns:
        campaign_id (missing: of coupons that no campaign gave), holders (who got one), users (of them, who used one).
    """
    text = f"""
        WITH given AS ({_GIVEN}),
        used AS (
            SELECT DISTINCT {c.COUPON_ID}, {c.USER_ID} FROM {{events}}
            WHERE {c.EVENT_TYPE} = '{c.PURCHASE}' AND {c.COUPON_ID} IS NOT NULL
        )
        SELECT n.{c.CAMPAIGN_ID}, count(DISTINCT g.{c.USER_ID}) AS holders, count(DISTINCT u.{c.USER_ID}) AS users
        FROM given g LEFT JOIN {{named}} n ON g.{c.COUPON_ID} = n.{c.COUPON_ID}
        LEFT JOIN used u ON g.{c.COUPON_ID} = u.{c.COUPON_ID} AND g.{c.USER_ID} = u.{c.USER_ID}
        GROUP BY n.{c.CAMPAIGN_ID}
    """
    return run(text, events=events, coupons=coupons, named=coupon_campaigns(events, coupons))


def coupon_rates(use: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Return the table with the share of each coupon that was used and Wilson's interval: rate, low, high."""
    low, high = wilson(use["used"], use["issued"], level=level)
    return use.assign(rate=ratio(use["used"], use["issued"]), low=low, high=high)
