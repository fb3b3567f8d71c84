"""Orders and the things in them, pairs and bundles: counted on pandas, DuckDB and PySpark alike."""

from __future__ import annotations

from typing import Any, Final

from features.insight.baskets.definition import BasketDefinition, Of
from features.tables.expressions import order_sql
from features.tables.sql import run

_THING: Final[dict[Of, str]] = {"item": "e.item_id", "category": "i.category", "brand": "i.brand"}
_ORDER: Final = order_sql("e.", across_customers=True)


def lines(events: Any, items: Any, definition: BasketDefinition) -> Any:
    """Return user_id, order_key and thing, each order and thing once, of the orders and things that may be paired.

    Args:
        events: rows of the log.
        items: the contract's items.
        definition: what is paired.
    """
    return run(
        f"""
        WITH bought AS (
            SELECT DISTINCT e.user_id, {_ORDER} AS order_key, {_THING[definition.of]} AS thing
            FROM {{events}} e LEFT JOIN {{items}} i ON e.item_id = i.item_id
            WHERE e.event_type = 'purchase' AND {_THING[definition.of]} IS NOT NULL),
        small AS (SELECT order_key FROM bought GROUP BY order_key HAVING count(*) <= {definition.max_order}),
        held AS (SELECT b.user_id, b.order_key, b.thing FROM bought b JOIN small USING (order_key)),
        frequent AS (
            SELECT thing, count(*) AS n FROM held GROUP BY thing HAVING count(*) >= {definition.min_orders}
            ORDER BY n DESC, thing LIMIT {definition.max_things})
        SELECT h.user_id, h.order_key, h.thing FROM held h JOIN frequent USING (thing)
        """,
        events=events, items=items,
    )  # fmt: skip


def num_orders(events: Any, items: Any, definition: BasketDefinition) -> Any:
    """Return one row: ``orders``, how many a thing of ours could have been in."""
    return run(
        f"""
        SELECT CAST(count(*) AS BIGINT) AS orders FROM (
            SELECT {_ORDER} AS order_key FROM {{events}} e LEFT JOIN {{items}} i ON e.item_id = i.item_id
            WHERE e.event_type = 'purchase' AND {_THING[definition.of]} IS NOT NULL
            GROUP BY 1 HAVING count(DISTINCT {_THING[definition.of]}) <= {definition.max_order}) AS small
        """,
        events=events, items=items,
    )  # fmt: skip


def singles(lines: Any) -> Any:
    """Return thing and orders."""
    return run("SELECT thing, CAST(count(*) AS BIGINT) AS orders FROM {lines} GROUP BY thing", lines=lines)


def pairs(lines: Any, *, min_orders: int) -> Any:
    """Return thing_a, thing_b (the later in the alphabet), orders that hold both, and their customers."""
    return run(
        f"""
        SELECT a.thing AS thing_a, b.thing AS thing_b, CAST(count(*) AS BIGINT) AS orders,
            CAST(count(DISTINCT a.user_id) AS BIGINT) AS customers
        FROM {{lines}} a JOIN {{lines}} b ON a.order_key = b.order_key AND a.thing < b.thing
        GROUP BY a.thing, b.thing HAVING count(*) >= {min_orders}
        """,
        lines=lines,
    )


def bundles(lines: Any, kept: Any, *, min_orders: int) -> Any:
    """Return thing_a, thing_b, thing_c, orders that hold all three and their customers, where each two are among the pairs.

    Args:
        lines: from ``lines``.
        kept: thing_a, thing_b: pairs that are worth it.
        min_orders: the fewest.
    """
    return run(
        f"""
        WITH with_pair AS (
            SELECT a.user_id, a.order_key, p.thing_a, p.thing_b
            FROM {{lines}} a JOIN {{kept}} p ON a.thing = p.thing_a
            JOIN {{lines}} b ON b.order_key = a.order_key AND b.thing = p.thing_b)
        SELECT x.thing_a, x.thing_b, y.thing_b AS thing_c, CAST(count(*) AS BIGINT) AS orders,
            CAST(count(DISTINCT x.user_id) AS BIGINT) AS customers
        FROM with_pair x JOIN with_pair y ON y.order_key = x.order_key AND y.thing_a = x.thing_b
        JOIN {{kept}} z ON z.thing_a = x.thing_a AND z.thing_b = y.thing_b
        GROUP BY x.thing_a, x.thing_b, y.thing_b HAVING count(*) >= {min_orders}
        """,
        lines=lines, kept=kept,
    )  # fmt: skip
