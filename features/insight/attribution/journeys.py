"""From the log to journeys: touches, cut by conversions and by the look-back, on pandas, DuckDB and PySpark alike.

    user's log                                          journeys (30 days)
    day 0   paid_social  view                           1  paid_social                     no conversion
    day 40  paid_search  view, cart                     2  paid_search > email    order o1
    day 45  email        view, purchase o1              3  direct                 order o2
    day 50  -            purchase o2                    4  email                           no conversion
    day 60  email        view

A touch is a session's first event of each channel. ``direct`` is a touch only of a session that names no other channel.
Journeys hold the touches since the conversion before. What is further back than the look-back is cut into stretches as
long as the look-back, counted back from the conversion, or from the last touch in the log where none came: they are
journeys that did not convert. A conversion without a touch of its own, such as the second order of a session, goes back
to the touch that the one before it used up; if that is too long ago, to ``direct``.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, TypeVar, cast

import narwhals as nw

from features import columns as c
from features.engine import sql_text
from features.insight.attribution.definition import DEFAULT, DIRECT, AttributionDefinition
from features.tables.expressions import order_sql
from features.tables.sql import once, run

DAY_US: Final = 86_400_000_000
MINUTE_US: Final = 60_000_000
CODE_BASE: Final = 10_000  # a step of a path is written position * CODE_BASE + code
FrameT = TypeVar("FrameT")
Days = tuple[dt.date, dt.date]


def touchpoints(events: FrameT, definition: AttributionDefinition = DEFAULT) -> FrameT:
    """Return one row a touch.

    Args:
        events: rows of the event log.
        definition: which rows are touches.

    Returns:
        user_id, at_us (UTC microseconds), day (local), touch.
    """
    return run(f"WITH {_touches(definition)} SELECT * FROM touches", events=events)


def journeys(events: FrameT, definition: AttributionDefinition = DEFAULT, *, days: Days | None = None) -> FrameT:
    """Return the touches of all journeys, one row each.

    Args:
        events: rows of the event log; with ``days`` also those of the look-back before them.
        definition: which rows are touches, and how they lead to a conversion.
        days: local days, both included: conversions of these alone, and journeys without one whose last touch is.

    Returns:
        user_id, journey (conversions of the user from here on, this one included; 0 after the last), stretch (0, or how
        many look-backs before the conversion it lies), position (1 first), num_touches, touch, at_us, converted (0, 1),
        revenue (of the conversion, minor units), time_decay (share of the conversion by time decay).
    """
    named, frames = _named(events, definition, days)
    text = f"""
        WITH {named}
        SELECT user_id, journey, stretch, position, num_touches, touch, at_us, converted, revenue, time_decay
        FROM steps JOIN codes USING (code)"""
    return run(text, **frames)


def journey_counts(events: FrameT, definition: AttributionDefinition = DEFAULT, *, days: Days | None = None) -> FrameT:
    """Return how often each path was taken, and what the log alone can tell of time decay; for ``JourneyCounts``.

    Users fall into 256 groups by the first two digits of the MD5 of their id, for intervals.

    Args:
        events, definition, days: see ``journeys``.

    Returns:
        kind, user_group, name, converted, num_journeys, revenue, conversions: rows of three kinds. ``path``: name holds
        ``position * 10000 + code`` of each touch, in order, with commas. ``decay``: conversions and revenue of the code
        in name. ``touch``: name is the touch whose code is in num_journeys.
    """
    named, frames = _named(events, definition, days)
    text = f"""
        WITH {named},
        paths AS (
            SELECT user_group, converted, max(revenue) AS revenue,
                   array_join(array_sort(collect_list(position * {CODE_BASE} + code)), ',') AS name
            FROM steps GROUP BY user_id, user_group, journey, stretch, converted
        )
        SELECT 'path' AS kind, user_group, name, converted, count(*) AS num_journeys,
               CAST(sum(revenue) AS DOUBLE) AS revenue, CAST(0 AS DOUBLE) AS conversions
        FROM paths GROUP BY user_group, name, converted
        UNION ALL
        SELECT 'decay', user_group, CAST(code AS STRING), 1, 0, sum(time_decay * revenue), sum(time_decay)
        FROM steps WHERE converted = 1 GROUP BY user_group, code
        UNION ALL
        SELECT 'touch', '', touch, 0, code, CAST(0 AS DOUBLE), CAST(0 AS DOUBLE) FROM codes"""
    return run(text, **frames)


def _named(events: FrameT, definition: AttributionDefinition, days: Days | None) -> tuple[str, dict[str, FrameT]]:
    """Return the SQL of ``codes`` and ``steps``, and the frames that it reads; PySpark goes stage by stage."""
    if not nw.from_native(cast(Any, events)).implementation.is_pyspark():
        return f"{_touches(definition)},{_conversions(definition)},{_steps(definition, days)}", {"events": events}
    frames = {
        "touches": once(touchpoints(events, definition)),
        "conversions": once(run(f"WITH {_conversions(definition)} SELECT * FROM conversions", events=events)),
    }
    given = "touches AS (SELECT * FROM {touches}), conversions AS (SELECT * FROM {conversions}),"
    steps = f"{given}{_steps(definition, days)}"
    found = {name: once(run(f"WITH {steps} SELECT * FROM {name}", **frames)) for name in ("codes", "steps")}
    return "codes AS (SELECT * FROM {codes}), steps AS (SELECT * FROM {steps})", found


def _touches(definition: AttributionDefinition) -> str:
    """Return the SQL of ``visited`` (one row a session) and ``touches``."""
    direct = ", ".join(sql_text(name) for name in ("", *definition.direct))
    touch = f"CASE WHEN {definition.touch} IN ({direct}) THEN NULL ELSE {definition.touch} END"
    chosen = f"event_type IN ({', '.join(sql_text(name) for name in definition.touch_events)})"
    # The text is repeated rather than named: a name that is used twice is kept, all rows of it.
    named = f"""
        SELECT user_id, session_id AS visit, unix_micros(ts) AS at_us, local_day, {touch} AS touch
        FROM {{events}} WHERE {chosen} AND session_id IS NOT NULL"""
    return f"""
    loose AS (
        SELECT *, lag(at_us) OVER (PARTITION BY user_id ORDER BY at_us) AS before_us
        FROM (SELECT user_id, unix_micros(ts) AS at_us, local_day, {touch} AS touch
              FROM {{events}} WHERE {chosen} AND session_id IS NULL) AS without_id
    ),
    gaps AS (
        SELECT user_id, at_us, local_day, touch, concat('gap ', CAST(CAST(
                   sum(CASE WHEN at_us - before_us <= {definition.gap_minutes * MINUTE_US} THEN 0 ELSE 1 END)
                   OVER (PARTITION BY user_id ORDER BY at_us) AS BIGINT) AS STRING)) AS visit
        FROM loose
    ),
    visited AS (
        SELECT user_id, visit, coalesce(min(CASE WHEN touch IS NOT NULL THEN at_us END), min(at_us)) AS at_us,
               CAST(min(local_day) AS DATE) AS day, min(touch) AS touch, max(touch) AS other
        FROM ({named} UNION ALL SELECT user_id, visit, at_us, local_day, touch FROM gaps) AS seen
        GROUP BY user_id, visit
    ),
    mixed AS (SELECT user_id, visit FROM visited WHERE touch <> other),
    touches AS (
        SELECT user_id, at_us, day, coalesce(touch, '{DIRECT}') AS touch
        FROM visited WHERE touch IS NULL OR touch = other
        UNION ALL
        SELECT user_id, min(at_us), CAST(min(local_day) AS DATE), touch
        FROM ({named} UNION ALL SELECT user_id, visit, at_us, local_day, touch FROM gaps) AS seen
        WHERE touch IS NOT NULL AND EXISTS (
            SELECT 1 FROM mixed WHERE mixed.user_id = seen.user_id AND mixed.visit = seen.visit)
        GROUP BY user_id, visit, touch
    )"""


def _conversions(definition: AttributionDefinition) -> str:
    bought = definition.conversion == c.PURCHASE
    # Rows without an order: a day's purchases are one, other events are one each.
    conversion = order_sql() if bought else f"coalesce({c.ORDER_ID}, {c.EVENT_ID})"
    revenue = "sum(coalesce(quantity, 1) * coalesce(price, 0))" if bought else "0"
    return f"""
    conversions AS (
        SELECT user_id, {conversion} AS conversion, unix_micros(min(ts)) AS at_us,
               CAST(min(local_day) AS DATE) AS day, CAST({revenue} AS BIGINT) AS revenue
        FROM {{events}} WHERE event_type = {sql_text(definition.conversion)} GROUP BY user_id, {conversion}
    )"""


def _steps(definition: AttributionDefinition, days: Days | None) -> str:
    """Return the SQL of ``codes`` (of touches) and ``steps`` (touches of journeys), from touches and conversions."""
    lookback_us, half_life_us = definition.lookback_days * DAY_US, definition.half_life_days * DAY_US
    of_journey = "PARTITION BY user_id, journey, stretch"
    return f"""
    codes AS (
        SELECT touch, row_number() OVER (ORDER BY touch) AS code
        FROM (SELECT touch FROM touches UNION SELECT '{DIRECT}' AS touch) AS known
    ),
    moments AS (
        SELECT user_id, at_us, day, code, '' AS conversion, 0 AS converts, CAST(NULL AS BIGINT) AS converted_us, 0 AS revenue
        FROM touches JOIN codes USING (touch)
        UNION ALL
        SELECT user_id, at_us, day, 0, conversion, 1, at_us, revenue FROM conversions
    ),
    counted AS (
        SELECT user_id, at_us, day, code, converts, revenue, CAST(sum(converts) OVER backwards AS BIGINT) AS journey,
               min(converted_us) OVER backwards AS until_us
        FROM moments
        WINDOW backwards AS (PARTITION BY user_id ORDER BY at_us DESC, converts DESC, conversion DESC, code DESC
                             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    ),
    cut AS (
        SELECT user_id, at_us, day, code, converts, revenue, journey, until_us,
               CAST(floor(greatest(coalesce(until_us, end_us) - at_us - 1, 0) / {lookback_us}) AS BIGINT) AS stretch
        FROM counted CROSS JOIN (SELECT max(at_us) AS end_us FROM touches) AS log_end
    ),
    placed AS (
        SELECT user_id, at_us, code, converts, journey, stretch, until_us,
               CASE WHEN journey > 0 AND stretch = 0 THEN 1 ELSE 0 END AS converted,
               power(CAST(2 AS DOUBLE), (at_us - until_us) / {half_life_us}) AS weight,
               sum(CASE WHEN converts = 0 THEN power(CAST(2 AS DOUBLE), (at_us - until_us) / {half_life_us})
                   ELSE 0 END) OVER whole AS weights,
               CAST(sum(revenue) OVER whole AS BIGINT) AS revenue, max(day) OVER whole AS day,
               CAST(count(*) OVER whole - sum(converts) OVER whole AS BIGINT) AS num_touches,
               row_number() OVER ({of_journey} ORDER BY at_us, converts, code) AS position
        FROM cut WINDOW whole AS ({of_journey})
    ),
    alone AS (
        SELECT user_id, journey, at_us, day, revenue FROM placed WHERE converts = 1 AND num_touches = 0
    ),
    used_before AS (
        SELECT alone.user_id, journey, alone.at_us, max(alone.day) AS day, max(alone.revenue) AS revenue,
               max((moments.at_us - alone.at_us + {lookback_us}) * {CODE_BASE} + code) AS latest
        FROM alone LEFT JOIN (SELECT user_id, at_us, code FROM moments WHERE converts = 0) AS moments
        ON moments.user_id = alone.user_id AND moments.at_us <= alone.at_us
           AND moments.at_us >= alone.at_us - {lookback_us}
        GROUP BY alone.user_id, journey, alone.at_us
    ),
    all_steps AS (
        SELECT user_id, journey, stretch, position, num_touches, code, at_us, converted, revenue, day,
               CASE WHEN converted = 1 THEN weight / weights ELSE 0 END AS time_decay
        FROM placed WHERE converts = 0
        UNION ALL
        SELECT user_id, journey, 0, 1, 1, coalesce(latest % {CODE_BASE}, by_itself), at_us, 1, revenue, day, 1
        FROM used_before CROSS JOIN (SELECT max(code) AS by_itself FROM codes WHERE touch = '{DIRECT}') AS own
    ),
    steps AS (
        SELECT *, substring(md5(user_id), 1, 2) AS user_group FROM all_steps {_of_days(days)}
    )"""


def _of_days(days: Days | None) -> str:
    return "" if days is None else f"WHERE day BETWEEN DATE '{days[0]}' AND DATE '{days[1]}'"
