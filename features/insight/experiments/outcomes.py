"""What each user of a test did after the assignment, and before it: one row a user.

user_id  arm     assigned_us  num_arms  has_past  revenue  revenue__per  revenue__before  revenue__per_before
ann      strict  17...        1         1         4,200    2             900              1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeVar

from features import columns as c
from features.engine import sql_text
from features.errors import ConfigError
from features.insight.experiments.assignments import ARM, ASSIGNED_US, NUM_ARMS, one_arm_each
from features.insight.experiments.definition import ExperimentDefinition
from features.insight.experiments.measure import Measure, Metric
from features.tables.expressions import order_sql
from features.tables.sql import run

HAS_PAST: Final = "has_past"
UNTIL_US: Final = "until_us"
EXPOSED: Final = "exposed"
_UNITS: Final = f"coalesce(e.{c.QUANTITY}, 1)"
_UNSAFE: Final = "{}\\"
FrameT = TypeVar("FrameT")


def parts_of(metric: Metric) -> dict[str, tuple[Measure, bool]]:
    """Return the columns of a metric: each a measure, and whether it is of the time before."""
    parts = {metric.name: (metric.value, False)}
    if metric.per is not None:
        parts[f"{metric.name}__per"] = (metric.per, False)
    if metric.covariate_us:
        parts[f"{metric.name}__before"] = (_past_of(metric), True)
        if metric.per is not None:
            parts[f"{metric.name}__per_before"] = (metric.per, True)
    return parts


def _past_of(metric: Metric) -> Measure:
    """On how many days somebody bought says more of a conversion to come than whether somebody bought at all."""
    is_conversion = metric.value.count == "users" and metric.per is None
    return replace(metric.value, count="days") if is_conversion else metric.value


def outcomes(
    events: FrameT, assignments: FrameT, definition: ExperimentDefinition, *, until_us: int | None = None
) -> FrameT:
    """Return what each assigned user did: the metrics' parts after the assignment and before.

    An event counts from the instant of assignment on, up to but not at the end of the window. A user without an event
    has zeros. Who was found in several arms is in it too, with num_arms above 1.

    Args:
        events: rows of the event log.
        assignments: user_id, arm, assigned_us or assigned_at.
        definition: its metrics.
        until_us: what happened from this instant on is not read; nothing reads up to the last event.

    Returns:
        user_id, arm, assigned_us, num_arms, until_us (the end of what was read), has_past (1 where an event lies before
        the assignment), exposed (1 where the definition's exposure was met, if it has one), and a column a part of each
        metric.
    """
    columns = {name: part for metric in definition.metrics for name, part in _columns_of(metric).items()}
    if definition.exposure is not None:
        columns[EXPOSED] = _aggregate(
            Measure(count="users", of=definition.exposure.of, where=definition.exposure.where), "after_us >= 0"
        )
    kept = "TRUE" if until_us is None else f"unix_micros({c.TS}) < {int(until_us)}"
    end = "max(last_us) + 1" if until_us is None else f"coalesce(max({int(until_us)}), {int(until_us)})"
    lists = ",\n".join(f"{text} AS {name}" for name, text in columns.items())
    filled = ",\n".join(f"coalesce(f.{name}, 0) AS {name}" for name in columns)
    return run(
        f"""
        WITH spans AS (
            SELECT {c.USER_ID}, min(unix_micros({c.TS})) AS first_us, max(unix_micros({c.TS})) AS last_us
            FROM {{events}} WHERE {kept} GROUP BY {c.USER_ID}
        ),
        ends AS (SELECT CAST({end} AS BIGINT) AS {UNTIL_US} FROM spans),
        facts AS (
            SELECT {c.USER_ID}, {lists}
            FROM (SELECT e.*, unix_micros(e.{c.TS}) - u.{ASSIGNED_US} AS after_us
                  FROM {{events}} e JOIN {{units}} u ON e.{c.USER_ID} = u.{c.USER_ID}
                  WHERE {kept.replace(c.TS, f"e.{c.TS}")} AND e.{c.EVENT_TYPE} IN ({_types(definition)})) e
            GROUP BY {c.USER_ID}
        )
        SELECT u.{c.USER_ID}, u.{ARM}, u.{ASSIGNED_US}, CAST(u.{NUM_ARMS} AS BIGINT) AS {NUM_ARMS}, ends.{UNTIL_US},
               CASE WHEN s.first_us < u.{ASSIGNED_US} THEN 1 ELSE 0 END AS {HAS_PAST},
               {filled}
        FROM {{units}} u CROSS JOIN ends LEFT JOIN spans s ON s.{c.USER_ID} = u.{c.USER_ID}
        LEFT JOIN facts f ON f.{c.USER_ID} = u.{c.USER_ID}""",
        events=events,
        units=one_arm_each(assignments),
    )


def _columns_of(metric: Metric) -> dict[str, str]:
    until = f" AND after_us < {metric.window_us}" if metric.window_us is not None else ""
    after, before = f"after_us >= 0{until}", f"after_us < 0 AND after_us >= -{metric.covariate_us}"
    return {
        name: _aggregate(measure, before if is_before else after)
        for name, (measure, is_before) in parts_of(metric).items()
    }


def _aggregate(measure: Measure, span: str) -> str:
    holds = " AND ".join([span, f"e.{c.EVENT_TYPE} IN ({_texts(measure.of)})", *map(_is_one_of, measure.where)])
    value = {
        "users": "1",
        "events": "1",
        "units": _UNITS,
        "revenue": f"{_UNITS} * coalesce(e.{c.PRICE}, 0)",
        "orders": order_sql("e."),
        "days": f"e.{c.LOCAL_DAY}",
    }[measure.count]
    if measure.count in ("orders", "days"):
        return f"count(DISTINCT CASE WHEN {holds} THEN {value} END)"
    function = "max" if measure.count == "users" else "sum"
    return f"CAST({function}(CASE WHEN {holds} THEN {value} ELSE 0 END) AS BIGINT)"


def _is_one_of(test: tuple[str, Sequence[str]]) -> str:
    return f"e.{test[0]} IN ({_texts(test[1])})"


def _types(definition: ExperimentDefinition) -> str:
    measures = [measure for metric in definition.metrics for measure, _ in parts_of(metric).values()]
    measures += [definition.exposure] if definition.exposure is not None else []
    return _texts(sorted({name for measure in measures for name in measure.of}))


def _texts(texts: Sequence[str]) -> str:
    for one in texts:
        if any(letter in one for letter in _UNSAFE):
            raise ConfigError(f"measure: expected texts without braces and backslashes, found {one!r}.")
    return ", ".join(map(sql_text, texts))
