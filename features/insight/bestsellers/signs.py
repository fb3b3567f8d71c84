"""Signs of a visit that looks at a bestseller, counted with and without a purchase of it.

visit of a     section reviews seen, price low     bought
visit of b     section reviews seen                not
visit of c                                         not

reviews        2 visits, 1 bought; 1 without it, 0 bought
price_low      1 visit, 1 bought; 2 without it, 0 bought
"""

from __future__ import annotations

from typing import Any, Final

from features import columns as c
from features.insight.bestsellers.definition import BestsellerDefinition
from features.tables.expressions import order_sql
from features.tables.instants import EPOCH_US
from features.tables.sessions import VISIT_ID, session_events
from features.tables.sql import run

_KEPT: Final = (c.EVENT_ID, c.EVENT_TYPE, c.ITEM_ID, "section", c.PRICE, c.ORDER_ID, c.LOCAL_DAY)
PRICE_LOW, SEEN_BEFORE, SEARCHED, SECTION = "price_low", "seen_before", "searched", "section"


def visit_signs(events: Any, definition: BestsellerDefinition) -> Any:
    """Return how often visits with each sign ended in a purchase, by item, on pandas, DuckDB and PySpark alike.

    Args:
        events: rows of the log.
        definition: which items.

    Returns:
        item_id, sign (``price_low``: viewed at a price so far below its median; ``seen_before``: viewed in an earlier
        visit too; ``searched``: the visit searched; ``section``: it saw a section), section (its name), visits (with a
        view of the item), buyers (visits that bought it), with_sign, bought_with_sign, customers (with the sign). Without
        an item_id all items together: a visit counts for each of them that it looks at, a customer once.
    """
    kept = session_events(events, gap_minutes=definition.gap_minutes, keep=_KEPT)
    text = f"""
        WITH top AS (
            SELECT item_id, count(DISTINCT {order_sql(across_customers=True)}) AS n FROM {{rows}}
            WHERE event_type = 'purchase' AND item_id IS NOT NULL GROUP BY item_id ORDER BY n DESC, item_id LIMIT {definition.top}),
        of_top AS (
            SELECT r.* FROM {{rows}} r JOIN top USING (item_id) WHERE r.event_type IN ('view', 'purchase')),
        usual AS (SELECT item_id, median(price) AS price FROM of_top WHERE event_type = 'view' GROUP BY item_id),
        looked AS (
            SELECT item_id, user_id, {VISIT_ID},
                max(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS bought,
                min(CASE WHEN event_type = 'view' THEN price END) AS price,
                min(CASE WHEN event_type = 'view' THEN {EPOCH_US} END) AS us
            FROM of_top GROUP BY item_id, user_id, {VISIT_ID}
            HAVING max(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END) = 1),
        visits AS (
            SELECT l.*, CASE WHEN l.us > min(l.us) OVER (PARTITION BY l.item_id, l.user_id) THEN 1 ELSE 0 END AS again,
                CASE WHEN l.price <= u.price * {1 - definition.discount_percent / 100!r} THEN 1 ELSE 0 END AS low
            FROM looked l JOIN usual u USING (item_id)),
        searching AS (SELECT DISTINCT user_id, {VISIT_ID} FROM {{rows}} WHERE event_type = 'search'),
        seen AS (
            SELECT DISTINCT user_id, {VISIT_ID}, item_id, section FROM {{rows}}
            WHERE event_type = 'view_section' AND section IS NOT NULL),
        signs AS (
            SELECT item_id, user_id, {VISIT_ID}, bought, '{PRICE_LOW}' AS sign, CAST(NULL AS STRING) AS section
            FROM visits WHERE low = 1
            UNION ALL
            SELECT item_id, user_id, {VISIT_ID}, bought, '{SEEN_BEFORE}', NULL FROM visits WHERE again = 1
            UNION ALL
            SELECT v.item_id, v.user_id, v.{VISIT_ID}, v.bought, '{SEARCHED}', NULL
            FROM visits v JOIN searching s ON s.user_id = v.user_id AND s.{VISIT_ID} = v.{VISIT_ID}
            UNION ALL
            SELECT DISTINCT v.item_id, v.user_id, v.{VISIT_ID}, v.bought, '{SECTION}', s.section
            FROM visits v JOIN seen s ON s.user_id = v.user_id AND s.{VISIT_ID} = v.{VISIT_ID}
                AND (s.item_id IS NULL OR s.item_id = v.item_id)),
        totals AS (SELECT item_id, count(*) AS visits, sum(bought) AS buyers FROM visits
            GROUP BY GROUPING SETS ((item_id), ())),
        counted AS (
            SELECT item_id, sign, section, count(*) AS with_sign, sum(bought) AS bought_with_sign,
                count(DISTINCT user_id) AS customers
            FROM signs GROUP BY GROUPING SETS ((item_id, sign, section), (sign, section)))
        SELECT k.item_id, k.sign, k.section, CAST(t.visits AS BIGINT) AS visits, CAST(t.buyers AS BIGINT) AS buyers,
            CAST(k.with_sign AS BIGINT) AS with_sign, CAST(k.bought_with_sign AS BIGINT) AS bought_with_sign,
            CAST(k.customers AS BIGINT) AS customers
        FROM counted k JOIN totals t ON k.item_id IS NOT DISTINCT FROM t.item_id
    """
    return run(text, rows=kept)
