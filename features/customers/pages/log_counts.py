"""What the pages count in the event log: sums small enough for memory, computed in DuckDB.

Each function takes the log's rows that may serve the purpose at hand, and gives a frame.
"""

from __future__ import annotations

import datetime as dt

import duckdb
import pandas as pd

from features import columns as c

# The shop does these; the others a customer does.
_BY_THE_SHOP = (c.IMPRESSION, "message_sent", "message_delivered", "message_bounced")
_MESSAGES = "event_type LIKE 'message%'"
_BY_CUSTOMERS = f"event_type NOT IN {_BY_THE_SHOP}"


def hours_of_week(rows: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """Return weekday (1 Monday to 7), local_hour, customers (distinct) and presences, by local hour.

    A presence is a customer seen at least once in that hour of that day.
    """
    return (
        rows.filter(_BY_CUSTOMERS)
        .aggregate("""isodow(local_day)::INTEGER AS weekday, local_hour::INTEGER AS local_hour,
            count(DISTINCT user_id) AS customers, count(DISTINCT (user_id, local_day)) AS presences""")
        .df()
    )


def buyers_by_month(rows: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """Return month (its first day), buyers, and how many of them bought in a later month too; months rising."""
    bought = rows.filter(f"event_type = '{c.PURCHASE}'").select("user_id, date_trunc('month', local_day) AS month")
    latest = bought.aggregate("user_id, max(month) AS latest").set_alias("l")
    months = bought.distinct().set_alias("m").join(latest, "user_id")
    return (
        months.aggregate("month, count(*) AS buyers, count(*) FILTER (latest > month) AS returned").order("month").df()
    )


def bought_categories(
    rows: duckdb.DuckDBPyRelation, items: duckdb.DuckDBPyRelation, segments: duckdb.DuckDBPyRelation
) -> pd.DataFrame:
    """Return segment, category (top level), customers (distinct buyers) and purchases (rows).

    Args:
        rows: of the log.
        items: the contract's items.
        segments: user_id, segment.
    """
    bought = rows.filter(f"event_type = '{c.PURCHASE}'").select("user_id, item_id").set_alias("b")
    top = items.filter("category IS NOT NULL").select("item_id, split_part(category, '/', 1) AS category")
    joined = bought.join(top.set_alias("i"), "item_id").set_alias("j").join(segments.set_alias("s"), "user_id")
    return joined.aggregate("segment, category, count(DISTINCT user_id) AS customers, count(*) AS purchases").df()


def daily_counts(rows: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """Return day, event_type, channel and events.

    Messages, and what comes through a channel of messages, follow the shop's own calendar of campaigns and are left
    out.
    """
    channels = rows.filter(f"{_MESSAGES} AND channel IS NOT NULL").select("channel").distinct().fetchall()
    sent = [channel for (channel,) in channels]
    kept = rows.filter(f"{_BY_CUSTOMERS} AND NOT ({_MESSAGES})").select("local_day AS day, event_type, channel")
    counted = kept.aggregate("day, event_type, channel, count(*) AS events").df()
    return counted[~counted["channel"].isin(sent)].reset_index(drop=True)


def region_changes(rows: duckdb.DuckDBPyRelation, *, since: dt.date) -> pd.DataFrame:
    """Return user_id, day, region_before, region and minutes of each two neighbouring events in different regions."""
    placed = rows.filter(f"{_BY_CUSTOMERS} AND region IS NOT NULL")
    over = "OVER (PARTITION BY user_id ORDER BY ts, event_id)"
    moves = placed.select(f"""user_id, local_day AS day, region, lag(region) {over} AS region_before,
        date_diff('second', lag(ts) {over}, ts) / 60.0 AS minutes""")
    return moves.filter(f"region <> region_before AND day >= DATE '{since}'").df()


def changes_by_day(rows: duckdb.DuckDBPyRelation, changes: pd.DataFrame, *, since: dt.date) -> pd.DataFrame:
    """Return user_id, day and changes of region, for each day on which a customer was seen with a region."""
    seen = (
        rows.filter(f"{_BY_CUSTOMERS} AND region IS NOT NULL AND local_day >= DATE '{since}'")
        .select("user_id, local_day AS day")
        .distinct()
        .df()
    )
    number = changes.groupby([c.USER_ID, c.DAY]).size().rename("changes").reset_index()
    return seen.merge(number, on=[c.USER_ID, c.DAY], how="left").fillna({"changes": 0})


def new_links(rows: duckdb.DuckDBPyRelation, *, of: str, to: str, since: dt.date) -> pd.DataFrame:
    """Return, for each day on which one was seen, how many others it met for the first time that day.

        of device_id, to source_user_id     new accounts on a device
        of source_user_id, to device_id     new devices of an account

    A device that stands in for an account (a visit without login) is none.

    Args:
        rows: of the log.
        of: column of the ones.
        to: column of the others.
        since: first day that is returned; earlier days tell what is new.

    Returns:
        who, day, new (0 included).
    """
    pairs = rows.filter(f"{_BY_CUSTOMERS} AND device_id IS NOT NULL AND source_user_id <> device_id").select(
        f"{of} AS who, {to} AS other, local_day AS day"
    )
    first = pairs.aggregate("who, other, min(day) AS day").aggregate("who, day, count(*) AS new").set_alias("f")
    days = pairs.filter(f"day >= DATE '{since}'").select("who, day").distinct().set_alias("d")
    return days.join(first, "who, day", how="left").select("who, day, coalesce(new, 0) AS new").df()
