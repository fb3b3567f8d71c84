"""What happens in each of the 168 hours of the week, in the shop's own time."""

from __future__ import annotations

from typing import Final

from narwhals.typing import IntoFrameT

from features import columns as c
from features.insight.by import By, frames_for, rows_sql, value_sql
from features.insight.retention.periods import of_types
from features.tables.sql import run

HOURS_OF_WEEK: Final = 168
# 1970-01-01 was a Thursday, the fourth day of the week.
_WEEKDAY: Final = f"CAST((unix_date({c.LOCAL_DAY}) + 3) % 7 + 1 AS INT)"


def hour_of_week(
    events: IntoFrameT,
    *,
    by: By = "shop",
    items: IntoFrameT | None = None,
    browsing: tuple[str, ...] = (c.VIEW,),
    buying: tuple[str, ...] = (c.PURCHASE,),
) -> IntoFrameT:
    """Return one row an hour of the week in which anything happened, for the shop, each category or each item.

    Args:
        events: rows of the event log: user_id, event_type, local_day, local_hour, and item_id but for the shop.
        by: shop, category (the top-level one) or item.
        items: item_id and category, for categories.
        browsing: event types of looking.
        buying: event types of buying.

    Returns:
        value (blank for the shop), weekday (1 Monday to 7 Sunday), local_hour, num_browsed and num_bought (events),
        num_buyers (customers on a day: what one buys within an hour counts once).
    """
    buys = f"SELECT user_id, {value_sql(by)} AS value, {c.LOCAL_DAY}, {c.LOCAL_HOUR} {rows_sql(by, of_types(buying))}"
    text = f"""
        WITH browsed AS (
            SELECT {value_sql(by)} AS value, {_WEEKDAY} AS weekday, CAST({c.LOCAL_HOUR} AS INT) AS local_hour,
                   count(*) AS num_browsed, 0 AS num_bought, 0 AS num_buyers
            {rows_sql(by, of_types(browsing))} GROUP BY 1, 2, 3
        ),
        each_one AS (
            SELECT value, {c.LOCAL_DAY}, {c.LOCAL_HOUR}, count(*) AS num_bought FROM ({buys}) AS buys
            GROUP BY user_id, value, {c.LOCAL_DAY}, {c.LOCAL_HOUR}
        ),
        bought AS (
            SELECT value, {_WEEKDAY} AS weekday, CAST({c.LOCAL_HOUR} AS INT) AS local_hour, 0 AS num_browsed,
                   sum(num_bought) AS num_bought, count(*) AS num_buyers
            FROM each_one GROUP BY 1, 2, 3
        )
        SELECT value, weekday, local_hour, CAST(sum(num_browsed) AS BIGINT) AS num_browsed,
               CAST(sum(num_bought) AS BIGINT) AS num_bought, CAST(sum(num_buyers) AS BIGINT) AS num_buyers
        FROM (SELECT * FROM browsed UNION ALL SELECT * FROM bought) AS both_kinds
        GROUP BY value, weekday, local_hour
    """
    return run(text, **frames_for(by, events, items))
