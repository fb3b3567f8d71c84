"""What came of each time an item was shown in a slot.

    shown in home_2 at 10:00    viewed from home_2 at 10:01    bought at 10:20
    shown       clicked (1)     bought (1)      revenue (price times units)

A view answers the last time that the item was shown in its slot; where views that name no slot count, one of these
answers the last time that the item was shown anywhere. One that comes too late is no click. What is bought after several
clicks came of the last of them. Showing an item twice at one instant in one slot is showing it once.
"""

from __future__ import annotations

from typing import Any, Final

from features import columns as c
from features.insight.slots.definition import DAY_US, MINUTE_US, SlotDefinition
from features.insight.slots.repeats import repeats_sql
from features.tables.sql import run

# Of one instant: an item is shown first, then viewed, then bought.
_STEPS: Final = """
    SELECT DISTINCT user_id, item_id, slot, unix_micros(ts) AS us, 0 AS step, 0 AS amount, CAST(NULL AS STRING) AS id
    FROM {shown} WHERE {wanted}
    UNION ALL
    SELECT user_id, item_id, slot, unix_micros(ts), 1, 0, event_id FROM {events} WHERE event_type = 'view'
    UNION ALL
    SELECT user_id, item_id, NULL, unix_micros(ts), 2,
           CAST(coalesce(quantity, 1) * coalesce(price, 0) AS BIGINT), event_id
    FROM {events} WHERE event_type = 'purchase'
"""
_FOLLOWED: Final = """
    SELECT user_id, item_id, slot, us, step,
        min(CASE WHEN step = 1 THEN us END) OVER following AS viewed_us,
        min(CASE WHEN step = 0 THEN us END) OVER following AS again_us
    FROM steps WHERE step < 2 {named}
    WINDOW following AS (PARTITION BY user_id, item_id{slot} ORDER BY us, step, slot, id
                         ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
"""
_CLICKED: Final = "CASE WHEN viewed_us <= us + {minutes} AND coalesce(again_us >= viewed_us, true) THEN viewed_us END"


def slot_answers(shown: Any, events: Any, definition: SlotDefinition) -> Any:
    """Return what came of each slot and item, on pandas, DuckDB and PySpark alike.

    Args:
        shown: the contract's exposures, or the log's impressions with a slot: user_id, item_id, slot, ts.
        events: rows of the log that may serve analytics, at least as long after ``shown`` as answers may take.
        definition: what counts as an answer.

    Returns:
        slot, item_id, customers, shown, clicked, bought (clicks after which the item was bought, each order line
        after its last click alone), revenue.
    """
    text = f"""
        WITH {_told_sql(definition)}
        SELECT slot, {c.ITEM_ID}, CAST(count(DISTINCT user_id) AS BIGINT) AS customers,
            CAST(count(*) AS BIGINT) AS shown, CAST(sum(clicked) AS BIGINT) AS clicked,
            CAST(sum(bought) AS BIGINT) AS bought, CAST(sum(revenue) AS BIGINT) AS revenue
        FROM told GROUP BY slot, {c.ITEM_ID}
    """
    return run(text, shown=shown, events=events)


def slot_repeats(shown: Any, events: Any, definition: SlotDefinition) -> Any:
    """Return how often customers see and answer each slot, as sums of squares, on pandas, DuckDB and PySpark alike.

    Args:
        shown: as of ``slot_answers``.
        events: as of ``slot_answers``.
        definition: what counts as an answer.

    Returns:
        slot; shown_sq, clicked_sq, bought_sq (sums over customers of squares), clicked_shown, bought_clicked (of
        products), shown_customers, clicked_customers (how many customers have any).
    """
    return run(f"WITH {_told_sql(definition)} {repeats_sql('told')}", shown=shown, events=events)


def _told_sql(definition: SlotDefinition) -> str:
    """Return common table expressions; the last, ``told``, has a row a time shown: what came of it."""
    clicked = _CLICKED.replace("{minutes}", str(definition.click_minutes * MINUTE_US))
    return f"""
         steps AS ({_STEPS.replace("{wanted}", _wanted(definition))}),
        in_slot AS ({_FOLLOWED.replace("{named}", "AND slot IS NOT NULL").replace("{slot}", ", slot")}),
        {_clicks(clicked, unnamed=definition.unnamed)},
        bought AS (
            SELECT user_id, item_id, slot, us, sum(amount) AS revenue
            FROM (
                SELECT k.user_id, k.item_id, k.slot, k.us, s.amount, row_number() OVER (
                    PARTITION BY s.id ORDER BY k.clicked_us DESC, k.us DESC, k.slot DESC) AS place
                FROM clicks k JOIN steps s ON s.user_id = k.user_id AND s.item_id = k.item_id AND s.step = 2
                    AND s.us >= k.clicked_us AND s.us <= k.clicked_us + {definition.purchase_days * DAY_US}
                WHERE k.clicked_us IS NOT NULL)
            WHERE place = 1 GROUP BY user_id, item_id, slot, us),
        told AS (
            SELECT k.user_id, k.item_id, k.slot, CASE WHEN k.clicked_us IS NULL THEN 0 ELSE 1 END AS clicked,
                CASE WHEN b.us IS NULL THEN 0 ELSE 1 END AS bought, coalesce(b.revenue, 0) AS revenue
            FROM clicks k LEFT JOIN bought b
                ON b.user_id = k.user_id AND b.item_id = k.item_id AND b.slot = k.slot AND b.us = k.us)"""


def _clicks(clicked: str, *, unnamed: bool) -> str:
    """Return the common table ``clicks``: each time shown, and when it was answered."""
    if not unnamed:
        return f"clicks AS (SELECT user_id, item_id, slot, us, {clicked} AS clicked_us FROM in_slot WHERE step = 0)"
    shown_or_unnamed = _FOLLOWED.replace("{named}", "AND (step = 0 OR slot IS NULL)").replace("{slot}", "")
    return f"""
        anywhere AS ({shown_or_unnamed}),
        both_ways AS (
            SELECT user_id, item_id, slot, us, {clicked} AS clicked_us FROM in_slot WHERE step = 0
            UNION ALL SELECT user_id, item_id, slot, us, {clicked} FROM anywhere WHERE step = 0),
        clicks AS (SELECT user_id, item_id, slot, us, min(clicked_us) AS clicked_us
                   FROM both_ways GROUP BY user_id, item_id, slot, us)"""


def impressions(events: Any) -> Any:
    """Return the log's own impressions in the form of exposures."""
    return run(
        "SELECT user_id, item_id, slot, ts FROM {events} WHERE event_type = 'impression' AND slot IS NOT NULL",
        events=events,
    )


def _wanted(definition: SlotDefinition) -> str:
    if not definition.slots:
        return "slot IS NOT NULL"
    begins = (f"substr(slot, 1, {len(name)}) = {_text(name)}" for name in definition.slots)
    return " OR ".join(begins)


def _text(name: str) -> str:
    """Return a text as SQL that engines read alike, with nothing in it that one of them, or ``run``, takes for its own."""
    letters = (f"'{x}'" if x.isascii() and (x.isalnum() or x in "_- .:/") else f"chr({ord(x)})" for x in name)
    return f"concat('', {', '.join(letters)})"
