"""What is known of each item at an instant: price, stock and how soon it is bought again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from features import columns as c
from features.rules.session import RuleSession
from features.triggers.cycles import item_cycles, own_strength, purchase_gaps
from features.triggers.trigger import ItemFacts


def item_facts(session: RuleSession, items: Path, *, stock: Path | None = None) -> dict[str, ItemFacts]:
    """Return what was known of each item at the session's instant.

    Args:
        session: its rows give the last price that anybody was shown or paid, and the days between two purchases of
            an item by one customer: the median, and how strongly a customer's own are drawn to it.
        items: the contract's items; its price stands in where the log tells none.
        stock: the features' stock file (``features.demand.stock``), if the shop counts; of the log's end, so it suits
            an ``as_of`` at the log's end only.
    """
    connection = session.connection
    on_hand = "SELECT NULL::VARCHAR AS item_id, NULL::BIGINT AS on_hand WHERE false"
    if stock is not None and Path(stock).is_file():
        connection.read_parquet(str(stock)).select("item_id, on_hand").create_view("trigger_stock", replace=True)
        on_hand = "FROM trigger_stock"
    connection.read_parquet(str(items)).create_view("trigger_items", replace=True)
    gaps = purchase_gaps(connection.table("rule_rows"))
    item_cycles(gaps).create_view("trigger_cycles", replace=True)
    strength = own_strength(gaps)
    frame = connection.sql(f"""
        WITH priced AS (
            SELECT item_id, min(price) AS price FROM (
                SELECT item_id, price FROM rule_rows WHERE price IS NOT NULL AND item_id IS NOT NULL
                QUALIFY at_us = max(at_us) OVER (PARTITION BY item_id)
            ) GROUP BY item_id
        ), stock AS ({on_hand})
        SELECT i.item_id, coalesce(i.title, '') AS title, coalesce(priced.price, i.price) AS price,
               stock.on_hand AS stock, cycle_days
        FROM trigger_items AS i LEFT JOIN priced USING (item_id) LEFT JOIN trigger_cycles USING (item_id)
        LEFT JOIN stock USING (item_id)""").df()
    return {row.item_id: _facts(row._asdict(), strength) for row in frame.itertuples(index=False)}


def _facts(row: dict[str, Any], strength: float | None) -> ItemFacts:
    numbers = {name: None if pd.isna(row[name]) else float(row[name]) for name in ("price", "stock", "cycle_days")}
    return ItemFacts(item_id=str(row[c.ITEM_ID]), title=str(row[c.TITLE]), own_strength=strength, **numbers)
