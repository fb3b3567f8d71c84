"""How fast a shop's customers come: what a test's length follows from."""

from __future__ import annotations

from typing import TypeVar

from features import columns as c
from features.engine import sql_text
from features.tables.sql import run
from features.tables.visits import VISIT_EVENTS

FrameT = TypeVar("FrameT")


def traffic(events: FrameT) -> FrameT:
    """Return how many customers came on each day, and how many of them for the first time in these rows.

    Args:
        events: rows of the event log, of the days whose traffic is typical.

    Returns:
        local_day, num_users, num_newcomers; days without a visit are left out.
    """
    types = ", ".join(map(sql_text, VISIT_EVENTS))
    return run(
        f"""
        WITH came AS (
            SELECT DISTINCT {c.USER_ID}, {c.LOCAL_DAY} FROM {{events}} WHERE {c.EVENT_TYPE} IN ({types})
        ),
        firsts AS (SELECT {c.USER_ID}, min({c.LOCAL_DAY}) AS first_day FROM came GROUP BY {c.USER_ID})
        SELECT came.{c.LOCAL_DAY}, count(*) AS num_users,
               count(*) FILTER (WHERE came.{c.LOCAL_DAY} = firsts.first_day) AS num_newcomers
        FROM came JOIN firsts ON came.{c.USER_ID} = firsts.{c.USER_ID}
        GROUP BY came.{c.LOCAL_DAY} ORDER BY came.{c.LOCAL_DAY}""",
        events=events,
    )
