"""How much each tag says of the next period: tagged against untagged customers at several past days.

    cut-off    everything up to its evening gives the tags; the 28 days behind it give purchases and spend
    lift       purchase rate (or spend) a customer and period of the tagged over that of the untagged

A customer counts once at each cut-off, so intervals draw whole customers. One table holds many tags: ``q`` is the
false discovery rate at which a tag would be called different.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from features import columns as c
from features.customers.parts import Part
from features.customers.registry import PARTS
from features.customers.table import CustomerTable
from features.engine import private_connection, sql_text
from features.errors import DataError
from features.event_log import EventLog
from features.rules.conditions import Rule, columns_of, is_behavioural
from features.rules.session import RuleSession
from features.settings import EngineSettings, ShopSettings
from features.tables.orders import purchases
from features.tags.lifts import Lift, clustered_ratio, false_discovery_rates

PERIOD_DAYS: Final = 28
logger = logging.getLogger(__name__)
_SUMS: Final = ("periods", "bought", "spend")


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """Which past days tags are judged at.

    Args:
        period_days: how many days behind a cut-off give the outcome.
        num_cut_offs: how many cut-offs, one period apart; the last one a period before the log ends.
        history_days: the least log before a cut-off.
    """

    period_days: int = PERIOD_DAYS
    num_cut_offs: int = 3
    history_days: int = 28


def cut_offs(log: EventLog, settings: ValidationSettings) -> tuple[dt.date, ...]:
    """Return the days whose evenings the tags are drawn on, oldest first.

    Raises:
        DataError: the log is too short for one.
    """
    days = [log.last_day - dt.timedelta(days=settings.period_days * n) for n in range(1, settings.num_cut_offs + 1)]
    kept = tuple(day for day in reversed(days) if (day - log.first_day).days + 1 >= settings.history_days)
    if not kept:
        raise DataError(
            f"{log.path}: expected a log of {settings.history_days + settings.period_days} days or more to judge tags, "
            f"found {(log.last_day - log.first_day).days + 1}; shorten period_days or history_days."
        )
    return kept


def validate_tags(
    event_log: EventLog,
    items: Path,
    rules: Sequence[Rule],
    *,
    shop: ShopSettings,
    data: Path | None = None,
    settings: ValidationSettings = ValidationSettings(),
    engine: EngineSettings = EngineSettings(),
    parts: Sequence[Part] = PARTS,
) -> pd.DataFrame:
    """Return one row a tag: how tagged and untagged customers fared in the next period.

    Args:
        event_log: the clean log; only what may serve analytics is read.
        items: the contract's items, a Parquet file.
        rules: the tags; one that names a column which a past customer table lacks is left out.
        shop: its settings.
        data: a data directory for the customer table's other sources.
        settings: which past days.
        engine: memory limit, threads, where to spill.
        parts: of the past customer tables; without ``data`` what rests on other tables than the log and the items is
            missing in them.

    Returns:
        tag, version, behavioural, num_tagged and num_untagged (customers times cut-offs), rate_tagged, rate_untagged,
        rate_lift, rate_low, rate_high, spend_tagged, spend_untagged (minor units), spend_lift, spend_low, spend_high,
        p (of the purchase rates), q; best lift first.
    """
    days = cut_offs(event_log, settings)
    members = []
    for day in days:
        customers = CustomerTable.build(event_log, items, data=data, as_of=day, shop=shop, engine=engine, parts=parts)
        with RuleSession.open(event_log, items, customers, shop=shop, engine=engine) as session:
            members.append(_members(session, customers, rules))
    outcomes = [_outcomes(event_log, day, settings.period_days, engine) for day in days]
    judged = [rule for rule in rules if all(rule.name in tagged for _, tagged in members)]
    rows = [_row(rule, members, outcomes) for rule in judged]
    table = pd.DataFrame(rows)
    if len(table):
        table["q"] = false_discovery_rates(table["p"].to_numpy(float))
        table = table.sort_values(["rate_lift", "tag"], ascending=[False, True], ignore_index=True, na_position="last")
    logger.info(
        "tags: %d judged at %s, %d left out that name a column which past customer tables lack",
        *(len(table), ", ".join(map(str, days)), len(rules) - len(judged)),
    )
    return table


def as_json(
    table: pd.DataFrame, days: Sequence[dt.date], settings: ValidationSettings, rules: Sequence[Rule] = ()
) -> dict[str, Any]:
    """Return the table as one JSON object that says how it was made, and which of ``rules`` it leaves out."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    judged = {row["tag"] for row in rows}
    return {
        "cut_offs": [day.isoformat() for day in days],
        "settings": asdict(settings),
        "num_tags": len(table),
        "left_out": [rule.name for rule in rules if rule.name not in judged],
        "multiple_testing": "q is Benjamini and Hochberg's, over the purchase rates of all tags of this table.",
        "tags": rows,
    }


def _members(
    session: RuleSession, customers: CustomerTable, rules: Sequence[Rule]
) -> tuple[pd.Index, dict[str, pd.Index]]:
    """All customers of a day, and those of each tag, as the log of that evening had it."""
    usable = [rule for rule in rules if all(name in customers.frame for name in columns_of(rule.when))]
    tagged = {rule.name: pd.Index(session.user_ids(rule.when)) for rule in usable}
    return pd.Index(customers.frame[c.USER_ID]), tagged


def _outcomes(log: EventLog, day: dt.date, period_days: int, engine: EngineSettings) -> pd.DataFrame:
    """What each customer spent in the period behind a day; only those who bought."""
    end = day + dt.timedelta(days=period_days)
    with private_connection(engine, beside=log.path.parent) as connection:
        rows = log.relation(connection, purpose=c.ANALYTICS)
        span = f"{c.LOCAL_DAY} > {sql_text(str(day))}::DATE AND {c.LOCAL_DAY} <= {sql_text(str(end))}::DATE"
        return purchases(rows.filter(span)).select("user_id, monetary").df().set_index(c.USER_ID)


def _row(
    rule: Rule, members: Sequence[tuple[pd.Index, dict[str, pd.Index]]], outcomes: Sequence[pd.DataFrame]
) -> dict[str, Any]:
    parts = []
    for (everyone, tagged), outcome in zip(members, outcomes, strict=True):
        spend = outcome["monetary"].reindex(everyone)
        columns = {
            c.USER_ID: everyone,
            "tagged": everyone.isin(tagged[rule.name]),
            "periods": 1,
            "bought": spend.notna().to_numpy(int),
            "spend": spend.fillna(0).to_numpy(float),
        }
        parts.append(pd.DataFrame(columns))
    sums: Any = pd.concat(parts).groupby([c.USER_ID, "tagged"])[list(_SUMS)].sum().unstack("tagged", fill_value=0)
    sums = sums.reindex(columns=pd.MultiIndex.from_product([_SUMS, [True, False]]), fill_value=0)
    group = {name: (sums[name, True].to_numpy(float), sums[name, False].to_numpy(float)) for name in _SUMS}
    rate, spend_lift = _lift(group, "bought"), _lift(group, "spend")
    return {
        "tag": rule.name,
        "version": rule.version,
        "behavioural": is_behavioural(rule.when),
        "num_tagged": int(group["periods"][0].sum()),
        "num_untagged": int(group["periods"][1].sum()),
        **_means(group, "bought", "rate"),
        "rate_lift": rate.value,
        "rate_low": rate.low,
        "rate_high": rate.high,
        **_means(group, "spend", "spend"),
        "spend_lift": spend_lift.value,
        "spend_low": spend_lift.low,
        "spend_high": spend_lift.high,
        "p": rate.p,
    }


def _lift(group: dict[str, tuple[Any, Any]], name: str) -> Lift:
    return clustered_ratio(*group[name], *group["periods"])


def _means(group: dict[str, tuple[Any, Any]], name: str, prefix: str) -> dict[str, float | None]:
    means = {}
    for side, label in enumerate(("tagged", "untagged")):
        count = float(np.sum(group["periods"][side]))
        means[f"{prefix}_{label}"] = float(np.sum(group[name][side])) / count if count else None
    return means
