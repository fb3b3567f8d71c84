"""Repurchase curves: the share that bought again within t days after the first, or the nth, purchase.

A purchase is a day with one: several orders of a day are one shopping trip. Whoever has not bought again when the log
ends is censored: it was watched for the days from its nth purchase to the last day of the log.

    ann  bought on days 1, 1 and 8    after the first: 7 days
    bob  bought on day 3              of a log that ends on day 10: not within 7 days, watched no longer
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pandas as pd
from narwhals.typing import IntoFrameT

from features import columns as c
from features.insight.by import BYS, By, frames_for, rows_sql, value_sql
from features.insight.collecting import collected
from features.insight.definitions import check_choice, check_event_types, check_whole, parsed
from features.insight.retention.periods import (
    COHORTS,
    Cohorts,
    checked_day,
    cohort_days,
    first_days,
    of_types,
    place_of,
    place_sql,
)
from features.insight.retention.survival import kaplan_meier
from features.tables.sql import run


@dataclass(frozen=True, kw_only=True)
class RepurchaseDefinition:
    """A repurchase curve.

    Args:
        of: what is bought again: ``shop`` anything, ``category`` something of the same top-level category (one curve
            a category), ``item`` the very item (one curve for all).
        nth: counted from the customer's first purchase (1), second (2), and so on; of the category or item where
            ``of`` says so.
        cohorts: one curve for each day, week or month of the nth purchase, or one for ``all``.
        event_types: what a purchase is.
        since: of customers who bought the nth time on this day or later.
    """

    of: By = "shop"
    nth: int = 1
    cohorts: Cohorts = "all"
    event_types: tuple[str, ...] = (c.PURCHASE,)
    since: dt.date | None = None

    def __post_init__(self) -> None:
        check_choice("of", self.of, BYS)
        check_whole("nth", self.nth, least=1)
        check_choice("cohorts", self.cohorts, COHORTS)
        check_event_types("event_types", self.event_types, some=True)
        if self.since is not None:
            checked_day("since", self.since)

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> RepurchaseDefinition:
        """Read a definition from a YAML mapping.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        return parsed(cls, mapping, where=where)


def repurchase_counts(
    events: IntoFrameT, definition: RepurchaseDefinition, *, items: IntoFrameT | None = None
) -> IntoFrameT:
    """Return how many bought the nth time on each day, by how many days later they bought again.

    Args:
        events: rows of the event log: user_id, event_type, local_day, and item_id where items are told apart.
        definition: what is counted.
        items: item_id and category, for curves by category; items of none are left out.

    Returns:
        value (text: the category, else blank), start (days since 1970 of the nth purchase), wait (days until the
        next; -1 where there was none), customers (with ``of: item``, customers and items).
    """
    key = {"shop": "", "category": ", value", "item": f", {c.ITEM_ID}"}[definition.of]
    also = f", {c.ITEM_ID}" if definition.of == "item" else ""
    value = "''" if definition.of == "item" else value_sql(definition.of)
    since = "" if definition.since is None else f" AND place >= {place_of('day', definition.since)}"
    rows = rows_sql(definition.of, of_types(definition.event_types))
    text = f"""
        WITH days AS (SELECT DISTINCT user_id, {value} AS value, {place_sql("day", c.LOCAL_DAY)} AS place{also} {rows}),
        numbered AS (
            SELECT value, place, lead(place) OVER one AS next_place, row_number() OVER one AS number
            FROM days WINDOW one AS (PARTITION BY user_id{key} ORDER BY place)
        ),
        waits AS (SELECT value, place AS start, CAST(coalesce(next_place - place, -1) AS INT) AS wait
                  FROM numbered WHERE number = {definition.nth}{since})
        SELECT value, start, wait, CAST(count(*) AS BIGINT) AS customers FROM waits GROUP BY value, start, wait
    """
    return run(text, **frames_for(definition.of, events, items))


def repurchase(events: Any, definition: RepurchaseDefinition, *, last_day: dt.date, items: Any = None) -> pd.DataFrame:
    """Return repurchase curves, a row a curve and day on which someone bought again or was watched no longer.

    Args:
        events: as of ``repurchase_counts``, of any engine.
        definition: which curves.
        last_day: the last local day of the log, to which customers were watched.
        items: item_id and category, of the same engine, for curves by category.

    Returns:
        value, cohort (first day of its period; the first of all for ``all``), customers (who bought the nth time),
        t (days), at_risk, came (bought again after just t days), left (watched for just t days), share (that bought
        again within t), low, high (95%, log-log with Greenwood's variance).
    """
    counts = collected(repurchase_counts(events, definition, items=items))
    counts = counts.sort_values(["value", "start", "wait"], ignore_index=True)
    last = place_of("day", checked_day("last_day", last_day))
    again = counts["wait"] >= 0
    counts["t"] = counts["wait"].where(again, last - counts["start"])
    counts["came"], counts["left"] = counts["customers"].where(again, 0), counts["customers"].where(~again, 0)
    counts["cohort"] = cohort_days(definition.cohorts, first_days("day", counts["start"]))
    curves = [_curve(rows, value, cohort) for (value, cohort), rows in counts.groupby(["value", "cohort"])]
    return pd.concat(curves, ignore_index=True) if curves else _curve(counts, "", pd.NaT)


def _curve(rows: pd.DataFrame, value: Any, cohort: Any) -> pd.DataFrame:
    sums = rows.groupby("t")[["came", "left"]].sum()
    curve = kaplan_meier(sums.index.to_numpy(), sums["came"], sums["left"])
    curve.insert(0, "customers", int(rows["customers"].sum()))
    curve.insert(0, "cohort", cohort)
    curve.insert(0, "value", value)
    return curve
