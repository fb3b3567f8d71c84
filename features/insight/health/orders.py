"""Orders that hang in the air: refunds without a purchase, orders of several customers, orders that last for days."""

from __future__ import annotations

from typing import Any, Final

from features import columns as c
from features.insight.health.findings import Finding, share_words
from features.insight.health.settings import HealthSettings
from features.insight.health.source import VIEW, Source

_DAY_US: Final = 86_400_000_000


def orders(source: Source, settings: HealthSettings) -> list[Finding]:
    """Find refunds that no purchase precedes, orders over several customers and orders over several days."""
    source.connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE traded AS
        SELECT user_id, event_type, item_id, order_id, us FROM {VIEW} WHERE event_type IN ('{c.PURCHASE}', '{c.REFUND}')""")
    return [*_refunds(source, settings), *_shared(source, settings), *_long(source, settings)]


def _refunds(source: Source, settings: HealthSettings) -> list[Finding]:
    # With an order's id that order must hold the item; without one the customer must have bought it before.
    orphans = f"""
        FROM (SELECT * FROM traded WHERE event_type = '{c.REFUND}') r
        LEFT JOIN (SELECT order_id, item_id, count(*) AS n FROM traded WHERE event_type = '{c.PURCHASE}' GROUP BY ALL) o
            ON o.order_id = r.order_id AND o.item_id = r.item_id
        LEFT JOIN (SELECT user_id, item_id, min(us) AS first_us FROM traded WHERE event_type = '{c.PURCHASE}' GROUP BY ALL) u
            ON u.user_id = r.user_id AND u.item_id = r.item_id
        WHERE CASE WHEN r.order_id IS NOT NULL THEN o.n IS NULL ELSE u.first_us IS NULL OR u.first_us > r.us END"""
    count = source.row(f"SELECT count(*) AS n {orphans}")["n"]
    if not count:
        return []
    of = source.row(f"SELECT count(*) AS n FROM traded WHERE event_type = '{c.REFUND}'")["n"]
    return [
        Finding(
            severity="warning",
            check="orders.refund_without_purchase",
            expected="for each refund the purchase that it takes back: the same order and item, or an earlier purchase of the item",
            found=f"none for {share_words(count, of)} refunds",
            do="import the orders from before the log's first day, or let refunds carry the order_id of the purchase.",
            count=count,
            of=of,
            examples=_cases(source, f"SELECT r.user_id, r.order_id, r.item_id {orphans}", "user_id, item_id", settings),
        )
    ]


def _shared(source: Source, settings: HealthSettings) -> list[Finding]:
    grouped = "FROM traded WHERE order_id IS NOT NULL GROUP BY order_id HAVING count(DISTINCT user_id) > 1"
    count = source.row(f"SELECT count(*) AS n FROM (SELECT order_id {grouped})")["n"]
    if not count:
        return []
    of = source.row("SELECT count(DISTINCT order_id) AS n FROM traded")["n"]
    return [
        Finding(
            severity="error",
            check="orders.several_customers",
            expected="one customer an order",
            found=f"several user_ids in {share_words(count, of)} orders",
            do="make order ids unique over channels (a prefix will do), or link the ids that are one customer (identities).",
            count=count,
            of=of,
            examples=_cases(
                source,
                f"SELECT order_id, count(DISTINCT user_id) AS customers {grouped}",
                "customers DESC, order_id",
                settings,
            ),
        )
    ]


def _long(source: Source, settings: HealthSettings) -> list[Finding]:
    grouped = f"""
        FROM traded WHERE order_id IS NOT NULL AND event_type = '{c.PURCHASE}'
        GROUP BY order_id HAVING max(us) - min(us) > {_DAY_US}"""
    count = source.row(f"SELECT count(*) AS n FROM (SELECT order_id {grouped})")["n"]
    if not count:
        return []
    of = source.row(f"SELECT count(DISTINCT order_id) AS n FROM traded WHERE event_type = '{c.PURCHASE}'")["n"]
    days = f"round((max(us) - min(us)) / {_DAY_US}, 1)"
    return [
        Finding(
            severity="warning",
            check="orders.several_days",
            expected="the purchases of an order within a day",
            found=f"more than a day between the first and the last of {share_words(count, of)} orders",
            do="look whether order ids are used again, or purchases are sent once more when they are shipped.",
            count=count,
            of=of,
            examples=_cases(source, f"SELECT order_id, {days} AS days {grouped}", "days DESC, order_id", settings),
        )
    ]


def _cases(source: Source, query: str, order: str, settings: HealthSettings) -> list[dict[str, Any]]:
    return source.rows(f"{query} ORDER BY {order} LIMIT {settings.examples}")
